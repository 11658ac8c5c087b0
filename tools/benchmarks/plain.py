"""The plain form of a network, as one would write it down: what every faster form is measured against."""

import copy

import torch
from torch import Tensor, nn

from headposekit.models.fsanet import NUM_STAGES, PIXELS, SeparableBlock, StructureMapping
from headposekit.models.preprocess import Preprocess


def plain_form(network: nn.Module) -> nn.Module:
    """A copy that computes the same the straightforward way, with the same parameters in the same places.

    Channels first in memory; of FSA-Net and SSR-Net-MD also each separable block as two convolutions and its activation
    before its pooling, and of FSA-Net structure maps `S_k = C M_k` that are built. Capsules stay one batched product.
    """
    plain = copy.deepcopy(network).to(memory_format=torch.contiguous_format)
    forms = {Preprocess: PlainPreprocess, SeparableBlock: PlainBlock, StructureMapping: PlainMapping}
    for module in plain.modules():
        if type(module) in forms:
            module.__class__ = forms[type(module)]  # a subclass without state of its own
        if isinstance(module, PlainBlock) and isinstance(module.tail[0], nn.MaxPool2d):
            module.tail = nn.Sequential(*reversed(module.tail))
    return plain


class PlainPreprocess(Preprocess):
    """Channels first in memory."""

    def forward(self, image: Tensor) -> Tensor:
        """See `Preprocess`."""
        return super().forward(image).contiguous()


class PlainBlock(SeparableBlock):
    """Depthwise, then pointwise, whatever comes in."""

    def forward(self, x: Tensor) -> Tensor:
        """See `SeparableBlock`."""
        out: Tensor = self.tail(self.norm(self.pointwise(self.depthwise(x))))
        return out


class PlainMapping(StructureMapping):
    """Equations 5 to 7 of the paper one after the other."""

    def forward(self, u_BKPF: Tensor, score_BKP: Tensor) -> tuple[Tensor, Tensor]:
        """See `StructureMapping`."""
        m = self.row_map(score_BKP).sigmoid().unflatten(-1, (self.num_rows, NUM_STAGES * PIXELS))
        c_BQR = self.combine(score_BKP.flatten(1)).sigmoid().unflatten(-1, (self.num_representatives, self.num_rows))
        s_BKQX = c_BQR.unsqueeze(1) @ m
        weighted_BKQF = s_BKQX @ u_BKPF.flatten(1, 2).unsqueeze(1)
        return (weighted_BKQF / s_BKQX.sum(dim=-1, keepdim=True)).flatten(1, 2), m
