"""What every head has: from the numbers of the last layer to a pose, with the loss that belongs to it."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from headposekit.geometry.rotations import pose_to_matrix
from headposekit.geometry.so3 import DEGREES, matrix_to_upright_pose, rotation_angle
from headposekit.types import Batch, PoseOutput

MAX_SPREAD = 360 / 12**0.5
"""Degrees: the standard deviation of an angle of which nothing is known."""


@dataclass(kw_only=True)
class HeadOutput(PoseOutput):
    """The pose, and the numbers that it is made of."""

    numbers: Tensor  # (B, size)


class Head(nn.Module, ABC):
    """What the numbers of the last layer mean; nothing here is learned.

    Attributes:
        size: how many numbers there are.
        trained_by: kinds of losses, beside its own, that it can be trained by: `angles`, `rotation`.
    """

    size = 0
    trained_by: tuple[str, ...] = ()

    def start(self) -> Tensor:
        """(size,) the numbers of a face seen from the front, with which a training begins."""
        return torch.zeros(self.size)

    @abstractmethod
    def forward(self, numbers: Tensor) -> HeadOutput:
        """(B, size) to poses and rotations."""

    @abstractmethod
    def loss(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar: the loss that belongs to this head."""

    def check(self, pose: Tensor) -> None:
        """Refuse labels (B, 3) that the head cannot learn, by InputError."""


class AngleHead(Head):
    """A head that predicts angles, each for itself; its own loss is their mean absolute error in degrees."""

    trained_by = ("angles", "rotation")

    @abstractmethod
    def angles(self, numbers: Tensor) -> Tensor:
        """(B, size) to yaw, pitch, roll (B, 3) in degrees."""

    def forward(self, numbers: Tensor) -> HeadOutput:
        """(B, size) to poses."""
        return HeadOutput(self.angles(numbers), numbers=numbers)

    def loss(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar, degrees."""
        return (output.pose - batch["pose"]).abs().mean()


class RotationHead(Head):
    """A head that predicts a rotation; its own loss is the mean angle to the true one, in radians."""

    trained_by = ("rotation",)

    @abstractmethod
    def rotation(self, numbers: Tensor) -> Tensor:
        """(B, size) to rotations (B, 3, 3)."""

    def forward(self, numbers: Tensor) -> HeadOutput:
        """(B, size) to poses and rotations."""
        rotation = self.rotation(numbers)
        return HeadOutput(matrix_to_upright_pose(rotation), rotation=rotation, numbers=numbers)

    def loss(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar, radians."""
        return rotation_angle(rotation_of(output), pose_to_matrix(batch["pose"])).mean()


class ProbabilisticHead(Head):
    """A head that predicts a distribution of rotations, trained by its likelihood alone.

    Densities are with respect to the uniform distribution of rotations, whose own is 1. A `temperature` above 1 makes the
    distributions wider; the pose stays.
    """

    @abstractmethod
    def log_density(self, output: HeadOutput, true: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """(B,) log density at true poses (B, 3) in degrees."""

    @abstractmethod
    def level(self, output: HeadOutput, true: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """(B,) probability, 0 to 1, of the smallest region that reaches to the true pose: evenly spread if calibrated."""

    @abstractmethod
    def spreads(self, output: HeadOutput, temperature: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
        """(B, 3) standard deviations of yaw, pitch, roll, and (B,) root mean square angle of the rotation; degrees."""

    def loss(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar: mean negative log likelihood."""
        return -self.log_density(output, batch["pose"]).mean()


def rotation_of(output: PoseOutput) -> Tensor:
    """Rotations (B, 3, 3) of any network's output."""
    return pose_to_matrix(output.pose) if output.rotation is None else output.rotation


def spreads_of(rotation: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor]:
    """`ProbabilisticHead.spreads` of a rotation (B, 3, 3) and the covariance (B, 3, 3) of its errors.

    An error is a rotation vector in the head's own frame, radians. Near a yaw of 90 degrees a small turn changes pitch and
    roll by much, up to `MAX_SPREAD`.
    """
    cos_yaw = (rotation[:, 0, 0].square() + rotation[:, 0, 1].square()).clamp_min(1e-6).sqrt()
    cos_roll, sin_roll = rotation[:, 0, 0] / cos_yaw, -rotation[:, 0, 1] / cos_yaw  # with the signs of the matrix
    zero = 0 * cos_yaw  # a constant would keep the size of the batch in ONNX
    one = zero + 1
    of_yaw = torch.stack([sin_roll, cos_roll, zero], dim=-1)
    of_pitch = torch.stack([cos_roll / cos_yaw, -sin_roll / cos_yaw, zero], dim=-1)
    of_roll = torch.stack([zero, zero, one], dim=-1) - rotation[:, 0, 2].unsqueeze(-1) * of_pitch
    slopes = torch.stack([of_yaw, of_pitch, of_roll], dim=1)
    variance = ((slopes @ covariance) * slopes).sum(dim=-1)
    total = covariance[:, 0, 0] + covariance[:, 1, 1] + covariance[:, 2, 2]
    return (variance.sqrt() * DEGREES).clamp_max(MAX_SPREAD), total.sqrt() * DEGREES


def chi_square_3(squares: Tensor) -> Tensor:
    """Probability that the sum of three squared standard normal numbers is below these values, of any shape."""
    return torch.erf((squares / 2).sqrt()) - (2 * squares / torch.pi).sqrt() * (-squares / 2).exp()
