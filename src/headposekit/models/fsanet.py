"""FSA-Net: fine-grained structure aggregation (Yang, Chen, Lin and Chuang, CVPR 2019), from pixels to angles.

Must agree with shamangary/FSA-Net (lib/FSANET_model.py), whose Keras weights `published.py` loads; where paper and code
differ, the code is followed (it made the published numbers). In the order of the paper's figure: two-stream backbone, stage
features, scoring, fine-grained structure mapping, aggregation, soft stagewise regression.

Letters in names of tensors:
  B batch   K stages (3)   P pixels of a stage (8×8 = 64)   F features of a pixel (64)
  R rows of a structure map (5)   Q representatives of a stage (7)
  N primary capsules (K·Q = 21, or K·P = 192 without structure mapping)   O output capsules (= stages)   D their size (16)
  A angles (yaw, pitch, roll)   I bins of a stage (3)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from headposekit.errors import InputError
from headposekit.models.fold import as_linear
from headposekit.models.network import PoseNetwork
from headposekit.models.preprocess import Preprocess
from headposekit.types import Batch, PoseOutput

NUM_STAGES, NUM_ANGLES, NUM_BINS = 3, 3, 3
GRID, FEATURES = 8, 64
PIXELS = GRID * GRID
CAPSULE_DIM = 16
MAX_ROUNDS = 100
"""Of routing; the papers use two and three."""
ANGLE_RANGE = 99.0


@dataclass(kw_only=True)
class StagewiseOutput(PoseOutput):
    """The pose and the three quantities of its stages."""

    stage_probs: Tensor  # (B, K, A, I), p: not normalised, as in the published code
    shift: Tensor  # (B, K, A), eta in (-1, 1)
    scale: Tensor  # (B, K, A), delta in (-1, 1)


@dataclass(kw_only=True)
class FSANetOutput(StagewiseOutput):
    """All that the figure of the paper names."""

    score_map: Tensor | None  # (B, K, P)
    structure_map: Tensor | None  # (B, K, R, K·P), M of equation 5, for Figure 5


def init_keras_defaults(module: nn.Module) -> None:
    """Keras' defaults for convolutions and dense layers: Glorot-uniform kernels, zero biases. For `Module.apply`."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


# ---------------------------------------------------------------------------------------------- two-stream backbone


class SeparableBlock(nn.Module):
    """3×3 depthwise and 1×1 pointwise convolution, batch normalisation, then `tail` (activation and pooling)."""

    def __init__(self, in_channels: int, out_channels: int, *tail: nn.Module) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, padding=1, groups=in_channels, bias=False)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3, momentum=0.01)
        self.tail = nn.Sequential(*tail)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_channels, H, W), or half the sides where the tail pools."""
        if x.shape[1] <= 3:  # of the picture itself: one dense convolution with the product of both kernels is faster
            kernel = self.pointwise.weight * self.depthwise.weight.transpose(0, 1)
            x = functional.conv2d(x, kernel, self.pointwise.bias, padding=1)
        else:
            x = self.pointwise(self.depthwise(x))
        out: Tensor = self.tail(self.norm(x))
        return out


class PictureBlock(nn.Module):
    """The first block of a stream for inference: both kernels as one dense convolution of RGB, its norm ready to be folded."""

    def __init__(self, block: SeparableBlock, channels: str) -> None:
        super().__init__()
        kernel = block.pointwise.weight * block.depthwise.weight.transpose(0, 1)
        self.conv = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
        self.conv.weight = nn.Parameter(kernel.flip(1) if channels == "BGR" else kernel)
        self.conv.bias, self.norm, self.tail = block.pointwise.bias, block.norm, block.tail

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) to (B, 16, S, S), or half the sides where the tail pools."""
        if torch.onnx.is_in_onnx_export():
            # Colours side by side, (H, W, 3), are also one channel of three times the width, which a 3×9 kernel with stride 3
            # passes over: the same sums without a transposition, faster in ONNX Runtime and slower in PyTorch.
            kernel, size = self.conv.weight.permute(0, 2, 3, 1).reshape(-1, 1, 3, 9), x.shape[2]
            rows = x.permute(0, 2, 3, 1).reshape(-1, 1, size, 3 * size)
            x = functional.conv2d(rows, kernel, self.conv.bias, stride=(1, 3), padding=(1, 3))
        else:
            x = self.conv(x)
        out: Tensor = self.tail(self.norm(x))
        return out


class TwoStreamBackbone(nn.Module):
    """Two streams of the same widths; one multiplies what the other sees (SSR-Net's idea).

    The ReLU stream pools by average, the tanh stream by maximum. There the pool stands before the tanh: the two commute
    (tanh rises), and a quarter of the tanh remain.
    """

    level_channels = (128, 64, 32)

    def __init__(self) -> None:
        super().__init__()
        self.relu_stream = self._stream((nn.ReLU(inplace=True),), (nn.ReLU(inplace=True), nn.AvgPool2d(2)))
        self.tanh_stream = self._stream((nn.Tanh(),), (nn.MaxPool2d(2), nn.Tanh()))

    @staticmethod
    def _stream(act: tuple[nn.Module, ...], act_and_pool: tuple[nn.Module, ...]) -> nn.ModuleList:
        levels = (
            (SeparableBlock(3, 16, *act_and_pool), SeparableBlock(16, 32, *act), SeparableBlock(32, 32, *act_and_pool)),
            (SeparableBlock(32, 64, *act), SeparableBlock(64, 64, *act_and_pool)),
            (SeparableBlock(64, 128, *act), SeparableBlock(128, 128, *act)),
        )
        return nn.ModuleList(nn.Sequential(*blocks) for blocks in levels)

    def forward(self, x: Tensor) -> list[tuple[Tensor, Tensor]]:
        """(B, 3, 64, 64) to pairs (ReLU stream, tanh stream) of stage 1, 2, 3.

        Stage 1, the coarsest range, reads the deepest features: (B, 128, 8, 8), (B, 64, 8, 8), (B, 32, 16, 16).
        """
        pairs: list[tuple[Tensor, Tensor]] = []
        r, t = x, x
        for relu_level, tanh_level in zip(self.relu_stream, self.tanh_stream, strict=True):
            r, t = relu_level(r), tanh_level(t)
            pairs.append((r, t))
        return pairs[::-1]

    def fold_picture(self, preprocess: Preprocess) -> None:
        """Put the order of the channels and the first blocks' two kernels into one kernel each, for inference."""
        streams: Any = (self.relu_stream, self.tanh_stream)  # of sequences of SeparableBlock, which nn.ModuleList hides
        for stream in streams:
            stream[0][0] = PictureBlock(stream[0][0], preprocess.channels)
        preprocess.channels = "RGB"


class StageFeatures(nn.Module):
    """Each stage's two maps to 64 channels, then their product; the 16×16 one is averaged down to 8×8."""

    def __init__(self) -> None:
        super().__init__()
        channels = TwoStreamBackbone.level_channels
        self.relu_conv = nn.ModuleList(nn.Conv2d(c, FEATURES, 1) for c in channels)
        self.tanh_conv = nn.ModuleList(nn.Conv2d(c, FEATURES, 1) for c in channels)

    def forward(self, pairs: list[tuple[Tensor, Tensor]]) -> Tensor:
        """Pairs of the backbone to (B, K, P, F), pixels row by row."""
        stages = []
        for (r, t), relu_conv, tanh_conv in zip(pairs, self.relu_conv, self.tanh_conv, strict=True):
            product = relu_conv(r).relu() * tanh_conv(t).tanh()
            if product.shape[-1] > GRID:
                product = functional.avg_pool2d(product, 2)
            stages.append(product.flatten(2).transpose(1, 2))
        return torch.stack(stages, dim=1)


class FSANetFeatures(nn.Module):
    """FSA-Net's trunk for other heads: its stage features, averaged over cells of 2×2 and laid out as one vector."""

    input_size = GRID * 8
    num_features = NUM_STAGES * PIXELS // 4 * FEATURES
    stem = ()

    def __init__(self) -> None:
        super().__init__()
        self.streams = TwoStreamBackbone()
        self.stage_features = StageFeatures()
        self.apply(init_keras_defaults)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, 64, 64) to (B, num_features)."""
        maps = self.stage_features(self.streams(x)).transpose(2, 3).flatten(1, 2).unflatten(-1, (GRID, GRID))
        return functional.avg_pool2d(maps, 2).flatten(1)

    def fold_picture(self, preprocess: Preprocess) -> None:
        """See `TwoStreamBackbone`."""
        self.streams.fold_picture(preprocess)


# ---------------------------------------------------------------------------------------------------------- scoring


class ConvScoring(nn.Module):
    """Learned score of each pixel, "1x1" in the paper: sigmoid of a 1×1 convolution shared by the stages (section 3.3)."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Linear(FEATURES, 1)

    def forward(self, u_BKPF: Tensor) -> Tensor:
        """(B, K, P, F) to scores (B, K, P)."""
        scores: Tensor = self.conv(u_BKPF).squeeze(-1)
        return scores.sigmoid()


class VarianceScoring(nn.Module):
    """Variance of each pixel's features, "var" in the paper: nothing to learn; mean square deviation, as coded."""

    def forward(self, u_BKPF: Tensor) -> Tensor:
        """(B, K, P, F) to scores (B, K, P)."""
        return u_BKPF.var(dim=-1, correction=0)


class NoScoring(nn.Module):
    """No scores, "w/o" in the paper; hence no structure mapping; the 192 pixels themselves are the primary capsules."""


# ------------------------------------------------------------------------------------------- fine-grained structure mapping


class StructureMapping(nn.Module):
    """Score maps to structure maps, structure maps to representatives (section 3.3).

    `S_k = C M_k` weighs the pixels of all stages; a representative is their weighted mean. S_k is never built: C (M U) and
    C rowsum(M) give the same at a third of the time.
    """

    num_rows, num_representatives = 5, 7

    def __init__(self) -> None:
        super().__init__()
        self.row_map = nn.Linear(PIXELS, self.num_rows * NUM_STAGES * PIXELS)
        self.combine = nn.Linear(NUM_STAGES * PIXELS, self.num_representatives * self.num_rows)

    def forward(self, u_BKPF: Tensor, score_BKP: Tensor) -> tuple[Tensor, Tensor]:
        """Features (B, K, P, F) and scores (B, K, P) to primary capsules (B, N, F) and structure maps (B, K, R, K·P)."""
        u = u_BKPF.flatten(1, 2)
        m = self.row_map(score_BKP).sigmoid().unflatten(-1, (self.num_rows, NUM_STAGES * PIXELS))
        c_BQR = self.combine(score_BKP.flatten(1)).sigmoid().unflatten(-1, (self.num_representatives, self.num_rows))
        c_B1QR = c_BQR.unsqueeze(1)
        weighted_BKQF = c_B1QR @ (m.flatten(1, 2) @ u).unflatten(1, (NUM_STAGES, self.num_rows))
        weights_BKQ1 = c_B1QR @ m.sum(-1, keepdim=True)
        return (weighted_BKQF / weights_BKQ1).flatten(1, 2), m


# ------------------------------------------------------------------------------------------------------ aggregation


class CapsuleAggregation(nn.Module):
    """Capsules with routing by agreement (Sabour et al., NeurIPS 2017).

    Args:
        num_inputs: primary capsules.
        routing_iterations: rounds of routing; gradients flow through all of them.
    """

    def __init__(self, num_inputs: int, routing_iterations: int = 2) -> None:
        super().__init__()
        if not isinstance(routing_iterations, int) or not 1 <= routing_iterations <= MAX_ROUNDS:
            raise InputError(
                f"aggregation.routing_iterations={routing_iterations} is not a number of rounds; give 1 to {MAX_ROUNDS}"
            )
        self.routing_iterations = routing_iterations
        # One matrix per input capsule, all outputs side by side: the transform is then a single batched product.
        self.weight = nn.Parameter(torch.empty(num_inputs, FEATURES, NUM_STAGES * CAPSULE_DIM))
        # Keras counts the fans of the 4-D kernel (O, N, D, F) over its two leading axes as well.
        limit = math.sqrt(6 / (NUM_STAGES * num_inputs * (CAPSULE_DIM + FEATURES)))
        nn.init.uniform_(self.weight, -limit, limit)

    def forward(self, capsule_BNF: Tensor) -> Tensor:
        """Primary capsules (B, N, F) to stage vectors (B, O, D)."""
        u_hat_NBOD = torch.bmm(capsule_BNF.transpose(0, 1), self.weight).unflatten(-1, (NUM_STAGES, CAPSULE_DIM))
        logits_NBO = u_hat_NBOD.new_zeros(NUM_STAGES)  # (O,), of all inputs and faces alike
        for iteration in range(self.routing_iterations):
            coupling_NBO = logits_NBO.softmax(dim=-1)
            v_BOD = self.squash((coupling_NBO.unsqueeze(-1) * u_hat_NBOD).sum(dim=0))
            if iteration < self.routing_iterations - 1:
                logits_NBO = logits_NBO + (u_hat_NBOD * v_BOD).sum(dim=-1)
        return v_BOD

    @staticmethod
    def squash(s: Tensor) -> Tensor:
        """Vectors (..., D) of any length to lengths below 1, direction kept; the 1e-7 is the published code's."""
        square = s.square().sum(dim=-1, keepdim=True)
        return s * (square / (1 + square) / (square + 1e-7).sqrt())


class NetVLADAggregation(nn.Module):
    """Soft-assigned residuals to three clusters (Arandjelovic et al., CVPR 2016), without batch normalisation.

    Args:
        num_inputs: primary capsules; plays no part in the sizes, any number is summed.
    """

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.num_inputs = num_inputs
        self.assign = nn.Linear(FEATURES, NUM_STAGES)
        self.centers = nn.Parameter(torch.empty(FEATURES, NUM_STAGES))
        self.project = nn.Linear(FEATURES * NUM_STAGES, NUM_STAGES * CAPSULE_DIM, bias=False)
        for parameter in (self.assign.weight, self.assign.bias, self.centers):
            nn.init.normal_(parameter, std=1 / math.sqrt(FEATURES))
        nn.init.normal_(self.project.weight, std=1 / math.sqrt(NUM_STAGES))

    def forward(self, capsule_BNF: Tensor) -> Tensor:
        """Primary capsules (B, N, F) to stage vectors (B, O, D)."""
        assignment_BNO = self.assign(capsule_BNF).softmax(dim=-1)
        vlad_BFO = capsule_BNF.transpose(1, 2) @ assignment_BNO - assignment_BNO.sum(dim=1, keepdim=True) * self.centers
        # TensorFlow's l2_normalize puts its 1e-12 under the root: max(|x|², 1e-12).
        vlad_BFO = functional.normalize(vlad_BFO, dim=1, eps=1e-6)
        flat = functional.normalize(vlad_BFO.flatten(1), dim=1, eps=1e-6)
        stages: Tensor = self.project(flat).unflatten(-1, (NUM_STAGES, CAPSULE_DIM))
        return stages


class LinearAggregation(nn.Module):
    """No capsules: two learned matrices, one over features, one over inputs ("metric" in the published code).

    Args:
        num_inputs: primary capsules.
    """

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.features = nn.Linear(FEATURES, CAPSULE_DIM, bias=False)
        self.inputs = nn.Linear(num_inputs, NUM_STAGES, bias=False)
        self.apply(init_keras_defaults)

    def forward(self, capsule_BNF: Tensor) -> Tensor:
        """Primary capsules (B, N, F) to stage vectors (B, O, D)."""
        mixed: Tensor = self.inputs(self.features(capsule_BNF).transpose(1, 2))
        return mixed.transpose(1, 2)


# ----------------------------------------------------------------------------------------- soft stagewise regression


class StageHead(nn.Module):
    """One stage's vector to its bin weights (from its last 8 numbers), shift (middle 4) and scale (first 4)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Linear(4, NUM_ANGLES)
        self.shift = nn.Linear(4, NUM_ANGLES)
        self.probs = nn.Linear(8, NUM_ANGLES * NUM_BINS)

    def forward(self, v_BD: Tensor) -> Tensor:
        """(B, D) to the stage's numbers (B, A·I + 2·A), before their activation."""
        for_scale, for_shift, for_probs = v_BD.split([4, 4, 8], dim=-1)
        return torch.cat([self.probs(for_probs), self.shift(for_shift), self.scale(for_scale)], dim=-1)


class StageHeads(nn.ModuleList):
    """One head for each stage."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Stage vectors (B, K, D) to the stages' numbers (B, K, A·I + 2·A), before their activation."""
        return torch.stack([head(v_BD) for head, v_BD in zip(self, vectors.unbind(dim=1), strict=True)], dim=1)


def activate(numbers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The stages' numbers (B, K, A·I + 2·A) to bin weights (B, K, A, I), shift (B, K, A) and scale (B, K, A)."""
    probs, shift_and_scale = numbers.split([NUM_ANGLES * NUM_BINS, 2 * NUM_ANGLES], dim=-1)
    shift, scale = shift_and_scale.tanh().chunk(2, dim=-1)
    return probs.relu().unflatten(-1, (NUM_ANGLES, NUM_BINS)), shift, scale


def soft_stagewise_regression(probs_BKAI: Tensor, shift_BKA: Tensor, scale_BKA: Tensor) -> Tensor:
    """Angles as a coarse-to-fine sum over stages (SSR-Net, equation 5, on [-99, 99] degrees).

    Stage k adds `sum_i p_ki (i + eta_k)`, i in -1, 0, 1, in units of the bin width, which each stage divides by
    `3 (1 + delta_k)`.

    Returns:
        (B, A), degrees.
    """
    bins = torch.arange(NUM_BINS, dtype=probs_BKAI.dtype, device=probs_BKAI.device) - NUM_BINS // 2
    stage_sums = (probs_BKAI * (bins + shift_BKA.unsqueeze(-1))).sum(dim=-1).split(1, dim=1)
    angle, divisor = probs_BKAI.new_zeros(()), probs_BKAI.new_ones(())
    for stage_sum, factor in zip(stage_sums, (1 + scale_BKA).split(1, dim=1), strict=True):  # cumprod does not export to ONNX
        divisor = divisor * NUM_BINS * factor
        angle = angle + stage_sum / divisor
    return ANGLE_RANGE * angle.squeeze(1)


# -------------------------------------------------------------------------------------------------------- the network


class FSANet(PoseNetwork):
    """FSA-Net on 64×64 crops, BGR on the 0..255 scale inside (uint8 RGB outside).

    Args:
        scoring: one of the three scorings.
        aggregation: called with the number of primary capsules (21, or 192 with `NoScoring`).
    """

    input_size = GRID * 8

    def __init__(self, scoring: nn.Module, aggregation: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.preprocess = Preprocess("BGR")
        self.backbone = TwoStreamBackbone()
        self.stage_features = StageFeatures()
        self.scoring = scoring
        self.mapping = None if isinstance(scoring, NoScoring) else StructureMapping()
        self.heads: nn.Module = StageHeads(StageHead() for _ in range(NUM_STAGES))
        self.apply(init_keras_defaults)
        num_inputs = NUM_STAGES * (PIXELS if self.mapping is None else self.mapping.num_representatives)
        self.aggregation = aggregation(num_inputs)  # after apply: each aggregation brings its own initialisation

    def forward(self, batch: Batch) -> FSANetOutput:
        """A batch of B crops to their poses and everything on the way."""
        pairs = self.backbone(self.preprocess(batch["image"]))
        u_BKPF = self.stage_features(pairs)
        if self.mapping is None:
            capsule_BNF, score_map, structure_map = u_BKPF.flatten(1, 2), None, None
        else:
            score_map = self.scoring(u_BKPF)
            capsule_BNF, structure_map = self.mapping(u_BKPF, score_map)
        probs, shift, scale = activate(self.heads(self.aggregation(capsule_BNF)))
        pose = soft_stagewise_regression(probs, shift, scale)
        return FSANetOutput(pose, stage_probs=probs, shift=shift, scale=scale, score_map=score_map, structure_map=structure_map)

    def diagnostics(self, output: FSANetOutput) -> dict[str, Tensor]:
        """Mean |delta| and |eta| (near 1 the tanh is saturated and learns no more), mean bin weight (0 is a dead stage)."""
        return {
            "scale": output.scale.abs().mean(),
            "shift": output.shift.abs().mean(),
            "stage_probs": output.stage_probs.mean(),
        }

    def fold_blocks(self) -> None:
        """See `headposekit.models.fold`."""
        self.backbone.fold_picture(self.preprocess)
        heads = as_linear(lambda flat: self.heads(flat.unflatten(1, (NUM_STAGES, -1))).flatten(1), NUM_STAGES * CAPSULE_DIM)
        self.heads = nn.Sequential(nn.Flatten(), heads, nn.Unflatten(1, (NUM_STAGES, -1)))
