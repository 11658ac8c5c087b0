"""Losses: called with a network's output and the batch, they return one number to minimise."""

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
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

    def forward(self, output: PoseOutput, batch: Batch) -> Tensor:
        """Scalar, degrees."""
        return (output.pose - batch["pose"]).abs().mean()


class MeanSquaredError(nn.Module):
    """Mean (predicted - true)² over batch and angles, in squared degrees: Hopenet's regression baseline."""

    def forward(self, output: PoseOutput, batch: Batch) -> Tensor:
        """Scalar, squared degrees."""
        return (output.pose - batch["pose"]).square().mean()
