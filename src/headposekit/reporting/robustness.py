"""How networks bear what goes wrong: Head-pose-C's score, errors of groups of faces, and how steadily they follow a head."""

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from headposekit.data.corruption import KINDS, STRENGTHS
from headposekit.inference.stability import MEASURES
from headposekit.reporting.figures import ERROR, style_of
from headposekit.reporting.leaderboard import Network, Score, intervals, mean_over_poses
from headposekit.reporting.tables import DASH
from headposekit.training.runs import read_attributes

SCORE_MEANS = (
    "Mean absolute errors in degrees: of faces as they are, of corrupted ones (mean over kinds and strengths, with its 95 % "
    "interval), and of each kind (mean over strengths). Head-pose-C is 100 · mean over kinds of (sum over strengths of the "
    "network's error / sum over strengths of the baseline's), as ImageNet-C's mCE (Hendrycks and Dietterich, ICLR 2019). "
)
SLICES_MEAN = "Mean absolute error, with its 95 % interval: of faces as they are, then of corrupted ones."
STABILITY_MEANS = (
    "Rendered videos in which one thing changes. Degrees by which estimates of a still head stray (root mean square): at rest, "
    "under sensor noise, with shaking boxes, as it blinks, as it talks, in a moving light; seconds by which the yaw is late "
    "after a sudden turn and in a steady swing; and the share of the swing that is shown."
)


@dataclass(frozen=True)
class Sheet:
    """A table with what its numbers mean, and at most one figure."""

    name: str  # of its files
    title: str
    means: str
    header: list[str]
    rows: list[list[str]]
    figure: Figure | None = None
    spare: Sequence[str] = ()  # columns that a narrow terminal leaves out

    def markdown(self) -> str:
        """The title, the table, and what it means."""
        rule = ["---", *("---:" for _ in self.header[1:])]
        lines = [f"| {' | '.join(cells)} |" for cells in (self.header, rule, *self.rows)]
        return "\n".join([f"# {self.title}", "", *lines, "", self.means, ""])


@dataclass(frozen=True)
class Corrupted:
    """What a network did on faces as they are and under all corruptions."""

    label: str
    clean: Score
    errors: Mapping[str, Mapping[int, Score]]  # by kind and strength

    def of_kind(self, kind: str) -> float:
        """Mean error over the strengths, degrees."""
        return fmean(self.errors[kind][strength].mae for strength in STRENGTHS)

    @property
    def faces(self) -> NDArray[np.float64]:
        """Mean error of each face over kinds and strengths (n,), degrees; NaN where it never got a pose."""
        return mean_over_poses([score.errors for strengths in self.errors.values() for score in strengths.values()])

    def score(self, baseline: "Corrupted") -> float:
        """Head-pose-C in percent of a baseline on the same faces."""
        return 100 * fmean(self.of_kind(kind) / baseline.of_kind(kind) for kind in KINDS)


def is_corrupted(score: Score) -> bool:
    """Whether a score is one of Head-pose-C, alone."""
    return len(score.perturbed) == 1 and score.perturbed[0][0] in KINDS


def corrupted(scores: Iterable[Score]) -> dict[tuple[str, int], list[Corrupted]]:
    """By rules and number of faces, networks that were tested on the same ones as they are and under all corruptions."""
    clean: dict[tuple[str, str, str], Score] = {}
    found: dict[tuple[str, str, str], dict[str, dict[int, Score]]] = {}
    for score in scores:
        key = (score.rules, score.faces, score.line)
        if not score.perturbed:
            clean[key] = score
        elif is_corrupted(score):
            ((kind, strength),) = score.perturbed
            found.setdefault(key, {}).setdefault(kind, {})[int(strength)] = score
    groups: dict[tuple[str, str], list[Corrupted]] = {}
    for key, errors in found.items():
        if key in clean and set(errors) == set(KINDS) and all(set(own) == set(STRENGTHS) for own in errors.values()):
            one = Corrupted(clean[key].network.label, clean[key], {kind: errors[kind] for kind in KINDS})
            groups.setdefault(key[:2], []).append(one)
    return {(rules, len(members[0].faces)): members for (rules, _), members in groups.items()}


def corruption_sheets(scores: Iterable[Score], baseline: str) -> Iterator[Sheet]:
    """Of each set of faces Head-pose-C, relative to the network with this label; and errors of groups of its faces."""
    for number, ((rules, n), members) in enumerate(corrupted(scores).items(), start=1):
        base = next((one for one in members if one.label == baseline), None)
        members = sorted(members, key=lambda one: one.score(base or members[0]))
        limits = intervals(np.stack([one.faces for one in members]), members[0].clean.groups)
        rows = [
            [
                one.label,
                *(DASH if base is None else f"{one.score(base):.1f}", f"{one.clean.mae:.2f}"),
                f"{np.nanmean(one.faces):.2f}{_in_brackets(limit)}",
                *(f"{one.of_kind(kind):.2f}" for kind in KINDS),
            ]
            for one, limit in zip(members, limits, strict=True)
        ]
        labels = ", ".join(sorted(one.label for one in members))
        absent = f"has not been tested on these faces, so there are no scores; baseline= takes one of {labels}."
        means = f"{SCORE_MEANS}The baseline, {baseline}, {'has 100, and less is better.' if base else absent}"
        title = f"{rules}, {n:,} faces"
        kinds = [kind.replace("_", " ") for kind in KINDS]
        header, figure = ["network", "Head-pose-C", "clean", "corrupted", *kinds], _curves(title, members)
        yield Sheet(f"head_pose_c_{number}", f"Head-pose-C: {title}", means, header, rows, figure, kinds)
        if slices := _slices(members):
            header = ["faces", "number", *(one.label for one in members)]
            yield Sheet(f"slices_{number}", f"Groups of faces: {title}", SLICES_MEAN, header, slices)


def stability_sheet(networks: Sequence[Network]) -> Sheet | None:
    """How steadily networks follow a head, with each smoothing; None where none has been measured."""
    lines = [(network.label, name, own) for network in networks for name, own in network.stability.items()]
    if not lines:
        return None
    rows = [
        [label, smoothing, *(f"{own[key]:.2f}" if key in own else DASH for key in MEASURES)] for label, smoothing, own in lines
    ]
    figure, axis = _panel("Jitter against lag, rendered videos")
    for number, label in enumerate(dict.fromkeys(label for label, _, _ in lines)):
        points = sorted((own["step_lag"], own["rest"], name) for of, name, own in lines if of == label)
        axis.plot([x for x, _, _ in points], [y for _, y, _ in points], **style_of(number), label=label)
        for x, y, name in points:
            axis.annotate(name.replace("_", " "), (x, y), (4, 4), textcoords="offset points", fontsize=8)
    axis.set(xlabel="lag after a sudden turn (seconds)", ylabel="jitter at rest (degrees)")
    axis.margins(0.12)
    axis.set_ylim(0, None)
    figure.legend(loc="outside lower center", ncols=2)
    units = [f"{key.replace('_', ' ')}{f' ({unit})' if unit else ''}" for key, unit in MEASURES.items()]
    return Sheet("stability", "Stability", STABILITY_MEANS, ["network", "smoothing", *units], rows, figure)


def _slices(members: Sequence[Corrupted]) -> list[list[str]]:
    """For each value of each attribute the number of faces, and of each network two errors."""
    run, name = members[0].clean.tests[0]
    known = read_attributes(run, name)
    faces = [known[face] for face in sorted(known)]
    rows = []
    for key in faces[0] if faces else ():
        values = np.array([face[key] for face in faces])
        for value in sorted(set(values.tolist())):
            chosen = values == value
            groups = np.unique(members[0].clean.groups[chosen], return_inverse=True)[1]
            cells = []
            for one in members:
                errors = np.stack([one.clean.errors[chosen], one.faces[chosen]])
                limits = intervals(errors, groups)
                both = [f"{np.nanmean(own):.2f}{_in_brackets(limit)}" for own, limit in zip(errors, limits, strict=True)]
                cells.append("; ".join(both))
            rows.append([f"{key} {value}", str(int(chosen.sum())), *cells])
    return rows


def _in_brackets(limits: NDArray[np.float64]) -> str:
    return f" [{limits[0]:.2f}, {limits[1]:.2f}]" if np.isfinite(limits).all() else ""


def _panel(title: str) -> tuple[Figure, Any]:
    figure = Figure(figsize=(7.5, 5), layout="constrained")
    axis = figure.subplots()
    axis.set_title(title, fontsize=11)
    axis.grid(alpha=0.3)
    return figure, axis


def _curves(title: str, members: Sequence[Corrupted]) -> Figure:
    """Of each kind the error against the strength, 0 for faces as they are."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    panels = figure.subplots(3, 4, sharex=True, sharey=True)
    for kind, axis in zip(KINDS, panels.flat, strict=True):
        for number, one in enumerate(members):
            values = [one.clean.mae, *(one.errors[kind][strength].mae for strength in STRENGTHS)]
            axis.plot([0, *STRENGTHS], values, **style_of(number), markersize=4, label=one.label)
        axis.set(title=kind.replace("_", " "), ylim=(0, None), xticks=[0, *STRENGTHS])
        axis.grid(alpha=0.3)
    for axis in panels[-1]:
        axis.set(xlabel="strength")
    figure.supylabel(ERROR, fontsize="medium")
    handles, labels = axis.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    figure.suptitle(textwrap.fill(f"Head-pose-C: {title}", 110))
    return figure
