from pathlib import Path

import numpy as np
import pytest

import compare_detectors as detectors
from face_scenes import plain_heads
from headposekit.detectors.base import Detections, as_detections
from headposekit.detectors.native import NativeDetector


class Middle(NativeDetector):
    """Always finds the middle of a picture."""

    name = "middle"
    mapping = detectors.Mapping(9, 9, 9, 9)

    def __init__(self) -> None:
        super().__init__(1000)

    def find(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.array([[100.0, 120, 200, 180]]), np.ones(1)

    def __call__(self, image: np.ndarray, name: str = "") -> Detections:
        return as_detections([0.3 * image.shape[1], 0, image.shape[1], image.shape[0]], [1.0])


def test_the_fitted_mapping_takes_native_boxes_to_tight_ones() -> None:
    mapping, each = detectors.fit(Middle(), num_heads=1)
    tight = plain_heads(detectors.SEED + 1, backgrounds=True).render(0, 300).box
    np.testing.assert_allclose(each[0, :2], [(tight[0] + tight[2] - 300) / 200, (tight[1] + tight[3] - 300) / 120], atol=1e-9)
    mapped = mapping(Middle().find(np.empty(0))[0])[0]
    np.testing.assert_allclose(mapped[[1, 3]], tight[[1, 3]], atol=0.2)  # three decimals
    assert mapped[2] - mapped[0] == pytest.approx(tight[2] - tight[0], abs=0.2)
    assert mapping.shift_x == 0


def test_every_detector_has_a_row_for_every_set(aflw2000_root: Path) -> None:
    pytest.importorskip("skimage")
    table = detectors.compare([Middle()], 2, aflw2000_root)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| middle")]
    assert [row[1] for row in rows[:4]] == [
        "heads of unseen people",
        "shifted heads before photographs",
        "photographs without people",
        "photographs of AFLW2000",
    ]
    people = len(detectors.UNPEOPLED)
    assert rows[2][2:] == ["0", "-", "-", f"{people} in {people}", "-"]
    assert float(rows[4][1]) >= 0
