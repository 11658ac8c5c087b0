"""Hopenet's bins: angles as classes, and classes back to angles."""

from typing import Literal, get_args

import torch
from torch import Tensor

from headposekit.errors import InputError

Decoding = Literal["left", "centre"]


class AngleBins:
    """Bins of equal width over a symmetric range; Hopenet has 66 of 3 degrees from -99 to 99.

    Args:
        limit: half of the range, in degrees.
        width: of a bin, in degrees.
        decoding: which angle stands for a bin in the expectation. `centre` is unbiased: a network that is sure of the right
            bin is 0.75 degrees off on average. `left`, the bin's lower edge, is what the published code does, hence what its
            weights mean, and the default; it is 1.5 degrees too low on average, for which the squared error in the loss makes
            the network compensate, unless alpha is 0.

    Reference: natanielruiz/deep-head-pose, code/datasets.py (labels) and code/test_hopenet.py (decoding).
    """

    def __init__(self, limit: float = 99.0, width: float = 3.0, decoding: Decoding = "left") -> None:
        count = 2 * limit / width if width > 0 else 0.0
        if count < 1 or count != round(count):
            raise InputError(f"bins: a range of ±{limit} degrees is not made of whole bins of {width}; give limit and width")
        if decoding not in get_args(Decoding):
            raise InputError(f"bins.decoding={decoding} is unknown; choose {', '.join(get_args(Decoding))}")
        self.limit, self.width, self.decoding, self.num_bins = limit, width, decoding, round(count)

    def labels(self, angle: Tensor) -> Tensor:
        """The index of the bin that holds each angle (lower edge included), int64.

        Angles outside, which `check` refuses, go to the last bin; augmentation may take one from `-limit` to `limit`.
        """
        edges = self.width * torch.arange(self.num_bins + 1, device=angle.device, dtype=angle.dtype) - self.limit
        return (torch.bucketize(angle.contiguous(), edges, right=True) - 1).clamp(0, self.num_bins - 1)

    def check(self, angle: Tensor) -> None:
        """Refuse angles outside the range, and NaN, by InputError; waits for the device of the tensor."""
        outside = ~((angle >= -self.limit) & (angle < self.limit))
        if outside.any():
            raise InputError(
                f"an angle of {float(angle[outside][0]):g} degrees lies in no bin of ±{self.limit:g}; lower data.max_angle"
            )

    def angles(self, like: Tensor) -> Tensor:
        """(num_bins,) the angle, in degrees, that stands for each bin; device and type of `like`."""
        first = -self.limit + (self.width / 2 if self.decoding == "centre" else 0.0)
        return first + self.width * torch.arange(self.num_bins, device=like.device, dtype=like.dtype)

    def decode(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Expectation (...) and standard deviation (...) of the angle under softmax(logits), logits (..., num_bins)."""
        probs, angles = logits.softmax(dim=-1), self.angles(logits)
        mean = (probs * angles).sum(dim=-1)  # no matrix product: autocast would halve its precision
        variance = (probs * (angles - mean.unsqueeze(-1)).square()).sum(dim=-1)
        return mean, variance.sqrt()
