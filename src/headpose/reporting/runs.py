"""What the pool of trainings holds, found again by what was trained."""

import csv
import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Predictions = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Name of a face to its true and predicted yaw, pitch, roll in degrees; predicted NaN where there is no pose."""


@dataclass(frozen=True)
class Run:
    """A finished training: its folder and the content of its results.json."""

    folder: Path
    results: dict[str, Any]

    @property
    def seed(self) -> int:
        """Of the training."""
        return int(self.results["config"]["seed"])


def seedless(identity: dict[str, Any]) -> str:
    """Key of a training up to its seed: runs with the same key are repetitions of each other."""
    plain = json.loads(json.dumps(identity))
    plain.pop("seed", None)
    plain.get("data", {}).pop("seed", None)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def read_pool(runs: Path) -> dict[str, list[Run]]:
    """Finished trainings below a folder, by `seedless` key, in the order of their seeds; unreadable ones do not count."""
    pool: dict[str, list[Run]] = {}
    for path in sorted(runs.glob("*/results.json")):
        try:
            results = json.loads(path.read_text())
            if results["status"] != "finished" or path.parent.name != results["train_id"]:
                continue  # single runs are nobody's cells
            run = Run(path.parent, results)
            pool.setdefault(seedless(results["config"]), []).append(run)
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {key: sorted(members, key=lambda run: run.seed) for key, members in pool.items()}


def read_predictions(run: Run, test_set: str) -> Predictions | None:
    """A run's predictions of its last epoch on a test set; None where there are none."""
    try:
        with (run.folder / f"predictions_{test_set}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        return {row["name"]: (_angles(row, "true"), _angles(row, "predicted")) for row in rows}
    except (OSError, ValueError, KeyError):
        return None


def with_pose(predictions: Predictions) -> Predictions:
    """The faces that have a predicted pose."""
    return {name: pair for name, pair in predictions.items() if np.isfinite(pair[1]).all()}


def fuse(members: Iterable[Predictions]) -> Predictions | None:
    """Late fusion: the mean of several networks' predictions; None where they did not see the same faces.

    A face that one of them has no pose for gets none.
    """
    members = list(members)
    if not members or any(set(member) != set(members[0]) for member in members):
        return None
    return {name: (true, np.mean([member[name][1] for member in members], axis=0)) for name, (true, _) in members[0].items()}


def _angles(row: dict[str, str], kind: str) -> NDArray[np.float64]:
    return np.array([float(row[f"{kind}_{angle}"] or "nan") for angle in ("yaw", "pitch", "roll")])
