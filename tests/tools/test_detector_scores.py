import numpy as np
import pytest

from detector_scores import best_threshold, match, overlaps, score
from face_scenes import Scene
from fixed_boxes import FixedBoxes

FACES = np.array([[0.0, 0, 10, 10], [20, 0, 30, 10]])
SCENE = Scene(np.zeros((40, 40, 3), np.uint8), FACES, np.array([[0.0, 20, 10, 30]]))
DETECTOR = FixedBoxes(
    [[0, 0, 10, 8], [1, 0, 10, 10], [32, 32, 40, 40], [0, 20, 10, 30], [20, 0, 30, 10]], [0.9, 0.8, 0.7, 0.6, 0.5]
)


def test_overlap_is_intersection_over_union() -> None:
    assert overlaps(FACES[:1], np.array([[5.0, 0, 15, 10], [0, 0, 10, 10], [90, 90, 91, 91]])).tolist() == [[1 / 3, 1, 0]]


def test_each_face_is_found_once_and_unclear_ones_do_not_count() -> None:
    hits, counts = match(DETECTOR.found, SCENE)
    np.testing.assert_allclose(hits, [0.8, 0, 0, 0, 1])
    assert counts.tolist() == [True, True, True, False, True]


def test_scores_of_pictures() -> None:
    result = score(DETECTOR, [SCENE, SCENE])
    assert (result.faces, result.recall, result.precision, result.false_alarms) == (4, 1, 0.5, 200)
    assert result.iou == pytest.approx(0.9)
    nothing = score(FixedBoxes([], []), [SCENE])
    assert (nothing.recall, nothing.precision) == (0, 0)
    assert np.isnan(nothing.iou)


def test_the_threshold_balances_misses_and_alarms() -> None:
    two = FixedBoxes([[0, 0, 10, 10], [20, 0, 30, 10], [32, 32, 40, 40]], [0.9, 0.6, 0.4])
    assert 0.4 < best_threshold(two, [SCENE]) <= 0.6
