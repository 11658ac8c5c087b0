"""Hopenet: head pose as classes of 3 degrees and their expectation (Ruiz, Chong and Rehg, CVPRW 2018), from pixels to angles.

Must agree with natanielruiz/deep-head-pose (code/hopenet.py), whose state dicts `published.py` loads.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.models.preprocess import Preprocess
from headposekit.types import Batch

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)


class HopenetOutput(NamedTuple):
    """The pose, and the distribution it is the mean of."""

    pose: Tensor  # (B, 3), yaw, pitch, roll in degrees
    spread: Tensor  # (B, 3), standard deviation of each angle's distribution, degrees
    logits: Tensor  # (B, 3, num_bins)


class HopenetRegressionOutput(NamedTuple):
    """The pose alone."""

    pose: Tensor  # (B, 3), yaw, pitch, roll in degrees


class Hopenet(nn.Module):
    """A trunk and, for each angle, one linear layer to its bins; RGB with ImageNet's mean and deviation inside.

    Args:
        backbone: the trunk, with `num_features` and `stem`.
        bins: the classes.
        input_size: side of the square in pixels; the trunk pools over whatever remains of it.
    """

    def __init__(self, backbone: nn.Module, bins: AngleBins, input_size: int = 224) -> None:
        super().__init__()
        self.input_size, self.bins = input_size, bins
        self.preprocess = Preprocess("RGB", IMAGENET_MEAN, IMAGENET_STD)
        self.backbone = backbone.to(memory_format=torch.channels_last)  # as its input lies; a tenth faster
        self.fc_yaw, self.fc_pitch, self.fc_roll = (nn.Linear(_features(backbone), bins.num_bins) for _ in range(3))

    @property
    def heads(self) -> list[nn.Module]:
        """The layers that are trained from nothing."""
        return [self.fc_yaw, self.fc_pitch, self.fc_roll]

    def forward(self, batch: Batch) -> HopenetOutput:
        """A batch of B crops to their poses and distributions."""
        features = self.backbone(self.preprocess(batch["image"]))
        logits = torch.stack([head(features) for head in self.heads], dim=1)
        pose, spread = self.bins.decode(logits.float())
        return HopenetOutput(pose, spread, logits)


class HopenetRegression(nn.Module):
    """The paper's baseline: the same trunk, one linear layer to the three angles (last row of its Table 5).

    Args:
        backbone, input_size: see `Hopenet`.
    """

    def __init__(self, backbone: nn.Module, input_size: int = 224) -> None:
        super().__init__()
        self.input_size = input_size
        self.preprocess = Preprocess("RGB", IMAGENET_MEAN, IMAGENET_STD)
        self.backbone = backbone.to(memory_format=torch.channels_last)  # as its input lies; a tenth faster
        self.fc_angles = nn.Linear(_features(backbone), 3)

    @property
    def heads(self) -> list[nn.Module]:
        """The layer that is trained from nothing."""
        return [self.fc_angles]

    def forward(self, batch: Batch) -> HopenetRegressionOutput:
        """A batch of B crops to their poses."""
        features = self.backbone(self.preprocess(batch["image"]))
        with torch.autocast(features.device.type, enabled=False):  # half precision is too coarse for degrees
            return HopenetRegressionOutput(self.fc_angles(features.to(self.fc_angles.weight.dtype)))


def _features(backbone: nn.Module) -> int:
    if not hasattr(backbone, "num_features") or not hasattr(backbone, "stem"):
        raise InputError(f"{type(backbone).__name__} is no trunk of Hopenet; choose backbone=")
    return int(backbone.num_features)  # type: ignore[arg-type]  # nn.Module hides attribute types
