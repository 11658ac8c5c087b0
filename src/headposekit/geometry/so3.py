"""Rotations as networks predict them and losses compare them: gradients are finite everywhere, ONNX knows the operators."""

import math
from typing import Any

import torch
from torch import Tensor

SQUARINGS, TIE = 40, 1e-10
"""Of `special_orthogonal`: its power iteration is that of 2**40 steps, and what chooses where several rotations are as near."""
DEGREES = 180 / math.pi
"""Of a radian; torch's own functions are none of ONNX."""
LOCK = 3e-4
"""Cosine of yaw below which single precision tells pitch from roll no more."""
TINY = 1e-14
"""Under a root, so that its slope is finite at 0; squared radians."""


def quaternion_to_matrix(quaternion: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4), w first, of any length but 0; q and -q are the same rotation."""
    unit = torch.nn.functional.normalize(quaternion, dim=-1)
    return _matrix_of_products(unit.unsqueeze(-1) * unit.unsqueeze(-2))


def _matrix_of_products(product: Tensor) -> Tensor:
    """Rotation matrices (..., 3, 3) of the products q qᵀ (..., 4, 4) of unit quaternions."""
    (ww, wx, wy, wz), (_, xx, xy, xz), (_, _, yy, yz), (_, _, _, zz) = (row.unbind(-1) for row in product.unbind(-2))
    entries = [
        ww + xx - yy - zz, 2 * (xy - wz), 2 * (xz + wy),
        2 * (xy + wz), ww - xx + yy - zz, 2 * (yz - wx),
        2 * (xz - wy), 2 * (yz + wx), ww - xx - yy + zz,
    ]  # fmt: skip
    matrix: Tensor = torch.stack(entries, dim=-1).unflatten(-1, (3, 3))
    return matrix


def vector_to_quaternion(vector: Tensor) -> Tensor:
    """Unit quaternions (..., 4) of rotation vectors (..., 3), axis times angle in radians."""
    half = (vector.square().sum(dim=-1, keepdim=True) + TINY).sqrt() / 2
    return torch.cat([half.cos(), vector * (half.sin() / (2 * half))], dim=-1)


def quaternion_to_vector(quaternion: Tensor) -> Tensor:
    """The inverse of `vector_to_quaternion`, with angles up to pi."""
    w, xyz = quaternion.split([1, 3], dim=-1)
    xyz = torch.where(w < 0, -xyz, xyz)
    length = (xyz.square().sum(dim=-1, keepdim=True) + TINY).sqrt()
    return xyz * (2 * torch.atan2(length, w.abs()) / length)


def pose_to_quaternion(pose: Tensor) -> Tensor:
    """Unit quaternions (..., 4) of poses (..., 3) in degrees: the rotation of `pose_to_matrix`."""
    yaw, pitch, roll = (-torch.deg2rad(pose) / 2).unbind(-1)
    zero = torch.zeros_like(yaw)
    x = torch.stack([pitch.cos(), pitch.sin(), zero, zero], dim=-1)
    y = torch.stack([yaw.cos(), zero, yaw.sin(), zero], dim=-1)
    z = torch.stack([roll.cos(), zero, zero, roll.sin()], dim=-1)
    return multiply(multiply(x, y), z)


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """Products of quaternions (..., 4)."""
    aw, ax, ay, az = a.unbind(-1)
    bw, bx, by, bz = b.unbind(-1)
    parts = [
        aw * bw - ax * bx - ay * by - az * bz,
        aw * bx + ax * bw + ay * bz - az * by,
        aw * by - ax * bz + ay * bw + az * bx,
        aw * bz + ax * by - ay * bx + az * bw,
    ]
    return torch.stack(parts, dim=-1)


def conjugate(quaternion: Tensor) -> Tensor:
    """Inverses of unit quaternions (..., 4)."""
    w, xyz = quaternion.split([1, 3], dim=-1)
    return torch.cat([w, -xyz], dim=-1)


def rotation_angle(first: Tensor, second: Tensor) -> Tensor:
    """Angle (...) in radians, 0 to pi, of the rotation between two (..., 3, 3); its gradient is bounded, also at 0 and pi."""
    between = first.transpose(-2, -1) @ second
    twice_axis = torch.stack([between[..., i, j] - between[..., j, i] for i, j in ((2, 1), (0, 2), (1, 0))], dim=-1)
    sine = (twice_axis.square().sum(dim=-1) / 4 + TINY).sqrt()
    return torch.atan2(sine, (trace(between) - 1) / 2)


def trace(matrix: Tensor) -> Tensor:
    """Sums of the diagonals (...) of (..., 3, 3)."""
    return matrix[..., 0, 0] + matrix[..., 1, 1] + matrix[..., 2, 2]


def matrix_to_upright_pose(rotation: Tensor) -> Tensor:
    """Poses (..., 3) in degrees of rotations (..., 3, 3), as `geometry.rotations.upright_pose` chooses them: pitch within ±90.

    With gradients, and in operators that ONNX knows. At a yaw of 90 degrees (gimbal lock) roll is 0.
    """
    (a, b, c), (_, e, f), (_, h, i) = (row.unbind(-1) for row in rotation.unbind(-2))
    cos_yaw = (a.square() + b.square() + TINY).sqrt()
    yaw = torch.atan2(-c, cos_yaw)
    is_locked = cos_yaw < LOCK
    pitch = torch.where(is_locked, torch.atan2(-h, e), torch.atan2(f, i))
    roll = torch.atan2(b, a) * (~is_locked).to(b.dtype)
    first = torch.stack([yaw, pitch, roll], dim=-1)
    half_turn = math.pi * (2 * (first >= 0).to(first.dtype) - 1)
    second = (half_turn - first) * first.new_tensor([1.0, -1.0, -1.0])
    is_upright = pitch.abs() <= math.pi / 2
    return torch.where(is_upright.unsqueeze(-1), first, second) * DEGREES


def special_orthogonal(matrix: Tensor) -> Tensor:
    """The rotations nearest to any matrices (..., 3, 3), in the Frobenius norm; the identity for 0.

    The gradient needs no singular vectors, which are not unique: it exists where the nearest rotation is unique.

    Reference: Levinson et al., An Analysis of SVD for Deep Rotation Estimation, NeurIPS 2020.
    """
    if torch.is_grad_enabled() and matrix.requires_grad:
        return _SpecialOrthogonal.apply(matrix)  # type: ignore[no-any-return]  # torch's own
    return _nearest_rotation(matrix)


def _nearest_rotation(matrix: Tensor) -> Tensor:
    """By Davenport's q-method: q maximises qᵀKq; squaring K again and again leaves the product q qᵀ."""
    wide = matrix.to(wide_type(matrix))
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in wide.unbind(-2))
    entries = [
        a + e + i, h - f, c - g, d - b,
        h - f, a - e - i, b + d, c + g,
        c - g, b + d, e - a - i, f + h,
        d - b, c + g, f + h, i - a - e,
    ]  # fmt: skip
    profile = torch.stack(entries, dim=-1).unflatten(-1, (4, 4))
    size = (3 * wide.square().sum(dim=(-2, -1), keepdim=True)).sqrt() + 1e-30  # no eigenvalue is below -size
    order = torch.arange(4, 0, -1, dtype=wide.dtype, device=wide.device)
    power = profile / size + torch.diag(1 + TIE * order)
    for _ in range(SQUARINGS):
        power = power @ power
        power = power / (trace(power) + power[..., 3, 3]).unsqueeze(-1).unsqueeze(-1)
    return _matrix_of_products(power).to(matrix.dtype)


class _SpecialOrthogonal(torch.autograd.Function):
    """With M = R P, P symmetric, a small dM turns R by the w that solves (tr(P) I - P) w = vee(RᵀdM - dMᵀR)."""

    @staticmethod
    def forward(context: Any, matrix: Tensor) -> Tensor:
        rotation = _nearest_rotation(matrix)
        context.save_for_backward(matrix, rotation)
        return rotation

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        matrix, rotation = context.saved_tensors
        wide = wide_type(matrix)
        stiff = stiffness(matrix.to(wide), rotation.to(wide))
        turned = rotation.to(wide).transpose(-2, -1) @ gradient.to(wide)
        axis = torch.stack([turned[..., 2, 1] - turned[..., 1, 2], turned[..., 0, 2] - turned[..., 2, 0],
                            turned[..., 1, 0] - turned[..., 0, 1]], dim=-1)  # fmt: skip
        floor = 1e-6 * (trace(stiff).abs() + 1e-6)
        stiff = stiff + floor.unsqueeze(-1).unsqueeze(-1) * torch.eye(3, dtype=wide, device=stiff.device)
        x, y, z = torch.linalg.solve(stiff, axis.unsqueeze(-1)).squeeze(-1).unbind(-1)
        zero = torch.zeros_like(x)
        skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))
        result: Tensor = (rotation.to(wide) @ skew).to(gradient.dtype)
        return result


def stiffness(matrix: Tensor, rotation: Tensor) -> Tensor:
    """tr(P) I - P (..., 3, 3), of P = RᵀA made symmetric: how fast tr(AᵀR) falls as R turns about each axis of the head."""
    product = rotation.transpose(-2, -1) @ matrix
    symmetric = (product + product.transpose(-2, -1)) / 2
    return trace(symmetric).unsqueeze(-1).unsqueeze(-1) * torch.eye(3, dtype=matrix.dtype, device=matrix.device) - symmetric


def wide_type(like: Tensor) -> torch.dtype:
    """Double precision, where the device has it: Apple's GPUs do not."""
    return torch.float32 if like.device.type == "mps" else torch.float64
