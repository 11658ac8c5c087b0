"""Learning-rate schedules that torch does not have."""

import math

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from headposekit.errors import InputError


class WarmupCosine(LRScheduler):
    """A linear rise, then half a cosine down to nothing, changed after every step: for trainings of few epochs.

    Args:
        optimizer: whose learning rates are the peak.
        warmup: share of the training that the rise takes.

    Raises:
        InputError: `warmup` is not in [0, 1).
    """

    def __init__(self, optimizer: Optimizer, warmup: float = 0.1) -> None:
        if not isinstance(warmup, int | float) or not 0 <= warmup < 1:
            raise InputError(f"scheduler.warmup={warmup} is not a share of the training; give 0 or more, below 1")
        self.warmup, self.total_steps = warmup, 1
        super().__init__(optimizer)

    def span(self, total_steps: int) -> None:
        """Stretch over a training of so many steps; before the first one."""
        self.total_steps = total_steps
        for group, lr in zip(self.optimizer.param_groups, self.get_lr(), strict=True):
            group["lr"] = lr

    def get_lr(self) -> list[float | Tensor]:
        """Learning rate of each parameter group in the next step."""
        done = min((self.last_epoch + 1) / (self.total_steps + 1), 1.0)
        rising = done < self.warmup
        factor = done / self.warmup if rising else 0.5 + 0.5 * math.cos(math.pi * (done - self.warmup) / (1 - self.warmup))
        return [factor * peak for peak in self.base_lrs]
