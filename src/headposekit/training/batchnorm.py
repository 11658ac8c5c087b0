"""Batch statistics over all processes, on any device: torch's own SyncBatchNorm runs on GPUs only."""

from typing import Any

import torch
import torch.distributed
from pytorch_lightning.plugins import LayerSync
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose mean and variance are those of the batch that all processes hold together."""

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, H, W) of this process to the same."""
        if not self.training or not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
            return super().forward(input)
        axes = (0, 2, 3)
        count = all_reduce(input.new_tensor(input.numel() / input.shape[1]))
        mean = all_reduce(input.sum(axes)) / count
        centered = input - mean[:, None, None]
        variance = all_reduce(centered.square().sum(axes)) / count
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        normalized: Tensor = centered * scale[:, None, None] + self.bias[:, None, None]
        return normalized


class ShareBatchStatistics(LayerSync):
    """A plugin for Lightning's Trainer: BatchNorm2d becomes `SharedBatchNorm2d` for the time of a training."""

    def apply(self, model: Any) -> Any:
        """Share statistics; parameters and buffers stay what they are."""
        return _recast(model, nn.BatchNorm2d, SharedBatchNorm2d)

    def revert(self, model: Any) -> Any:
        """Back to torch's own."""
        return _recast(model, SharedBatchNorm2d, nn.BatchNorm2d)


def _recast(model: nn.Module, old: type[nn.Module], new: type[nn.Module]) -> nn.Module:
    for module in model.modules():
        if type(module) is old:
            module.__class__ = new
    return model
