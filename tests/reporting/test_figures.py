import io
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from headposekit.reporting import figures
from headposekit.reporting.published import Published
from headposekit.reporting.tables import Measured, Row, Table
from headposekit.training.runs import Predictions

RULES = {"dataset": "p"}
ERRORS = {"yaw": 4.0, "pitch": 6.0, "roll": 5.0, "mae": 5.0, "geodesic": 9.0}


def predictions(error: float) -> Predictions:
    yaw = np.arange(-75.0, 80.0, 10.0)
    return {f"{y}": (np.array([y, 0.0, 0.0]), np.array([y + error, 1.0, -1.0])) for y in yaw}


def measured_of(*seeds: Predictions) -> Measured:
    return Measured((ERRORS,) * len(seeds), (), 16, RULES, "c", (), read=lambda: list(seeds))


def table() -> Table:
    seeds = measured_of(predictions(4), predictions(-2))
    measured = replace(seeds, last=(ERRORS, {**ERRORS, "mae": 6.0}), rules={"dataset": "AFLW2000"}, commits=("abc",))
    published = Published({"yaw": 4.8, "pitch": 6.2, "roll": 4.8, "mae": 5.25})
    ours = Row("ours", 0.95, {"aflw2000": published}, {"aflw2000": measured})
    small = Row("small", 0.4, {}, {"aflw2000": replace(measured, read=list)})
    return Table(
        "Table 1", {"aflw2000": "AFLW2000", "biwi": "BIWI"}, [Row("theirs", None, {"aflw2000": published}), ours, small]
    )


@pytest.mark.parametrize("draw", [figures.error_by_angle, figures.size_error, figures.error_per_angle])
def test_every_axis_has_its_unit_and_nothing_is_drawn_of_nothing(draw: partial[Figure | None], tmp_path: Path) -> None:
    figure = draw(table(), "aflw2000")
    assert figure is not None
    figure.savefig(tmp_path / "figure.svg")
    labels = " ".join(axis.get_xlabel() + axis.get_ylabel() for axis in figure.axes)
    assert "degrees" in labels
    assert figure.legends
    assert draw(table(), "biwi") is None


def test_sizes_far_apart_have_few_ticks_and_errors_alike_look_alike() -> None:
    one = table()
    one.rows[1].size_mb = 95.0
    figure = figures.size_error(one, "aflw2000")
    assert figure is not None
    axis = figure.axes[0]
    figure.canvas.draw()  # type: ignore[attr-defined]
    low, high = axis.get_xlim()
    assert 3 <= len([tick for tick in axis.get_xticks() if low <= tick <= high]) <= 9
    assert np.ptp(axis.get_ylim()) >= 0.5 - 1e-9
    assert figures.size_error(Table("one", one.test_sets, one.rows[:2]), "aflw2000") is None


def test_bins_hold_mean_errors_over_seeds_and_counts_of_one() -> None:
    figure = figures.error_by_angle(table(), "aflw2000")
    assert figure is not None
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_xdata(), np.arange(-75, 80, 10))
    np.testing.assert_allclose(line.get_ydata(), 3.0)  # seeds are off by 4 and by 2
    assert [bar.get_height() for bar in figure.axes[3].patches] == [1.0] * 16  # type: ignore[attr-defined]


def test_yaw_counts_in_steps_of_15_degrees() -> None:
    pairs = {"exact": (30, 22.6), "one off": (30, 22.4), "two off": (-45, -16.0), "behind": (0, 97.6)}
    faces = {name: (np.array([float(true), 0, 0]), np.array([float(guess), 0, 0])) for name, (true, guess) in pairs.items()}
    allowed = np.array([0, 15, 30, 90, 105])
    np.testing.assert_allclose(figures.discrete_yaw_accuracy(faces, allowed), [0.25, 0.5, 0.75, 0.75, 1.0])
    row = Row("ours", measured={"aflw2000": measured_of(faces, faces)})
    figure = figures.yaw_accuracy(Table("AFW", {"aflw2000": "AFW", "biwi": "BIWI"}, [row]), "aflw2000")
    assert figure is not None
    (axis,) = figure.axes
    assert axis.get_lines()[0].get_ydata()[:3].tolist() == [25, 50, 75]
    assert "ours: 50.0 % at 15" in axis.get_legend().get_texts()[0].get_text()
    assert figures.yaw_accuracy(table(), "biwi") is None


def test_curves_over_test_sets_have_a_line_a_row_and_bars_over_seeds() -> None:
    seeds = ({**ERRORS, "mae": 4.0}, {**ERRORS, "mae": 6.0})
    sets = {"a_jitter0": 0.0, "a_jitter5px": 5.0}
    rows = [Row(label, None, {}, {name: Measured(seeds, (), 16, RULES, "c", ()) for name in sets}) for label in ("5", "68")]
    drawn = figures.Curve("noise (pixels)", sets)
    noise = Table("Noise", dict.fromkeys(sets, "AFLW2000"), [*rows, Row("nothing yet")])
    figure = drawn(noise, "a_jitter0")
    assert figure is not None
    (axis,) = figure.axes
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["5", "68"]
    line, _, (bars,) = axis.containers[0]  # type: ignore[misc]
    np.testing.assert_allclose(line.get_xydata(), [[0, 5], [5, 5]])
    np.testing.assert_allclose(bars.get_segments()[1][:, 1], [5 - 2**0.5, 5 + 2**0.5])
    assert (axis.get_xlabel(), axis.get_ylabel()) == ("noise (pixels)", "mean absolute error (degrees)")
    assert drawn(noise, "a_jitter5px") is None  # one figure for all of them


def test_curves_over_rows_join_those_of_a_line_and_bars_of_one_seed_are_over_faces() -> None:
    faces = {f"{n}": (np.zeros(3), np.full(3, float(n))) for n in range(16)}
    faces["refused"] = (np.zeros(3), np.full(3, np.nan))
    measured = measured_of(faces)
    rows = [Row(f"weak {x}", None, {}, {"a": measured}, line="weak", x=x) for x in (68, 5)]
    figure = figures.Curve("landmarks")(
        Table("Points", {"a": "AFLW2000"}, [*rows, Row("no curve", measured={"a": measured})]), "a"
    )
    assert figure is not None
    ((line, _, (bars,)),) = figure.axes[0].containers  # type: ignore[misc]
    np.testing.assert_allclose(line.get_xydata(), [[5, 5], [68, 5]])
    half = 1.96 * np.arange(16.0).std(ddof=1) / 4
    np.testing.assert_allclose(bars.get_segments()[0][:, 1], [5 - half, 5 + half])


def test_curves_say_how_many_faces_a_line_leaves_out_and_where_its_points_lie() -> None:
    lines = (("own start", 68, 4), ("own start", 5, 8), ("frontal start", 68, 0))
    rows = [
        Row(f"{line} {x}", None, {}, {"a": Measured((ERRORS,), (), 16, RULES, "c", (), left_out)}, line=line, x=x)
        for line, x, left_out in lines
    ]
    figure = figures.Curve("landmarks", in_log=True)(Table("Points", {"a": "AFLW2000"}, rows), "a")
    assert figure is not None
    title = figure.legends[0].get_title().get_text()
    assert title.splitlines()[1:] == ["own start: up to 50% of the faces without a pose, left out"]
    assert [text.get_text() for text in figure.axes[0].get_xticklabels()] == ["5", "68"]


def test_a_legend_of_long_names_stays_in_the_figure() -> None:
    measured = {"a": Measured((ERRORS,), (), 16, RULES, "c", ())}
    rows = [Row(f"{n}", measured=measured, line=f"height, perspective, frontal start {n}", x=n) for n in range(4)]
    figure = figures.Curve("size")(Table("Stretched", {"a": "AFLW2000"}, rows), "a")
    assert figure is not None
    figure.savefig(io.BytesIO())  # lays it out
    place = figure.legends[0].get_window_extent()
    assert 0 <= place.x0 < place.x1 <= figure.bbox.x1


def test_faces_without_a_pose_move_no_figure() -> None:
    with_hole = {**predictions(4), "refused": (np.array([5.0, 0, 0]), np.full(3, np.nan))}
    row = Row("ours", measured={"aflw2000": measured_of(with_hole)})
    figure = figures.error_by_angle(Table("T", {"aflw2000": "A"}, [row]), "aflw2000")
    assert figure is not None
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), 4.0)
    shares = figures.discrete_yaw_accuracy({"gone": (np.zeros(3), np.full(3, np.nan))}, np.array([0, 90]))
    np.testing.assert_array_equal(shares, 0)


def test_curves_name_the_data_set_and_the_solver_of_all_landmarks() -> None:
    sets = {"a_jitter2px": 2.0, "a_jitter4px": 4.0}
    rules = {"dataset": "AFLW2000", "perturb": {"jitter_pixels": 2}, "max_angle": 99}
    measured = {name: Measured((ERRORS,), (), 16, rules, "c", ()) for name in sets}
    rows = [Row("68", measured=measured, solver="weak perspective"), Row("network", measured=measured)]
    noise = Table("Noise", dict.fromkeys(sets, "±"), rows)

    def title() -> str:
        figure = figures.Curve("noise (pixels)", sets)(noise, "a_jitter2px")
        assert figure is not None
        return figure.axes[0].get_title()

    assert title() == "Noise, AFLW2000; landmarks by weak perspective"
    rows.append(Row("12", measured=measured, solver="perspective epnp"))
    assert title() == "Noise, AFLW2000"


def test_training_curves_are_means_over_seeds_by_epoch(tmp_path: Path) -> None:
    for seed, (train, val) in enumerate(((9, 8), (7, 4))):
        (tmp_path / str(seed)).mkdir()
        (tmp_path / str(seed) / "metrics.csv").write_text(f"epoch,train/mae,val/mae\n0,{train},{val}\n1,,2\n")
    checkpoints = [tmp_path / name / "checkpoints" / "last.ckpt" for name in ("0", "1", "gone")]
    row = Row("ours", measured={"a": Measured((ERRORS,), (), 16, RULES, "c", ())}, checkpoints=checkpoints)
    figure = figures.training_curves(Table("T", {"a": "A"}, [row]), "a")
    assert figure is not None
    held_out, training = figure.axes[0].lines
    np.testing.assert_allclose(held_out.get_xydata(), [[1, 6], [2, 2]])
    np.testing.assert_allclose(training.get_xydata(), [[1, 8]])
    assert figures.training_curves(Table("T", {"a": "A"}, [Row("nothing")]), "a") is None
