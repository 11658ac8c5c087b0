"""Entry points in processes of their own that need not import torch and Lightning again: forked from one that has."""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path

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


def _enter(script: Path, arguments: list[str], cwd: Path, environment: dict[str, str], out: Path, err: Path) -> None:
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    for descriptor, path in ((1, out), (2, err)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    sys.path[:0] = [str(script.parent), *environment.get("PYTHONPATH", "").split(os.pathsep)]
    multiprocessing.set_start_method("fork", force=True)  # the system's own; here it would be the server's
    sys.argv = [str(script), *arguments]
    runpy.run_path(str(script), run_name="__main__")
