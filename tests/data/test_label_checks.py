import numpy as np
import pytest

from headposekit.data.label_checks import label_doubts

HEADS = np.random.default_rng(0).normal(0, [35, 15, 10], (400, 3)).clip(-99, 99)
SIZE = np.tile([480, 640], (400, 1))


def boxes(n: int, spread: float, side: float, seed: int = 0) -> np.ndarray:
    """Faces of about this side around the middle of a picture, as corners."""
    rng = np.random.default_rng(seed)
    middle = np.array([320, 240]) + spread * rng.normal(size=(n, 2))
    shape = np.exp(0.08 * rng.normal(size=n))[:, None] ** [1, -1]
    half = side / 2 * np.exp(0.15 * rng.normal(size=n))[:, None] * shape
    return np.concatenate([middle - half, middle + half], axis=1).clip(0, [640, 480, 640, 480])


@pytest.mark.parametrize("n", [8, 24, 400])
def test_degrees_of_heads_raise_no_doubt(n: int) -> None:
    assert label_doubts(HEADS[:n]) == []


@pytest.mark.parametrize(
    ("n", "spread"), [(1, 1), (3, 1), (12, 1), (60, 1), (400, 1), (1, 2), (8, 2), (60, 2), (8, 4), (400, 4)]
)
def test_degrees_of_people_who_look_into_the_camera_raise_no_doubt(n: int, spread: float) -> None:
    for seed in range(20):
        assert label_doubts(np.random.default_rng(seed).normal(0, spread, (n, 3))) == []


@pytest.mark.parametrize(
    "pose", [np.zeros((50, 3)), np.full((50, 3), 1.5), np.tile([[0, 0, 0], [1, 2, 3]], (9, 1)), np.full((2, 3), np.nan)]
)
def test_a_set_without_spread_says_nothing(pose: np.ndarray) -> None:
    assert label_doubts(pose) == []


@pytest.mark.parametrize("n", [8, 24, 400])
def test_radians(n: int) -> None:
    for pose in (np.radians(HEADS[:n]), np.radians(HEADS[:n] % 360)):
        (doubt,) = label_doubts(pose)
        assert f"of {n} faces would all be within ±1.75 degrees: they look like radians" in doubt


def test_radians_with_a_few_unwrapped_angles() -> None:
    pose = np.radians(HEADS)
    pose[::50] = 17
    assert "392 of 400 faces" in label_doubts(pose)[0]


@pytest.mark.parametrize("n", [8, 24, 400])
def test_angles_from_0_to_360(n: int) -> None:
    (doubt,) = label_doubts(HEADS[:n] % 360)
    assert doubt.startswith("yaw, pitch, roll: from 261 to 360 degrees for ")
    pose = HEADS[:n].copy()
    pose[:, 2] %= 360
    assert label_doubts(pose)[0].startswith("roll: from 261 to 360 degrees for ")


def test_a_stray_angle_raises_no_doubt() -> None:
    pose = np.abs(HEADS)
    pose[3] = 350
    assert label_doubts(pose) == []


def test_a_wrong_zero() -> None:
    assert "lie beyond ±99 degrees" in label_doubts(HEADS + [180, 0, 0])[0]


@pytest.mark.parametrize(("spread", "side"), [(0, 250), (20, 300), (60, 150), (120, 80)])
@pytest.mark.parametrize("n", [8, 400])
def test_corners_raise_no_doubt(n: int, spread: float, side: float) -> None:
    for seed in range(10):
        assert label_doubts(HEADS[:n], boxes(n, spread, side, seed), SIZE[:n]) == []


@pytest.mark.parametrize("n", [8, 400])
def test_widths_and_heights_in_place_of_corners(n: int) -> None:
    corners = boxes(n, 20, 330)
    given = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    (doubt,) = label_doubts(HEADS[:n], given, SIZE[:n])
    assert "look like x, y, width, height" in doubt
    assert label_doubts(HEADS[:n], given, np.zeros_like(SIZE[:n])) == []  # pictures of unknown size


def test_boxes_as_shares_of_the_picture() -> None:
    shares = boxes(24, 20, 330) / [640, 480, 640, 480]
    (doubt,) = label_doubts(HEADS[:24], shares, SIZE[:24])
    assert doubt.startswith("the boxes of 24 of 24 faces lie between 0 and 1")
