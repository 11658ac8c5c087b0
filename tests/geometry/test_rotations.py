import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from headposekit.geometry.rotations import (
    angular_error,
    geodesic_distance,
    matrix_to_pose,
    pose_to_matrix,
    sixd_to_matrix,
    wrap_degrees,
)

angle = st.floats(-179, 179, allow_nan=False)
yaw = st.floats(-89, 89, allow_nan=False)
poses = st.tuples(yaw, angle, angle).map(lambda p: torch.tensor(p, dtype=torch.float64))


def matrix_of_protocol(yaw: float, pitch: float, roll: float) -> np.ndarray:
    """The 3DDFA matrix written out."""
    y, p, r = np.radians([yaw, pitch, roll])
    cy, sy, cp, sp, cr, sr = np.cos(y), np.sin(y), np.cos(p), np.sin(p), np.cos(r), np.sin(r)
    return np.array(
        [
            [cy * cr, cy * sr, -sy],
            [-cp * sr + sp * sy * cr, cp * cr + sp * sy * sr, sp * cy],
            [sp * sr + cp * sy * cr, -sp * cr + cp * sy * sr, cp * cy],
        ]
    )


@given(poses)
def test_matrix_is_the_3ddfa_matrix(pose: torch.Tensor) -> None:
    np.testing.assert_allclose(pose_to_matrix(pose).numpy(), matrix_of_protocol(*pose.tolist()), atol=1e-12)


@given(poses)
def test_matrix_is_scipys(pose: torch.Tensor) -> None:
    y, p, r = pose.tolist()
    expected = Rotation.from_euler("zyx", [-r, -y, -p], degrees=True).as_matrix()
    np.testing.assert_allclose(pose_to_matrix(pose).numpy(), expected, atol=1e-12)


@given(poses)
def test_pose_survives_the_matrix(pose: torch.Tensor) -> None:
    assert angular_error(matrix_to_pose(pose_to_matrix(pose)), pose).max() < 1e-6


@pytest.mark.parametrize("yaw", [90.0, -90.0])
def test_gimbal_lock_keeps_the_rotation_and_gives_all_to_pitch(yaw: float) -> None:
    pose = torch.tensor([yaw, 20.0, 30.0], dtype=torch.float64)
    back = matrix_to_pose(pose_to_matrix(pose))
    assert back[0] == pytest.approx(yaw)
    assert back[1] == pytest.approx(-10.0 if yaw > 0 else 50.0)
    assert back[2] == 0
    np.testing.assert_allclose(pose_to_matrix(back), pose_to_matrix(pose), atol=1e-12)


@pytest.mark.parametrize(
    ("pose", "nose"),
    [((90, 0, 0), (-1, 0, 0)), ((0, 90, 0), (0, 1, 0)), ((0, 0, 30), (0, 0, 1))],
    ids=["positive yaw points to the image's left", "positive pitch looks up", "roll leaves the nose"],
)
def test_signs(pose: tuple[float, ...], nose: tuple[float, ...]) -> None:
    matrix = pose_to_matrix(torch.tensor(pose, dtype=torch.float64))
    np.testing.assert_allclose(matrix[:, 2], nose, atol=1e-12)


def test_positive_roll_lowers_the_eye_on_the_images_right() -> None:
    right = pose_to_matrix(torch.tensor([0.0, 0.0, 30.0]))[:, 0]
    assert right[0] > 0
    assert right[1] == pytest.approx(-0.5, abs=1e-6)  # y is up


def test_geodesic_of_one_angle_is_that_angle() -> None:
    zero = torch.zeros(3, 3)
    one = torch.tensor([[40.0, 0, 0], [0, -70.0, 0], [0, 0, 179.0]])
    np.testing.assert_allclose(geodesic_distance(zero, one), [40, 70, 179], atol=1e-6)


@given(poses, poses, poses)
def test_geodesic_is_a_metric(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> None:
    ab, ba, bc, ac = (geodesic_distance(*pair) for pair in ((a, b), (b, a), (b, c), (a, c)))
    assert abs(ab - ba) < 1e-6
    assert ac <= ab + bc + 1e-5
    assert 0 <= ab <= 180 + 1e-9


def test_errors_wrap_at_360_only() -> None:
    predicted, true = torch.tensor([179.0, 180.0, 359.0, -170.0]), torch.tensor([-179.0, 0.0, 1.0, 190.0])
    assert angular_error(predicted, true).tolist() == [2, 180, 2, 0]


@given(st.floats(-2000, 2000))
def test_wrap_is_the_same_angle_in_range(value: float) -> None:
    wrapped = float(wrap_degrees(torch.tensor(value, dtype=torch.float64)))
    assert -180 <= wrapped < 180
    assert np.cos(np.radians(wrapped)) == pytest.approx(np.cos(np.radians(value)), abs=1e-9)


def test_gradients_reach_the_pose() -> None:
    pose = torch.tensor([[10.0, 20.0, 30.0]], requires_grad=True)
    pose_to_matrix(pose).sum().backward()
    assert torch.isfinite(pose.grad).all()
    assert (pose.grad != 0).all()


@given(poses, st.floats(0.1, 10), st.floats(0.1, 10), st.floats(-3, 3))
def test_six_numbers_give_the_rotation_that_their_columns_span(pose: torch.Tensor, a: float, b: float, c: float) -> None:
    matrix = pose_to_matrix(pose)
    x, y, _ = matrix.unbind(-1)
    numbers = torch.cat([a * x, b * y + c * x])  # neither lengths nor the angle between them count
    np.testing.assert_allclose(sixd_to_matrix(numbers), matrix, atol=1e-9)
    np.testing.assert_allclose(sixd_to_matrix(numbers.expand(2, 3, 6))[1, 2], matrix, atol=1e-9)
