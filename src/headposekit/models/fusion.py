"""Late fusion: the mean pose of several networks (FSA-Net, section 3.5)."""

from collections.abc import Sequence

import torch
from torch import nn

from headposekit.errors import InputError
from headposekit.models.network import PoseNetwork
from headposekit.types import Batch, PoseOutput


class LateFusion(PoseNetwork):
    """Mean of the members' angles, each member seeing the same crop; InputError for different input sizes."""

    def __init__(self, members: Sequence[PoseNetwork]) -> None:
        super().__init__()
        sizes = {member.input_size for member in members}
        if len(sizes) != 1:
            raise InputError(f"networks of different input sizes {sorted(sizes)} cannot be fused; evaluate them separately")
        self.members = nn.ModuleList(members)
        (self.input_size,) = sizes

    def forward(self, batch: Batch) -> PoseOutput:
        """A batch of B crops to their mean poses."""
        return PoseOutput(torch.stack([member(batch).pose for member in self.members]).mean(dim=0))
