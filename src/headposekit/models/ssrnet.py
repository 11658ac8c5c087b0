"""SSR-Net-MD: SSR-Net (Yang et al., IJCAI 2018) for three angles, the parent of FSA-Net and its baseline.

Must agree with `SSR_net_MT` of shamangary/FSA-Net (lib/FSANET_model.py). The two streams and the soft stagewise regression
are FSA-Net's; between them, each stage reads its own flattened map. Letters in names as in `fsanet.py`.
"""

from typing import Any

import torch
from torch import Tensor, nn

from headposekit.models.fold import as_linear
from headposekit.models.fsanet import (
    FEATURES,
    NUM_ANGLES,
    NUM_BINS,
    StagewiseOutput,
    TwoStreamBackbone,
    activate,
    init_keras_defaults,
    soft_stagewise_regression,
)
from headposekit.models.network import PoseNetwork
from headposekit.models.preprocess import Preprocess
from headposekit.types import Batch

HIDDEN = 6


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
        self.scale = nn.Sequential(nn.Linear(in_features, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, NUM_ANGLES))
        self.shift = nn.Sequential(nn.Linear(in_features, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, NUM_ANGLES))
        self.probs = nn.Sequential(nn.Linear(in_features, NUM_ANGLES * NUM_BINS))

    def forward(self, features: Tensor) -> Tensor:
        """(B, in_features) to the stage's numbers (B, A·I + 2·A), before their activation."""
        return torch.cat([self.probs(features), self.shift(features), self.scale(features)], dim=-1)


class FoldedStageHead(nn.Module):
    """The same for inference: the first layers of a `DenseStageHead` as one, and the second ones."""

    def __init__(self, head: DenseStageHead) -> None:
        super().__init__()
        first: Any = [head.probs[0], head.shift[0], head.scale[0]]
        second: Any = [head.shift[2], head.scale[2]]
        self.first = as_linear(lambda x: torch.cat([layer(x) for layer in first], dim=-1), first[0].in_features)
        self.second = as_linear(
            lambda x: torch.cat([layer(part) for layer, part in zip(second, x.split(HIDDEN, dim=-1), strict=True)], dim=-1),
            2 * HIDDEN,
        )

    def forward(self, features: Tensor) -> Tensor:
        """See `DenseStageHead`."""
        probs, hidden = self.first(features).split([NUM_ANGLES * NUM_BINS, 2 * HIDDEN], dim=-1)
        return torch.cat([probs, self.second(hidden.tanh())], dim=-1)


class SSRNetMD(PoseNetwork):
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

    def forward(self, batch: Batch) -> StagewiseOutput:
        """A batch of B crops to their poses and the stages' quantities."""
        pairs = self.backbone(self.preprocess(batch["image"]))
        features = [stage(r, t) for stage, (r, t) in zip(self.stages, pairs, strict=True)]
        numbers = torch.stack([head(x) for head, x in zip(self.heads, features, strict=True)], dim=1)
        probs, shift, scale = activate(numbers)
        pose = soft_stagewise_regression(probs, shift, scale)
        return StagewiseOutput(pose, stage_probs=probs, shift=shift, scale=scale)

    def diagnostics(self, output: StagewiseOutput) -> dict[str, Tensor]:
        """Mean bin weight of each stage: the deeper ones should refine, so theirs should not outgrow the first's."""
        weights = output.stage_probs.mean(dim=(0, 2, 3))
        return {f"stage{number}_probs": weight for number, weight in enumerate(weights, start=1)}

    def fold_blocks(self) -> None:
        """See `headposekit.models.fold`."""
        self.backbone.fold_picture(self.preprocess)
        self.heads = nn.ModuleList(FoldedStageHead(head) for head in self.heads)  # type: ignore[arg-type]  # a ModuleList hides it
