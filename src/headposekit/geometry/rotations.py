"""Pose ↔ rotation matrix, and distances between poses.

The one convention of this suite is that of 300W-LP and AFLW2000: yaw, pitch, roll in degrees, in this order. Seen in the
picture, positive yaw turns the nose to the image's left, positive pitch looks up, positive roll leans the head clockwise.

The matrix lives in frame A (x right, y up, z toward the viewer) and takes points of the head to points before the camera:
`R = X(-pitch) Y(-yaw) Z(-roll)` with ordinary right-handed rotations X, Y, Z, that is the intrinsic "XYZ" angles
(-pitch, -yaw, -roll). Source: 3DDFA's matrix for `Pose_Para`, confirmed on its landmarks.
"""

import math

import torch
from torch import Tensor, nn


def pose_to_matrix(pose: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3), frame A, of poses (..., 3) in degrees of any range; same dtype.

    >>> pose_to_matrix(torch.tensor([90.0, 0.0, 0.0])).round().long().tolist()  # the nose (z) points to the left (-x)
    [[0, 0, -1], [0, 1, 0], [1, 0, 0]]
    """
    # Written out, which is ten times faster than three quaternions: every synthetic head and every error needs it.
    sin_y, sin_p, sin_r = (-torch.deg2rad(pose)).sin().unbind(-1)
    cos_y, cos_p, cos_r = torch.deg2rad(pose).cos().unbind(-1)
    entries = [
        cos_y * cos_r, -cos_y * sin_r, sin_y,
        sin_p * sin_y * cos_r + cos_p * sin_r, cos_p * cos_r - sin_p * sin_y * sin_r, -sin_p * cos_y,
        sin_p * sin_r - cos_p * sin_y * cos_r, sin_p * cos_r + cos_p * sin_y * sin_r, cos_p * cos_y,
    ]  # fmt: skip
    matrix: Tensor = torch.stack(entries, dim=-1).unflatten(-1, (3, 3))
    return matrix


def matrix_to_pose(matrix: Tensor) -> Tensor:
    """Poses (..., 3) in degrees of rotation matrices (..., 3, 3), the inverse of `pose_to_matrix`; same dtype.

    Yaw comes out in [-90, 90], pitch and roll in (-180, 180]. At |yaw| = 90 (gimbal lock) only one combination of pitch
    and roll exists: roll is set to 0 and pitch takes all of it, so the matrix is still reproduced.
    """
    first, second, third = matrix.unbind(-2)
    cos_yaw = first[..., :2].square().sum(dim=-1).sqrt()  # ONNX has no hypot
    yaw = torch.atan2(-first[..., 2], cos_yaw)
    locked = cos_yaw < 1e-6
    pitch = torch.where(locked, torch.atan2(-third[..., 1], second[..., 1]), torch.atan2(second[..., 2], third[..., 2]))
    roll = torch.where(locked, 0.0, torch.atan2(first[..., 1], first[..., 0]))
    return torch.stack([yaw, pitch, roll], dim=-1) * (180 / math.pi)


def sixd_to_matrix(numbers: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) whose first two columns six numbers (..., 6) give, by Gram and Schmidt's procedure.

    Columns: x = a / |a|, z = x × b / |x × b|, y = z × x, for a and b the first and the last three numbers (Zhou et al., On the
    Continuity of Rotation Representations in Neural Networks, CVPR 2019). 6DRepNet means our matrix transposed by it.
    """
    first, second = numbers.unflatten(-1, (2, 3)).unbind(-2)
    x = nn.functional.normalize(first, dim=-1, eps=1e-8)
    z = nn.functional.normalize(cross_product(x, second), dim=-1, eps=1e-8)
    return torch.stack([x, cross_product(z, x), z], dim=-1)


def cross_product(a: Tensor, b: Tensor) -> Tensor:
    """The cross product of vectors (..., 3), in operators that ONNX knows."""
    (a1, a2, a3), (b1, b2, b3) = a.unbind(-1), b.unbind(-1)
    return torch.stack([a2 * b3 - a3 * b2, a3 * b1 - a1 * b3, a1 * b2 - a2 * b1], dim=-1)


def nearest_pose(pose: Tensor, reference: Tensor) -> Tensor:
    """The same rotations in the angles nearest to a reference; all (..., 3), degrees.

    Two triples name a rotation, (yaw, pitch, roll) and (180 - yaw, pitch + 180, roll + 180), each angle up to whole turns.
    """
    other = pose.new_tensor([180.0, 180.0, 180.0]) + pose * pose.new_tensor([-1.0, 1.0, 1.0])
    first, second = (reference + wrap_degrees(angles - reference) for angles in (pose, other))
    is_first = (first - reference).norm(dim=-1, keepdim=True) <= (second - reference).norm(dim=-1, keepdim=True)
    return torch.where(is_first, first, second)


def geodesic_distance(pose_a: Tensor, pose_b: Tensor) -> Tensor:
    """Angle of the rotation that takes one head to the other, (...,), degrees in [0, 180]; computed in float64."""
    difference = pose_to_matrix(pose_a.double()) - pose_to_matrix(pose_b.double())
    # |A - B| = 2 sqrt(2) sin(angle / 2), in the Frobenius norm: exact for small angles too, where the trace's cosine is not.
    sine = torch.linalg.matrix_norm(difference) / 8**0.5
    return torch.rad2deg(2 * torch.asin(sine.clamp_max(1)))


def wrap_degrees(angle: Tensor) -> Tensor:
    """The same angles in [-180, 180).

    >>> wrap_degrees(torch.tensor([190.0, -180.0, 180.0, 725.0])).tolist()
    [-170.0, -180.0, -180.0, 5.0]
    """
    return torch.remainder(angle + 180, 360) - 180


def angular_error(predicted: Tensor, true: Tensor) -> Tensor:
    """Absolute error per angle in degrees, in [0, 180]: 179 and -179 are 2 apart, a backwards face is 180 off.

    The papers do not wrap; on labels within ±99 the two agree unless a prediction is more than 180 degrees off.
    """
    return wrap_degrees(predicted - true).abs()
