"""Muon: orthogonalised momentum (all singular values about 1) for weight matrices; AdamW for other parameters."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import AdamW

MIN_SIDE = 16
"""Dense weights with a shorter side than this (the small heads) are left to AdamW; convolutions of any size are not."""
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of Jordan's quintic iteration, which takes singular values to about 1 in five rounds."""


class Muon(AdamW):
    """Muon (Jordan et al., 2024) on matrices, AdamW on the rest, as one optimiser.

    Matrices are dense weights but the smallest, convolutions that mix channels (flattened to output × everything else) and
    stacks of matrices such as the capsules' (each for itself). torch's and timm's Muon orthogonalise in bfloat16, which is
    slow on a CPU and coarse where processes must agree, and know no stacks.

    Args:
        params: parameters or parameter groups; a group is divided in two, its other options kept.
        lr: of matrices, in units of their orthogonalised step, which is longer by sqrt(rows / columns) where there are more
            rows.
        adamw_lr, betas, eps: of AdamW, for the rest.
        momentum: of matrices, Nesterov's.
        weight_decay: of all, as a share of the learning rate.

    Raises:
        ValueError: an option out of its range.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 0.028,
        adamw_lr: float = 0.0056,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        for rate in (lr, adamw_lr):
            if not rate >= 0:
                raise ValueError(f"Invalid learning rate: {rate}")
        if not 0 <= momentum < 1:
            raise ValueError(f"Invalid momentum: {momentum}")
        entries = list(params)
        groups = entries if entries and isinstance(entries[0], dict) else [{"params": entries}]
        divided = []
        for group in groups:
            options = {key: value for key, value in group.items() if key != "params"}
            members = [group["params"]] if isinstance(group["params"], Tensor) else list(group["params"])
            matrices = [p for p in members if is_matrix(p)]
            rest = [p for p in members if not is_matrix(p)]
            divided.append({"lr": lr, **options, "params": matrices, "momentum": momentum})
            divided.append({"lr": adamw_lr, **options, "params": rest, "momentum": None})
        divided = [group for group in divided if group["params"]]
        super().__init__(divided, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, fused=True)
        self._step_supports_amp_scaling = False  # what fused AdamW can; matrices must find their gradients unscaled

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step of both kinds."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["momentum"] is not None:
                self._step_matrices(group)
        super().step()
        return loss

    def _step_matrices(self, group: dict[str, Any]) -> None:
        by_shape: dict[torch.Size, list[Tensor]] = {}
        for parameter in group["params"]:
            if parameter.grad is not None:
                by_shape.setdefault(parameter.shape, []).append(parameter)
        for shape, parameters in by_shape.items():
            # Equal shapes go through one batched product each, not through many small ones.
            directions = torch.stack([self._direction(parameter, group["momentum"]) for parameter in parameters])
            steps = orthogonalise(directions.flatten(2) if len(shape) == 4 else directions)
            scale = max(1.0, steps.shape[-2] / steps.shape[-1]) ** 0.5
            for parameter, step in zip(parameters, steps, strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.add_(step.reshape(shape), alpha=-group["lr"] * scale)
                parameter.grad = None  # done; AdamW passes by

    def _direction(self, parameter: Tensor, momentum: float) -> Tensor:
        assert parameter.grad is not None
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter.grad)
            state["step"] = torch.tensor(0.0)  # AdamW looks for it in all states it loads
        state["step"] += 1
        mean: Tensor = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(mean, momentum)


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon takes a parameter."""
    if parameter.ndim == 4:
        return parameter.shape[1] > 1  # not depthwise
    return parameter.ndim >= 2 and min(parameter.shape[-2:]) >= MIN_SIDE


def orthogonalise(matrices: Tensor) -> Tensor:
    """(..., R, C) to matrices with the same singular vectors and singular values of about 1 (0.7 to 1.2)."""
    wide = matrices.mT if matrices.shape[-2] > matrices.shape[-1] else matrices
    wide = wide.reshape(-1, *wide.shape[-2:])
    x = wide / (wide.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):  # x = a x + (b gram + c gram²) x
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    turned: Tensor = x.mT if matrices.shape[-2] > matrices.shape[-1] else x
    return turned.reshape(matrices.shape)
