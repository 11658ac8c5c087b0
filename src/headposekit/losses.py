"""Losses: called with a network's output and the batch, they return one number to minimise.

Each says what it `compares`: angles, or rotations, which every pose has. `headposekit.training.PoseModule` refuses a loss for a
head that is not trained by such.
"""

import math
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.geometry.rotations import pose_to_matrix, wrap_degrees
from headposekit.geometry.so3 import rotation_angle
from headposekit.heads.base import Head, HeadOutput, rotation_of
from headposekit.types import Batch, PoseOutput


class BinnedOutput(Protocol):
    """What a network with bins returns, at least."""

    pose: Tensor  # (B, 3), yaw, pitch, roll in degrees
    logits: Tensor  # (B, 3, num_bins)


class MultiBinLoss(nn.Module):
    """Hopenet's: sum over the angles of cross entropy + alpha × squared error of the expectation, means over the batch (eq. 1).

    Args:
        bins: of the network.
        alpha: weight of the squared error, per squared degree.
    """

    def __init__(self, bins: AngleBins, alpha: float = 1.0) -> None:
        super().__init__()
        if not isinstance(alpha, int | float) or not alpha >= 0:
            raise InputError(f"loss.alpha={alpha} is no weight; give 0 or more")
        self.bins, self.alpha = bins, alpha

    def check(self, pose: Tensor) -> None:
        """Refuse labels (B, 3) that no bin holds, by InputError."""
        self.bins.check(pose)

    def forward(self, output: BinnedOutput, batch: Batch) -> Tensor:
        """Scalar."""
        true = batch["pose"]
        # mean over batch × angles, times the angles: the sum of the three means
        cross_entropy = functional.cross_entropy(output.logits.float().flatten(0, 1), self.bins.labels(true).flatten())
        return 3 * (cross_entropy + self.alpha * functional.mse_loss(output.pose, true))


class MeanAbsoluteError(nn.Module):
    """Mean |predicted - true| over batch and angles, in degrees, without wrapping.

    FSA-Net's loss as coded (Keras "mae"); its paper writes the sum over the angles, three times as much.
    """

    compares = "angles"

    def forward(self, output: PoseOutput, batch: Batch) -> Tensor:
        """Scalar, degrees."""
        return (output.pose - batch["pose"]).abs().mean()


class MeanSquaredError(nn.Module):
    """Mean (predicted - true)² over batch and angles, in squared degrees: Hopenet's regression baseline."""

    compares = "angles"

    def forward(self, output: PoseOutput, batch: Batch) -> Tensor:
        """Scalar, squared degrees."""
        return (output.pose - batch["pose"]).square().mean()


class WrappedError(nn.Module):
    """Mean squared error of the angles in squared degrees, none of them more than 180 degrees off.

    Reference: Zhou and Gregson, WHENet, BMVC 2020.
    """

    compares = "angles"

    def forward(self, output: PoseOutput, batch: Batch) -> Tensor:
        """Scalar, squared degrees."""
        return wrap_degrees(output.pose - batch["pose"]).square().mean()


class GeodesicLoss(nn.Module):
    """Mean angle between the predicted and the true rotation, in radians."""

    compares = "rotation"

    def forward(self, output: PoseOutput, batch: Batch) -> Tensor:
        """Scalar, radians."""
        return rotation_angle(rotation_of(output), pose_to_matrix(batch["pose"])).mean()


class FrobeniusLoss(nn.Module):
    """Mean squared Frobenius norm of the difference of the two rotation matrices: 8 sin²(angle / 2)."""

    compares = "rotation"

    def forward(self, output: PoseOutput, batch: Batch) -> Tensor:
        """Scalar."""
        return (rotation_of(output) - pose_to_matrix(batch["pose"])).square().sum(dim=(-2, -1)).mean()


class OpalLoss(nn.Module):
    """A function of the geodesic angle: squared near zero, a hyperbolic tangent between, linear beyond.

    Value and slope are continuous; the slope is 1 at `near`, and falls to 0.42 at `far`.

    Args:
        near, far: degrees where the parts meet. The paper leaves its constants to the data; these are ours.

    Reference: Cobo et al., On the representation and methodology for wide and short range head pose estimation, Pattern
    Recognition 2024, from its description.
    """

    compares = "rotation"

    def __init__(self, near: float = 5.0, far: float = 30.0) -> None:
        super().__init__()
        if not 0 < near < far <= 180:
            raise InputError(f"loss.near={near}, loss.far={far}: give degrees with 0 < near < far, up to 180")
        self.near, self.far = math.radians(near), math.radians(far)

    def forward(self, output: PoseOutput, batch: Batch) -> Tensor:
        """Scalar, radians."""
        return self.of_angle(rotation_angle(rotation_of(output), pose_to_matrix(batch["pose"]))).mean()

    def of_angle(self, angle: Tensor) -> Tensor:
        """The loss of angles in radians, of any shape."""
        width = self.far - self.near
        slope = 1 - math.tanh(1) ** 2
        squared = angle.square() / (2 * self.near)
        between = self.near / 2 + width * ((angle - self.near) / width).tanh()
        beyond = self.near / 2 + width * math.tanh(1) + slope * (angle - self.far)
        return torch.where(angle < self.near, squared, torch.where(angle < self.far, between, beyond))


class HeadLoss(nn.Module):
    """The loss that belongs to the head, such as its negative log likelihood.

    Args:
        head: of the network.
    """

    compares = "head"

    def __init__(self, head: Head) -> None:
        super().__init__()
        self.head = head

    def check(self, pose: Tensor) -> None:
        """Refuse labels (B, 3) that the head cannot learn, by InputError."""
        self.head.check(pose)

    def forward(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar."""
        return self.head.loss(output, batch)
