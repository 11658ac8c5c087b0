"""What the pool of trainings holds, found again by what was trained."""

import csv
import hashlib
import io
import json
import logging
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headposekit.csv_file import MAX_TABLE
from headposekit.files import replacing
from headposekit.geometry.conventions import ALIGNED, ANGLES, ERRORS
from headposekit.safe_files import read_text

log = logging.getLogger(__name__)

Predictions = dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]
"""Name of a face to its true and predicted yaw, pitch, roll in degrees; predicted NaN where there is no pose."""


@dataclass(frozen=True)
class Run:
    """A finished training: its folder and the content of its results.json."""

    folder: Path
    results: dict[str, Any]

    @property
    def seed(self) -> int:
        """Seed of the training."""
        return int(self.results["config"]["seed"])

    def without(self, test_sets: Iterable[str]) -> "Run":
        """The run as if it had not been tested on these."""
        left_out = set(test_sets)
        tests = {name: entry for name, entry in self.results["test"].items() if name not in left_out}
        return Run(self.folder, {**self.results, "test": tests})


def seedless(identity: dict[str, Any]) -> str:
    """Key of a training up to its seed: runs with the same key are repetitions of each other."""
    plain = json.loads(json.dumps(identity))
    plain.pop("seed", None)
    plain.get("data", {}).pop("seed", None)
    return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


def leaves(node: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested configuration.

    >>> dict(leaves({"model": {"bins": 66}, "seed": 0}))
    {'model.bins': 66, 'seed': 0}
    """
    if isinstance(node, dict):
        for name, value in node.items():
            yield from leaves(value, f"{key}.{name}".strip("."))
    else:
        yield key, node


def read_runs(runs: Path) -> tuple[list[Run], dict[str, str]]:
    """What trainings and evaluations below a folder left, and each folder that has nothing to show with the reason.

    Folders of the other entry points are in neither.
    """
    found, left_out = [], {}
    for folder in sorted(path for path in runs.iterdir() if path.is_dir()):
        logs = {path.stem for path in folder.glob("*.log")}
        if logs and not logs & {"train", "evaluate"}:
            continue
        try:
            found.append(Run(folder, _checked(_read_json(folder / "results.json"))))
        except FileNotFoundError:
            reason = read_failure(folder)
            unfinished = "unfinished" if logs else "no results.json; no run of this program"
            left_out[folder.name] = unfinished if reason is None else f"failed: {reason}"
        except ValueError as error:
            left_out[folder.name] = f"results.json: {error}"
            log.warning("%s: %s; it does not count", folder / "results.json", error)
    return found, left_out


def read_results(folder: Path) -> dict[str, Any] | None:
    """The results.json of a run that has ended; None where it is not there or, with a warning, damaged."""
    path = folder / "results.json"
    try:
        results = _read_json(path)
        tests, train = (results.get("test", {}), results.get("train", {})) if isinstance(results, dict) else (None, None)
        if not isinstance(train, dict) or not isinstance(tests, dict) or not all(isinstance(t, dict) for t in tests.values()):
            raise ValueError("not the results of a run")
    except FileNotFoundError:
        return None
    except ValueError as error:
        if path not in _named:
            _named.add(path)
            log.warning("%s: %s; the run counts as not finished", path, error)
        return None
    return {"test": {}, **results}


_named: set[Path] = set()
"""Damaged files that a warning has named."""


def _read_json(path: Path) -> Any:
    """The content of a JSON file; raises FileNotFoundError, or ValueError with the reason in words."""
    if path.exists() and not path.is_file():
        raise ValueError("not a file")  # a pipe would be waited for
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except (OSError, RecursionError) as error:
        raise ValueError(getattr(error, "strerror", None) or str(error)) from error
    except ValueError as error:
        raise ValueError("no JSON, or cut short") from error


def read_pool(runs: Path) -> dict[str, list[Run]]:
    """Finished trainings below a folder, by `seedless` key, in the order of their seeds; unreadable ones do not count."""
    return pool_of(read_runs(runs)[0] if runs.is_dir() else [])


def pool_of(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Those that are cells of sweeps, by `seedless` key, in the order of their seeds; single runs are nobody's cells."""
    pool: dict[str, list[Run]] = {}
    for run in runs:
        if run.results["status"] == "finished" and run.folder.name == run.results["train_id"]:
            pool.setdefault(seedless(run.results["config"]), []).append(run)
    return {key: sorted(members, key=lambda run: run.seed) for key, members in pool.items()}


def open_table(path: Path) -> io.StringIO:
    """A CSV file of a run, to read; raises ValueError where it is no text, or not a file: a pipe would be waited for."""
    return io.StringIO(read_text(path, MAX_TABLE), newline="")


def read_predictions(run: Run, test_set: str) -> Predictions | None:
    """A run's predictions of its last epoch on a test set; None where there are none."""
    columns = [f"{kind}_{angle}" for kind in ("true", "predicted") for angle in ANGLES]
    try:
        reader = csv.reader(open_table(run.folder / f"predictions_{test_set}.csv"))
        header = next(reader, [])
        cells = operator.itemgetter(*(header.index(column) for column in ("name", *columns)))
        rows = [cells(row) for row in reader if row]
        angles = np.array([[float(angle or "nan") for angle in angles] for _, *angles in rows]).reshape(-1, 2, 3)
        return {name: (true, predicted) for (name, *_), (true, predicted) in zip(rows, angles, strict=True)}
    except (ValueError, IndexError, csv.Error):
        return None


def read_groups(run: Run, test_set: str) -> dict[str, str]:
    """The person, photograph or sequence that each face of a predictions file belongs to, by name.

    Empty where the file of an older version does not say.
    """
    try:
        table = open_table(run.folder / f"predictions_{test_set}.csv")
        return {row["name"]: row["group"] or row["name"] for row in csv.DictReader(table)}
    except (ValueError, KeyError, csv.Error):
        return {}


def read_attributes(run: Run, test_set: str) -> dict[str, dict[str, str]]:
    """What else a predictions file says of each face, by name: what stands behind its `group`; often nothing."""
    try:
        table = csv.DictReader(open_table(run.folder / f"predictions_{test_set}.csv"))
        columns = list(table.fieldnames or ())
        known = columns[columns.index("group") + 1 :]
        return {row["name"]: {key: row[key] or "" for key in known} for row in table}
    except (ValueError, KeyError, csv.Error):
        return {}


def write_predictions(
    path: Path,
    predictions: Sequence[dict[str, Any]],
    group_of: Callable[[str], str] = str,
    attributes_of: Callable[[str], dict[str, str]] = lambda name: {},
) -> None:
    """One row a face: name, true and predicted yaw, pitch, roll, and the geodesic error, all in degrees; empty where NaN.

    Then comes the face's `group`, see `HeadPoseDataset.photo_of`, by default each face is its own; last what else is known of
    it, see `HeadPoseDataset.attributes_of`.
    """
    columns = ["name", *(f"true_{a}" for a in ANGLES), *(f"predicted_{a}" for a in ANGLES), "geodesic", "group"]
    columns += attributes_of(predictions[0]["name"]) if predictions else []
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in predictions:
            numbers = [*row["true"], *row["predicted"], row["geodesic"]]
            texts = ("" if math.isnan(number) else f"{number:.6f}" for number in numbers)
            writer.writerow([row["name"], *texts, group_of(row["name"]), *attributes_of(row["name"]).values()])


def read_failure(folder: Path) -> str | None:
    """Why a run failed, as its failed.json says; None where there is none."""
    try:
        return str(_read_json(folder / "failed.json")["reason"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _checked(results: Any) -> dict[str, Any]:
    """The content of a results.json; raises ValueError where it does not say what this room reads."""
    if not isinstance(results, dict) or results.get("status") not in ("finished", "evaluated"):
        raise ValueError("its status is neither finished nor evaluated")
    optional: dict[str, type] = {"train": dict, "versions": dict, "params": int, "commit": str, "stability": dict}
    results |= {key: results.get(key) or kind() for key, kind in optional.items()}
    unusable = _first_unusable(results, config=dict, test=dict, **optional)
    if results["status"] == "finished" and not unusable:
        unusable = _first_unusable(results, train_id=str) or _first_unusable(results["config"], seed=int)
    if unusable:
        raise ValueError(f"no usable `{unusable}`")
    if not all(isinstance(own, dict) and all(map(_is_number, own.values())) for own in results["stability"].values()):
        raise ValueError("no usable `stability`")
    for entry in (results["train"], *results["test"].values()):
        if isinstance(entry, dict):
            _settle_rules(entry)
    for name, test in results["test"].items():
        if "/" in name or not isinstance(test, dict) or _first_unusable(test, rules=dict, crop=str, n=int, last=dict):
            raise ValueError(f"test set {name} lacks one of rules, crop, n, last")
        filled = {"best": test["last"], "of_protocol": {}, "without_pose": 0, **test}
        if unusable := _first_unusable(filled, best=dict, of_protocol=dict, without_pose=int):
            raise ValueError(f"test set {name} has no usable `{unusable}`")
        if not all(_is_number(filled[weights].get(key)) for weights in ("last", "best") for key in ERRORS):
            raise ValueError(f"test set {name} lacks one of the errors {', '.join(ERRORS)}")
        if not all(_is_number(filled[weights].get(key, 0)) for weights in ("last", "best") for key in ALIGNED):
            raise ValueError(f"test set {name} has an `aligned_` or `offset_` that is no number")
        for parts, keys in {"by_yaw": ("mae",), "by_view": ("geodesic", "over_90")}.items():
            if not _has_parts(test.get(parts, {}), keys):
                raise ValueError(f"test set {name} has no usable `{parts}`")
    return results


def _has_parts(by: Any, keys: tuple[str, ...]) -> bool:
    """Whether there are these numbers and a number of faces for each band or view, of the last epoch."""
    parts = by.get("last", {}) if isinstance(by, dict) else None
    return isinstance(parts, dict) and all(
        isinstance(errors, dict) and all(_is_number(errors.get(key)) for key in keys) and isinstance(errors.get("n"), int)
        for errors in parts.values()
    )


def _first_unusable(entry: dict[str, Any], **kinds: type) -> str | None:
    """The first key whose value is not of its kind."""
    return next((key for key, kind in kinds.items() if not isinstance(entry.get(key), kind)), None)


def _settle_rules(entry: dict[str, Any]) -> None:
    """Make rules of the sentence that an older version wrote; raises ValueError where they are not usable."""
    if "rules" not in entry and isinstance(entry.get("protocol"), str):
        entry["rules"] = {"dataset": entry["protocol"]}
    rules = entry.get("rules", {"dataset": ""})
    perturb = rules.get("perturb", {}) if isinstance(rules, dict) else None
    if not isinstance(perturb, dict) or not isinstance(rules.get("dataset"), str) or not all(map(_is_number, perturb.values())):
        raise ValueError("no usable `rules`")


def _is_number(value: Any) -> bool:
    return isinstance(value, float | int) and math.isfinite(value)


def read_metrics(folder: Path, column: str) -> dict[int, float]:
    """A column of a run's metrics.csv by epoch, counted from one; empty where there is none."""
    try:
        table = open_table(folder / "metrics.csv")
        return {int(row["epoch"]) + 1: float(row[column]) for row in csv.DictReader(table) if row.get(column)}
    except (ValueError, KeyError, TypeError, csv.Error):
        return {}


def fuse(members: Iterable[Predictions]) -> Predictions | None:
    """Late fusion: the mean of several networks' predictions; None where they did not see the same faces.

    A face that one of them has no pose for gets none.
    """
    members = list(members)
    if not members or any(set(member) != set(members[0]) for member in members):
        return None
    poses = np.mean([[member[name][1] for name in members[0]] for member in members], axis=0)
    return {name: (true, pose) for (name, (true, _)), pose in zip(members[0].items(), poses, strict=True)}
