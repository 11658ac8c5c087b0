"""Any trunk with any head: what the head predicts, and how it is trained, is the head's own (`headposekit.heads`)."""

from typing import Any

import torch
from torch import Tensor, nn

from headposekit.errors import InputError
from headposekit.heads.base import Head, HeadOutput, ProbabilisticHead
from headposekit.models.hopenet import TrunkAndHeads
from headposekit.types import Batch


class PoseNet(TrunkAndHeads):
    """A trunk, one linear layer, and a head that says what its numbers mean.

    Every head starts at the frontal pose. In half precision the trunk alone computes.

    Args:
        backbone, input_size: see `TrunkAndHeads`.
        head: with `size`, how many numbers it takes.

    Attributes:
        temperature: by which a probabilistic head's distributions are widened, see `headposekit.training.PoseModule`; 1 before.
    """

    temperature: Tensor

    def __init__(self, backbone: nn.Module, head: Head, input_size: int = 64) -> None:
        if not isinstance(head, Head):
            raise InputError(f"{type(head).__name__} is no head of a network; choose head=")
        super().__init__(backbone, input_size)
        self.head: Any = head
        self.fc_head = nn.Linear(int(self.backbone.num_features), head.size)
        with torch.no_grad():
            self.fc_head.weight.mul_(0.1)
            self.fc_head.bias.copy_(head.start())
        self.register_buffer("temperature", torch.ones(()))

    def forward(self, batch: Batch) -> HeadOutput:
        """A batch of B crops to their poses; spreads, where the head has some, only outside training."""
        features = self.features(batch)
        with torch.autocast(features.device.type, enabled=False):
            output: HeadOutput = self.head(self.fc_head(features.to(self.fc_head.weight.dtype)))
            if isinstance(self.head, ProbabilisticHead) and not self.training:
                output.spread, output.rotation_spread = self.head.spreads(output, self.temperature)
        return output

    def diagnostics(self, output: HeadOutput) -> dict[str, Tensor]:
        """How sure a probabilistic head is on average, in degrees."""
        return {} if output.rotation_spread is None else {"spread": output.rotation_spread.mean()}

    def uncertainty(self, output: HeadOutput, true: Tensor) -> dict[str, Tensor]:
        """See `PoseNetwork`."""
        if not isinstance(self.head, ProbabilisticHead) or output.rotation_spread is None:
            return {}
        return {
            "spread": output.rotation_spread,
            "nll": -self.head.log_density(output, true, self.temperature),
            "level": self.head.level(output, true, self.temperature),
        }

    def fold_blocks(self) -> None:
        """See `headposekit.models.fold`."""
        if hasattr(self.backbone, "fold_picture"):
            self.backbone.fold_picture(self.preprocess)
