import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import measure_detectors as tool
from detector_scores import fit_mapping
from fixed_boxes import FixedBoxes
from headposekit.datasets import AFLW2000
from headposekit.detectors.native import Mapping
from headposekit.errors import InputError
from headposekit.inference.estimator import HeadPose

NAN = (np.nan,) * 4


def test_boxes_are_compared_in_sides_of_the_true_box() -> None:
    true = np.array([[0.0, 0, 100, 50], [0, 0, 100, 50], [10, 10, 30, 50]])
    found = np.array([[10.0, 5, 110, 55], [0, 0, 50, 50], NAN])
    label = np.array([[10.0, 0, 0], [0, 20, 0], [80, 0, 0]])
    from_true = label + [[1.0, 0, 0], [0, 3, 0], [30, 0, 0]]
    from_found = np.array([[14.0, 0, 0], [0, 20, 0], [np.nan] * 3])
    result = tool.summary(tool.Measured(found, from_found, np.array([2.0, 0, 1])), true, label, from_true)
    expected = {"faces": 3, "recall": 2 / 3, "false_alarms": 1, "iou": (90 * 45 / (2 * 5000 - 90 * 45) + 0.5) / 2}
    expected |= {"right": (0.1 - 0.25) / 2, "down": 0.05, "width": 0.75, "height": 1}
    expected |= {"offset": (np.hypot(10, 5) + 25) / np.sqrt(5000) / 2}
    expected |= {"mae_true": (1 + 3) / 6, "mae_found": 4 / 6, "geodesic_true": 2, "geodesic_found": 2, "moved": 3}
    assert result == pytest.approx(expected, abs=1e-6)
    assert list(result) == list(tool.COLUMNS)


def test_where_nothing_was_found_there_are_counts_only() -> None:
    nothing = tool.Measured(np.full((2, 4), np.nan), np.full((2, 3), np.nan), np.array([0.0, 3]))
    result = tool.summary(nothing, np.zeros((2, 4)), np.zeros((2, 3)), np.zeros((2, 3)))
    assert {key: value for key, value in result.items() if value == value} == {"faces": 2, "recall": 0, "false_alarms": 1.5}
    row = {"set": "S", "detector": "d", "group": "all", **result}
    assert tool.page([row]).splitlines()[2] == "| S | d | 2 | 0.0 % | 1.50 | - | - | - | - | - | - | - |"


def test_a_mapping_is_the_median_of_boxes_in_the_face() -> None:
    exact = Mapping(0.0, 0.2, 1.5, 0.5)
    native = np.array([[20.0, 20, 60, 100], [30, 40, 90, 80], [100, 100, 140, 160]])
    tight = exact(native)
    with_alarm = [native[:1], np.array([native[1], [300.0, 0, 310, 10]]), native[2:]]
    mapping, each = fit_mapping(with_alarm, tight)
    assert mapping == exact
    assert len(each) == 3
    with pytest.raises(InputError, match="no box of this detector lies in a face"):
        fit_mapping([np.empty((0, 4))], tight[:1])


class Looking:
    """Stands for a network: the yaw is the box's left side, the pitch its upper one."""

    def __call__(self, image: np.ndarray, boxes: np.ndarray) -> list[HeadPose]:
        return [HeadPose(tuple(box), None, box[0], box[1], 0.0) for box in boxes.tolist()]


def test_faces_of_a_folder_are_found_and_looked_at(aflw2000_root: Path, tmp_path: Path) -> None:
    faces = AFLW2000(aflw2000_root, box="pt3d_68")
    x0, y0, x1, y1 = faces.box[0].tolist()
    detector = FixedBoxes([[x0, y0, x1, y1], [1, 1, 3, 3], [x0 + 2, y0, x1, y1]], [0.9, 0.8, 0.7])
    (found,), from_true = tool.measure([detector], faces, np.arange(len(faces)), Looking())  # type: ignore[arg-type]  # one method is used
    np.testing.assert_allclose(from_true[:, :2], faces.box[:, :2], atol=1e-4)
    np.testing.assert_allclose(found.boxes[0], faces.box[0], atol=1e-4)
    assert found.alarms[0] == 2  # a face is found once
    seen = np.isfinite(found.boxes[:, 0])
    np.testing.assert_allclose(found.poses[seen, :2], found.boxes[seen, :2])
    assert np.isnan(found.poses[~seen]).all()
    rows = tool.rows_of(faces, [detector], Looking())  # type: ignore[arg-type]
    assert sum(row["faces"] for row in rows[1:]) == rows[0]["faces"] == len(faces)
    assert "| AFLW2000 | fixed |" in tool.page(rows)
    assert tool.rows_of(faces, [detector], Looking(), 2)[0]["faces"] == 2  # type: ignore[arg-type]


def test_pointing04_is_shown_by_pan_and_by_tilt() -> None:
    pose = np.array([[-90.0, 0, 0], [0, 90, 0], [0, 15, 0]])
    groups = {name: inside.tolist() for name, inside in tool.groups(pose, has_classes=True).items()}
    assert groups == {
        "all": [True] * 3,
        "pan -90": [True, False, False],
        "pan 0": [False, False, True],  # straight up and down there is no pan
        "tilt 0": [True, False, False],
        "tilt 15": [False, False, True],
        "tilt 90": [False, True, False],
    }
    rows = [
        {"set": "P", "detector": "d", "group": name, **dict.fromkeys(tool.COLUMNS, np.nan), "faces": sum(inside), "recall": 0.5}
        for name, inside in groups.items()
    ]
    assert tool.page(rows).splitlines()[4:9] == [
        "P, found by pan (faces), percent:",
        "",
        "| detector | -90 (1) | 0 (1) |",
        "| --- | --: | --: |",
        "| d | 50 | 50 |",
    ]


def test_tables_are_written_with_the_networks_crops(
    official: Path, aflw2000_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "table"
    weights = str(official / "fsanet_capsule_3_16_2_21_5.h5")
    monkeypatch.setattr(
        "sys.argv", ["measure_detectors.py", weights, str(out), "--aflw2000", str(aflw2000_root), "--detectors", "default"]
    )
    tool.main()
    with out.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["detector"] == "centers"
    assert torch.isfinite(torch.tensor(float(rows[0]["recall"])))
    assert out.with_suffix(".md").read_text().startswith("| set | detector | faces | found |")


def test_what_is_missing_is_said_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["measure_detectors.py", "--fit", "--detectors", "default"])
    with pytest.raises(SystemExit, match="give --points68 DIR"):
        tool.main()
