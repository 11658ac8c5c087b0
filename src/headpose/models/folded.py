"""The inference form of a network: the same function of a picture in fewer and cheaper operations.

Batch normalisation disappears into the convolution before it, the order of the channels into the first kernel, and all that
depends on weights alone is computed once. Nothing here can be trained. Of the separable convolutions only the first, of three
channels, is cheaper as a dense one. Letters in names of tensors as in `fsanet.py`, and
  X pixels of all stages (K·P)   H rows of all stages' structure maps (K·R)   V numbers of all output capsules (O·D)
"""

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from headpose.errors import InputError
from headpose.models.fsanet import (
    ANGLE_RANGE,
    CAPSULE_DIM,
    FEATURES,
    GRID,
    NUM_ANGLES,
    NUM_BINS,
    NUM_STAGES,
    PIXELS,
    CapsuleAggregation,
    ConvScoring,
    FSANet,
    LinearAggregation,
    SeparableBlock,
    StageHead,
    StructureMapping,
    TwoStreamBackbone,
)
from headpose.models.fusion import LateFusion
from headpose.models.hopenet import Hopenet, HopenetRegression
from headpose.models.preprocess import Preprocess
from headpose.models.ssrnet import DenseStageHead, SSRNetMD
from headpose.types import Batch


class InferenceOutput(NamedTuple):
    """What is left of an output where nobody trains."""

    pose: Tensor  # (B, 3), yaw, pitch, roll in degrees
    spread: Tensor | None  # (B, 3), standard deviation of each angle's bins in degrees, where the network has bins


class Folded(nn.Module):
    """Base of the inference forms, in eval mode and without gradients.

    Attributes:
        input_size: side of the square in pixels.
    """

    def __init__(self, input_size: int) -> None:
        super().__init__()
        self.input_size = input_size

    def forward(self, batch: Batch) -> InferenceOutput:
        """A batch of B crops to their poses."""
        return self.estimate(batch["image"].permute(0, 2, 3, 1))

    def estimate(self, picture: Tensor) -> InferenceOutput:
        """(B, S, S, 3) RGB on the 0..255 scale (uint8 or float), as cameras and files give it, to poses."""
        raise NotImplementedError


def fold(network: nn.Module) -> Folded:
    """The inference form of a network in eval mode; the network itself stays as it is.

    Raises:
        InputError: not a network of this suite.
    """
    for part in network.members if isinstance(network, LateFusion) else [network]:
        if not isinstance(part, FSANet | SSRNetMD | Hopenet | HopenetRegression):
            raise InputError(f"{type(part).__name__} has no inference form; give a checkpoint or weights of this suite")
    dtype = next(network.parameters()).dtype
    source = copy.deepcopy(network).double().eval()  # products of weights are rounded once, at the end
    with torch.no_grad():
        folded = _fold(source)
    return folded.to(dtype).eval().requires_grad_(False)


def _fold(network: nn.Module) -> Folded:
    if isinstance(network, LateFusion):
        return FoldedFusion(network)
    if isinstance(network, FSANet):
        return FoldedFSANet(network)
    if isinstance(network, SSRNetMD):
        return FoldedSSRNet(network)
    assert isinstance(network, Hopenet | HopenetRegression)
    return FoldedHopenet(network)


def fold_norm(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A convolution with the batch normalisation after it in its kernel and bias."""
    folded = copy.deepcopy(conv)
    scale, shift = _scale_and_shift(norm)
    bias = torch.zeros_like(shift) if conv.bias is None else conv.bias
    folded.weight = nn.Parameter(conv.weight * scale.view(-1, 1, 1, 1))
    folded.bias = nn.Parameter(bias * scale + shift)
    return folded


def _scale_and_shift(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch normalisation multiplies by and adds, in eval mode."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    weight = torch.ones_like(norm.running_var) if norm.weight is None else norm.weight
    bias = torch.zeros_like(norm.running_mean) if norm.bias is None else norm.bias
    scale = weight / (norm.running_var + norm.eps).sqrt()
    return scale, bias - norm.running_mean * scale


# ------------------------------------------------------------------------------------------------ FSA-Net and SSR-Net


class PictureConv(nn.Module):
    """First block of a stream as one dense 3×3 convolution of RGB: product of both kernels, batch normalisation folded.

    Attributes:
        as_one_channel: how to compute it. A picture whose colours lie side by side (H, W, 3) is also one of a single channel
            and three times the width, which a 3×9 kernel with stride 3 passes over: the same sums without a transposition.
            That is the faster form in ONNX Runtime, and the slower one for PyTorch.
    """

    def __init__(self, block: SeparableBlock, preprocess: Preprocess) -> None:
        super().__init__()
        self.as_one_channel = False
        kernel = block.pointwise.weight * block.depthwise.weight.transpose(0, 1)
        dense = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1, dtype=kernel.dtype)
        dense.weight = nn.Parameter(kernel.flip(1) if preprocess.channels == "BGR" else kernel)
        dense.bias = block.pointwise.bias
        self.conv = fold_norm(dense, block.norm)

    def forward(self, picture: Tensor) -> Tensor:
        """(B, S, S, 3) to (B, 16, S, S)."""
        if not self.as_one_channel:
            out: Tensor = self.conv(picture.permute(0, 3, 1, 2))
            return out
        size = picture.shape[1]
        kernel = self.conv.weight.permute(0, 2, 3, 1).reshape(-1, 1, 3, 9)
        return functional.conv2d(picture.reshape(-1, 1, size, 3 * size), kernel, self.conv.bias, stride=(1, 3), padding=(1, 3))


def _fold_block(block: SeparableBlock, preprocess: Preprocess) -> nn.Sequential:
    if block.depthwise.in_channels <= 3:
        return nn.Sequential(PictureConv(block, preprocess), *copy.deepcopy(block.tail))
    depthwise = copy.deepcopy(block.depthwise)
    return nn.Sequential(depthwise, fold_norm(block.pointwise, block.norm), *copy.deepcopy(block.tail))


class FoldedBackbone(nn.Module):
    """`TwoStreamBackbone` without its batch normalisations, from (B, S, S, 3)."""

    def __init__(self, backbone: TwoStreamBackbone, preprocess: Preprocess) -> None:
        super().__init__()
        self.relu_stream = self._stream(backbone.relu_stream, preprocess)
        self.tanh_stream = self._stream(backbone.tanh_stream, preprocess)
        self.to(memory_format=torch.channels_last)

    @staticmethod
    def _stream(levels: nn.ModuleList, preprocess: Preprocess) -> nn.ModuleList:
        blocks: Any = levels  # sequences of SeparableBlock
        return nn.ModuleList(nn.Sequential(*(_fold_block(block, preprocess) for block in level)) for level in blocks)

    forward = TwoStreamBackbone.forward


class StagewiseRegression(nn.Module):
    """Soft stagewise regression as a chain of divisions: `((s_3 / (1 + delta_3) + s_2) / (1 + delta_2) + s_1) / (1 + delta_1)`.

    The range of 99 degrees and each stage's powers of three are in the weights before it.
    """

    def forward(self, probs: Tensor, shift_and_scale: Tensor) -> Tensor:
        """Bin weights (B, I·K·A) and both quantities, before their tanh (B, 2·K·A), to angles (B, A)."""
        low, middle, high = probs.relu().chunk(NUM_BINS, dim=1)
        shift, scale = shift_and_scale.tanh().chunk(2, dim=1)
        sums = (shift * (low + middle + high) + (high - low)).chunk(NUM_STAGES, dim=1)
        divisors = (1 + scale).chunk(NUM_STAGES, dim=1)
        angle = sums[-1] / divisors[-1]
        for stage in (1, 0):
            angle = (angle + sums[stage]) / divisors[stage]
        return angle


NUM_PROBS = NUM_BINS * NUM_STAGES * NUM_ANGLES
NUM_QUANTITIES = 2 * NUM_STAGES * NUM_ANGLES
STAGE_UNIT = [ANGLE_RANGE / NUM_BINS ** (stage + 1) for stage in range(NUM_STAGES)]
"""Bin width of each stage in degrees, while its scale is zero."""


def _rows_of_probs(stage: int) -> Tensor:
    """Rows, among those of `StagewiseRegression`'s bin weights, of a stage's own nine (angle by angle)."""
    angle, bin_ = torch.meshgrid(torch.arange(NUM_ANGLES), torch.arange(NUM_BINS), indexing="ij")
    return (bin_ * NUM_STAGES * NUM_ANGLES + stage * NUM_ANGLES + angle).flatten()


def _rows_of_quantity(quantity: int, stage: int) -> Tensor:
    """Rows of a stage's shift (quantity 0) or scale (1)."""
    return (quantity * NUM_STAGES + stage) * NUM_ANGLES + torch.arange(NUM_ANGLES)


def _put(target: nn.Linear, rows: Tensor, first_column: int, source: nn.Linear, factor: float = 1.0) -> None:
    """Write a small linear layer into some rows and columns of a larger one."""
    columns = torch.arange(first_column, first_column + source.in_features)
    target.weight[rows[:, None], columns] = source.weight * factor
    target.bias[rows] = source.bias * factor


def _empty_linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs, dtype=torch.float64)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class FoldedStageHeads(nn.Module):
    """The three stages' heads of FSA-Net as one linear layer, most of whose weights are zero."""

    def __init__(self, heads: nn.ModuleList) -> None:
        super().__init__()
        self.linear = _empty_linear(NUM_STAGES * CAPSULE_DIM, NUM_PROBS + NUM_QUANTITIES)
        for stage, head in enumerate(heads):
            assert isinstance(head, StageHead)
            column = stage * CAPSULE_DIM
            _put(self.linear, NUM_PROBS + _rows_of_quantity(1, stage), column, head.scale)
            _put(self.linear, NUM_PROBS + _rows_of_quantity(0, stage), column + 4, head.shift)
            _put(self.linear, _rows_of_probs(stage), column + 8, head.probs, STAGE_UNIT[stage])
        self.regression = StagewiseRegression()

    def forward(self, stage_vectors: Tensor) -> Tensor:
        """(B, V) to angles (B, A)."""
        probs, quantities = self.linear(stage_vectors).split([NUM_PROBS, NUM_QUANTITIES], dim=1)
        angles: Tensor = self.regression(probs, quantities)
        return angles


class FoldedMapping(nn.Module):
    """`StructureMapping` on features that lie as the convolutions leave them."""

    def __init__(self, mapping: StructureMapping) -> None:
        super().__init__()
        self.row_map, self.combine = mapping.row_map, mapping.combine
        self.rows, self.representatives = mapping.num_rows, mapping.num_representatives

    def forward(self, u_BFX: Tensor, score_BX: Tensor) -> Tensor:
        """Features (B, F, X) and scores (B, X) to primary capsules (B, N, F)."""
        m_BHX = self.row_map(score_BX.unflatten(1, (NUM_STAGES, PIXELS))).sigmoid().flatten(1)
        m_BHX = m_BHX.unflatten(1, (NUM_STAGES * self.rows, NUM_STAGES * PIXELS))
        c_B1QR = self.combine(score_BX).sigmoid().unflatten(1, (1, self.representatives, self.rows))
        weighted_BKQF = c_B1QR @ (m_BHX @ u_BFX.transpose(1, 2)).unflatten(1, (NUM_STAGES, self.rows))
        weights_BKQ1 = c_B1QR @ m_BHX.sum(-1).unflatten(1, (NUM_STAGES, self.rows, 1))
        capsules: Tensor = (weighted_BKQF / weights_BKQ1).flatten(1, 2)
        return capsules


class FoldedScoring(nn.Module):
    """Either scoring, on features that lie as the convolutions leave them."""

    def __init__(self, scoring: nn.Module) -> None:
        super().__init__()
        self.conv = scoring.conv if isinstance(scoring, ConvScoring) else None

    def forward(self, u_BFX: Tensor) -> Tensor:
        """Features (B, F, X) to scores (B, X)."""
        if self.conv is not None:
            return (self.conv.weight @ u_BFX + self.conv.bias).sigmoid().flatten(1)
        difference = u_BFX - u_BFX.mean(1, keepdim=True)
        return (difference * difference).mean(1)


class FoldedCapsules(nn.Module):
    """`CapsuleAggregation` whose first round weighs all inputs alike, with its vectors side by side.

    Sums over one vector's numbers are products with a matrix of zeros and ones, which need no other shape and no axis moved:
    several small operations fewer, and these are half of the time of a single picture.
    """

    member: Tensor
    same: Tensor
    to_numbers: Tensor

    def __init__(self, capsules: CapsuleAggregation) -> None:
        super().__init__()
        self.weight, self.routing_iterations = capsules.weight, capsules.routing_iterations
        member = torch.eye(NUM_STAGES, dtype=torch.float64).repeat_interleave(CAPSULE_DIM, dim=0)
        self.register_buffer("member", member)  # (V, O), whether a number belongs to a vector
        self.register_buffer("same", member @ member.t())  # (V, V), whether two numbers belong to one vector
        self.register_buffer("to_numbers", member.t().contiguous())  # (O, V)

    def forward(self, capsule_BNF: Tensor) -> Tensor:
        """Primary capsules (B, N, F) to stage vectors (B, V)."""
        u_hat_NBV = torch.bmm(capsule_BNF.transpose(0, 1), self.weight)
        v_BV = self._squash(u_hat_NBV.sum(dim=0) / NUM_STAGES)
        logits_NBO = None
        for _ in range(self.routing_iterations - 1):
            agreement_NBO = (u_hat_NBV * v_BV) @ self.member
            logits_NBO = agreement_NBO if logits_NBO is None else logits_NBO + agreement_NBO
            v_BV = self._squash(((logits_NBO.softmax(dim=-1) @ self.to_numbers) * u_hat_NBV).sum(dim=0))
        return v_BV

    def _squash(self, s_BV: Tensor) -> Tensor:
        square = (s_BV * s_BV) @ self.same
        return s_BV * (square / ((1 + square) * (square + 1e-7).sqrt()))


class FoldedLinearAggregation(nn.Module):
    """`LinearAggregation` with the larger sum, over inputs, first."""

    def __init__(self, aggregation: LinearAggregation) -> None:
        super().__init__()
        self.features, self.inputs = aggregation.features, aggregation.inputs

    def forward(self, capsule_BNF: Tensor) -> Tensor:
        """Primary capsules (B, N, F) to stage vectors (B, V)."""
        stages: Tensor = self.features(self.inputs.weight @ capsule_BNF)
        return stages.flatten(1)


class FoldedFSANet(Folded):
    """`FSANet` without what only training needs."""

    def __init__(self, network: FSANet) -> None:
        super().__init__(network.input_size)
        self.backbone = FoldedBackbone(network.backbone, network.preprocess)
        self.relu_conv, self.tanh_conv = network.stage_features.relu_conv, network.stage_features.tanh_conv
        self.scoring = FoldedScoring(network.scoring)
        self.mapping = None if network.mapping is None else FoldedMapping(network.mapping)
        if isinstance(network.aggregation, CapsuleAggregation):
            self.aggregation: nn.Module = FoldedCapsules(network.aggregation)
        elif isinstance(network.aggregation, LinearAggregation):
            self.aggregation = FoldedLinearAggregation(network.aggregation)
        else:
            self.aggregation = nn.Sequential(network.aggregation, nn.Flatten())
        self.heads = FoldedStageHeads(network.heads)

    def estimate(self, picture: Tensor) -> InferenceOutput:
        """(B, 64, 64, 3) RGB to poses."""
        x = picture.to(self.heads.linear.weight.dtype).contiguous()
        stages = []
        for (r, t), relu_conv, tanh_conv in zip(self.backbone(x), self.relu_conv, self.tanh_conv, strict=True):
            product = relu_conv(r).relu() * tanh_conv(t).tanh()
            if product.shape[-1] > GRID:
                product = functional.avg_pool2d(product, 2)
            stages.append(product)
        u_BFX = torch.cat(stages, dim=2).flatten(2)  # stage under stage: the same order, reshaped once
        capsules = u_BFX.transpose(1, 2) if self.mapping is None else self.mapping(u_BFX, self.scoring(u_BFX))
        return InferenceOutput(self.heads(self.aggregation(capsules)), None)


class FoldedSSRNet(Folded):
    """`SSRNetMD` with a stage's three first layers as one, and the second ones of all stages as one."""

    hidden = 6
    order: Tensor

    def __init__(self, network: SSRNetMD) -> None:
        super().__init__(network.input_size)
        self.backbone = FoldedBackbone(network.backbone, network.preprocess)
        self.stages: Any = network.stages
        self.first = nn.ModuleList()
        self.second = _empty_linear(NUM_STAGES * 2 * self.hidden, NUM_QUANTITIES)
        nine, six = NUM_ANGLES * NUM_BINS, self.hidden
        for stage, head in enumerate(network.heads):
            assert isinstance(head, DenseStageHead)
            layers: Any = [head.probs[0], head.shift[0], head.scale[0]]  # linear ones, which nn.Sequential hides
            seconds: Any = [head.shift[2], head.scale[2]]
            parts = list(zip(layers, (STAGE_UNIT[stage], 1.0, 1.0), strict=True))
            first = _empty_linear(layers[0].in_features, nine + 2 * six)
            # The network flattens pixel by pixel; convolutions leave feature by feature, so the columns change places.
            pixels = first.in_features // FEATURES
            columns = torch.arange(first.in_features).view(pixels, FEATURES).t().flatten()
            first.weight.copy_(torch.cat([part.weight[:, columns] * factor for part, factor in parts]))
            first.bias.copy_(torch.cat([part.bias * factor for part, factor in parts]))
            self.first.append(first)
            _put(self.second, _rows_of_quantity(0, stage), 2 * six * stage, seconds[0])
            _put(self.second, _rows_of_quantity(1, stage), 2 * six * stage + six, seconds[1])
        self.register_buffer("order", torch.argsort(torch.cat([_rows_of_probs(stage) for stage in range(NUM_STAGES)])))
        self.regression = StagewiseRegression()

    def estimate(self, picture: Tensor) -> InferenceOutput:
        """(B, 64, 64, 3) RGB to poses."""
        pairs = self.backbone(picture.to(self.second.weight.dtype).contiguous())
        probs, hidden = [], []
        for (r, t), stage, first in zip(pairs, self.stages, self.first, strict=True):
            product = stage.relu_branch(r) * stage.tanh_branch(t)
            own, quantities = first(product.flatten(1)).split([NUM_ANGLES * NUM_BINS, 2 * self.hidden], dim=1)
            probs.append(own)
            hidden.append(quantities)
        quantities = self.second(torch.cat(hidden, dim=1).tanh())
        return InferenceOutput(self.regression(torch.cat(probs, dim=1)[:, self.order], quantities), None)


# ------------------------------------------------------------------------------------------------------------ Hopenet


class FoldedHopenet(Folded):
    """`Hopenet` or its regression: batch normalisations of the trunk folded, the heads as one layer."""

    def __init__(self, network: Hopenet | HopenetRegression) -> None:
        super().__init__(network.input_size)
        self.preprocess, self.backbone = network.preprocess, network.backbone
        fold_norms(self.backbone, torch.zeros(1, 3, self.input_size, self.input_size, dtype=torch.float64))
        self.backbone.to(memory_format=torch.channels_last)
        self.bins = network.bins if isinstance(network, Hopenet) else None
        heads = [head for head in network.heads if isinstance(head, nn.Linear)]
        self.head = _empty_linear(heads[0].in_features, sum(head.out_features for head in heads))
        self.head.weight.copy_(torch.cat([head.weight for head in heads]))
        self.head.bias.copy_(torch.cat([head.bias for head in heads]))

    def estimate(self, picture: Tensor) -> InferenceOutput:
        """(B, S, S, 3) RGB to poses, and the bins' spread where there are bins."""
        out = self.head(self.backbone(self.preprocess(picture.permute(0, 3, 1, 2))))
        if self.bins is None:
            return InferenceOutput(out, None)
        return InferenceOutput(*self.bins.decode(out.unflatten(1, (NUM_ANGLES, -1))))


def fold_norms(trunk: nn.Module, picture: Tensor) -> None:
    """Fold, in place, each batch normalisation that directly follows a convolution.

    Which ones do is seen while a picture passes, so any trunk will do. A convolution called twice, or read by anything else
    than its normalisation, has to stay; what reads it is not seen here, but whoever exports compares the outputs.

    Args:
        trunk: in eval mode.
        picture: (1, 3, S, S), of any content.
    """
    made_by: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    pairs: list[tuple[nn.Conv2d, nn.BatchNorm2d]] = []

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            made_by[id(output)] = (module, output)  # the tensor is kept, or its id would be given away again
        elif isinstance(module, nn.BatchNorm2d) and id(inputs[0]) in made_by:
            pairs.append((made_by[id(inputs[0])][0], module))

    hooks = [module.register_forward_hook(after) for module in trunk.modules()]
    trunk(picture)
    for hook in hooks:
        hook.remove()
    convs = [conv for conv, _ in pairs]
    folded = {conv: fold_norm(conv, norm) for conv, norm in pairs if convs.count(conv) == 1}
    for name, module in list(trunk.named_modules()):
        if module in folded:
            trunk.set_submodule(name, folded[module])
        elif any(module is norm and conv in folded for conv, norm in pairs):
            # timm's own classes normalise and activate in one.
            trunk.set_submodule(name, nn.Sequential(*(part for part in module.children())))


class FoldedFusion(Folded):
    """`LateFusion` of inference forms."""

    def __init__(self, fusion: LateFusion) -> None:
        super().__init__(fusion.input_size)
        self.members: Any = nn.ModuleList(_fold(member) for member in fusion.members)

    def estimate(self, picture: Tensor) -> InferenceOutput:
        """(B, S, S, 3) RGB to mean poses."""
        poses = [member.estimate(picture).pose for member in self.members]
        return InferenceOutput(torch.stack(poses).mean(dim=0), None)
