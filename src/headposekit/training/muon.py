"""Muon: orthogonalised momentum (all singular values about 1) for weight matrices; AdamW for other parameters."""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.optim import AdamW

MIN_SIDE = 16
"""Dense weights with a shorter side than this (the small heads) are left to AdamW; convolutions of any size are not."""
SMALL, FREE = 2**16, 2**26
"""Numbers in a matrix (or a stack) that may be padded, and multiplications that cost a GPU about as much as a launch."""
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
        parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
        if not parameters:
            return
        gradients, means = [parameter.grad for parameter in parameters], [self._mean(parameter) for parameter in parameters]
        torch._foreach_lerp_(means, gradients, 1 - group["momentum"])
        directions = torch._foreach_lerp(gradients, means, group["momentum"])
        flat = [direction.flatten(1) if direction.ndim == 4 else direction for direction in directions]
        steps = orthogonalise_all(flat, padded=parameters[0].device.type != "cpu")
        steps = [step.view_as(parameter) for step, parameter in zip(steps, parameters, strict=True)]
        torch._foreach_mul_(steps, [max(1.0, matrix.shape[-2] / matrix.shape[-1]) ** 0.5 for matrix in flat])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, steps, alpha=-group["lr"])
        for parameter in parameters:
            parameter.grad = None  # done; AdamW passes by

    def _mean(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
            state["step"] = torch.tensor(0.0)  # AdamW looks for it in all states it loads; nobody counts with it
        mean: Tensor = state["momentum_buffer"]
        return mean


def is_matrix(parameter: Tensor) -> bool:
    """Whether Muon takes a parameter."""
    if parameter.ndim == 4:
        return parameter.shape[1] > 1  # not depthwise
    return parameter.ndim >= 2 and min(parameter.shape[-2:]) >= MIN_SIDE


def orthogonalise_all(matrices: Sequence[Tensor], padded: bool) -> list[Tensor]:
    """See `orthogonalise`; (R, C) or (N, R, C) each. Those of equal shape go through the same batched products.

    With `padded` so do small ones of other shapes, padded with zeros, which change nothing: on a GPU the number of launches
    counts, and not what they multiply.
    """
    done: dict[int, Tensor] = {}
    small = [i for i, matrix in enumerate(matrices) if padded and matrix.numel() <= SMALL]
    if small:
        together = torch.cat([matrices[i].flatten() for i in small] + [matrices[small[0]].new_zeros(1)])
        slots, back = _slots(tuple(matrices[i].shape for i in small), together.device)
        numbers = torch.cat([orthogonalise(together[slot]).flatten() for slot in slots])[back]
        steps = numbers.split([matrices[i].numel() for i in small])
        done |= {i: step.view_as(matrices[i]) for i, step in zip(small, steps, strict=True)}
    by_shape: dict[torch.Size, list[int]] = {}
    for i in sorted(set(range(len(matrices))) - done.keys()):
        by_shape.setdefault(matrices[i].shape, []).append(i)
    for members in by_shape.values():
        done |= zip(members, orthogonalise(torch.stack([matrices[i] for i in members])).unbind(), strict=True)
    return [done[i] for i in range(len(matrices))]


@functools.lru_cache(maxsize=16)
def _slots(shapes: tuple[torch.Size, ...], device: torch.device) -> tuple[list[Tensor], Tensor]:
    """Where small matrices lie when they are padded.

    Returns:
        for each batch (N, short side, long side) the place of each number among those of all matrices, or just behind them
        for a zero; and the place of each matrix' numbers among those of all batches.
    """
    sizes = [shape.numel() for shape in shapes]
    total, groups = sum(sizes), dict[tuple[int, int], list[Tensor]]()
    places = [place.view(-1, *shape[-2:]) for place, shape in zip(torch.arange(total).split(sizes), shapes, strict=True)]
    wide = [place.mT if place.shape[1] > place.shape[2] else place for place in places]
    for place in sorted(wide, key=lambda place: place.shape[1:], reverse=True):
        n, short, long = place.shape
        fitting = (sides for sides in groups if short <= sides[0] and long <= sides[1] and n * sides[0] ** 2 * sides[1] <= FREE)
        groups.setdefault(next(fitting, (short, long)), []).append(place)
    slots = []
    for (rows, columns), members in groups.items():
        padded = [functional.pad(p, (0, columns - p.shape[2], 0, rows - p.shape[1]), value=total) for p in members]
        slots.append(torch.cat(padded))
    back = torch.cat([slot.flatten() for slot in slots]).argsort()[:total]
    return [slot.to(device) for slot in slots], back.to(device)


def orthogonalise(matrices: Tensor) -> Tensor:
    """(..., R, C) to matrices with the same singular vectors and singular values of about 1 (0.7 to 1.2)."""
    x = matrices.reshape(-1, *matrices.shape[-2:])
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    is_tall = x.shape[1] > x.shape[2]
    a, b, c = NEWTON_SCHULZ
    for _ in range(5):  # x = a x + (b gram + c gram²) x, or of a tall one's other side
        gram = x.mT @ x if is_tall else x @ x.mT
        factor = torch.baddbmm(gram, gram, gram, beta=b, alpha=c)
        x = torch.baddbmm(x, x, factor, beta=a) if is_tall else torch.baddbmm(x, factor, x, beta=a)
    return x.reshape(matrices.shape)
