"""Entry points in processes of their own that need not import torch and Lightning again: forked from one that has."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from lightning_fabric.utilities.rank_zero import _get_rank, rank_zero_only

PRELOAD = [
    "albumentations",
    "matplotlib.pyplot",
    "pytorch_lightning",
    "timm.optim",
    "headposekit.datasets",
    "headposekit.training",
    "headposekit.reporting.experiments",
    "headposekit.sweeps.pool",
    "headposekit.training.testing",
]


# For whoever starts processes in the tests: forking pytest itself, with the threads of torch in it, can hang.
multiprocessing.set_forkserver_preload(PRELOAD)


SCRIPTS = Path(__file__).resolve().parents[1] / "src"
TIMEOUT = 300  # seconds


def call(folder: Path, script: str, *overrides: str, fresh: bool = False, **env: str) -> "subprocess.CompletedProcess[str]":
    """Call an entry point in its own process, from a folder, with runs/ below it.

    `fresh=True` starts a new interpreter, as a user does; otherwise it is forked from one that has the packages.
    """
    environment = {**os.environ, "HEADPOSEKIT_RUNS": str(folder / "runs"), "COLUMNS": "160", **env}
    return (call_fresh if fresh else call_forked)(SCRIPTS / f"{script}.py", list(overrides), folder, environment)


def call_forked(
    script: Path, arguments: list[str], cwd: Path, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """What `call_fresh` gives, a few seconds sooner."""
    context = multiprocessing.get_context("forkserver")
    out, err = cwd / ".stdout", cwd / ".stderr"
    process = context.Process(target=_enter, args=(script, arguments, cwd, environment, out, err))
    process.start()
    process.join(TIMEOUT)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{script.name} {' '.join(arguments)}: not finished after {TIMEOUT} seconds\n{err.read_text()}")
    assert process.exitcode is not None
    return _finished(script, arguments, process.exitcode, out, err)


def call_fresh(
    script: Path, arguments: list[str], cwd: Path, environment: dict[str, str]
) -> "subprocess.CompletedProcess[str]":
    """Call an entry point in a new interpreter, as a user does."""
    out, err = cwd / ".stdout", cwd / ".stderr"
    # Into files: a pipe stays open as long as any process that the entry point left behind.
    with out.open("w") as output, err.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(script), *arguments],
            cwd=cwd,
            env=environment,
            stdout=output,
            stderr=errors,
            start_new_session=True,
        )
        try:
            code = process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise TimeoutError(
                f"{script.name} {' '.join(arguments)}: not finished after {TIMEOUT} seconds\n{err.read_text()}"
            ) from None
    return _finished(script, arguments, code, out, err)


def _finished(script: Path, arguments: list[str], code: int, out: Path, err: Path) -> "subprocess.CompletedProcess[str]":
    done = subprocess.CompletedProcess([str(script), *arguments], code, out.read_text(), err.read_text())
    out.unlink()
    err.unlink()
    return done


def _enter(script: Path, arguments: list[str], cwd: Path, environment: dict[str, str], *outputs: Path) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.path[:0] = [str(script.parent), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    multiprocessing.set_start_method("fork", force=True)  # the system's own; here it would be the server's
    subprocess.Popen = Forking  # type: ignore[misc]
    rank_zero_only.rank = _get_rank() or 0  # which Lightning looks up when it is imported
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")


class Forking(subprocess.Popen[Any]):
    """Starts a cell of a sweep, or another process of a training, as a fork of this one; other programs as ever."""

    def _execute_child(self, args: Any, executable: Any, preexec_fn: Any, close_fds: Any, pass_fds: Any, *others: Any) -> None:
        cwd, env, *_, out, _, err, _, _, _, _, _, start_new_session, _ = others
        if args[0] != sys.executable or Path(args[1]).parent != SCRIPTS:
            super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, *others)  # type: ignore[misc]
            return
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        self.pid = os.fork()
        self._child_created = True
        if self.pid == 0:
            for descriptor, file in ((1, out), (2, err)):
                os.dup2(descriptor if file == -1 else file, descriptor)
            os.closerange(3, os.sysconf("SC_OPEN_MAX"))
            if start_new_session:
                os.setsid()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            if preexec_fn:
                preexec_fn()
            GlobalHydra.instance().clear()
            HydraConfig.instance().cfg = None
            given = (Path(args[1]), args[2:], cwd or Path.cwd(), dict(os.environ if env is None else env))
            os._exit(multiprocessing.get_context("fork").Process(target=_enter, args=given)._bootstrap())  # type: ignore[attr-defined]
