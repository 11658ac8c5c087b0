"""Angles as classes and their expectation, as in Hopenet; with wrapped bins of yaw also all the way around."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.geometry.rotations import wrap_degrees
from headposekit.geometry.so3 import DEGREES
from headposekit.heads.base import HeadOutput, ProbabilisticHead, chi_square_3
from headposekit.types import Batch


class BinsHead(ProbabilisticHead):
    """One softmax for each angle; its own loss is the sum over the angles of cross entropy + alpha × squared error.

    Args:
        bins: of pitch and roll, and of yaw unless it is wrapped.
        wrapped: bins of yaw all around, of the same width; the label is shared by the two nearest centres, which may lie on
            both sides of 180 degrees, and the angle is the circular mean.
        alpha: weight of the squared error of the expectation, per squared degree.

    Reference: Ruiz, Chong and Rehg, Fine-Grained Head Pose Estimation Without Keypoints, CVPRW 2018.
    """

    trained_by = ("angles", "rotation")

    def __init__(self, bins: AngleBins, wrapped: bool = False, alpha: float = 0.01) -> None:
        super().__init__()
        around = 360 / bins.width
        if wrapped and around != round(around):
            raise InputError(f"head.bins.width={bins.width:g}: a full turn is not made of whole bins; give a divisor of 360")
        if not alpha >= 0:
            raise InputError(f"head.alpha={alpha} is no weight; give 0 or more")
        self.bins, self.wrapped, self.alpha = bins, wrapped, alpha
        self.sizes = (round(around) if wrapped else bins.num_bins, bins.num_bins, bins.num_bins)
        self.size = sum(self.sizes)

    def start(self) -> Tensor:
        """See `Head`: a little more in front than behind, for evenly spread classes of a full turn have no mean."""
        numbers = super().start()
        if self.wrapped:
            numbers[: self.sizes[0]] = torch.deg2rad(self._centres(numbers[: self.sizes[0]])).cos()
        return numbers

    def forward(self, numbers: Tensor) -> HeadOutput:
        """(B, size) to poses."""
        means = [self._moments(logits, is_yaw)[0] for logits, is_yaw in self._parts(numbers)]
        return HeadOutput(torch.stack(means, dim=-1), numbers=numbers)

    def check(self, pose: Tensor) -> None:
        """Refuse labels (B, 3) that no bin holds, by InputError."""
        self.bins.check(pose[:, 1:] if self.wrapped else pose)

    def loss(self, output: HeadOutput, batch: Batch) -> Tensor:
        """Scalar."""
        true = batch["pose"]
        loss = output.pose.new_zeros(())
        for angle, (logits, is_yaw) in enumerate(self._parts(output.numbers)):
            if is_yaw and self.wrapped:
                log_probs = logits.log_softmax(dim=-1)
                loss = loss - (self._shares(true[:, angle], logits.shape[-1]).to(log_probs) * log_probs).sum(dim=-1).mean()
            else:
                loss = loss + functional.cross_entropy(logits, self.bins.labels(true[:, angle]))
            error = output.pose[:, angle] - true[:, angle]
            loss = loss + self.alpha * (wrap_degrees(error) if is_yaw and self.wrapped else error).square().mean()
        return loss

    def log_density(self, output: HeadOutput, true: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """See `ProbabilisticHead`: constant within a bin, and the angles independent of each other."""
        total = math.log(8 * math.pi**2) - torch.deg2rad(true[:, 0]).cos().abs().clamp_min(1e-3).log()
        for angle, (logits, is_yaw) in enumerate(self._parts(output.numbers)):
            if is_yaw and self.wrapped:
                label = ((wrap_degrees(true[:, 0]) + 180) / self.bins.width).long().clamp(0, logits.shape[-1] - 1)
            else:
                label = self.bins.labels(true[:, angle])
            log_probs = (logits / temperature).log_softmax(dim=-1)
            total = total + log_probs.gather(1, label.unsqueeze(1)).squeeze(1) - math.log(math.radians(self.bins.width))
        return total

    def level(self, output: HeadOutput, true: Tensor, temperature: float | Tensor = 1.0) -> Tensor:
        """See `ProbabilisticHead`: of the normal distribution with the same spreads."""
        spread, _ = self.spreads(output, temperature)
        return chi_square_3((wrap_degrees(output.pose - true) / spread).square().sum(dim=-1))

    def spreads(self, output: HeadOutput, temperature: float | Tensor = 1.0) -> tuple[Tensor, Tensor]:
        """See `ProbabilisticHead`; within its bin, an angle may be anywhere."""
        variances = [self._moments(logits / temperature, is_yaw)[1] for logits, is_yaw in self._parts(output.numbers)]
        variance = torch.stack(variances, dim=-1) + self.bins.width**2 / 12
        return variance.sqrt(), variance.sum(dim=-1).sqrt()

    def _parts(self, numbers: Tensor) -> list[tuple[Tensor, bool]]:
        """The logits of each angle, and whether it is yaw."""
        return [(logits, angle == 0) for angle, logits in enumerate(numbers.split(self.sizes, dim=-1))]

    def _moments(self, logits: Tensor, is_yaw: bool) -> tuple[Tensor, Tensor]:
        """Mean (B,) in degrees and variance (B,) in squared degrees."""
        if not (is_yaw and self.wrapped):
            mean, deviation = self.bins.decode(logits)
            return mean, deviation.square()
        probs, centres = logits.softmax(dim=-1), self._centres(logits)
        radians = centres / DEGREES
        sine, cosine = (probs * radians.sin()).sum(dim=-1), (probs * radians.cos()).sum(dim=-1)
        length = (sine.square() + cosine.square() + 1e-12).sqrt()
        mean = torch.atan2(sine / length, cosine / length + 1e-12) * DEGREES
        off = wrap_degrees(centres - mean.unsqueeze(-1))
        return mean, (probs * off.square()).sum(dim=-1)

    def _centres(self, logits: Tensor) -> Tensor:
        count = logits.shape[-1]
        return self.bins.width * (torch.arange(count, dtype=logits.dtype, device=logits.device) + 0.5) - 180

    def _shares(self, yaw: Tensor, count: int) -> Tensor:
        """(B, count) labels: each yaw shared by the two nearest centres, in proportion to how near they are."""
        place = (wrap_degrees(yaw) + 180) / self.bins.width - 0.5
        first = place.floor()
        share = (place - first).unsqueeze(-1)
        index = first.long() % count
        below, above = functional.one_hot(index, count), functional.one_hot((index + 1) % count, count)
        return (1 - share) * below + share * above
