import multiprocessing
import os
import signal
import socket
from multiprocessing.queues import Queue
from pathlib import Path

import pytest

from configs import train_config
from headposekit.errors import InputError
from headposekit.sweeps.folders import CELL, LOCK, RunFolders, folders_of, hold, take_folder
from headposekit.training.identity import train_id


def test_runs_of_one_second_get_a_folder_each(tmp_path: Path) -> None:
    path = tmp_path / "runs" / "2026-01-02_03-04-05_predict"
    wanted = [path.name, "2026-01-02_03-04-05-2_predict", "2026-01-02_03-04-05-3_predict"]
    with RunFolders() as first, RunFolders() as second, RunFolders() as third:
        names = [folders.new(path).name for folders in (first, second, third)]
        assert names == wanted
        assert second.new(path).name == wanted[1]  # however often it is looked up
    assert sorted(folder.name for folder in path.parent.iterdir()) == sorted(wanted)
    assert not list(path.parent.glob("*/*"))


def test_a_folder_that_another_run_holds_is_refused_until_its_end(tmp_path: Path) -> None:
    with RunFolders() as first:
        first.take(tmp_path)
        first.take(tmp_path)
        with RunFolders() as second, pytest.raises(InputError, match="another run is at work in it"):
            second.take(tmp_path)
    with RunFolders() as second:
        assert second.take(tmp_path) == tmp_path
        assert str(os.getpid()) in (tmp_path / LOCK).read_text()


@pytest.mark.parametrize("variable", [CELL, "LOCAL_RANK"])
def test_processes_of_a_run_share_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    with hold(tmp_path) as mine, RunFolders() as child:
        assert mine
        monkeypatch.setenv(variable, "1")
        assert child.take(tmp_path) == tmp_path
        assert child.new(tmp_path / "a") == tmp_path / "a"


def new_folder(environment: dict[str, str], path: Path, found: "Queue[str]") -> None:
    os.environ |= environment
    with RunFolders() as folders:
        found.put(str(folders.new(path)))


def test_processes_of_srun_share_the_folder_of_the_first(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    job = {"SLURM_JOB_ID": "123456", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    job |= {"SLURM_JOB_NAME": "train", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    context = multiprocessing.get_context("forkserver")
    found: Queue[str] = context.Queue()
    (tmp_path / "2026-01-02_03-04-06_train").mkdir()  # the first has to take another name
    for number in (1, 0):
        path = tmp_path / f"2026-01-02_03-04-0{6 + number}_train"
        environment = {**job, "SLURM_PROCID": str(number), "SLURM_LOCALID": str(number)}
        context.Process(target=new_folder, args=(environment, path, found), daemon=True).start()
    assert [found.get(timeout=60), found.get(timeout=60)] == [str(tmp_path / "2026-01-02_03-04-06-2_train")] * 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_process_that_nobody_tells_its_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NODE_RANK", "1")  # of a training on two nodes, started by hand
    with RunFolders() as folders, pytest.raises(InputError, match=r"give all of them the same hydra\.run\.dir=DIR"):
        folders.new(tmp_path / "2026-01-02_03-04-05_train")
    with RunFolders(has_ranks=False) as folders:  # of a program that has none
        assert folders.new(tmp_path / "2026-01-02_03-04-05_report").is_dir()


def test_a_task_of_srun_that_is_no_part_of_a_training_has_its_own_folder(tmp_path: Path, monkeypatch) -> None:
    for name, value in {"SLURM_JOB_ID": "1", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "4", "SLURM_PROCID": "3"}.items():
        monkeypatch.setenv(name, value)
    with RunFolders(has_ranks=False) as folders:
        folder = folders.new(tmp_path / "2026-01-02_03-04-05_predict")
        with hold(folder) as mine:
            assert not mine


def test_a_folder_is_free_when_its_run_is_dead_whatever_its_workers_do(tmp_path: Path) -> None:
    with hold(tmp_path):
        worker = os.fork()
        if worker == 0:
            signal.pause()
            os._exit(0)
    try:
        with hold(tmp_path) as mine:
            assert mine
    finally:
        os.kill(worker, signal.SIGKILL)
        os.waitpid(worker, 0)


def test_what_is_written_beside_the_run_folder_is_held_as_well(tmp_path: Path) -> None:
    with RunFolders():
        take_folder(tmp_path / "out")
        with hold(tmp_path / "out") as mine:
            assert not mine
    take_folder(tmp_path / "else")
    assert not list((tmp_path / "else").iterdir())


def test_folders_of_a_training(tmp_path: Path) -> None:
    wanted = ["0123456789ab", "2026-01-01_00-00-00-2_0123456789ab", "2026-01-01_00-00-00_0123456789ab"]
    for name in [*wanted, "0123456789abc", "x0123456789ab", "2026-01-01_00-00-00_0123456789ab_x"]:
        (tmp_path / name).mkdir()
    assert [path.name for path in folders_of("0123456789ab", tmp_path)] == wanted


def test_a_given_folder_that_another_run_holds_is_refused_before_anything_is_written(refused, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with hold(tmp_path / "mine"):
        line = refused("train", "hydra.run.dir=mine")
        assert line.startswith("error: mine: another run is at work in it")
        assert [path.name for path in (tmp_path / "mine").iterdir()] == [LOCK]


def test_a_training_that_is_running_is_not_resumed(refused, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / f"2026-01-01_00-00-00_{train_id(train_config())}"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").touch()
    with hold(folder):
        assert f"{folder}: another run is at work in it" in refused("train", "resume=auto")
