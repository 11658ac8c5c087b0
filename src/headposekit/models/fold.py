"""The inference form of any network: each batch normalisation disappears into the convolution or linear layer before it.

Which ones do is seen while pictures pass. A network that can do more has a method `fold_blocks`, which changes it in place.
"""

import copy
import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from headposekit.errors import first_line
from headposekit.models.network import PoseNetwork
from headposekit.types import Batch

TOLERANCE = 1e-4
"""Degrees; a network whose angles change by more stays as it is."""
log = logging.getLogger(__name__)


def fold(network: PoseNetwork) -> PoseNetwork:
    """A copy for inference, in eval mode and without gradients; not folded, which is logged, where that cannot be."""
    plain = copy.deepcopy(network).eval().requires_grad_(False)
    first = next(plain.parameters(), None)
    if first is None:
        return plain
    folded = copy.deepcopy(plain).double()  # products of weights are rounded once, at the end
    try:
        batch = random_pictures(2, plain.input_size, first.device)
        with torch.no_grad():
            expected = folded(batch).pose
            for module in list(folded.modules()):
                if isinstance(module, PoseNetwork):
                    module.fold_blocks()
            fold_norms(folded.eval(), batch)
            difference = float((folded(batch).pose - expected).abs().max())
        fault = None if difference <= TOLERANCE else f"its angles would change by {difference:.2g} degrees"
    except Exception as error:  # what a network of one's own cannot do in double precision has no end
        fault = first_line(error)
    if fault is not None:
        log.warning("%s is used as it is, since it cannot be folded: %s", type(network).__name__, fault)
        return plain
    return folded.to(first.dtype)


def as_linear(function: Callable[[Tensor], Tensor], in_features: int) -> nn.Linear:
    """One layer in double precision for a function of (B, in_features) that several layers compute and that is linear."""
    bias = function(torch.zeros(1, in_features, dtype=torch.float64))
    layer = nn.Linear(in_features, bias.shape[1], dtype=torch.float64)
    layer.weight = nn.Parameter((function(torch.eye(in_features, dtype=torch.float64)) - bias).t().contiguous())
    layer.bias = nn.Parameter(bias[0])
    return layer


def random_pictures(count: int, size: int, device: torch.device | None = None) -> Batch:
    """Noise in the shape of faces, laid out in memory as the data sets do; always the same."""
    noise = torch.randint(0, 256, (count, size, size, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    batch: Batch = {"image": noise.permute(0, 3, 1, 2).to(device)}  # type: ignore[typeddict-item]  # networks read no labels
    return batch


@torch.no_grad()
def fold_norms(network: nn.Module, example: Any) -> None:
    """Fold, in place, each batch normalisation that directly follows a layer of which nothing else is made.

    The network is in eval mode; `example` is what it can be called with.
    """
    made_by: dict[int, tuple[nn.Module, Tensor]] = {}
    pairs: list[tuple[nn.Module, _BatchNorm]] = []

    def after(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            made_by[id(output)] = (module, output)  # the tensor is kept, or its id would be given away again
        elif isinstance(module, _BatchNorm) and id(inputs[0]) in made_by and module.running_mean is not None:
            pairs.append((made_by[id(inputs[0])][0], module))

    hooks = [module.register_forward_hook(after) for module in network.modules()]
    network(example)
    for hook in hooks:
        hook.remove()
    layers, norms = ([pair[side] for pair in pairs] for side in (0, 1))
    once = [(layer, norm) for layer, norm in pairs if layers.count(layer) == 1 and norms.count(norm) == 1]
    folded: dict[nn.Module, nn.Module] = {}
    for layer, norm in once:
        fuse: Any = fuse_linear_bn_eval if isinstance(layer, nn.Linear) else fuse_conv_bn_eval
        folded[layer] = fuse(layer, norm)
        folded[norm] = nn.Sequential(*norm.children())  # timm's own classes normalise and activate in one
    for name, module in list(network.named_modules(remove_duplicate=False)):
        if module in folded:
            network.set_submodule(name, folded[module])
