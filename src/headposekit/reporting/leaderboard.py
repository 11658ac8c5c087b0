"""All networks that saw the same faces, one beside the other: mean errors, and how far chance may have moved them."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headposekit.geometry.conventions import pose_to_pyr
from headposekit.reporting.tables import Measured, Row
from headposekit.training.rules import BOX, describe_rules
from headposekit.training.runs import Predictions, Run, leaves, read_predictions, seedless

PRINTED = {
    "FSANet": "FSA-Net",
    "SSRNetMD": "SSR-Net-MD",
    "HopenetRegression": "Hopenet, regression",
    "LandmarkPose": "landmarks",
}
PERTURBED = {
    "low_resolution": "pixels as many times larger",
    "jitter": "noise of landmarks (share of the face)",
    "jitter_pixels": "noise of landmarks (pixels, ±)",
    "shift": "shift of the box (share of its size)",
    "padding": "padding of the box (share of its size)",
}
"""Axes of curves over perturbations, see `headposekit.data.perturbation.Perturbation`."""
RESAMPLES = 2000
TOLERANCE = 0.01
"""Degrees that the errors of a predictions file may be off those of results.json, which were summed in single precision."""


@dataclass(frozen=True)
class Network:
    """Repetitions of one training, or the evaluations of one file.

    Attributes:
        label: its kind in words.
        key: which no other network has.
        runs: in the order of their folders.
    """

    label: str
    key: str
    runs: tuple[Run, ...]

    @property
    def is_published(self) -> bool:
        """Whether these are weights of the authors."""
        return bool(self.runs[0].results["config"].get("weights"))

    @property
    def knows_the_truth(self) -> bool:
        """Whether it is given true landmarks, which no network is."""
        model = self.runs[0].results["config"].get("model")
        source = model.get("source") if isinstance(model, dict) else None
        return isinstance(source, dict) and str(source.get("_target_")).endswith(".Truth")


@dataclass(frozen=True)
class Score:
    """What a network did on a test set.

    Attributes:
        network, runs: of the runs, one for each seed.
        test_sets: what each of the runs calls it.
        rules: which faces and labels, in words, without the box they are cut out by.
        box, crop: how they are cut out.
        perturbed: what the faces were put through, and by how much.
        faces: a digest of their names and true poses; scores with the same are on the same faces.
        errors: (n,), mean absolute error of each face over its angles and the seeds, degrees; NaN where there is no pose.
        interval: 95 % of the mean error, by bootstrap over the faces.
        odd: what tells it from others with the same label.
    """

    network: Network
    runs: tuple[Run, ...]
    test_sets: tuple[str, ...]
    rules: str
    box: str
    crop: str
    perturbed: tuple[tuple[str, float], ...]
    faces: str
    errors: NDArray[np.float64]
    interval: tuple[float, float] = (float("nan"), float("nan"))
    odd: str = ""

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What results.json of each run says of the test."""
        return [run.results["test"][name] for run, name in zip(self.runs, self.test_sets, strict=True)]

    @property
    def measured(self) -> Measured:
        """The score as an entry of a table."""
        commits = tuple(sorted({str(run.results["commit"]) for run in self.runs}))
        last = tuple(entry["last"] for entry in self.entries)
        return Measured(
            last, (), len(self.errors), self.entries[0]["rules"], self.crop, commits, int(np.isnan(self.errors).sum())
        )

    @property
    def mae(self) -> float:
        """Mean absolute error over angles and seeds, of the last epoch, degrees."""
        return float(np.mean([errors["mae"] for errors in self.measured.last]))

    def label(self, number: int, letters: int) -> str:
        """Its number and its name in no more than so many letters, as text of a figure."""
        text = f"{number}  {self.network.label}{f' ({self.odd})' if self.odd else ''}"
        if len(text) > letters:  # labels that are alike differ at their ends
            first, *words = text.split()
            while words and len(first) + 3 + len(" ".join(words)) > letters:
                words.pop(0)
            text = " ".join([first, "…", *words])
        return text.replace("$", r"\$")  # which starts a formula

    def row(self, number: int, letters: int = 40) -> Row:
        """A row of a table whose only test set is `rules`, called as `label` says."""
        tests = zip(self.runs, self.test_sets, strict=True)
        predictions = [part for run, name in tests if (part := read_predictions(run, name)) is not None]
        return Row(
            self.label(number, letters),
            self.runs[0].results.get("size_mb") or None,
            measured={self.rules: self.measured},
            predictions={self.rules: predictions},
            checkpoints=[run.folder / "checkpoints" / "last.ckpt" for run in self.runs],
        )


@dataclass(frozen=True)
class Board:
    """Scores on the same faces by the same rules, the least mean error first."""

    rules: str
    n: int
    scores: list[Score] = field(default_factory=list)


def networks(runs: Iterable[Run]) -> list[Network]:
    """Group runs: trainings that differ in their seed only, evaluations of the same file."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(seedless(run.results["config"]), []).append(run)
    labels = {run.folder.name: label_of(run.results["config"]) for members in groups.values() for run in members}
    return [
        Network(label_of(members[0].results["config"], labels), key[:12], tuple(members)) for key, members in groups.items()
    ]


def label_of(config: dict[str, Any], trainings: Mapping[str, str] | None = None) -> str:
    """A network in words: its architecture and parts, or its file.

    Args:
        config: of its run.
        trainings: by name of folder, the label of each training; a checkpoint of one of them is called after it.
    """
    for key in ("weights", "checkpoint"):
        if files := config.get(key):
            paths = [str(file).split("/") for file in (files if isinstance(files, list) else [files])]
            if key == "weights":
                return " + ".join(path[-1] for path in paths)
            folders = [path[-3] if len(path) > 2 else "" for path in paths]
            names = [(trainings or {}).get(folder, folder) for folder in folders]
            return " + ".join(f"{name} ({path[-1]})" for name, path in zip(names, paths, strict=True))
    model = config.get("model")
    if not isinstance(model, dict):
        return "unknown network"
    name = str(model.get("_target_")).rsplit(".", maxsplit=1)[-1]
    words = [PRINTED.get(name, name)]
    for key, part in model.items():
        if isinstance(part, dict) and key != "bins":
            words.append(in_words(part))
    loss = config.get("loss")
    words += [f"alpha {loss['alpha']:g}"] if isinstance(loss, dict) and isinstance(loss.get("alpha"), int | float) else []
    words += [f"{model['points']} points"] if "points" in model else []
    return ", ".join(words)


def in_words(part: dict[str, Any]) -> str:
    """A part of a model as its class calls it, such as `conv scoring`, or as timm does."""
    kind = re.sub(r"(?<!^)(?=[A-Z][a-z])", " ", str(part.get("_target_")).rsplit(".", maxsplit=1)[-1]).lower()
    method = str(part.get("method", "")).replace("_", " ")
    name = str(part.get("model_name", kind)).split(".")[0].removesuffix(" backbone").replace("alex net", "AlexNet")
    return f"{name} {method}".strip()


def score(all_networks: Iterable[Network]) -> tuple[list[Score], dict[tuple[str, str], str]]:
    """Every network on every test set whose prediction file bears out what its run says.

    Args:
        all_networks: of the pool.

    Returns:
        the scores; and, by name of folder and test set, why others do not count.
    """
    scores, refused = [], {}
    for network in all_networks:
        groups: dict[tuple[str, ...], dict[Any, tuple[Run, str, NDArray[np.float64]]]] = {}
        for run in sorted(network.runs, key=lambda run: run.folder.name == run.results.get("train_id")):  # cells win
            for name, entry in run.results["test"].items():
                predictions = read_predictions(run, name) or {}
                errors = errors_of_faces(predictions, entry["rules"].get("euler_order") == "pyr")
                if fault := _fault(errors, entry["last"]["mae"]):
                    refused[run.folder.name, name] = f"predictions_{name}.csv {fault}"
                    continue
                seed = run.results["config"].get("seed") if run.results["status"] == "finished" else None
                key = (json.dumps(entry["rules"], sort_keys=True), entry["crop"], digest(predictions))
                groups.setdefault(key, {})[seed] = run, name, errors
        for (_, crop, faces), seeds in groups.items():
            runs, names, errors_of_seeds = zip(*(seeds[seed] for seed in sorted(seeds, key=str)), strict=True)
            rules = runs[0].results["test"][names[0]]["rules"]
            box = " of ".join(str(rules[key]) for key in BOX if key in rules)
            perturbed = tuple((PERTURBED.get(key, key), float(value)) for key, value in rules.get("perturb", {}).items())
            words = describe_rules(rules, without=(*BOX, "perturb"))
            scores.append(Score(network, runs, names, words, box, crop, perturbed, faces, _mean(errors_of_seeds)))
    return scores, refused


def _fault(errors: NDArray[np.float64], recorded: float) -> str | None:
    """Why the faces' errors are not those that a run recorded the mean of."""
    if not len(errors):
        return "is missing, empty or cut short"
    mean = errors[np.isfinite(errors)].sum() / max(1, np.isfinite(errors).sum())
    if abs(mean - recorded) <= TOLERANCE * max(1, recorded):
        return None
    return f"gives a mean error of {mean:.2f}, not {recorded:.2f}"


def _mean(errors: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Of each face over the seeds that have a pose for it; NaN where none has."""
    stacked = np.stack(errors)
    counted = np.isfinite(stacked).sum(axis=0)
    return np.where(counted > 0, np.nansum(stacked, axis=0) / np.maximum(counted, 1), np.nan)


def boards(scores: Iterable[Score]) -> list[Board]:
    """The scores on faces left as they are, those on the same faces together; most networks first."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for one in scores:
        if not one.perturbed:
            groups.setdefault((one.rules, one.faces), []).append(one)
    out = []
    for (rules, _), members in groups.items():
        limits = intervals(np.stack([one.errors for one in members]))
        members = [
            replace(one, interval=(float(low), float(high)), odd=odd)
            for one, (low, high), odd in zip(members, limits, _differences(members), strict=True)
        ]
        out.append(Board(rules, len(members[0].errors), sorted(members, key=lambda one: one.mae)))
    return sorted(out, key=lambda board: -len(board.scores))


def perturbations(scores: Sequence[Score]) -> dict[tuple[str, str], dict[str, dict[float, Score]]]:
    """By rules and kind of perturbation, of each network its scores by how much; unperturbed ones are at the neutral value."""
    groups: dict[tuple[str, str, str], dict[tuple[str, ...], dict[float, Score]]] = {}
    for one in scores:
        if one.perturbed:
            line = (one.network.key, one.box, one.crop)
            kinds = " and ".join(kind for kind, _ in one.perturbed)
            groups.setdefault((one.rules, kinds, one.faces), {}).setdefault(line, {})[one.perturbed[0][1]] = one
    for (rules, kinds, faces), lines in groups.items():
        for one in scores:
            line = (one.network.key, one.box, one.crop)
            if not one.perturbed and line in lines and (one.rules, one.faces) == (rules, faces):
                lines[line][1.0 if kinds.startswith("pixels") else 0.0] = one
    out: dict[tuple[str, str], dict[str, dict[float, Score]]] = {}
    for (rules, kinds, faces), lines in groups.items():
        n = len(next(iter(next(iter(lines.values())).values())).errors)
        told = _differences([next(iter(values.values())) for values in lines.values()])
        named = {
            line: {x: replace(one, odd=odd) for x, one in values.items()}
            for (line, values), odd in zip(lines.items(), told, strict=True)
        }
        title = f"{rules}, {n:,} faces" if (f"{rules}, {n:,} faces", kinds) not in out else f"{rules}, {n:,} faces {faces[:4]}"
        out[title, kinds] = {" ".join(line): values for line, values in named.items()}
    return out


def errors_of_faces(predictions: Predictions, in_pyr: bool = False) -> NDArray[np.float64]:
    """(n,), mean absolute error of each face over yaw, pitch and roll, degrees, in the order of names; NaN: no pose.

    Args:
        predictions: of a test set.
        in_pyr: measure in the angles of the other Euler order, see `headposekit.geometry.conventions.pose_to_pyr`.
    """
    pairs = np.array([predictions[name] for name in sorted(predictions)]).reshape(-1, 2, 3).transpose(1, 0, 2)
    if in_pyr:
        pairs = np.stack([pose_to_pyr(pairs[0]), pose_to_pyr(np.nan_to_num(pairs[1])) + 0 * pairs[1]])
    errors: NDArray[np.float64] = np.abs((pairs[1] - pairs[0] + 180) % 360 - 180).mean(axis=1)
    return errors


def digest(predictions: Predictions) -> str:
    """Hash of names and true poses: predictions with the same one are of the same faces."""
    faces = [(name, [round(float(angle), 3) for angle in predictions[name][0]]) for name in sorted(predictions)]
    return hashlib.sha256(json.dumps(faces).encode()).hexdigest()[:12]


def intervals(errors: NDArray[np.float64], resamples: int = RESAMPLES, seed: int = 0) -> NDArray[np.float64]:
    """95 % intervals of mean errors, by the percentiles of a bootstrap over the faces.

    Args:
        errors: (networks, faces), in degrees, NaN where there is no pose; all networks are given the same draws.
        resamples: how often the faces are drawn anew.
        seed: of the draws.

    Returns:
        (networks, 2), lower and upper limit in degrees.
    """
    rng = np.random.default_rng(seed)
    faces = errors.shape[1]
    known = np.isfinite(errors).astype(float)
    filled = np.nan_to_num(errors)
    means = []
    for _ in range(0, resamples, 100):
        counts = rng.multinomial(faces, np.full(faces, 1 / faces), size=100).T.astype(float)
        with np.errstate(invalid="ignore"):
            means.append(filled @ counts / (known @ counts))
    return np.asarray(np.nanpercentile(np.concatenate(means, axis=1), [2.5, 97.5], axis=1).T)


def _differences(scores: Sequence[Score]) -> list[str]:
    """What tells each score from others with its label: uncommon options; of several of one network, how faces are cut out."""
    flat = {one.network.key: dict(leaves(one.network.runs[0].results["config"])) for one in scores}
    out = []
    for one in scores:
        alike = [
            flat[key]
            for key in dict.fromkeys(other.network.key for other in scores if other.network.label == one.network.label)
        ]
        siblings = [other for other in scores if other.network.key == one.network.key]
        words = _uncommon(flat[one.network.key], alike)
        words = words[:4] + ([f"{len(words) - 4} more"] if len(words) > 4 else [])
        words += [f"box {one.box or 'none'}"] if len({other.box for other in siblings}) > 1 else []
        words += [f"crop {one.crop}"] if len({other.crop for other in siblings}) > 1 else []
        out.append(", ".join(words))
    return out


def _uncommon(own: dict[str, Any], alike: Sequence[dict[str, Any]]) -> list[str]:
    """Options of which most of the networks that are alike, itself included, have another value."""
    words: dict[str, str] = {}
    for key in sorted({key for other in alike for key in other} - {"seed", "data.seed", "format"}):
        usual, _ = Counter(json.dumps(other.get(key, "absent")) for other in alike).most_common(1)[0]
        if json.dumps(own.get(key, "absent")) != usual and not key.startswith("data.crop."):
            name = key.removesuffix("._target_").removeprefix("data.")
            words[name] = f"{name}={_in_short(own[key])}" if key in own else f"no {name}"
    # Of an object that is not there, its own options tell nothing more.
    absent = tuple(f"{name}." for name, text in words.items() if text in (f"no {name}", f"{name}=None"))
    return [text for name, text in words.items() if not name.startswith(absent)]


def _in_short(value: Any) -> str:
    """An option's value, an object by the name of its class."""
    if isinstance(value, list):
        return f"[{', '.join(map(_in_short, value))}]"
    text = str(value.get("_target_", value) if isinstance(value, dict) else value)
    return text.rsplit(".", maxsplit=1)[-1] if text.startswith("headposekit.") else text
