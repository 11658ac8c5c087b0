"""The one place where channel order and value range are applied: inside the network, from uint8 RGB."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn


class Preprocess(nn.Module):
    """A network's declared input: channel order, range and normalisation.

    Args:
        channels: order the weights expect.
        mean: per channel in that order, on the 0..255 scale; null subtracts nothing.
        std: per channel likewise; null divides by nothing.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, channels: Literal["RGB", "BGR"], mean: Sequence[float] | None = None, std: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        self.channels: Literal["RGB", "BGR"] = channels
        self.is_scaled = mean is not None or std is not None
        # Not persistent: these are part of the architecture, not of what was learned.
        self.register_buffer("mean", torch.tensor(mean or (0.0, 0.0, 0.0)).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std or (1.0, 1.0, 1.0)).view(3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, S, S) RGB on the 0..255 scale (uint8 or float) to the network's floats, channels last in memory."""
        x = image.to(self.mean.dtype, memory_format=torch.channels_last)
        if self.channels == "BGR":
            x = x.flip(1)
        return (x - self.mean) / self.std if self.is_scaled else x
