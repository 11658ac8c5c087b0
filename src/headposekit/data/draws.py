"""Random numbers of a whole batch at once, each a function of its face alone."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
STREAM = 64  # numbers that a stream of one face can give before the next stream's begin


class Draws:
    """Numbers in [0, 1) for each of B faces (`indices`), whatever else is in the batch and however many workers draw.

    A generator for each face would cost more than the augmentation. These are hashes of a counter: SplitMix64's finaliser,
    applied to each part of the key (seed and epoch) in turn.

    Reference: Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, OOPSLA 2014.
    """

    def __init__(self, key: tuple[int, int], indices: NDArray[np.integer[Any]]) -> None:
        state = np.zeros(1, dtype=np.uint64)  # arrays wrap around, NumPy's scalars warn
        for part in key:
            state = _mix(state + np.uint64(part) + GOLDEN)
        self._faces = _mix(state + indices.astype(np.uint64) + GOLDEN)[:, None]

    def __call__(self, stream: int, count: int) -> NDArray[np.float64]:
        """(B, count) numbers, at most `STREAM`; `stream`: what they are for, those of different ones are independent."""
        assert count <= STREAM
        counter = (np.arange(count, dtype=np.uint64) + np.uint64(stream * STREAM + 1)) * GOLDEN
        numbers: NDArray[np.float64] = (_mix(self._faces + counter) >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return numbers


def integers(numbers: NDArray[np.floating[Any]], bound: int | NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Numbers in [0, 1) to whole ones in 0..bound - 1."""
    return (numbers * bound).astype(np.int64)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
