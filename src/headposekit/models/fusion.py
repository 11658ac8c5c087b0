"""Late fusion: the mean pose of several networks (FSA-Net, section 3.5)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from headposekit.errors import InputError
from headposekit.models.summary import input_size_of
from headposekit.types import Batch


class LateFusionOutput(NamedTuple):
    """Mean pose, and the poses of the members."""

    pose: Tensor  # (B, 3), degrees
    member_pose: Tensor  # (M, B, 3), degrees


class LateFusion(nn.Module):
    """Mean of the members' angles, each member seeing the same crop.

    Args:
        members: networks of one input size.
    """

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        sizes = {input_size_of(member) for member in members}
        if len(sizes) != 1:
            raise InputError(f"networks of different input sizes {sorted(sizes)} cannot be fused; evaluate them separately")
        self.members = nn.ModuleList(members)
        (self.input_size,) = sizes

    def forward(self, batch: Batch) -> LateFusionOutput:
        """A batch of B crops to their mean poses."""
        member_pose = torch.stack([member(batch).pose for member in self.members])
        return LateFusionOutput(member_pose.mean(dim=0), member_pose)
