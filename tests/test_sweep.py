"""`python src/train.py -m`: the pool of trainings as a user meets it."""

import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hydra.core.plugins import Plugins
from omegaconf import OmegaConf

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


def test_no_cell_stops_another_and_nothing_finished_is_repeated(run, roots, w300lp_root: Path, tmp_path: Path) -> None:
    sweep = ("train", "-m", *roots, *SMALL, "epochs=1", "scoring=conv,variance", "optimizer.lr=0.001,-1")
    first = run(*sweep)
    assert first.returncode == 1
    assert "2 finished · 2 failed" in first.stdout
    assert "error: 2 of 4 cells did not finish; the same command goes on with them" in first.stderr
    finished = {name: path for name, path in folders(tmp_path).items() if (path / "results.json").is_file()}
    assert len(finished) == 2
    before = {name: (path / "checkpoints" / "last.ckpt").stat().st_mtime_ns for name, path in finished.items()}

    more = (
        "test=[aflw2000,w300lp]",
        f"test.w300lp.root={w300lp_root}",
        "test.w300lp.num_test=12",
        "test.w300lp.perturb.low_resolution=[1,5]",
    )
    again = run("train", "-m", *roots[:2], *roots[3:], *SMALL, "epochs=1", "scoring=conv,variance", *more)
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


def test_killed_sweep_goes_on_and_ends_as_an_unbroken_one(run, start, roots, tmp_path: Path) -> None:
    options = (*roots, *SMALL, "epochs=3", "scoring=conv,variance")
    unbroken = run("train", "-m", *options, HEADPOSE_RUNS=str(tmp_path / "unbroken"))
    assert unbroken.returncode == 0, unbroken.stderr

    sweep = start("train", "-m", *options)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob("runs/*/checkpoints/last.ckpt")) and time.monotonic() < deadline:
        time.sleep(0.05)
    sweep.send_signal(signal.SIGKILL)  # the sweep alone: its cell must end with it
    sweep.wait()
    after = run("train", "-m", *options)
    assert after.returncode == 0, after.stderr
    assert "2 finished" in after.stdout
    for name, path in folders(tmp_path).items():
        other = tmp_path / "unbroken" / name
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
    jobs = ("hydra.launcher.n_jobs=2",) if launcher == "joblib" else ()
    options = (*roots, *SMALL, "epochs=1", "scoring=conv,variance")
    done = run("train", "-m", *options, f"hydra/launcher={launcher}", *jobs, fresh=True)
    assert done.returncode == 0, done.stderr
    assert "2 finished" in done.stdout
    assert len([path for path in folders(tmp_path).values() if (path / "results.json").is_file()]) == 2


def test_a_cell_that_cannot_be_composed_stops_the_sweep_before_it_starts(refused) -> None:
    assert "netvlat" in refused("train", "-m", "aggregation=netvlad,netvlat")
