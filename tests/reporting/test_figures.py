from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from headpose.reporting import figures
from headpose.reporting.published import Published
from headpose.reporting.runs import Predictions
from headpose.reporting.tables import Measured, Row, Table

ERRORS = {"yaw": 4.0, "pitch": 6.0, "roll": 5.0, "mae": 5.0, "geodesic": 9.0}


def predictions(error: float) -> Predictions:
    yaw = np.arange(-75.0, 80.0, 10.0)
    return {f"{y}": (np.array([y, 0.0, 0.0]), np.array([y + error, 1.0, -1.0])) for y in yaw}


def table() -> Table:
    measured = Measured((ERRORS, {**ERRORS, "mae": 6.0}), (), 16, "AFLW2000", "fsanet", ("abc",))
    published = Published({"yaw": 4.8, "pitch": 6.2, "roll": 4.8, "mae": 5.25})
    ours = Row("ours", 0.95, {"aflw2000": published}, {"aflw2000": measured}, {"aflw2000": [predictions(4), predictions(-2)]})
    return Table("Table 1", {"aflw2000": "AFLW2000", "biwi": "BIWI"}, [Row("theirs", None, {"aflw2000": published}), ours])


@pytest.mark.parametrize("draw", [figures.error_by_angle, figures.size_error, figures.error_per_angle])
def test_every_axis_has_its_unit_and_nothing_is_drawn_of_nothing(draw: partial[Figure | None], tmp_path: Path) -> None:
    figure = draw(table(), "aflw2000")
    assert figure is not None
    figure.savefig(tmp_path / "figure.svg")
    labels = " ".join(axis.get_xlabel() + axis.get_ylabel() for axis in figure.axes)
    assert "degrees" in labels
    assert figure.legends
    assert draw(table(), "biwi") is None


def test_bins_hold_mean_errors_over_seeds_and_counts_of_one() -> None:
    figure = figures.error_by_angle(table(), "aflw2000")
    assert figure is not None
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xdata(), np.arange(-75, 80, 10))
    np.testing.assert_allclose(line.get_ydata(), 3.0)  # seeds are off by 4 and by 2
    assert [bar.get_height() for bar in figure.axes[3].patches] == [1.0] * 16  # type: ignore[attr-defined]


def test_structure_maps_stand_over_their_faces() -> None:
    crops = np.zeros((2, 64, 64, 3), np.uint8)
    figure = figures.structure_maps("Figure 5", crops, np.random.default_rng(0).random((2, 4, 3, 8, 8)))
    assert len([axis for axis in figure.axes if axis.images]) >= 2 * 13


def test_yaw_counts_in_steps_of_15_degrees() -> None:
    pairs = {"exact": (30, 22.6), "one off": (30, 22.4), "two off": (-45, -16.0), "behind": (0, 97.6)}
    faces = {name: (np.array([float(true), 0, 0]), np.array([float(guess), 0, 0])) for name, (true, guess) in pairs.items()}
    allowed = np.array([0, 15, 30, 90, 105])
    np.testing.assert_allclose(figures.discrete_yaw_accuracy(faces, allowed), [0.25, 0.5, 0.75, 0.75, 1.0])
    row = Row("ours", predictions={"aflw2000": [faces, faces]})
    figure = figures.yaw_accuracy(Table("AFW", {"aflw2000": "AFW", "biwi": "BIWI"}, [row]), "aflw2000")
    assert figure is not None
    (axis,) = figure.axes
    assert axis.get_lines()[0].get_ydata()[:3].tolist() == [25, 50, 75]
    assert "ours: 50.0 % at 15" in axis.get_legend().get_texts()[0].get_text()
    assert figures.yaw_accuracy(table(), "biwi") is None
