"""All networks that saw the same faces, one beside the other: mean errors, and how far chance may have moved them."""

import hashlib
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from headposekit.metrics.alignment import YAW_BANDS
from headposekit.reporting.tables import Measured, Row, errors_of_faces, mean_and_std, measure, poses_of
from headposekit.training.rules import BOX, describe_rules
from headposekit.training.runs import Predictions, Run, leaves, read_groups, read_predictions, seedless

PRINTED = {
    "FSANet": "FSA-Net",
    "SSRNetMD": "SSR-Net-MD",
    "HopenetRegression": "Hopenet, regression",
    "LandmarkPose": "landmarks",
}
OF_OTHERS = {
    "ThreeDDFANet": "3DDFA_V2",
    "SixDRepNet": "6DRepNet",
    "SixDRepNet360": "6DRepNet360",
    "WHENet": "WHENet",
    "HopenetLite": "hopenet-lite",
    "LightweightNet": "lightweight network of Li et al.",
    "FSANetPort": "FSA-Net (PyTorch port)",
}
"""Networks whose published files say nothing by their names, by class."""
PERTURBED = {
    "low_resolution": "pixels as many times larger",
    "jitter": "noise of landmarks (share of the face)",
    "jitter_pixels": "noise of landmarks (pixels, ±)",
    "shift": "shift of the box (share of its size)",
    "padding": "padding of the box (share of its size)",
}
"""Axes of curves over perturbations, see `headposekit.data.perturbation.Perturbation`."""
BANDS = [f"{low}-{high}" for low, high in itertools.pairwise(YAW_BANDS)]
RESAMPLES = 2000
TOLERANCE = 0.01
"""Degrees that the errors of a predictions file may be off those of results.json, which were summed in single precision."""
MAX_OPTIONS = 4
"""Options that tell a network from others with its label."""


@dataclass(frozen=True)
class Network:
    """Repetitions of one training, or the evaluations of one file."""

    label: str  # its kind in words
    key: str  # which no other network has
    runs: tuple[Run, ...]  # in the order of their folders

    @property
    def config(self) -> dict[str, Any]:
        """That its runs share, but for the seed."""
        config: dict[str, Any] = self.runs[0].results["config"]
        return config

    @property
    def is_published(self) -> bool:
        """Whether these are weights of the authors."""
        return bool(self.config.get("weights"))

    @property
    def knows_the_truth(self) -> bool:
        """Whether it is given true landmarks, which no network is."""
        model = self.config.get("model")
        source = model.get("source") if isinstance(model, dict) else None
        return isinstance(source, dict) and str(source.get("_target_")).endswith(".Truth")


@dataclass(frozen=True)
class Score:
    """What a network did on a test set."""

    network: Network
    tests: tuple[tuple[Run, str], ...]  # for each seed the run, and what it calls the test set
    rules: str  # which faces and labels, in words, without the box they are cut out by
    box: str
    crop: str
    perturbed: tuple[tuple[str, float], ...]  # what the faces were put through, and by how much
    faces: str  # digest of their names and true poses; scores with the same are on the same faces
    errors: NDArray[np.float64]  # (n,), of each face the mean over angles and seeds, degrees; NaN where there is no pose
    groups: NDArray[np.int64]  # (n,), number of the person, photograph or sequence that each face belongs to, from 0
    interval: tuple[float, float] = (float("nan"), float("nan"))  # 95 % of the mean error, see `intervals`
    detail: str = ""  # what tells it from others with the same label

    @property
    def entries(self) -> list[dict[str, Any]]:
        """What results.json of each run says of the test."""
        return [run.results["test"][name] for run, name in self.tests]

    @property
    def measured(self) -> Measured:
        """The score as an entry of a table."""
        return measure(self.tests)

    @property
    def bands(self) -> dict[str, tuple[str, int]]:
        """Mean absolute error as text, and number of faces, of each of `BANDS` that all seeds have recorded."""
        seeds = [entry.get("by_yaw", {}).get("last", {}) for entry in self.entries]
        return {
            band: (mean_and_std([seed[band]["mae"] for seed in seeds]), max(seed[band]["n"] for seed in seeds))
            for band in BANDS
            if all(band in seed for seed in seeds)
        }

    @property
    def cut(self) -> str:
        """Under which protocol, from which box and how the faces were cut out."""
        protocols = [entry.get("of_protocol") or {} for entry in self.entries]
        names = {
            f"{part.get('name')}{' (not all faces)' if part.get('complete') is False else ''}" for part in protocols if part
        }
        return ", ".join([*sorted(names), *([f"box {self.box}"] if self.box else []), f"crop {self.crop}"])

    @property
    def mae(self) -> float:
        """Mean absolute error over angles and seeds, of the last epoch, degrees."""
        return self.measured.mae

    @property
    def line(self) -> str:
        """Of a figure of curves, the line that it is a point of."""
        return " ".join((self.network.key, self.box, self.crop))

    def row(self, number: int, letters: int = 40) -> Row:
        """A row of a table whose only test set is `rules`; its label has no more than so many letters."""
        text = f"{number}  {self.network.label}{f' ({self.detail})' if self.detail else ''}"
        if len(text) > letters:  # labels that are alike differ at their ends
            first, *words = text.split()
            while words and len(first) + 3 + len(" ".join(words)) > letters:
                words.pop(0)
            text = " ".join([first, "…", *words])
        runs = [run for run, _ in self.tests]
        return Row(
            text.replace("$", r"\$"),  # which starts a formula
            runs[0].results.get("size_mb") or None,
            measured={self.rules: self.measured},
            checkpoints=[run.folder / "checkpoints" / "last.ckpt" for run in runs],
        )


@dataclass(frozen=True)
class Board:
    """Scores on the same faces by the same rules, the least mean error first."""

    rules: str
    n: int
    num_groups: int  # people, photographs or sequences that the faces belong to
    scores: list[Score] = field(default_factory=list)


def networks(runs: Iterable[Run]) -> list[Network]:
    """Group runs: trainings that differ in their seed only, evaluations of the same file."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(seedless(run.results["config"]), []).append(run)
    labels = {run.folder.name: label_of(run.results["config"]) for members in groups.values() for run in members}
    found = []
    for key, members in groups.items():
        first = members[0].results
        found.append(Network(label_of(first["config"], labels, first.get("network")), key[:12], tuple(members)))
    return found


def label_of(config: dict[str, Any], trainings: Mapping[str, str] | None = None, network: str | None = None) -> str:
    """A network in words: its architecture and parts, or its file; a checkpoint is called by its training's label.

    Args:
        config: of results.json.
        trainings: these labels, by name of folder.
        network: name of its class.
    """
    for key in ("weights", "checkpoint"):
        if files := config.get(key):
            paths = [str(file).split("/") for file in (files if isinstance(files, list) else [files])]
            if key == "weights":
                if network in OF_OTHERS:
                    return OF_OTHERS[network]
                return " + ".join(path[-1] for path in paths)
            folders = [path[-3] if len(path) > 2 else "" for path in paths]
            names = [(trainings or {}).get(folder, folder) for folder in folders]
            return " + ".join(f"{name} ({path[-1]})" for name, path in zip(names, paths, strict=True))
    model = config.get("model")
    if not isinstance(model, dict):
        return "unknown network"
    name = str(model.get("_target_")).rsplit(".", maxsplit=1)[-1]
    words = [(PRINTED | OF_OTHERS).get(name, name)]
    words += [in_words(part) for key, part in model.items() if isinstance(part, dict) and key != "bins"]
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

    Also, by name of folder and test set, why others do not count.
    """
    scores, refused = [], {}
    for network in all_networks:
        groups: dict[tuple[str, ...], dict[Any, tuple[tuple[Run, str], NDArray[np.float64]]]] = {}
        for run in sorted(network.runs, key=lambda run: run.folder.name == run.results.get("train_id")):  # cells win
            seed = run.results["config"].get("seed") if run.results["status"] == "finished" else None
            for name, entry in run.results["test"].items():
                predictions = read_predictions(run, name) or {}
                errors = errors_of_faces(predictions, entry["rules"].get("euler_order") == "pyr").mean(axis=1)
                if fault := _fault(errors, entry["last"]["mae"]):
                    refused[run.folder.name, name] = f"predictions_{name}.csv {fault}"
                    continue
                key = (describe_rules(entry["rules"]), entry["crop"], digest(predictions))
                groups.setdefault(key, {})[seed] = (run, name), errors
        for (_, crop, faces), seeds in groups.items():
            tests, errors_of_seeds = zip(*(seeds[seed] for seed in sorted(seeds, key=str)), strict=True)
            run, name = tests[0]
            rules = run.results["test"][name]["rules"]
            box = " of ".join(str(rules[key]) for key in BOX if key in rules)
            perturbed = tuple((PERTURBED.get(key, key), float(value)) for key, value in rules.get("perturb", {}).items())
            words = describe_rules(rules, without=(*BOX, "perturb"))
            errors = _mean(errors_of_seeds)
            scores.append(Score(network, tests, words, box, crop, perturbed, faces, errors, _groups(run, name, len(errors))))
    return scores, refused


def _groups(run: Run, test_set: str, n: int) -> NDArray[np.int64]:
    """Number of each face's group (n,), faces in the order of their names; each is its own where the file names none."""
    groups = read_groups(run, test_set)
    return np.unique([groups[name] for name in sorted(groups)], return_inverse=True)[1] if len(groups) == n else np.arange(n)


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
    for score in scores:
        if not score.perturbed:
            groups.setdefault((score.rules, score.faces), []).append(score)
    found = []
    for (rules, _), members in groups.items():
        drawn = min((score.groups for score in members), key=np.max)  # a run of an older version knows of no groups
        limits = intervals(np.stack([score.errors for score in members]), drawn)
        members = [
            replace(score, interval=tuple(pair)) for score, pair in zip(_detailed(members), limits.tolist(), strict=True)
        ]
        members.sort(key=lambda score: score.mae)
        found.append(Board(rules, len(drawn), int(drawn.max()) + 1, members))
    return sorted(found, key=lambda board: -len(board.scores))


def perturbations(scores: Sequence[Score]) -> dict[tuple[str, str], dict[str, dict[float, Score]]]:
    """By rules and kind of perturbation, of each network its scores by how much; unperturbed ones are at the neutral value."""
    plain = {(score.rules, score.faces, score.line): score for score in scores if not score.perturbed}
    groups: dict[tuple[str, str, str], dict[str, dict[float, Score]]] = {}
    for score in (score for score in scores if score.perturbed):
        kinds = " and ".join(kind for kind, _ in score.perturbed)
        line = groups.setdefault((score.rules, kinds, score.faces), {}).setdefault(score.line, {})
        line[score.perturbed[0][1]] = score
        if unperturbed := plain.get((score.rules, score.faces, score.line)):
            line[1.0 if kinds.startswith("pixels") else 0.0] = unperturbed
    found: dict[tuple[str, str], dict[str, dict[float, Score]]] = {}
    for (rules, kinds, faces), lines in groups.items():
        first = _detailed([next(iter(values.values())) for values in lines.values()])
        title = f"{rules}, {len(first[0].errors):,} faces"
        found[title if (title, kinds) not in found else f"{title} {faces[:4]}", kinds] = {
            line: {x: replace(score, detail=one.detail) for x, score in values.items()}
            for one, (line, values) in zip(first, lines.items(), strict=True)
        }
    return found


def digest(predictions: Predictions) -> str:
    """Hash of names and true poses: predictions with the same one are of the same faces."""
    true = poses_of(predictions)[0].round(3) + 0.0  # no -0.0
    return hashlib.sha256(json.dumps(sorted(predictions)).encode() + true.tobytes()).hexdigest()[:12]


def intervals(
    errors: NDArray[np.float64], groups: NDArray[np.int64], resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.float64]:
    """95 % intervals of mean errors, by a bootstrap that draws groups of faces, with the same draws for all networks.

    Faces of one person or photograph err alike, so a group is drawn with all its faces. The percentiles are those of Student's
    t for so many groups, which matters below 30 or so.

    Args:
        errors: (networks, faces), degrees; NaN where there is no pose.
        groups: (faces,), number of each face's group, from 0.
        resamples, seed: of the draws.

    Returns:
        (networks, 2), degrees; NaN where there is one group only.

    Reference: Hesterberg, What Teachers Should Know About the Bootstrap, The American Statistician 2015 (expanded percentiles).
    """
    rng, number = np.random.default_rng(seed), int(groups.max()) + 1
    if number == 1:
        return np.full((len(errors), 2), np.nan)
    sums = np.stack([np.bincount(groups, row, number) for row in np.nan_to_num(errors)])
    known = np.stack([np.bincount(groups, row, number) for row in np.isfinite(errors).astype(float)])
    means = []
    for _ in range(0, resamples, 100):
        counts = rng.multinomial(number, np.full(number, 1 / number), size=100).T.astype(float)
        with np.errstate(invalid="ignore"):
            means.append(sums @ counts / (known @ counts))
    tail = 100 * stats.norm.cdf(stats.t.ppf(0.025, number - 1) * (number / (number - 1)) ** 0.5)
    return np.asarray(np.nanpercentile(np.concatenate(means, axis=1), [tail, 100 - tail], axis=1).T)


def _detailed(scores: Sequence[Score]) -> list[Score]:
    """The scores with what tells each from others with its label: options or, of one network, how faces are cut out."""
    networks = {score.network.key: score.network for score in scores}
    options: dict[str, list[str]] = {}
    for label in {network.label for network in networks.values()}:
        options |= _uncommon({key: network.config for key, network in networks.items() if network.label == label})
    detailed = []
    for score in scores:
        words = options[score.network.key]
        words = words[:MAX_OPTIONS] + ([f"{len(words) - MAX_OPTIONS} more"] if len(words) > MAX_OPTIONS else [])
        siblings = [other for other in scores if other.network.key == score.network.key]
        words += [f"box {score.box or 'none'}"] if len({other.box for other in siblings}) > 1 else []
        words += [f"crop {score.crop}"] if len({other.crop for other in siblings}) > 1 else []
        detailed.append(replace(score, detail=", ".join(words)))
    return detailed


def _uncommon(configs: Mapping[str, dict[str, Any]]) -> dict[str, list[str]]:
    """Of each network, by its key, the options of which most of the others have another value."""
    flat = {key: dict(leaves(config)) for key, config in configs.items()}
    names = sorted({name for own in flat.values() for name in own} - {"seed", "data.seed", "format"})
    words: dict[str, dict[str, str]] = {key: {} for key in flat}
    for name in (name for name in names if not name.startswith("data.crop.")):
        values = {key: json.dumps(own.get(name, "absent")) for key, own in flat.items()}
        usual, _ = Counter(values.values()).most_common(1)[0]
        short = name.removesuffix("._target_").removeprefix("data.")
        for key in (key for key, value in values.items() if value != usual):
            words[key][short] = f"{short}={_in_short(flat[key][name])}" if name in flat[key] else f"no {short}"
    shown = {}
    for key, own in words.items():
        # Of an object that is not there, its own options tell nothing more.
        absent = tuple(f"{name}." for name, text in own.items() if text in (f"no {name}", f"{name}=None"))
        shown[key] = [text for name, text in own.items() if not name.startswith(absent)]
    return shown


def _in_short(value: Any) -> str:
    """An option's value, an object by the name of its class."""
    if isinstance(value, list):
        return f"[{', '.join(map(_in_short, value))}]"
    text = str(value.get("_target_", value) if isinstance(value, dict) else value)
    return text.rsplit(".", maxsplit=1)[-1] if text.startswith("headposekit.") else text
