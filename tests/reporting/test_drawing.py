import numpy as np
import pytest

from headpose.reporting.drawing import AXIS_COLORS, draw_axes, draw_examples


def tip(image: np.ndarray, color: tuple[int, int, int], center: float = 100) -> tuple[float, float]:
    """Where the line of one colour ends, relative to the centre."""
    ys, xs = np.nonzero((np.abs(image.astype(int) - color) < 30).all(axis=-1))
    farthest = np.argmax((xs - center) ** 2 + (ys - center) ** 2)
    return xs[farthest] - center, ys[farthest] - center


@pytest.mark.parametrize(
    ("pose", "axis", "expected"),
    [
        ((0, 0, 0), 0, (60, 0)),
        ((0, 0, 0), 1, (0, 60)),
        ((90, 0, 0), 2, (-60, 0)),
        ((0, 90, 0), 2, (0, -60)),
        ((0, 0, 90), 0, (0, 60)),
    ],
    ids=["right is right", "down is down", "yaw turns forward left", "pitch turns forward up", "roll is clockwise"],
)
def test_axes_point_where_the_head_does(pose: tuple[float, ...], axis: int, expected: tuple[int, int]) -> None:
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    draw_axes(image, pose, (100, 100), 60, thickness=1)
    assert tip(image, AXIS_COLORS[axis]) == pytest.approx(expected, abs=2)


def test_sheet_has_a_cell_for_each_face() -> None:
    crops = [np.full((64, 64, 3), 40 * i, dtype=np.uint8) for i in range(5)]
    sheet = draw_examples(crops, [(0, 0, 0)] * 5, [(10, 20, 30)] * 5, columns=4)
    for index in range(5):
        x, y = 8 + (index % 4) * 232, 34 + 8 + (index // 4) * 278
        assert sheet[y + 3, x + 3].tolist() == [40 * index] * 3
    assert (sheet[42 + 278 + 3 :, 8 + 2 * 232 :] == 255).all()
