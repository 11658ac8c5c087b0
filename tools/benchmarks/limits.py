"""What a network costs by count, and what the machine can do at best."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from headposekit.timing import wait_for_device

GEMM_SIDE = 1024
COPY_BYTES = 2**27
"""Larger than any cache."""


class ByteCounter(TorchDispatchMode):
    """Counts, while open, the bytes that operations read and write: their tensors in and out, views excepted.

    Attributes:
        count: bytes so far, as if nothing stayed in a cache from one operation to the next.
        operations: how many there were.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = self.operations = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run, then count."""
        out = func(*args, **(kwargs or {}))
        made = [tensor for tensor in tree_leaves(out) if isinstance(tensor, Tensor)]
        given = [tensor for tensor in tree_leaves((args, kwargs)) if isinstance(tensor, Tensor)]
        seen = {tensor.untyped_storage().data_ptr() for tensor in given}
        is_view = made and all(tensor.untyped_storage().data_ptr() in seen for tensor in made) and not func._schema.is_mutable
        if not is_view:
            self.operations += 1
            self.count += sum(tensor.numel() * tensor.element_size() for tensor in [*given, *made])
        return out


def count_work(work: Callable[[], object]) -> dict[str, float]:
    """Operations of a piece of work, its floating-point operations and the bytes it touches.

    The convolutions' backward pass is counted by torch, which takes grouped ones for dense: an upper bound.
    """
    with FlopCounterMode(display=False) as flops:
        work()
    with ByteCounter() as moved:
        work()
    return {"operations": moved.operations, "flops": float(flops.get_total_flops()), "bytes": float(moved.count)}


def machine_limits(device: torch.device | None = None, num_rounds: int = 5) -> dict[str, float]:
    """The best of some rounds: products of 1,024² matrices in float32, copies larger than the caches.

    Args:
        device: where; the processor (on torch's threads) if not said.
        num_rounds: of each.
    """
    one, two = torch.rand(2, GEMM_SIDE, GEMM_SIDE, device=device)
    source = torch.zeros(COPY_BYTES, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    gemm = _least(lambda: torch.mm(one, two), num_rounds)
    copy = _least(lambda: target.copy_(source), num_rounds)
    return {"flops_per_second": 2 * GEMM_SIDE**3 / gemm, "bytes_per_second": 2 * COPY_BYTES / copy}


def _least(work: Callable[[], object], num_rounds: int) -> float:
    times = []
    for _ in range(num_rounds + 1):
        wait_for_device()
        start = time.perf_counter()
        work()
        wait_for_device()
        times.append(time.perf_counter() - start)
    return min(times[1:])
