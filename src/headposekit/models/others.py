"""Networks of other authors, for their published weights (`weights/others.py`); nothing here is trained.

Each was built from its authors' description, and must give their angles: 6DRepNet and 6DRepNet360 (thohemp), WHENet
(Ascend-Research), hopenet-lite (stevenyangyj), the lightweight network of Li et al. (Shaw-git), and the PyTorch port of FSA-Net
(omasaht/headpose-fsanet-pytorch).
"""

from typing import Any

import torch
from torch import Tensor, nn

from headposekit.geometry.bins import AngleBins
from headposekit.geometry.rotations import matrix_to_pose, sixd_to_matrix
from headposekit.models import fsanet
from headposekit.models.backbones import TimmBackbone
from headposekit.models.hopenet import Hopenet, TrunkAndHeads
from headposekit.models.preprocess import Preprocess
from headposekit.types import Batch, PoseOutput

REPVGG_B1G2 = ((1, 64), (4, 128), (6, 256), (16, 512), (1, 2048))
"""Blocks and channels of its stages; each stage halves the sides."""
LIGHTWEIGHT = ((32, 3, 2), (64, 3, 2), (96, 3, 1), (96, 5, 2), (128, 5, 1), (128, 5, 2), (128, 3, 1))
"""Output channels, kernel and stride of its bottlenecks."""


class RepVGG(nn.Module):
    """RepVGG-B1g2 as it is deployed (Ding et al., CVPR 2021): 3×3 convolutions and ReLU, every second one in two groups."""

    num_features = 2048
    stem = ("stages.0.0.weight", "stages.0.0.bias")

    def __init__(self) -> None:
        super().__init__()
        stages, channels, number = [], 3, 0
        for blocks, out_channels in REPVGG_B1G2:
            stage = nn.ModuleList()
            for block in range(blocks):
                groups = 2 if number > 0 and number % 2 == 0 else 1
                stage.append(nn.Conv2d(channels, out_channels, 3, 2 if block == 0 else 1, padding=1, groups=groups))
                channels, number = out_channels, number + 1
            stages.append(stage)
        self.stages = nn.ModuleList(stages)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, 2048)."""
        convolutions: Any = self.stages  # of lists of nn.Conv2d, which nn.ModuleList hides
        for stage in convolutions:
            for convolution in stage:
                x = convolution(x).relu()
        return x.mean(dim=(2, 3))


class ShuffleNet(nn.Module):
    """torchvision's ShuffleNetV2 of width 1 without its classifier."""

    num_features = 1024
    stem = ("conv1.0.weight", "conv1.1.weight", "conv1.1.bias")

    def __init__(self) -> None:
        import torchvision  # takes as long as torch itself

        super().__init__()
        self.trunk = torchvision.models.shufflenet_v2_x1_0()
        self.trunk.fc = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, 1024)."""
        features: Tensor = self.trunk(x)
        return features


class LightweightTrunk(nn.Module):
    """Li et al.'s trunk: bottlenecks of a grouped 1×1, a depthwise and a 1×1 convolution, without shortcuts."""

    num_features = LIGHTWEIGHT[-1][0]
    stem = ("features.0.0.weight", "features.0.1.weight", "features.0.1.bias")

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_layer(3, 16, nn.ReLU(), kernel_size=3, stride=2, padding=1)]
        channels = 16
        for number, (out_channels, kernel, stride) in enumerate(LIGHTWEIGHT):
            act: nn.Module = nn.ReLU() if number < 3 else nn.Hardswish()
            inner = 2 * channels
            parts = {
                "exp_conv": _layer(channels, inner, act, kernel_size=1, groups=4),
                "dw_conv": _layer(inner, inner, act, kernel_size=kernel, stride=stride, padding=kernel // 2, groups=inner),
                "pw_conv": _layer(inner, out_channels, act, kernel_size=1),
            }
            bottleneck = nn.Sequential()
            for name, part in parts.items():
                bottleneck.add_module(name, part)
            layers.append(bottleneck)
            channels = out_channels
        self.features = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, 128), none below 0."""
        features: Tensor = self.features(x)
        return features.mean(dim=(2, 3)).relu()


def _layer(in_channels: int, out_channels: int, act: nn.Module, **options: int) -> nn.Sequential:
    """Convolution, batch normalisation, activation."""
    convolution: Any = nn.Conv2d
    return nn.Sequential(convolution(in_channels, out_channels, bias=False, **options), nn.BatchNorm2d(out_channels), act)


class SixDRepNet(TrunkAndHeads):
    """6DRepNet (Hempel et al., ICIP 2022): a trunk, and six numbers that give a rotation.

    Args:
        backbone: `RepVGG` without one.
    """

    def __init__(self, backbone: nn.Module | None = None) -> None:
        super().__init__(backbone or RepVGG(), input_size=224)
        self.linear_reg = nn.Linear(int(self.backbone.num_features), 6)

    def forward(self, batch: Batch) -> PoseOutput:
        """A batch of B crops to their poses."""
        numbers = self.linear_reg(self.features(batch)).float()
        return PoseOutput(matrix_to_pose(sixd_to_matrix(numbers).transpose(1, 2)))


class SixDRepNet360(SixDRepNet):
    """6DRepNet360 (Hempel et al., TIP 2024): the same of ResNet-50, for heads seen from any side."""

    def __init__(self) -> None:
        super().__init__(TimmBackbone("resnet50.tv_in1k"))


class HopenetLite(Hopenet):
    """hopenet-lite: Hopenet of ShuffleNetV2."""

    def __init__(self) -> None:
        super().__init__(ShuffleNet(), AngleBins())


class LightweightNet(Hopenet):
    """Li et al., Accurate Head Pose Estimation Using Image Rectification and a Lightweight CNN, TMM 2023: its network alone.

    The rectification before it needs the camera, and is not done here.
    """

    def __init__(self) -> None:
        super().__init__(LightweightTrunk(), AngleBins(decoding="centre"))


class WHENet(TrunkAndHeads):
    """WHENet (Zhou and Gregson, BMVC 2020): EfficientNet-B0 with bins of all yaws, and Hopenet's of pitch and roll."""

    def __init__(self) -> None:
        super().__init__(TimmBackbone("tf_efficientnet_b0"), input_size=224)
        self.bins = {"yaw": AngleBins(limit=180), "pitch": AngleBins(), "roll": AngleBins()}
        self.fc = nn.ModuleDict({angle: nn.Linear(1280, bins.num_bins) for angle, bins in self.bins.items()})

    def forward(self, batch: Batch) -> PoseOutput:
        """A batch of B crops to their poses and the spread of each angle's bins."""
        features = self.features(batch)
        decoded = [bins.decode(self.fc[angle](features).float()) for angle, bins in self.bins.items()]
        pose, spread = (torch.stack(values, dim=1) for values in zip(*decoded, strict=True))
        return PoseOutput(pose, spread)


class FSANetPort(fsanet.FSANet):
    """The PyTorch port of FSA-Net with capsules, where it differs from the authors' network.

    Its input is (x - 127.5) / 128, its tanh stream begins with a ReLU, and representatives mix channels instead of pixels.

    Args:
        scoring: `ConvScoring` or `VarianceScoring`.
    """

    def __init__(self, scoring: nn.Module) -> None:
        super().__init__(scoring, PortCapsules)
        self.preprocess = Preprocess("BGR", (127.5,) * 3, (128.0,) * 3)
        first: Any = self.backbone.tanh_stream[0]
        first[0].tail = nn.Sequential(nn.MaxPool2d(2), nn.ReLU())
        self.mapping = PortMapping()


class PortMapping(fsanet.StructureMapping):
    """Each stage's features lie channel by channel in memory, and the port reads them as if pixel by pixel."""

    def forward(self, u_BKPF: Tensor, score_BKP: Tensor) -> tuple[Tensor, Tensor]:
        """See `StructureMapping`."""
        return super().forward(u_BKPF.transpose(2, 3), score_BKP)


class PortCapsules(fsanet.CapsuleAggregation):
    """Two rounds of routing, and a squash that keeps short vectors a little longer."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__(num_inputs, routing_iterations=2)

    @staticmethod
    def squash(s: Tensor) -> Tensor:
        """See `fsanet.squash`."""
        square = s.square().sum(dim=-1, keepdim=True)
        return s * (square / (1 + square) / (square.sqrt() + 1e-8))
