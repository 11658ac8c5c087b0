"""Heads that predict one rotation, without saying how sure they are."""

import torch
from torch import Tensor
from torch.nn import functional

from headposekit.geometry.rotations import pose_to_matrix
from headposekit.geometry.so3 import DEGREES, pose_to_quaternion, quaternion_to_matrix, special_orthogonal, vector_to_quaternion
from headposekit.heads.base import AngleHead, HeadOutput, RotationHead, rotation_of
from headposekit.models.fsanet import NUM_ANGLES, NUM_BINS, NUM_STAGES, activate, soft_stagewise_regression
from headposekit.types import Batch


class EulerHead(AngleHead):
    """Yaw, pitch and roll in radians."""

    size = 3

    def angles(self, numbers: Tensor) -> Tensor:
        """See `AngleHead`."""
        return numbers * DEGREES


class SinCosHead(AngleHead):
    """Sine and cosine of each angle, which have no edge at 180 degrees; its own loss is their mean squared error."""

    size = 6

    def start(self) -> Tensor:
        """See `Head`."""
        return torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0])

    def angles(self, numbers: Tensor) -> Tensor:
        """See `AngleHead`."""
        sine, cosine = numbers.split(3, dim=-1)
        length = (sine.square() + cosine.square() + 1e-6).sqrt()  # atan2 has no slope where both are 0
        return torch.atan2(sine / length, cosine / length + 1e-12) * DEGREES

    def loss(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar."""
        true = torch.deg2rad(batch["pose"])
        return functional.mse_loss(output.numbers, torch.cat([true.sin(), true.cos()], dim=-1))


class StagewiseHead(AngleHead):
    """FSA-Net's soft stagewise regression: three stages of three bins, each finer than the one before, within ±99 degrees.

    All stages read the same features; in `model=fsanet` each has its own.

    Reference: Yang et al., SSR-Net, IJCAI 2018, equation 5.
    """

    size = NUM_STAGES * NUM_ANGLES * (NUM_BINS + 2)

    def start(self) -> Tensor:
        """See `Head`: bin weights of a third each, for a ReLU at 0 would not learn."""
        stage = [1 / NUM_BINS] * (NUM_ANGLES * NUM_BINS) + [0.0] * (2 * NUM_ANGLES)
        return torch.tensor(stage * NUM_STAGES)

    def angles(self, numbers: Tensor) -> Tensor:
        """See `AngleHead`."""
        return soft_stagewise_regression(*activate(numbers.unflatten(-1, (NUM_STAGES, -1))))


class QuaternionHead(RotationHead):
    """A quaternion, w first, of any length; its own loss is the mean of 1 - |q·q'|."""

    size = 4

    def start(self) -> Tensor:
        """See `Head`."""
        return torch.tensor([1.0, 0.0, 0.0, 0.0])

    def rotation(self, numbers: Tensor) -> Tensor:
        """See `RotationHead`."""
        return quaternion_to_matrix(numbers)

    def loss(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar."""
        unit = functional.normalize(output.numbers, dim=-1)
        return 1 - (unit * pose_to_quaternion(batch["pose"])).sum(dim=-1).abs().mean()


class RotationVectorHead(RotationHead):
    """Axis times angle in radians."""

    size = 3

    def rotation(self, numbers: Tensor) -> Tensor:
        """See `RotationHead`."""
        return quaternion_to_matrix(vector_to_quaternion(numbers))


class SixDHead(RotationHead):
    """Two columns, made orthonormal one after the other (Gram-Schmidt).

    Reference: Zhou et al., On the Continuity of Rotation Representations in Neural Networks, CVPR 2019.
    """

    size = 6

    def start(self) -> Tensor:
        """See `Head`."""
        return torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0])

    def rotation(self, numbers: Tensor) -> Tensor:
        """See `RotationHead`."""
        first, second = numbers.split(3, dim=-1)
        x = functional.normalize(first, dim=-1, eps=1e-6)
        y = functional.normalize(second - (x * second).sum(dim=-1, keepdim=True) * x, dim=-1, eps=1e-6)
        (x0, x1, x2), (y0, y1, y2) = x.unbind(-1), y.unbind(-1)
        z = torch.stack([x1 * y2 - x2 * y1, x2 * y0 - x0 * y2, x0 * y1 - x1 * y0], dim=-1)
        return torch.stack([x, y, z], dim=-1)


class SVDHead(RotationHead):
    """The rotation nearest to a matrix, see `special_orthogonal`; its own loss is the squared Frobenius norm."""

    size = 9

    def start(self) -> Tensor:
        """See `Head`."""
        return torch.eye(3).flatten()

    def rotation(self, numbers: Tensor) -> Tensor:
        """See `RotationHead`."""
        return special_orthogonal(numbers.unflatten(-1, (3, 3)))

    def loss(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar."""
        return (rotation_of(output) - pose_to_matrix(batch["pose"])).square().sum(dim=(-2, -1)).mean()
