import json
import os
from pathlib import Path

import numpy as np

from headposekit.training.loggers import EpochCSVLogger
from headposekit.training.runs import fuse, read_groups, read_metrics, read_pool, read_predictions, read_runs, seedless


def write_run(runs: Path, name: str, seed: int, status: str = "finished", **config: object) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    content = {
        "status": status,
        "train_id": name,
        "config": {"seed": seed, "data": {"seed": seed, "n": 4}, **config},
        "test": {},
    }
    (folder / "results.json").write_text(json.dumps(content))
    return folder


def test_repetitions_are_found_by_what_was_trained(tmp_path: Path) -> None:
    for seed in (2, 0, 1):
        write_run(tmp_path, f"a{seed}", seed, model="fsanet")
    write_run(tmp_path, "b", 0, model="ssrnet")
    write_run(tmp_path, "c", 3, "running", model="fsanet")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "results.json").write_text("{")
    pool = read_pool(tmp_path)
    assert len(pool) == 2
    key = seedless({"seed": 99, "data": {"n": 4, "seed": 99}, "model": "fsanet"})
    assert [run.seed for run in pool[key]] == [0, 1, 2]


def test_single_runs_are_no_cells(tmp_path: Path) -> None:
    write_run(tmp_path, "a", 0).rename(tmp_path / "2026-01-01_12-00-00_a")
    assert read_pool(tmp_path) == {}


def test_fusion_is_the_mean_and_needs_the_same_faces(tmp_path: Path) -> None:
    a = {"x": (np.zeros(3), np.array([2.0, 0, 0])), "y": (np.ones(3), np.zeros(3))}
    b = {"x": (np.zeros(3), np.array([4.0, 0, 2])), "y": (np.ones(3), np.ones(3))}
    both = fuse([a, b])
    assert both is not None
    np.testing.assert_array_equal(both["x"][1], [3, 0, 1])
    assert fuse([a, {"x": b["x"]}]) is None
    assert fuse([]) is None


def test_missing_or_cut_predictions_count_as_none(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", 0)
    (run,) = next(iter(read_pool(tmp_path).values()))
    assert read_predictions(run, "aflw2000") is None
    (folder / "predictions_aflw2000.csv").write_text("name,true_yaw\nx,1\n")
    assert read_predictions(run, "aflw2000") is None


def test_a_pipe_in_place_of_results_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    os.mkfifo(tmp_path / "run" / "results.json")
    assert read_runs(tmp_path) == ([], {"run": "results.json: not a file"})


def test_a_pipe_in_place_of_a_table_is_not_waited_for(tmp_path: Path) -> None:
    folder = write_run(tmp_path, "a", 0)
    for name in ("metrics.csv", "predictions_aflw2000.csv"):
        os.mkfifo(folder / name)
    (run,) = next(iter(read_pool(tmp_path).values()))
    assert read_predictions(run, "aflw2000") is None
    assert read_groups(run, "aflw2000") == {}
    assert read_metrics(folder, "val/mae") == {}
    assert EpochCSVLogger(folder).rows == {}
