"""SSR-Net-MD: SSR-Net (Yang et al., IJCAI 2018) for three angles, the parent of FSA-Net and its baseline.

Must agree with `SSR_net_MT` of shamangary/FSA-Net (lib/FSANET_model.py). The two streams and the soft stagewise regression
are FSA-Net's; between them, each stage reads its own flattened map. Letters in names as in `fsanet.py`.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from headposekit.models.fsanet import (
    FEATURES,
    NUM_ANGLES,
    NUM_BINS,
    TwoStreamBackbone,
    init_keras_defaults,
    soft_stagewise_regression,
)
from headposekit.models.preprocess import Preprocess
from headposekit.types import Batch


class SSRNetOutput(NamedTuple):
    """The pose and the three quantities of its stages."""

    pose: Tensor  # (B, 3), yaw, pitch, roll in degrees
    stage_probs: Tensor  # (B, K, A, I)
    shift: Tensor  # (B, K, A)
    scale: Tensor  # (B, K, A)


class PooledStage(nn.Module):
    """One stage's two maps to 64 channels, each pooled its stream's way, multiplied and flattened pixel by pixel."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.relu_branch = nn.Sequential(nn.Conv2d(in_channels, FEATURES, 1), nn.ReLU(), nn.AvgPool2d(2))
        self.tanh_branch = nn.Sequential(nn.Conv2d(in_channels, FEATURES, 1), nn.MaxPool2d(2), nn.Tanh())

    def forward(self, r: Tensor, t: Tensor) -> Tensor:
        """Two (B, C, H, W) to (B, H/2 · W/2 · 64)."""
        product: Tensor = self.relu_branch(r) * self.tanh_branch(t)
        return product.permute(0, 2, 3, 1).flatten(1)


class DenseStageHead(nn.Module):
    """One stage's features to bin weights, shift and scale; the latter two through six hidden units."""

    def __init__(self, in_features: int) -> None:
        super().__init__()
        self.scale = nn.Sequential(nn.Linear(in_features, 6), nn.Tanh(), nn.Linear(6, NUM_ANGLES), nn.Tanh())
        self.shift = nn.Sequential(nn.Linear(in_features, 6), nn.Tanh(), nn.Linear(6, NUM_ANGLES), nn.Tanh())
        self.probs = nn.Sequential(nn.Linear(in_features, NUM_ANGLES * NUM_BINS), nn.ReLU())

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, in_features) to bin weights (B, A, I), shift (B, A) and scale (B, A)."""
        return self.probs(features).unflatten(-1, (NUM_ANGLES, NUM_BINS)), self.shift(features), self.scale(features)


class SSRNetMD(nn.Module):
    """SSR-Net-MD on 64×64 crops, BGR on the 0..255 scale inside (uint8 RGB outside)."""

    input_size = 64

    def __init__(self) -> None:
        super().__init__()
        self.preprocess = Preprocess("BGR")
        self.backbone = TwoStreamBackbone()
        self.stages = nn.ModuleList(PooledStage(c) for c in TwoStreamBackbone.level_channels)
        pooled_pixels = (4 * 4, 4 * 4, 8 * 8)
        self.heads = nn.ModuleList(DenseStageHead(FEATURES * pixels) for pixels in pooled_pixels)
        self.apply(init_keras_defaults)

    def forward(self, batch: Batch) -> SSRNetOutput:
        """A batch of B crops to their poses and the stages' quantities."""
        pairs = self.backbone(self.preprocess(batch["image"]))
        features = [stage(r, t) for stage, (r, t) in zip(self.stages, pairs, strict=True)]
        per_stage = [head(x) for head, x in zip(self.heads, features, strict=True)]
        probs, shift, scale = (torch.stack(part, dim=1) for part in zip(*per_stage, strict=True))
        return SSRNetOutput(soft_stagewise_regression(probs, shift, scale), probs, shift, scale)

    def fold_blocks(self) -> None:
        """See `headposekit.models.fold`."""
        self.backbone.fold_picture(self.preprocess)
