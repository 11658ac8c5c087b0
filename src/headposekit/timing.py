"""Pieces of work timed in turn, so that a busy machine slows all of them alike."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch


def wait_for_device() -> None:
    """Let a GPU finish what it was given; without one, nothing is outstanding."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@dataclass(frozen=True)
class Times:
    """How long one of several pieces of work takes, measured in turn with the others.

    Attributes:
        median, least, most: milliseconds a call.
        ratio: median, over the rounds, of its time over that of the first piece.
    """

    median: float
    least: float
    most: float
    ratio: float


def compare_times(
    pieces: Mapping[str, Callable[[], object]], num_rounds: int, calls: int = 1, clock: Callable[[], float] = time.thread_time
) -> dict[str, Times]:
    """Time pieces of work in turn, so that a busy machine slows all of them alike.

    Args:
        pieces: each has run once before anything is measured.
        num_rounds: how often each is measured.
        calls: of one piece, in a row, in a round; a single short one would find the caches full of the others' numbers.
        clock: in seconds; by default the processor's, of this thread alone, which does not count what others took.
    """
    seconds: dict[str, list[float]] = {name: [] for name in pieces}
    for piece in pieces.values():
        piece()
    for _ in range(num_rounds):
        for name, piece in pieces.items():
            wait_for_device()
            start = clock()
            for _ in range(calls):
                piece()
            wait_for_device()
            seconds[name].append((clock() - start) / calls)
    first = next(iter(seconds.values()))
    return {
        name: Times(
            1e3 * statistics.median(values),
            1e3 * min(values),
            1e3 * max(values),
            statistics.median(value / other for value, other in zip(values, first, strict=True)),
        )
        for name, values in seconds.items()
    }
