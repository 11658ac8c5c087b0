from headposekit.detectors.base import as_detections, no_detections


def test_the_surest_face_comes_first() -> None:
    boxes, scores = as_detections([[0, 0, 1, 1], [2, 2, 5, 5], [4, 4, 9, 9]], [0.2, 0.9, 0.2])
    assert boxes.tolist() == [[2, 2, 5, 5], [0, 0, 1, 1], [4, 4, 9, 9]]
    assert scores.tolist() == [0.9, 0.2, 0.2]


def test_no_face_is_no_row() -> None:
    assert [part.shape for part in no_detections()] == [(0, 4), (0,)] == [part.shape for part in as_detections([], [])]
