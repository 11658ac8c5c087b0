"""What a network costs by count, and what the machine can do at best."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

SIZES = {"cpu": (1024, 2**27, 1), "cuda": (8192, 2**30, 20)}
"""Side of the matrices, bytes of a copy (more than any cache holds), calls in a round: a launch must not count."""


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
    """The best of some rounds: products of square matrices in float32, copies larger than the caches; see `SIZES`.

    Args:
        device: where; the processor (on torch's threads) if not said.
        num_rounds: of each.
    """
    kind = device.type if device else "cpu"
    side, size, calls = SIZES[kind]
    one, two = torch.rand(2, side, side, device=device)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    timed = _seconds_of_gpu if kind == "cuda" else _seconds
    gemm, copy = (
        min([timed(work, calls) for _ in range(num_rounds + 1)][1:])
        for work in (lambda: torch.mm(one, two), lambda: target.copy_(source))
    )
    return {"flops_per_second": 2 * side**3 / gemm, "bytes_per_second": 2 * size / copy}


def _seconds(work: Callable[[], object], calls: int) -> float:
    start = time.perf_counter()
    for _ in range(calls):
        work()
    return (time.perf_counter() - start) / calls


def _seconds_of_gpu(work: Callable[[], object], calls: int) -> float:
    """By the GPU's own clock."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    start.record()
    for _ in range(calls):
        work()
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1e3 / calls
