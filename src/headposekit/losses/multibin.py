"""Hopenet's loss: which bin, and how far off in degrees."""

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.types import Batch


class BinnedOutput(Protocol):
    """What a network with bins returns, at least."""

    @property
    def pose(self) -> Tensor:
        """(B, 3), yaw, pitch, roll in degrees."""

    @property
    def logits(self) -> Tensor:
        """(B, 3, num_bins)."""


class MultiBinLoss(nn.Module):
    """Sum over the angles of cross entropy + alpha × squared error of the expectation, each a mean over the batch (eq. 1).

    Args:
        bins: of the network.
        alpha: weight of the squared error, per squared degree.
    """

    def __init__(self, bins: AngleBins, alpha: float = 1.0) -> None:
        super().__init__()
        if not isinstance(alpha, int | float) or not alpha >= 0:
            raise InputError(f"loss.alpha={alpha} is no weight; give 0 or more")
        self.bins, self.alpha = bins, alpha

    def forward(self, output: BinnedOutput, batch: Batch) -> Tensor:
        """Scalar."""
        true = batch["pose"]
        # mean over batch × angles, times the angles: the sum of the three means
        cross_entropy = functional.cross_entropy(output.logits.float().flatten(0, 1), self.bins.labels(true).flatten())
        return 3 * (cross_entropy + self.alpha * functional.mse_loss(output.pose, true))
