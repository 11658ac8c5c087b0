"""Options of short trainings, and the folders of runs: read, or written by hand without a training."""

import csv
import json
from pathlib import Path
from typing import Any

from configs import train_config
from headposekit.sweeps.cells import split_options
from headposekit.training.identity import id_of_test, identity, train_id
from headposekit.training.protocols import settle_tests

TESTS = str(Path(__file__).parent)
SMALL = ("data.batch_size=8", "data.split=photo", "data.val_fraction=0.25", "trainer=cpu")
SWEPT = ("experiments=synthetic/networks", *SMALL, "epochs=1", "data.num_heads=32", "test.synthetic.num_heads=8")
"""Options of the sweep whose one cell the fixture `trained` has trained."""
SCORING_ERRORS = {"none": 4.0, "conv": 1.0, "variance": -2.0}
POSES = {"a": (10, 5, 0), "b": (-40, 0, 9)}


def only_run(tmp_path: Path) -> Path:
    (folder,) = (tmp_path / "runs").iterdir()
    return folder


def folders(tmp_path: Path) -> dict[str, Path]:
    """Trainings in the pool, by name."""
    return {path.name: path for path in (tmp_path / "runs").iterdir() if (path / "train.log").is_file()}


def results(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "results.json").read_text())
    return content


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def by_method(table: Path) -> dict[str, dict[str, str]]:
    """Rows of a table of report.py."""
    return {row["method"]: row for row in rows(table)}


def write_runs(runs: Path, seed: int, table: str = "fsanet/table4", test_set: str = "aflw2000") -> dict[str, Path]:
    """One run a scoring, each off by a constant angle."""
    experiment = (f"experiments={table}", "aggregation=capsule", f"seed={seed}")
    return {
        scoring: write_run(runs, error, *experiment, f"scoring={scoring}", test_sets=(test_set,))
        for scoring, error in SCORING_ERRORS.items()
    }


def write_run(runs: Path, error: float, *options: str, test_sets: tuple[str, ...] = ()) -> Path:
    """A run off by a constant angle on its test sets."""
    config = train_config(*options)
    settle_tests(config)
    folder = runs / train_id(config)
    folder.mkdir(parents=True)
    errors = {**dict.fromkeys(("yaw", "pitch", "roll", "mae"), abs(error)), "geodesic": 7.0}
    entry = {"rules": {"dataset": "p"}, "crop": "fsanet", "n": 2, "skipped": 0, "last": errors}
    if config.get("protocol"):
        entry["of_protocol"] = {"name": config.protocol.name, "hash": "x", "complete": False}
    tested = {name: {**entry, "test_id": id_of_test(config, name)} for name in test_sets or config.test}
    chosen = [option.partition("=")[2] for option in options if option.startswith("experiments=")]
    own, others = split_options(options, config.table)
    cell = {"experiment": chosen[0] if chosen else None, "cell": own, "options": others}
    content = {
        "status": "finished", "train_id": train_id(config), "config": identity(config), "params": 1, "size_mb": 0.95,
        "commit": "abc", "train": {"best_epoch": None}, "test": tested, "cells": [cell],
    }  # fmt: skip
    (folder / "results.json").write_text(json.dumps(content))
    angles = ("yaw", "pitch", "roll")
    for name in tested:
        with (folder / f"predictions_{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["name", *(f"true_{a}" for a in angles), *(f"predicted_{a}" for a in angles), "geodesic"])
            for face, true in POSES.items():
                writer.writerow([face, *true, *(angle + error for angle in true), 7])
    return folder
