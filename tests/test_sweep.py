"""`python src/train.py -m`: the pool of trainings as a user meets it."""

import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import DictConfig, OmegaConf

from headposekit.errors import InputError
from headposekit.sweeps import pool
from headposekit.sweeps.folders import hold
from headposekit.sweeps.pool import CellState
from run_folders import SMALL, folders, results, rows


def cells(rows: list[dict[str, Any]], *arguments: str) -> list[list[str]]:
    Plugins.instance()  # executes the modules of all plugins anew: a class imported before would have lost its parent
    from hydra_plugins.grid_sweeper import GridSweeper

    sweeper = GridSweeper(max_batch_size=None)
    sweeper.config = OmegaConf.create({"table": {"rows": [{"cell": cell} for cell in rows]} if rows else None})
    sweeper.hydra_context = SimpleNamespace(config_loader=None)  # type: ignore[assignment]
    return sweeper.cells(arguments)


def test_rows_are_multiplied_and_what_is_given_wins() -> None:
    capsule = [{"aggregation": "capsule", "scoring": scoring} for scoring in ("conv", "none")]
    rows = [{"model": "ssrnet"}, *capsule, {"aggregation": "none", "scoring": "conv"}]
    assert len(cells(rows)) == 4
    assert len(cells(rows, "seed=0,1,2")) == 12
    assert len(cells([*capsule, *capsule])) == 2  # equal cells run once
    assert cells(rows[1:], "aggregation=netvlad", "scoring=conv") == [["aggregation=netvlad", "scoring=conv"]]
    assert cells([], "a=1,2") == [["a=1"], ["a=2"]]
    assert cells([{"data.heads.hair": False, "a": None}, {}]) == [["data.heads.hair=False", "a=null"], []]


class FakeSweep:
    """A sweep of cells a, b, c, whose states are files of a folder; `launch` is called with the cells of each round."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.launched = folder, list[list[str]]()
        self.launcher: Any = SimpleNamespace(launch=self.launch)
        self.rounds: list[Callable[[], list[JobReturn]]] = []
        monkeypatch.setenv("HEADPOSEKIT_SWEEPER", "0")
        monkeypatch.setenv("HEADPOSEKIT_SWEEP", "")
        monkeypatch.setattr(pool, "cell_state", lambda _, folder: CellState("finished" if self.is_done(folder) else "missing"))

    @staticmethod
    def is_done(folder: Path) -> bool:
        return (folder / "done").exists()

    def finish(self, *cells: str) -> None:
        for cell in cells:
            (self.folder / cell).mkdir(exist_ok=True)
            (self.folder / cell / "done").touch()

    def launch(self, cells: list[list[str]], initial_job_idx: int) -> list[JobReturn]:
        self.launched.append([cell[0].removeprefix("x=") for cell in cells])
        return self.rounds.pop(0)()

    def load(self, _: Any, cell: list[str]) -> DictConfig:
        sweep = {"dir": str(self.folder), "subdir": cell[0].removeprefix("x=")}
        return OmegaConf.create({"hydra": {"sweep": sweep}, "test": {}})

    def run(self, monkeypatch: pytest.MonkeyPatch, sleep: Callable[[float], None] | None = None) -> None:
        Plugins.instance()
        from hydra_plugins import grid_sweeper

        monkeypatch.setattr(grid_sweeper.time, "sleep", sleep or (lambda _: pytest.fail("nothing to wait for")))
        sweeper = grid_sweeper.GridSweeper(max_batch_size=None)
        sweeper.config = OmegaConf.create({"table": None})
        sweeper.hydra_context = SimpleNamespace(config_loader=SimpleNamespace(load_sweep_config=self.load))  # type: ignore[assignment]
        monkeypatch.setattr(sweeper, "validate_batch_is_legal", lambda _: None)
        monkeypatch.setattr(sweeper, "cells", lambda _: [["x=a"], ["x=b"], ["x=c"]])
        sweeper.launcher = self.launcher
        sweeper.sweep([])


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSweep:
    return FakeSweep(tmp_path, monkeypatch)


def ended(state: str) -> JobReturn:
    return JobReturn(status=JobStatus.COMPLETED, _return_value=CellState(state))  # type: ignore[arg-type]


def test_a_launcher_that_breaks_off_ends_no_cell_of_others(sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first worker is killed; the second is still at its cell."""
    (sweep.folder / "b").mkdir()
    at_work = contextlib.ExitStack()

    def breaks() -> list[JobReturn]:
        sweep.finish("a")
        at_work.enter_context(hold(sweep.folder / "b"))
        raise RuntimeError("a worker was killed")

    def ends(_: float) -> None:
        sweep.finish("b")
        at_work.close()

    def rest() -> list[JobReturn]:
        sweep.finish("c")
        return [ended("finished")]

    sweep.rounds = [breaks, rest]
    sweep.run(monkeypatch, ends)
    assert sweep.launched == [["a", "b", "c"], ["c"]]


def test_a_launcher_that_breaks_off_before_anything_is_not_started_again(sweep: FakeSweep, monkeypatch) -> None:
    def breaks() -> list[JobReturn]:
        raise RuntimeError("no cluster here")

    sweep.rounds = [breaks]
    with pytest.raises(InputError, match="3 of 3 cells did not finish"):
        sweep.run(monkeypatch)


def test_a_cell_of_another_sweep_is_waited_for_by_its_lock(sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch) -> None:
    (sweep.folder / "c").mkdir()
    other = contextlib.ExitStack()
    other.enter_context(hold(sweep.folder / "c"))
    looks = 0

    def wait(_: float) -> None:
        nonlocal looks
        looks += 1
        if looks == 20:
            sweep.finish("c")
            other.close()

    def first() -> list[JobReturn]:
        sweep.finish("a", "b")
        return [ended("finished"), ended("finished"), ended("busy")]

    sweep.rounds = [first]
    sweep.run(monkeypatch, wait)
    assert (len(sweep.launched), looks) == (1, 20)


def test_a_lost_job_of_a_cluster_is_one_failed_cell(sweep: FakeSweep, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    submitit = pytest.importorskip("submitit", reason="install the extra `launchers`")

    class Job(submitit.Job):
        def __init__(self, cell: str) -> None:
            self.cell = cell

        def __del__(self) -> None:
            pass

    def results(job: Job) -> list[JobReturn]:
        if job.cell == "a":
            raise RuntimeError("Job 7 has not produced any output (state: OUT_OF_MEMORY)\nError stream produced: ...")
        sweep.finish(job.cell)
        return [ended("finished")]

    class Launcher:
        __module__ = "hydra_plugins.hydra_submitit_launcher.submitit_launcher"

        def launch(self, cells: list[list[str]], initial_job_idx: int) -> list[JobReturn]:
            return [Job(cell[0].removeprefix("x=")).results()[0] for cell in cells]

    monkeypatch.setattr(submitit.Job, "results", results)
    sweep.launcher = Launcher()
    with pytest.raises(InputError, match="1 of 3 cells did not finish"):
        sweep.run(monkeypatch)
    assert "OUT_OF_MEMORY" in capsys.readouterr().out
    assert submitit.Job.results is results


def test_no_cell_stops_another_and_nothing_finished_is_repeated(run, roots, w300lp_root: Path, tmp_path: Path) -> None:
    first = run("train", "-m", *roots, *SMALL, "epochs=1", "optimizer.lr=0.001,-1,0.002")
    assert first.returncode == 1
    assert "2 finished · 1 failed" in first.stdout
    assert "error: 1 of 3 cells did not finish; the same command goes on with them" in first.stderr
    finished = {name: path for name, path in folders(tmp_path).items() if (path / "results.json").is_file()}
    assert len(finished) == 2
    before = {name: (path / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name, path in finished.items()}

    more = (
        "test=[aflw2000,w300lp]",
        f"test.w300lp.root={w300lp_root}",
        "test.w300lp.num_test=12",
        "test.w300lp.perturb.low_resolution=[1,5]",
    )
    again = run("train", "-m", *roots[:2], *roots[3:], *SMALL, "epochs=1", "optimizer.lr=0.001,0.002", *more)
    assert again.returncode == 0, again.stderr
    assert "Epoch" not in again.stdout
    for name, path in finished.items():
        assert (path / "checkpoints" / "last.ckpt").stat().st_mtime_ns == before[name]
        content = results(path)
        assert set(content["test"]) == {"aflw2000", "w300lp_x1", "w300lp_x5"}
        assert content["test"]["w300lp_x5"]["n"] == 12
        assert set(content["test"]["w300lp_x5"]) >= {"last", "best"}
        assert content["test"]["aflw2000"]["n"] == 10
        assert (path / "predictions_w300lp_x1.csv").is_file()


def test_killed_sweep_goes_on_and_its_cells_end_as_unbroken_trainings(run, start, roots, tmp_path: Path) -> None:
    options = (*roots, *SMALL, "epochs=3")
    unbroken: dict[str, Path] = {}
    for scoring in ("conv", "variance"):
        alone = run("train", *options, f"scoring={scoring}", f"hydra.run.dir={scoring}")
        assert alone.returncode == 0, alone.stderr
        unbroken[results(tmp_path / scoring)["train_id"]] = tmp_path / scoring

    sweep = start("train", "-m", *options, "scoring=conv,variance")
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    sweep.send_signal(signal.SIGKILL)  # the sweep alone: its cell must end with it
    sweep.wait()
    after = run("train", "-m", *options, "scoring=conv,variance")
    assert after.returncode == 0, after.stderr
    assert "2 finished" in after.stdout
    assert set(folders(tmp_path)) == set(unbroken)
    for name, path in folders(tmp_path).items():
        other = unbroken[name]
        assert results(path)["test"] == results(other)["test"]
        assert [row["epoch"] for row in rows(path / "metrics.csv")] == ["0", "1", "2"]
        assert (path / "predictions_aflw2000.csv").read_text() == (other / "predictions_aflw2000.csv").read_text()


def test_cells_of_two_processes_each(run, roots, tmp_path: Path) -> None:
    options = (*roots, "data.batch_size=8", "data.split=photo", "data.val_fraction=0.25", "trainer=ddp_cpu", "epochs=1")
    sweep = run("train", "-m", *options, "optimizer.lr=-1,0.001")
    assert sweep.returncode == 1
    assert "1 finished · 1 failed" in sweep.stdout
    single = run("train", *options, "optimizer.lr=0.001", "hydra.run.dir=single")
    assert single.returncode == 0, single.stderr
    (finished,) = (path for path in folders(tmp_path).values() if (path / "results.json").is_file())
    assert results(finished)["test"] == results(tmp_path / "single")["test"]


@pytest.mark.slow
@pytest.mark.parametrize(("launcher", "package"), [("joblib", "joblib"), ("submitit_local", "submitit"), ("ray", "ray")])
def test_launchers_run_cells_side_by_side(run, roots, tmp_path: Path, launcher: str, package: str) -> None:
    pytest.importorskip(f"hydra_plugins.hydra_{package}_launcher", reason="install the extra `launchers`")
    is_joblib = launcher == "joblib"
    jobs = ("hydra.launcher.n_jobs=2",) if is_joblib else ()
    options = (*roots, *SMALL, "epochs=1", "scoring=conv,variance")
    done = run("train", "-m", *options, f"hydra/launcher={launcher}", *jobs, fresh=is_joblib)  # forked, it did not end
    assert done.returncode == 0, done.stderr
    assert "2 finished" in done.stdout
    assert len([path for path in folders(tmp_path).values() if (path / "results.json").is_file()]) == 2


def test_a_cell_that_cannot_be_composed_stops_the_sweep_before_it_starts(refused) -> None:
    assert "netvlat" in refused("train", "-m", "aggregation=netvlad,netvlat")
