"""Figures of the reports: of a table and the name of a test set; None where nothing has run that could be shown."""

import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from numpy.typing import NDArray

from headpose.geometry.conventions import ANGLES
from headpose.reporting.runs import Predictions, read_metrics, with_pose
from headpose.reporting.tables import Row, Table

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999933", "#882255", "#44AA99")
"""Okabe and Ito's palette, told apart by the colour-blind, and a few more."""
MARKERS = "osD^vP*Xhd"
LINES = ("-", "--", ":")
BIN = 10.0
WEIGHTS = ScalarMappable(Normalize(0, 1), "inferno")
YAW_STEP = 15
"""In which AFW's yaw is annotated, degrees."""
MIN_SPAN = 0.5
"""Of an axis of errors, degrees; smaller differences should look small."""
MAX_PLAIN_SPAN = 3
"""Largest value of a logarithmic axis over the smallest, up to which each whole number has room for a tick."""


def error_by_angle(table: Table, test_set: str) -> Figure | None:
    """Mean absolute error in bins of 10 degrees of the true angle, and how many faces each bin holds."""
    rows = [row for row in table.rows if any(map(with_pose, row.predictions.get(test_set, ())))]
    if not rows:
        return None
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes: Any = figure.subplots(2, 3, sharex="col", height_ratios=[3, 1])
    for angle, name in enumerate(ANGLES):
        top, bottom = axes[0, angle], axes[1, angle]
        for number, row in enumerate(rows):
            centers, means, counts = binned(row.predictions[test_set], angle)
            top.plot(centers, means, **_style(number), markersize=4, label=row.label)
        bottom.bar(centers, counts, width=0.9 * BIN, color="0.7")
        top.set(title=name, ylim=(0, None))
        bottom.set(xlabel=f"true {name} (degrees)")
        for axis in (top, bottom):
            axis.grid(alpha=0.3)
    axes[0, 0].set(ylabel="mean absolute error (degrees)")
    axes[1, 0].set(ylabel="faces")
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=_columns([row.label for row in rows], 150)
    )
    figure.suptitle(_title(f"{table.title}: error against the true angle, {table.test_sets[test_set]}", 110))
    return figure


def size_error(table: Table, test_set: str) -> Figure | None:
    """Model size in float32 megabytes against mean absolute error, of two rows at least."""
    rows = [row for row in table.rows if row.size_mb is not None and test_set in row.measured]
    if len(rows) < 2:
        return None
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axis = figure.subplots()
    for number, row in enumerate(rows):
        maes = [errors["mae"] for errors in row.measured[test_set].last]
        error: dict[str, Any] = {"yerr": np.std(maes, ddof=1), "capsize": 3} if len(maes) > 1 else {}
        style = {**_style(number), "linestyle": "none"}
        axis.errorbar(row.size_mb or 0.0, float(np.mean(maes)), **error, **style, markersize=7, label=row.label)
    axis.set(xscale="log", xlabel="model size (MB, float32)", ylabel="mean absolute error (degrees)")
    low, high = axis.get_xlim()
    axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low > MAX_PLAIN_SPAN else range(1, 10)))
    axis.xaxis.set_major_formatter("{x:g}")
    axis.minorticks_off()
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, (low + high - MIN_SPAN) / 2), max(high, (low + high + MIN_SPAN) / 2))
    axis.grid(alpha=0.3)
    figure.suptitle(_title(f"{table.title}: size against error, {table.test_sets[test_set]}"), fontsize=11)
    figure.legend(loc="outside right center")
    return figure


def error_per_angle(table: Table, test_set: str) -> Figure | None:
    """Figure 6 of FSA-Net: the error of yaw, pitch and roll for each row, published (hollow) beside measured (filled)."""
    rows = [row for row in table.rows if test_set in row.measured or len(_printed(row, test_set)) == 3]
    if not rows:
        return None
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axis: Axes = figure.subplots()
    places = np.arange(3)
    for number, row in enumerate(rows):
        shift = 0.6 * ((number + 0.5) / len(rows) - 0.5)
        style = {**_style(number), "linestyle": "none", "markersize": 7}
        printed = _printed(row, test_set)
        if len(printed) == 3:
            axis.plot(places + shift - 0.03, printed, **{**style, "markerfacecolor": "none"}, label=f"{row.label}, published")
        if test_set in row.measured:
            errors = np.array([[seed[angle] for angle in ANGLES] for seed in row.measured[test_set].last])
            bars: dict[str, Any] = {"yerr": errors.std(axis=0, ddof=1), "capsize": 3} if len(errors) > 1 else {}
            axis.errorbar(places + shift + 0.03, errors.mean(axis=0), **bars, **style, label=f"{row.label}, measured")
    axis.set(xticks=places, xticklabels=ANGLES, ylabel="mean absolute error (degrees)", ylim=(0, None))
    axis.grid(alpha=0.3, axis="y")
    axis.set_title(_title(f"{table.title}: error per angle, {table.test_sets[test_set]}"), fontsize=11)
    figure.legend(loc="outside right upper")
    return figure


def yaw_accuracy(table: Table, test_set: str) -> Figure | None:
    """Hopenet's figure of AFW: share of faces whose yaw, rounded to 15 degrees, is off by no more than an allowed error."""
    rows = [row for row in table.rows if row.predictions.get(test_set)]
    if not rows:
        return None
    allowed = np.arange(0, 91, YAW_STEP)
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axis: Axes = figure.subplots()
    for number, row in enumerate(rows):
        shares = 100 * np.mean([discrete_yaw_accuracy(seed, allowed) for seed in row.predictions[test_set]], axis=0)
        axis.plot(allowed, shares, **_style(number), markersize=5, label=f"{row.label}: {shares[1]:.1f} % at {YAW_STEP}")
    axis.set(xticks=allowed, xlabel="allowed error of yaw (degrees)", ylabel="faces (%)", ylim=(0, 101))
    axis.grid(alpha=0.3)
    axis.set_title(f"{table.title}: yaw in steps of {YAW_STEP} degrees, {table.test_sets[test_set]}", fontsize=11)
    axis.legend(loc="lower right")
    return figure


def discrete_yaw_accuracy(predictions: Predictions, allowed: NDArray[Any]) -> NDArray[np.float64]:
    """Share of faces whose predicted yaw, rounded to 15 degrees, is no farther from the true one than each allowed error.

    A face without a pose counts among the others.
    """
    yaw = np.array([[true[0], predicted[0]] for true, predicted in predictions.values()])
    error = np.abs(YAW_STEP * np.round(yaw[:, 1] / YAW_STEP) - yaw[:, 0])
    return np.asarray((error[:, None] <= allowed + 1e-6).mean(axis=0))  # labels are whole steps up to their file's rounding


def training_curves(table: Table, test_set: str) -> Figure | None:
    """Mean absolute error after each epoch, the mean over seeds: on held-out faces (solid) and in training (dotted).

    Trainings of one epoch have no curve.
    """
    figure = Figure(figsize=(7.5, 4.5), layout="constrained")
    axis: Axes = figure.subplots()
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
    handles, labels = axis.get_legend_handles_labels()
    if all(len(np.atleast_1d(line.get_xdata())) < 2 for line in axis.lines):
        return None
    axis.set(xlabel="epoch", ylabel="mean absolute error (degrees)", ylim=(0, None))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.grid(alpha=0.3)
    axis.set_title(f"{table.title}: training", fontsize=11)
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=_columns(labels, 100),
        title="solid: held-out faces, dotted: training faces",
    )
    return figure


def ranking(title: str, labels: Sequence[str], means: Sequence[float], limits: NDArray[np.float64]) -> Figure:
    """Mean errors of networks as points, the least at the top, each with its interval.

    Args:
        title: of the figure.
        labels, means: of the networks, in degrees.
        limits: (n, 2), of the intervals, in degrees.
    """
    figure = Figure(figsize=(11, 1.2 + 0.3 * len(labels)), layout="constrained")
    axis: Axes = figure.subplots()
    places = -np.arange(len(labels))
    spread = np.maximum(np.abs(limits.T - np.asarray(means)), 0)
    axis.errorbar(means, places, xerr=spread, linestyle="none", marker="o", markersize=5, color=COLORS[0], capsize=3)
    axis.set(
        yticks=places, yticklabels=labels, xlabel="mean absolute error (degrees), 95 % interval over faces", xlim=(0, None)
    )
    axis.grid(alpha=0.3, axis="x")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(axis="y", length=0)
    axis.set_title(title, fontsize=11)
    return figure


class Curve:
    """Mean absolute error against a value that rows or test sets stand for: a line for each kind of row, its spread as bars.

    The bars are one standard deviation over seeds or, of a single seed, 95 % of the mean over faces.

    Args:
        xlabel: of the value, with its unit.
        sets: test sets of the table to their values, all in one figure; null where the rows say theirs (`x`, and `line` for the
            line they belong to), a figure for each test set.
        in_log: a logarithmic axis of the values, with a tick at each.
    """

    def __init__(self, xlabel: str, sets: dict[str, float] | None = None, in_log: bool = False) -> None:
        self.xlabel, self.sets, self.in_log = xlabel, sets, in_log

    def __call__(self, table: Table, test_set: str) -> Figure | None:
        """The figure; None where nothing has run, or another test set has got it."""
        if self.sets is not None and test_set != next(iter(self.sets)):
            return None
        lines: dict[str, list[tuple[float, float, float]]] = {}
        for row in table.rows:
            values = {test_set: row.x} if self.sets is None else self.sets
            for name, x in values.items():
                if x is not None and name in row.measured:
                    lines.setdefault(row.line or row.label, []).append((float(x), *_mean_and_spread(row, name)))
        if not lines:
            return None
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        axis: Axes = figure.subplots()
        for number, (label, points) in enumerate(lines.items()):
            x, mean, spread = np.array(sorted(points)).T
            axis.errorbar(x, mean, yerr=spread, **_style(number), capsize=3, markersize=5, label=label)
        axis.set(xlabel=self.xlabel, ylabel="mean absolute error (degrees)", ylim=(0, None))
        if self.in_log:
            ticks = sorted({x for points in lines.values() for x, _, _ in points})
            axis.set(xscale="log", xticks=ticks, xticklabels=[f"{x:g}" for x in ticks])
            axis.minorticks_off()
        axis.grid(alpha=0.3)
        axis.set_title(_title(_what_is_shown(table, list(self.sets or [test_set]))), fontsize=11)
        seeds = max(len(measured.last) for row in table.rows for measured in row.measured.values())
        bars = f"bars: one standard deviation over {seeds} seeds" if seeds > 1 else "bars: 95 % interval of the mean over faces"
        for label, share in _left_out(table, self.sets or [test_set]).items():
            bars += f"\n{label}: up to {share:.0%} of the faces without a pose, left out"
        legend = figure.legend(loc="outside lower center", ncols=_columns([*lines], 100), title=bars, title_fontsize="small")
        legend.get_title().set_multialignment("center")
        return figure


def _title(text: str, letters: int = 64) -> str:
    """In lines no longer than a figure is wide."""
    return "\n".join(textwrap.wrap(text, letters))


def _columns(labels: Sequence[str], letters: int) -> int:
    """Columns of a legend that fit into a figure so many letters wide."""
    return max(1, min(5, len(labels), letters // (max(map(len, labels)) + 7)))


def _what_is_shown(table: Table, test_sets: Sequence[str]) -> str:
    """A table's title, the data sets, and the solver where it is one for all landmarks."""
    shown = [row for row in table.rows if set(test_sets) & set(row.measured)]
    sets = sorted({str(row.measured[name].rules["dataset"]) for row in shown for name in test_sets if name in row.measured})
    solvers = {row.solver for row in shown if row.solver}
    names = [name for name in sets if name not in table.title]
    return ", ".join([table.title, *names]) + (f"; landmarks by {solvers.pop()}" if len(solvers) == 1 else "")


def _left_out(table: Table, test_sets: Iterable[str]) -> dict[str, float]:
    """The largest share of faces without a pose, of each line that has any."""
    shares: dict[str, float] = {}
    for row in table.rows:
        for measured in (row.measured[name] for name in test_sets if name in row.measured):
            label = row.line or row.label
            shares[label] = max(shares.get(label, 0.0), measured.without_pose / measured.n)
    return {label: share for label, share in shares.items() if share > 0}


def structure_maps(title: str, crops: NDArray[np.uint8], maps: NDArray[np.floating[Any]]) -> Figure:
    """Figure 5 of FSA-Net: rows of the structure maps over the faces they were computed for.

    Args:
        title: of the figure.
        crops: (N, 64, 64, 3), RGB.
        maps: (N, R, K, 8, 8): R rows of one stage's map, each folded to the K stages it weighs.
    """
    faces, rows, stages = maps.shape[:3]
    figure = Figure(figsize=(1.1 * (1 + rows * stages) + 0.8, 1.15 * faces + 1.1), layout="constrained")
    grid: Any = figure.subplots(faces, 1 + rows * stages, squeeze=False)
    for face in range(faces):
        grid[face, 0].imshow(crops[face])
        for column in range(rows * stages):
            row, stage = divmod(column, stages)
            axis = grid[face, 1 + column]
            axis.imshow(overlay(crops[face], maps[face, row, stage]))
            if face == 0:
                axis.set_title(f"row {row + 1}\nstage {stage + 1}", fontsize=8)
    for axis in grid.ravel():
        axis.set(xticks=[], yticks=[])
    figure.colorbar(WEIGHTS, ax=grid, label="weight (sigmoid)", fraction=0.02, pad=0.01)
    figure.suptitle(title)
    return figure


def overlay(crop: NDArray[np.uint8], weights: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Weights in [0, 1], (8, 8), as colours over a face (64, 64, 3): RGB in [0, 1] of the face's size.

    Blended here, because what is transparent in a figure takes the colour of the page.
    """
    colors = WEIGHTS.to_rgba(np.kron(weights, np.ones(np.array(crop.shape[:2]) // weights.shape)))[..., :3]
    blended: NDArray[np.float64] = 0.3 * crop / 255 + 0.7 * colors
    return blended


def binned(seeds: Iterable[Predictions], angle: int) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Centres of the bins that hold faces, the mean error in each over faces and seeds, and the number of faces."""
    seeds = list(seeds)
    found = [[true[angle], predicted[angle]] for seed in seeds for true, predicted in with_pose(seed).values()]
    pairs = np.array(found).reshape(-1, 2)
    error = np.abs((pairs[:, 1] - pairs[:, 0] + 180) % 360 - 180)
    number = np.floor(pairs[:, 0] / BIN).astype(int)
    bins = np.unique(number)
    means = np.array([error[number == one].mean() for one in bins])
    counts = np.array([(number == one).sum() for one in bins]) / len(seeds)
    return (bins + 0.5) * BIN, means, counts


def _mean_and_spread(row: Row, test_set: str) -> tuple[float, float]:
    """Mean absolute error of a row, and its bar, see `Curve`."""
    maes = np.array([errors["mae"] for errors in row.measured[test_set].last])
    if len(maes) > 1:
        return float(maes.mean()), float(maes.std(ddof=1))
    pairs = [pair for seed in row.predictions.get(test_set, ()) for pair in with_pose(seed).values()]
    errors = np.abs((np.array([guess - true for true, guess in pairs]).reshape(-1, 3) + 180) % 360 - 180).mean(axis=1)
    return float(maes.mean()), float(1.96 * errors.std(ddof=1) / len(errors) ** 0.5) if len(errors) > 1 else 0.0


def _printed(row: Row, test_set: str) -> Sequence[float]:
    errors = row.published[test_set].errors if test_set in row.published else {}
    return [errors[angle] for angle in ANGLES if angle in errors]


def _style(number: int) -> dict[str, Any]:
    """Colour and marker of a row; after ten rows the markers move on, so that no pair comes twice."""
    turn, place = divmod(number, len(COLORS))
    return {"color": COLORS[place], "marker": MARKERS[(place + turn) % len(MARKERS)], "linestyle": LINES[turn % len(LINES)]}
