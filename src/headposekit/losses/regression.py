"""Losses on the angles themselves."""

from torch import Tensor, nn

from headposekit.types import Batch, PoseOutput


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
