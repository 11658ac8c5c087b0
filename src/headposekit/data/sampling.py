"""Which faces a batch holds: a function of seed, epoch and number of processes, and of nothing else."""

import hashlib
from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import numpy as np
from torch.utils.data import Sampler

from headposekit.errors import InputError


class BatchKey(NamedTuple):
    """What a DataLoader asks a dataset view for: the faces `indices`, as augmented in `epoch`."""

    epoch: int
    indices: list[int]


class TrainSampler(Sampler[BatchKey]):
    """Batches of a fresh permutation each epoch; the last incomplete batch is dropped (Keras' floor(n / batch)).

    A batch is the same set of faces whatever the number of processes; each process takes its equal share of it.

    Args:
        n: number of faces.
        batch_size: faces per optimiser step, over all processes.
        seed: of the order.
        rank, world_size: this process and their number.
        left_out: why there are no more faces, for the refusal of too few.
    """

    def __init__(self, n: int, batch_size: int, seed: int, rank: int = 0, world_size: int = 1, left_out: str = "") -> None:
        if batch_size < 1 or batch_size % world_size:
            raise InputError(
                f"data.batch_size={batch_size} cannot be shared equally by {world_size} processes; give a multiple"
            )
        if n < batch_size:
            why = f" ({left_out})" if left_out else ""
            raise InputError(f"{n} training faces do not fill one batch of {batch_size}{why}; set data.batch_size={n} or less")
        self.n, self.batch_size, self.seed, self.rank, self.world_size = n, batch_size, seed, rank, world_size
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.n // self.batch_size

    def __iter__(self) -> Iterator[BatchKey]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(self.n)
        share = self.batch_size // self.world_size
        for batch in range(len(self)):
            start = batch * self.batch_size + self.rank * share
            yield BatchKey(self.epoch, order[start : start + share].tolist())


class EvaluationSampler(Sampler[BatchKey]):
    """All faces in order, each exactly once over all processes (none is repeated to fill a batch)."""

    def __init__(self, n: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        self.indices = list(range(rank, n, world_size))
        self.batch_size = max(1, batch_size // world_size)

    def __len__(self) -> int:
        return -(-len(self.indices) // self.batch_size)

    def __iter__(self) -> Iterator[BatchKey]:
        for start in range(0, len(self.indices), self.batch_size):
            yield BatchKey(0, self.indices[start : start + self.batch_size])


class Split(NamedTuple):
    """Indices of the two sides, in seeded order, and a fingerprint of the names on them."""

    train: list[int]
    val: list[int]
    hash: str


def split_faces(
    names: Sequence[str],
    photos: Sequence[str],
    rule: Literal["photo", "random"],
    val_fraction: float,
    seed: int,
    num_train: int | None = None,
    num_val: int | None = None,
    left_out: str = "",
) -> Split:
    """Divide faces into training and validation; raises InputError where the options cannot be, or leave nothing to train on.

    Args:
        names, photos: of each of the n faces, its name and the photograph it comes from.
        rule: `photo` keeps all faces of a photo (synthesised poses, mirror) on one side; `random` divides face by face, as
            FSA-Net's code does, which puts poses of one photo on both sides.
        val_fraction: share of the photos (faces) for validation, in [0, 1).
        seed: of the division and of the order.
        num_train, num_val: keep only the first of the seeded order; None keeps all.
        left_out: why there are no more faces, for the refusal of none.
    """
    if rule not in ("photo", "random"):
        raise InputError(f"data.split={rule} is unknown; choose photo or random")
    if not 0 <= val_fraction < 1:
        raise InputError(f"data.val_fraction={val_fraction} is outside [0, 1); give a share such as 0.2")
    keys, rng = np.asarray(photos if rule == "photo" else names), np.random.default_rng(seed)
    groups = np.unique(keys)
    is_val = np.isin(keys, rng.permutation(groups)[: round(val_fraction * len(groups))])
    order = rng.permutation(len(names))
    train, val = order[~is_val[order]][:num_train].tolist(), order[is_val[order]][:num_val].tolist()
    if not train:
        why = f" ({left_out})" if left_out else ""
        raise InputError(f"no training face is left of {len(names)}{why}; lower data.val_fraction or raise data.num_train")
    sides = "\n".join(["train", *sorted(names[i] for i in train), "val", *sorted(names[i] for i in val)])
    return Split(train, val, hashlib.sha256(sides.encode()).hexdigest()[:12])
