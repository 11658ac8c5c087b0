"""Figures of the reports: of a table and the name of a test set; None where nothing has run that could be shown."""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from headposekit.geometry.conventions import ANGLES
from headposekit.reporting.tables import Measured, Table, errors_of_faces, poses_of
from headposekit.training.runs import Predictions, read_metrics

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933", "#882255", "#44AA99")
"""Okabe and Ito's palette, told apart by the colour-blind, and a few more."""
MARKERS = "osD^vP*Xhd"
LINES = ("-", "--", ":")
BIN = 10.0
YAW_STEP = 15
"""In which AFW's yaw is annotated, degrees."""
MIN_SPAN = 0.5
"""Of an axis of errors, degrees; smaller differences should look small."""
MAX_PLAIN_SPAN = 3
"""Largest value of a logarithmic axis over the smallest, up to which each whole number has room for a tick."""
ERROR = "mean absolute error (degrees)"


def error_by_angle(table: Table, test_set: str) -> Figure | None:
    """Mean absolute error in bins of 10 degrees of the true angle, and how many faces each bin holds."""
    measured = {row.label: row.measured[test_set].predictions for row in table.rows if test_set in row.measured}
    lines = {label: binned(seeds) for label, seeds in measured.items() if seeds}
    lines = {label: angles for label, angles in lines.items() if len(angles[0][0])}
    if not lines:
        return None
    figure = Figure(figsize=(11, 5))
    axes: Any = figure.subplots(2, 3, sharex="col", height_ratios=[3, 1])
    for angle, name in enumerate(ANGLES):
        top, bottom = axes[:, angle]
        for number, (label, angles) in enumerate(lines.items()):
            centers, means, counts = angles[angle]
            top.plot(centers, means, **_style(number), markersize=4, label=label)
        bottom.bar(centers, counts, width=0.9 * BIN, color="0.7")
        top.set(title=name, ylim=(0, None))
        bottom.set(xlabel=f"true {name} (degrees)")
        for axis in (top, bottom):
            axis.grid(alpha=0.3)
    axes[0, 0].set(ylabel=ERROR)
    axes[1, 0].set(ylabel="faces")
    _legend_below(figure, axes[0, 0], letters=150)
    title = textwrap.fill(f"{table.title}: error against the true angle, {table.test_sets[test_set]}", 110)
    figure.suptitle(title)
    # In inches; to look for the same by a constrained layout takes as long as all the rest.
    below, above = 0.8 + 0.21 * _legend_rows(list(lines), 150), 0.5 + 0.2 * len(title.splitlines())
    figure.subplots_adjust(0.065, below / 5, 0.99, 1 - above / 5, wspace=0.16, hspace=0.1)
    return figure


def size_error(table: Table, test_set: str) -> Figure | None:
    """Model size in float32 megabytes against mean absolute error, of two rows at least."""
    rows = [row for row in table.rows if row.size_mb is not None and test_set in row.measured]
    if len(rows) < 2:
        return None
    figure, axis = _figure(f"{table.title}: size against error, {table.test_sets[test_set]}")
    for number, row in enumerate(rows):
        _errorbar(axis, number, [row.size_mb or 0.0], [row.measured[test_set].maes], label=row.label)
    axis.set(xscale="log", xlabel="model size (MB, float32)")
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > MAX_PLAIN_SPAN else range(1, 10)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, (low + high - MIN_SPAN) / 2), max(high, (low + high + MIN_SPAN) / 2))
    figure.legend(loc="outside right center")
    return figure


def error_per_angle(table: Table, test_set: str) -> Figure | None:
    """Figure 6 of FSA-Net: the error of yaw, pitch and roll for each row, published (hollow) beside measured (filled)."""
    printed = {row.label: row.published[test_set].angles for row in table.rows if test_set in row.published}
    rows = [row for row in table.rows if test_set in row.measured or printed.get(row.label)]
    if not rows:
        return None
    figure, axis = _figure(f"{table.title}: error per angle, {table.test_sets[test_set]}")
    places = np.arange(3)
    for number, row in enumerate(rows):
        shift = 0.6 * ((number + 0.5) / len(rows) - 0.5)
        if errors := printed.get(row.label):
            style = {**_style(number), "linestyle": "none", "markersize": 7, "markerfacecolor": "none"}
            axis.plot(places + shift - 0.03, errors, **style, label=f"{row.label}, published")
        if test_set in row.measured:
            seeds = [[errors[angle] for errors in row.measured[test_set].last] for angle in ANGLES]
            _errorbar(axis, number, places + shift + 0.03, seeds, label=f"{row.label}, measured")
    axis.set(xticks=places, xticklabels=ANGLES, ylim=(0, None))
    figure.legend(loc="outside right upper")
    return figure


def yaw_accuracy(table: Table, test_set: str) -> Figure | None:
    """Hopenet's figure of AFW: share of faces whose yaw, rounded to 15 degrees, is off by no more than an allowed error."""
    rows = [row for row in table.rows if test_set in row.measured and row.measured[test_set].predictions]
    if not rows:
        return None
    allowed = np.arange(0, 91, YAW_STEP)
    figure, axis = _figure(f"{table.title}: yaw in steps of {YAW_STEP} degrees, {table.test_sets[test_set]}")
    for number, row in enumerate(rows):
        seeds = [discrete_yaw_accuracy(seed, allowed) for seed in row.measured[test_set].predictions]
        shares = 100 * np.mean(seeds, axis=0)
        axis.plot(allowed, shares, **_style(number), markersize=5, label=f"{row.label}: {shares[1]:.1f} % at {YAW_STEP}")
    axis.set(xticks=allowed, xlabel="allowed error of yaw (degrees)", ylabel="faces (%)", ylim=(0, 101))
    axis.legend(loc="lower right")
    return figure


def discrete_yaw_accuracy(predictions: Predictions, allowed: NDArray[Any]) -> NDArray[np.float64]:
    """Share of faces whose predicted yaw, rounded to 15 degrees, is no farther from the true one than each allowed error.

    A face without a pose counts among the others.
    """
    true, predicted = poses_of(predictions)[..., 0]
    error = np.abs(YAW_STEP * np.round(predicted / YAW_STEP) - true)
    return np.asarray((error[:, None] <= allowed + 1e-6).mean(axis=0))  # labels are whole steps up to their file's rounding


def training_curves(table: Table, test_set: str) -> Figure | None:
    """Mean absolute error after each epoch, the mean over seeds: on held-out faces (solid) and in training (dotted).

    Trainings of one epoch have no curve.
    """
    figure, axis = _figure(f"{table.title}: training")
    for row in table.rows:
        number, drawn = len(axis.get_legend_handles_labels()[1]), False
        for column, style in (("val/mae", {}), ("train/mae", {"linestyle": ":", "linewidth": 1, "marker": ""})):
            seeds = [read_metrics(checkpoint.parents[1], column) for checkpoint in row.checkpoints if test_set in row.measured]
            epochs = sorted(set().union(*seeds))
            if epochs:
                means = [np.mean([seed[epoch] for seed in seeds if epoch in seed]) for epoch in epochs]
                label = {} if drawn else {"label": row.label}
                axis.plot(epochs, means, **{**_style(number), **style}, markersize=4, **label)  # type: ignore[arg-type]
                drawn = True
    if all(len(np.atleast_1d(line.get_xdata())) < 2 for line in axis.lines):
        return None
    axis.set(xlabel="epoch", ylim=(0, None))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    _legend_below(figure, axis, letters=100, title="solid: held-out faces, dotted: training faces")
    return figure


def ranking(title: str, labels: Sequence[str], means: Sequence[float], limits: NDArray[np.float64]) -> Figure:
    """Mean errors of networks as points, the least at the top, each with its interval.

    Args:
        title: of the figure.
        labels, means: of the networks, in degrees.
        limits: (n, 2), of the intervals, in degrees.
    """
    figure, axis = _figure(title, (11, 1.2 + 0.3 * len(labels)))
    places = -np.arange(len(labels))
    spread = np.maximum(np.abs(limits.T - np.asarray(means)), 0)
    axis.errorbar(means, places, xerr=spread, linestyle="none", marker="o", markersize=5, color=COLORS[0], capsize=3)
    axis.set(yticks=places, yticklabels=labels, ylabel="", xlabel=f"{ERROR}, 95 % interval", xlim=(0, None))
    axis.grid(visible=False, axis="y")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    return figure


@dataclass(frozen=True)
class Curve:
    """Mean absolute error against a value that rows or test sets stand for: a line for each kind of row, its spread as bars.

    The bars are one standard deviation over seeds or, of a single seed, 95 % of the mean over faces.

    Args:
        xlabel: of the value, with its unit.
        sets: test sets of the table to their values, all in one figure; null where the rows say theirs (`x`, and `line` for the
            line they belong to), a figure for each test set.
        in_log: a logarithmic axis of the values, with a tick at each.
    """

    xlabel: str
    sets: Mapping[str, float] | None = None
    in_log: bool = False

    def __call__(self, table: Table, test_set: str) -> Figure | None:
        """The figure; None where nothing has run, or another test set has got it."""
        if self.sets is not None and test_set != next(iter(self.sets)):
            return None
        lines: dict[str, list[tuple[float, Measured]]] = {}
        for row in table.rows:
            values = {test_set: row.x} if self.sets is None else self.sets
            for name, x in values.items():
                if x is not None and name in row.measured:
                    lines.setdefault(row.line or row.label, []).append((float(x), row.measured[name]))
        if not lines:
            return None
        shown = [measured for points in lines.values() for _, measured in points]
        figure, axis = _figure(_what_is_shown(table, list(self.sets or [test_set])))
        for number, (label, points) in enumerate(lines.items()):
            points = sorted(points, key=lambda point: point[0])
            places = [x for x, _ in points]
            means, bars = zip(*((measured.mae, _spread(measured)) for _, measured in points), strict=True)
            axis.errorbar(places, means, yerr=bars, **_style(number), capsize=3, markersize=5, label=label)
        axis.set(xlabel=self.xlabel, ylim=(0, None))
        if self.in_log:
            ticks = sorted({x for points in lines.values() for x, _ in points})
            axis.set(xscale="log", xticks=ticks, xticklabels=[f"{x:g}" for x in ticks])
            axis.minorticks_off()
        seeds = max(len(measured.last) for measured in shown)
        title = (
            f"bars: one standard deviation over {seeds} seeds" if seeds > 1 else "bars: 95 % interval of the mean over faces"
        )
        for label, points in lines.items():
            share = max(measured.without_pose / measured.n for _, measured in points)
            title += f"\n{label}: up to {share:.0%} of the faces without a pose, left out" if share else ""
        _legend_below(figure, axis, letters=100, title=title).get_title().set_multialignment("center")
        return figure


def _what_is_shown(table: Table, test_sets: Sequence[str]) -> str:
    """A table's title, the data sets, and the solver where it is one for all landmarks."""
    shown = [row for row in table.rows if set(test_sets) & set(row.measured)]
    sets = sorted({str(row.measured[name].rules["dataset"]) for row in shown for name in test_sets if name in row.measured})
    solvers = {row.solver for row in shown if row.solver}
    names = [name for name in sets if name not in table.title]
    return ", ".join([table.title, *names]) + (f"; landmarks by {solvers.pop()}" if len(solvers) == 1 else "")


def binned(seeds: Sequence[Predictions]) -> list[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]:
    """Of each angle the centres of the bins that hold faces, the mean error in each over faces and seeds, and their number."""
    true, predicted = np.concatenate([poses_of(seed) for seed in seeds], axis=1)
    known = np.isfinite(predicted).all(axis=1)
    errors = np.abs((predicted - true + 180) % 360 - 180)
    found = []
    for angles, off in zip(true[known].T, errors[known].T, strict=True):
        bins, place, counts = np.unique(np.floor(angles / BIN), return_inverse=True, return_counts=True)
        found.append(((bins + 0.5) * BIN, np.bincount(place, off) / counts, counts / len(seeds)))
    return found


def _spread(measured: Measured) -> float:
    """Half the length of a bar, see `Curve`."""
    if len(measured.maes) > 1:
        return float(np.std(measured.maes, ddof=1))
    errors = [errors_of_faces(seed).mean(axis=1) for seed in measured.predictions]
    faces = errors[0][np.isfinite(errors[0])] if errors else np.empty(0)
    return float(1.96 * faces.std(ddof=1) / len(faces) ** 0.5) if len(faces) > 1 else 0.0


def _figure(title: str, size: tuple[float, float] = (7.5, 4.5)) -> tuple[Figure, Axes]:
    """A figure of one axis, whose title is in lines no longer than it is wide."""
    figure = Figure(figsize=size, layout="constrained")
    axis: Axes = figure.subplots()
    axis.set(ylabel=ERROR)
    axis.set_title(textwrap.fill(title, round(8.6 * size[0])), fontsize=11)
    axis.grid(alpha=0.3)
    return figure, axis


def _errorbar(axis: Axes, number: int, x: Sequence[float] | NDArray[Any], seeds: Sequence[Sequence[float]], label: str) -> None:
    """A point at each x: the mean over seeds, and a bar of one standard deviation where there are several."""
    errors = np.array(seeds)
    bars = errors.std(axis=1, ddof=1) if errors.shape[1] > 1 else None
    style = {**_style(number), "linestyle": "none"}
    axis.errorbar(x, errors.mean(axis=1), yerr=bars, capsize=3, markersize=7, **style, label=label)


def _legend_below(figure: Figure, axis: Axes, letters: int, title: str | None = None) -> Legend:
    """The legend of an axis below the figure, which is so many letters wide."""
    handles, labels = axis.get_legend_handles_labels()
    columns = _legend_columns(labels, letters)
    return figure.legend(handles, labels, loc="outside lower center", ncols=columns, title=title, title_fontsize="small")


def _legend_columns(labels: Sequence[str], letters: int) -> int:
    return max(1, min(5, len(labels), letters // (max(map(len, labels)) + 7)))


def _legend_rows(labels: Sequence[str], letters: int) -> int:
    return math.ceil(len(labels) / _legend_columns(labels, letters))


def _style(number: int) -> dict[str, Any]:
    """Colour and marker of a row; after ten rows the markers move on, so that no pair comes twice."""
    turn, place = divmod(number, len(COLORS))
    return {"color": COLORS[place], "marker": MARKERS[(place + turn) % len(MARKERS)], "linestyle": LINES[turn % len(LINES)]}
