import math

import pytest
import torch

from headposekit.geometry.rotations import geodesic_distance, pose_to_matrix
from headposekit.geometry.so3 import (
    conjugate,
    matrix_to_upright_pose,
    multiply,
    pose_to_quaternion,
    quaternion_to_matrix,
    quaternion_to_vector,
    rotation_angle,
    special_orthogonal,
    vector_to_quaternion,
)


def any_poses(count: int = 500) -> torch.Tensor:
    torch.manual_seed(0)
    return (torch.rand(count, 3, dtype=torch.float64) * 2 - 1) * torch.tensor([180.0, 90.0, 90.0])


def test_quaternions_are_the_rotations_of_the_poses() -> None:
    poses = any_poses()
    quaternion = pose_to_quaternion(poses)
    torch.testing.assert_close(quaternion_to_matrix(-3 * quaternion), pose_to_matrix(poses))
    product = quaternion_to_matrix(multiply(quaternion[:250], conjugate(quaternion[250:])))
    torch.testing.assert_close(product, pose_to_matrix(poses[:250]) @ pose_to_matrix(poses[250:]).mT)
    vector = quaternion_to_vector(quaternion)
    assert vector.norm(dim=-1).max() <= math.pi
    torch.testing.assert_close(quaternion_to_matrix(vector_to_quaternion(vector)), pose_to_matrix(poses))


def test_heads_seen_from_behind_have_a_yaw_and_stay_upright() -> None:
    poses = any_poses()
    poses = poses[poses[:, 1:].abs().sum(dim=-1) < 170]
    torch.testing.assert_close(matrix_to_upright_pose(pose_to_matrix(poses)), poses, atol=1e-4, rtol=0)
    assert matrix_to_upright_pose(pose_to_matrix(torch.tensor([[170.0, 10.0, -5.0]]))).round().tolist() == [[170, 10, -5]]


def test_nearest_rotation_is_that_of_the_singular_value_decomposition() -> None:
    torch.manual_seed(0)
    matrices = torch.randn(200, 3, 3, dtype=torch.float64)
    u, _, vh = torch.linalg.svd(matrices)
    sign = torch.ones(200, 3, dtype=torch.float64)
    sign[:, 2] = torch.linalg.det(u @ vh)
    torch.testing.assert_close(special_orthogonal(matrices), u @ torch.diag_embed(sign) @ vh)
    assert torch.autograd.gradcheck(special_orthogonal, (matrices[:4].requires_grad_(),))
    assert torch.equal(special_orthogonal(torch.zeros(3, 3)), torch.eye(3))


def test_gradient_of_the_nearest_rotation_is_finite_where_singular_values_are_equal() -> None:
    for matrix in (torch.eye(3), torch.zeros(3, 3), torch.diag(torch.tensor([1.0, 1.0, -1.0]))):
        numbers = matrix.clone().requires_grad_()
        (special_orthogonal(numbers) * torch.arange(9.0).view(3, 3)).sum().backward()
        assert torch.isfinite(numbers.grad).all()


@pytest.mark.parametrize("degrees", [0.0, 1e-3, 1.0, 90.0, 179.0, 180.0])
def test_angle_between_rotations_and_its_gradient(degrees: float) -> None:
    first = pose_to_matrix(torch.tensor([20.0, -10.0, 5.0]))
    vector = torch.tensor([0.6, 0.0, 0.8]) * math.radians(degrees)
    second = (first @ quaternion_to_matrix(vector_to_quaternion(vector))).requires_grad_()
    angle = rotation_angle(first, second)
    assert math.degrees(angle.item()) == pytest.approx(degrees, abs=0.03)
    angle.backward()
    assert torch.isfinite(second.grad).all()
    assert second.grad.norm() < 3
    poses = any_poses(20)
    expected = torch.deg2rad(geodesic_distance(poses[:10], poses[10:]))
    torch.testing.assert_close(rotation_angle(pose_to_matrix(poses[:10]), pose_to_matrix(poses[10:])), expected)
