import numpy as np
import pytest

from headposekit.geometry.drawing import AXIS_COLORS, draw_axes, draw_cube, draw_examples
from headposekit.synthesis.sampler import HeadSampler


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


@pytest.mark.parametrize("distance", [None, 20.0], ids=["parallel camera", "camera at 72 cm"])
@pytest.mark.parametrize("pose", [(40, 10, -20), (-55, -15, 10), (15, 35, 30), (-20, -30, 0)], ids=str)
def test_axes_point_along_a_rendered_face(pose: tuple[float, ...], distance: float | None) -> None:
    """Against the landmarks of a head of that pose: right along its eyes, forward along its nose.

    A face is not symmetrical to the degree, and one near the camera is seen in perspective: 4 and 8 degrees.
    """
    perspective = None if distance is None else (distance, distance)
    points = HeadSampler(identity=0, expression=0, perspective=perspective).render(0, 200, pose).landmarks[:, :2]
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    draw_axes(image, pose, (100, 100), 90, thickness=1)
    eyes = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    nose = points[30] - points[[31, 35]].mean(axis=0)
    straight = HeadSampler(identity=0, expression=0, perspective=None).render(0, 200, (0, 0, 0)).landmarks
    _, down, forward = straight[30] - straight[[31, 35]].mean(axis=0)  # the tip is before its wings, and higher
    right_axis, down_axis, forward_axis = (np.array(tip(image, color)) for color in AXIS_COLORS)
    for drawn, direction in ((right_axis, eyes), (forward * forward_axis + down * down_axis, nose)):
        cosine = drawn @ direction / np.linalg.norm(drawn) / np.linalg.norm(direction)
        assert np.degrees(np.arccos(np.clip(cosine, -1, 1))) < (4 if distance is None else 8)


@pytest.mark.parametrize(
    ("pose", "center"),
    [((0, 0, 0), (0, 0)), ((60, 0, 0), (-1, 0)), ((0, 60, 0), (0, -1)), ((-60, -30, 0), (1, 1))],
    ids=["straight", "left", "up", "right and down"],
)
def test_front_of_the_cube_is_where_the_face_looks(pose: tuple[float, ...], center: tuple[int, int]) -> None:
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    draw_cube(image, pose, (100, 100), 80, thickness=1)
    ys, xs = np.nonzero((np.abs(image.astype(int) - AXIS_COLORS[2]) < 30).all(axis=-1))
    front = (xs.min() + xs.max()) / 2 - 100, (ys.min() + ys.max()) / 2 - 100
    assert tuple(int(np.sign(np.round(value / 10))) for value in front) == center


def test_cube_of_a_straight_face_is_a_square() -> None:
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    draw_cube(image, (0, 0, 0), (100, 100), 80, thickness=1)
    ys, xs = np.nonzero(image.any(axis=-1))
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == pytest.approx((60, 140, 60, 140), abs=2)


def test_sheet_has_a_cell_for_each_face() -> None:
    crops = [np.full((64, 64, 3), 40 * i, dtype=np.uint8) for i in range(5)]
    sheet = draw_examples(crops, [(0, 0, 0)] * 5, [(10, 20, 30)] * 5, columns=4)
    for index in range(5):
        x, y = 8 + (index % 4) * 232, 34 + 8 + (index // 4) * 278
        assert sheet[y + 3, x + 3].tolist() == [40 * index] * 3
    assert (sheet[42 + 278 + 3 :, 8 + 2 * 232 :] == 255).all()
