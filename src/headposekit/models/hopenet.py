"""Hopenet: head pose as classes of 3 degrees and their expectation (Ruiz, Chong and Rehg, CVPRW 2018), from pixels to angles.

Must agree with natanielruiz/deep-head-pose (code/hopenet.py), whose state dicts `published.py` loads.
"""

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.models.network import PoseNetwork
from headposekit.models.preprocess import Preprocess
from headposekit.types import Batch, PoseOutput

IMAGENET_MEAN = (123.675, 116.28, 103.53)
IMAGENET_STD = (58.395, 57.12, 57.375)
FrozenBatchNorm = Literal["none", "official", "all"]
"""Batch normalisations that keep their statistics: none; of a ResNet bn1 to bn3 of each block; all of the backbone."""


@dataclass(kw_only=True)
class HopenetOutput(PoseOutput):
    """The pose, the spread of the distribution that it is the mean of, and what the loss needs of it."""

    logits: Tensor  # (B, 3, num_bins)


class TrunkAndHeads(PoseNetwork):
    """What Hopenet and its baseline share: a trunk whose features their heads read; RGB with ImageNet's mean and deviation.

    Args:
        backbone: the trunk, with `num_features` and `stem`.
        input_size: side of the square in pixels; the trunk pools over whatever remains of it.
    """

    def __init__(self, backbone: nn.Module, input_size: int) -> None:
        if not hasattr(backbone, "num_features") or not hasattr(backbone, "stem"):
            raise InputError(f"{type(backbone).__name__} is no trunk of Hopenet; choose backbone=")
        needed = getattr(backbone, "input_size", input_size)
        if needed != input_size:
            raise InputError(f"{type(backbone).__name__} takes {needed} pixels, not {input_size}; set crop.size={needed}")
        super().__init__()
        self.input_size = input_size
        self.preprocess = Preprocess("RGB", IMAGENET_MEAN, IMAGENET_STD)
        self.backbone: Any = backbone.to(memory_format=torch.channels_last)  # as its input lies; a tenth faster

    def features(self, batch: Batch) -> Tensor:
        """A batch of B crops to (B, num_features)."""
        features: Tensor = self.backbone(self.preprocess(batch["image"]))
        return features

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Those of the layers before the trunk's first block, the rest of the trunk, and the heads."""
        groups: dict[str, list[nn.Parameter]] = {"stem": [], "trunk": [], "heads": []}
        for name, parameter in self.named_parameters():
            own = name.removeprefix("backbone.").removeprefix("trunk.")
            groups["stem" if own in self.backbone.stem else "trunk" if name.startswith("backbone.") else "heads"].append(
                parameter
            )
        return groups

    def freeze_batchnorm(self, which: FrozenBatchNorm) -> None:
        """Let batch normalisations in training keep the statistics that they have."""
        for name, module in self.backbone.named_modules():
            block, _, own = name.removeprefix("trunk.").rpartition(".")
            is_official = block.startswith("layer") and own.startswith("bn")  # neither the stem's nor the shortcuts'
            if isinstance(module, _BatchNorm) and (which == "all" or (which == "official" and is_official)):
                module.eval()


class Hopenet(TrunkAndHeads):
    """A trunk and, for each angle, one linear layer to its bins.

    Args:
        backbone, input_size: see `TrunkAndHeads`.
        bins: the classes.
    """

    def __init__(self, backbone: nn.Module, bins: AngleBins, input_size: int = 224) -> None:
        super().__init__(backbone, input_size)
        self.bins = bins
        self.fc_yaw, self.fc_pitch, self.fc_roll = (nn.Linear(int(self.backbone.num_features), bins.num_bins) for _ in range(3))

    def forward(self, batch: Batch) -> HopenetOutput:
        """A batch of B crops to their poses and distributions."""
        features = self.features(batch)
        logits = torch.stack([head(features) for head in (self.fc_yaw, self.fc_pitch, self.fc_roll)], dim=1)
        pose, spread = self.bins.decode(logits.float())
        return HopenetOutput(pose, spread, spread.square().sum(dim=-1).sqrt(), logits=logits)

    def diagnostics(self, output: HopenetOutput) -> dict[str, Tensor]:
        """Mean standard deviation of the predicted distributions: how sure the network is, in degrees."""
        assert output.spread is not None
        return {"std": output.spread.mean()}


class HopenetRegression(TrunkAndHeads):
    """The paper's baseline: the same trunk, one linear layer to the three angles (last row of its Table 5).

    Args:
        backbone, input_size: see `TrunkAndHeads`.
    """

    def __init__(self, backbone: nn.Module, input_size: int = 224) -> None:
        super().__init__(backbone, input_size)
        self.fc_angles = nn.Linear(int(self.backbone.num_features), 3)

    def forward(self, batch: Batch) -> PoseOutput:
        """A batch of B crops to their poses."""
        features = self.features(batch)
        with torch.autocast(features.device.type, enabled=False):  # half precision is too coarse for degrees
            return PoseOutput(self.fc_angles(features.to(self.fc_angles.weight.dtype)))
