import errno
import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from omegaconf import OmegaConf

from configs import train_config
from headposekit import files
from headposekit.errors import InputError
from headposekit.sweeps import pool
from headposekit.sweeps.folders import GivenUp, RunFolders, Watch


def write_results(folder: Path, **content: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "results.json").write_text(json.dumps(content))


def test_a_cell_is_finished_when_this_training_was_tested_on_all_it_is_asked_for(tmp_path: Path) -> None:
    config = train_config("test=[synthetic,aflw2000]")
    tested = {name: {"test_id": pool.id_of_test(config, name)} for name in config.test}
    assert pool.cell_state(config, tmp_path).state == "missing"
    write_results(tmp_path, status="finished", train_id=pool.train_id(config), test=tested)
    assert pool.cell_state(config, tmp_path).state == "finished"

    other_box = train_config("test=[synthetic,aflw2000]", "test.aflw2000.box=official")
    assert pool.untested(other_box, pool.finished_results(other_box, tmp_path)) == ["aflw2000"]  # type: ignore[arg-type]
    elsewhere = train_config("test=[synthetic,aflw2000]", "test.aflw2000.root=/elsewhere")
    assert pool.cell_state(elsewhere, tmp_path).state == "finished"
    assert pool.cell_state(train_config("seed=1"), tmp_path).state == "missing"  # another training


@pytest.mark.parametrize("content", ["", "{", "[]x", '{"status": "finished"}'])
def test_a_broken_result_counts_as_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    (tmp_path / "failed.json").write_text('{"status": "failed", "reason": "the disk is full"}')
    state = pool.cell_state(train_config(), tmp_path)
    assert (state.state, state.reason) == ("failed", "the disk is full")


def holds(folder: Path, started: object, end: object) -> None:
    with pool.hold(folder) as mine:
        assert mine
        started.set()  # type: ignore[attr-defined]
        end.wait()  # type: ignore[attr-defined]


def test_a_folder_belongs_to_one_process_until_it_dies(tmp_path: Path) -> None:
    context = multiprocessing.get_context("forkserver")
    started, end = context.Event(), context.Event()
    holder = context.Process(target=holds, args=(tmp_path, started, end))
    holder.start()
    started.wait()
    with pool.hold(tmp_path) as mine:
        assert not mine
    assert str(holder.pid) in (tmp_path / "running.lock").read_text()
    holder.kill()
    holder.join()
    with pool.hold(tmp_path) as mine:
        assert mine


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("raise SystemExit(0)", None),
        ("raise SystemExit(3)", "exit status 3"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL"),
        ("import time; time.sleep(60)", "no sign of life"),
    ],
    ids=["well", "fails", "killed", "hangs"],
)
def test_how_a_process_ended_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, reason: str | None) -> None:
    monkeypatch.setattr(pool, "process_of", lambda _: [sys.executable, "-c", script])
    told = run_child(tmp_path)
    assert told is None if reason is None else told is not None and reason in told


def run_child(folder: Path, gpus: dict[str, Path] | None = None) -> str | None:
    try:
        return pool._run_child(folder, [], 1, gpus or {}, Watch(folder, 1 / 60, lambda: None))
    except GivenUp as error:
        return str(error)


def test_threads_are_shared_by_jobs_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "available_cores", lambda: 8)
    assert [pool._jobs(n) for n in (1, 3, -1, -2)] == [1, 3, 8, 7]


def test_a_cell_that_is_given_up_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "process_of", lambda _: [sys.executable, "-c", "import time; time.sleep(60)"])
    folder = tmp_path / "cell"
    state = pool.finish_cell(train_config("trainer=cpu"), folder, [], given_up=lambda: "unpromising after epoch 1")
    assert (state.state, state.reason) == ("failed", "unpromising after epoch 1")


def test_launchers_worker_dies_with_its_sweep(tmp_path: Path) -> None:
    """A grandchild stands for the worker, its parent for the sweep."""
    code = """
import os, sys, time
from headposekit import files
from headposekit.errors import InputError
from headposekit.sweeps import pool
from headposekit.sweeps.folders import GivenUp, RunFolders, Watch
os.environ[pool.SWEEPER] = str(os.getpid())
worker = os.fork()
if worker == 0:
    pool.finish_cell = lambda *_: time.sleep(60)
    pool.HydraConfig.get = lambda: type("H", (), {"overrides": type("O", (), {"task": []}), "launcher": {}})
    pool.output_dir = lambda: None
    print(os.getpid(), flush=True)
    pool.run_cell(None)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as sweep:
        assert sweep.stdout is not None
        worker = int(sweep.stdout.readline())
        time.sleep(0.5)
        sweep.kill()
        sweep.wait()
        deadline = time.monotonic() + 10
        while psutil.pid_exists(worker) and psutil.Process(worker).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.1)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"status": "finished", "test": []}', b"[" * 100_000], ids=range(7)
)
def test_a_damaged_result_is_named_once_and_the_cell_is_not_finished(tmp_path: Path, caplog, content: bytes) -> None:
    path = tmp_path / "results.json"
    path.write_bytes(content)
    (tmp_path / "failed.json").write_bytes(content)
    for _ in range(2):
        assert pool.cell_state(train_config(), tmp_path).state == "missing"
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{path}: ")
    assert line.endswith("; the run counts as not finished")


def test_a_file_dated_tomorrow_is_no_sign_of_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "process_of", lambda _: [sys.executable, "-c", "import time; time.sleep(60)"])
    (tmp_path / "src").mkdir()
    os.utime(tmp_path / "src", (time.time() + 86400,) * 2)
    said = run_child(tmp_path)
    assert said is not None
    assert "no sign of life" in said


def write_last(folder: Path, name: str = "last.ckpt", **card: object) -> Path:
    path = folder / "checkpoints" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    identity = pool.identity(train_config("seed=3"))
    content = {"state_dict": {"model.a": torch.arange(5000.0)}, "headposekit": {"format": 1, "identity": identity, **card}}
    torch.save(content, path)
    return path


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [cut, flip])
@pytest.mark.parametrize("resume", ["auto", "the file itself"])
def test_a_damaged_checkpoint_is_named_and_the_newest_whole_one_taken(tmp_path: Path, caplog, damage, resume: str) -> None:
    last, best = write_last(tmp_path), write_last(tmp_path, "best.ckpt")
    config = train_config("seed=3", f"resume={'auto' if resume == 'auto' else last}")
    assert pool.find_resume(config, tmp_path) == str(last)
    assert not caplog.records
    damage(last)
    assert pool.find_resume(config, tmp_path) == str(best)
    assert caplog.messages == [f"{last}: damaged or cut short; going on from best.ckpt"]
    caplog.clear()
    damage(best)
    assert pool.find_resume(config, tmp_path) is None
    assert [f"{path}: damaged or cut short; starting from the first epoch" for path in (last, best)] == caplog.messages


def test_a_damaged_best_checkpoint_is_named_where_the_last_is_whole(tmp_path: Path, caplog) -> None:
    last, best = write_last(tmp_path), write_last(tmp_path, "best.ckpt")
    cut(best)
    with caplog.at_level(logging.WARNING):
        assert pool.find_resume(train_config("seed=3", "resume=auto"), tmp_path) == str(last)
    assert caplog.messages == [f"{best}: damaged or cut short; going on from last.ckpt"]


def test_a_cell_knows_nothing_of_its_launchers_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lightning, which starts the processes of a cell, would take them for Slurm's or torchrun's."""
    given = {"SLURM_JOB_ID": "12", "SLURM_NTASKS": "1", "SLURM_NTASKS_PER_NODE": "1", "SLURM_PROCID": "0", "RANK": "0"}
    for name, value in {**given, "LOCAL_RANK": "0", "WORLD_SIZE": "1", "TORCHELASTIC_RUN_ID": "none", "OTHER": "1"}.items():
        monkeypatch.setenv(name, value)
    script = "import json, os; json.dump(dict(os.environ), open('environment', 'w'))"
    monkeypatch.setattr(pool, "process_of", lambda _: [sys.executable, "-c", script])
    monkeypatch.chdir(tmp_path)
    assert run_child(tmp_path, {"GPU-a": tmp_path, "GPU-b": tmp_path}) is None
    environment = json.loads((tmp_path / "environment").read_text())
    about = ("SLURM_", "TORCHELASTIC_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "OTHER")
    assert {name for name in environment if name.startswith(about)} == {"SLURM_JOB_ID", "OTHER"}
    assert environment["CUDA_VISIBLE_DEVICES"] == "GPU-a,GPU-b"


def test_a_running_cell_touches_the_locks_of_its_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "GPU-a.lock"
    lock.touch()
    os.utime(lock, (0, 0))
    folder = tmp_path / "cell"
    folder.mkdir()
    script = f"import pathlib, time; pathlib.Path({str(folder / 'new')!r}).touch(); time.sleep(0.3)"
    monkeypatch.setattr(pool, "process_of", lambda _: [sys.executable, "-c", script])
    monkeypatch.setattr(pool, "POLL_SECONDS", 0.05)
    assert run_child(folder, {"GPU-a": lock}) is None
    assert lock.stat().st_mtime > 0


@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGUSR2])
def test_a_warning_of_slurm_reaches_the_sweep_alone(tmp_path: Path, monkeypatch, number: signal.Signals) -> None:
    script = f"import os; os.kill(os.getpid(), {int(number)}); raise SystemExit(7)"
    monkeypatch.setattr(pool, "process_of", lambda _: [sys.executable, "-c", script])
    assert (run_child(tmp_path) or "").startswith("exit status 7")


def test_a_sweep_that_is_warned_ends_its_cell_by_sigterm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import pathlib, signal, sys, time; end = lambda *_: (pathlib.Path('ended').touch(), sys.exit(0))\n"
    script += "signal.signal(signal.SIGTERM, end); pathlib.Path('ready').touch(); time.sleep(60)"
    monkeypatch.setattr(pool, "process_of", lambda _: [sys.executable, "-c", script])
    monkeypatch.setattr(pool, "POLL_SECONDS", 0.05)
    monkeypatch.chdir(tmp_path)

    def warned() -> None:
        if (tmp_path / "ready").is_file():
            raise SystemExit(1)  # as submitit's handler of SIGUSR2 does, wherever the sweep is at that time

    with pytest.raises(SystemExit):
        pool._run_child(tmp_path, [], 1, {}, Watch(tmp_path, 1, warned))
    assert (tmp_path / "ended").is_file()


LAUNCHERS = [
    ({}, {}, False),
    ({"n_jobs": 2}, {"SLURM_JOB_GPUS": "0,1"}, False),  # a sweep that is itself one job
    ({"ray": {"remote": {"num_gpus": 0.5}}}, {}, True),
    ({"ray": {"remote": {"num_cpus": 1}}}, {}, False),
    ({"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"}, {"SLURM_JOB_GPUS": "1"}, True),
    ({"_target_": "hydra_plugins.hydra_submitit_launcher.submitit_launcher.SlurmLauncher"}, {}, False),
]


@pytest.mark.parametrize(("launcher", "environment", "has_gpus"), LAUNCHERS)
def test_gpus_that_a_launcher_has_shared_out_are_not_locked(
    tmp_path: Path, monkeypatch, launcher, environment, has_gpus
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    hydra = OmegaConf.create({"overrides": {"task": []}, "launcher": launcher})
    monkeypatch.setattr(pool.HydraConfig, "get", lambda: hydra)
    monkeypatch.setattr(pool, "output_dir", lambda: tmp_path)
    found = []
    monkeypatch.setattr(pool, "finish_cell", lambda *_, has_gpus: found.append(has_gpus))
    pool.run_cell(train_config())
    assert found == [has_gpus]


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOLCK])
def test_a_sweep_needs_a_file_system_with_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(files.FileLock, "acquire", acquire)
    with pytest.raises(InputError, match=r"cell: its file system has no file locks .*-o flock") as refusal:
        pool.finish_cell(train_config("trainer=cpu"), tmp_path / "cell", [])
    assert "\n" not in str(refusal.value)
    with RunFolders() as folders:  # of a single run nobody else knows
        assert folders.new(tmp_path / "2026-01-02_03-04-05_x").is_dir()
