"""Several data sets as one to train on: each batch holds faces of all of them, in fixed shares."""

import hashlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from headposekit.data.datamodule import FaceBatches, HeadPoseDataModule
from headposekit.data.dataset import HeadPoseDataset
from headposekit.data.sampling import BatchKey, EvaluationSampler, Split
from headposekit.datasets.synthetic import SyntheticDataModule
from headposekit.errors import InputError
from headposekit.geometry.crops import CropRule
from headposekit.types import Batch


class MixedFaces(HeadPoseDataset):
    """The faces of several data sets in a row; a name begins with the part's own.

    Args:
        parts: the data sets, by name.
    """

    title = "mixture"

    def __init__(self, parts: Mapping[str, HeadPoseDataset]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts.values())])
        self.names = [f"{name}/{face}" for name, part in parts.items() for face in part.names]
        self.pose = np.concatenate([part.pose for part in parts.values()])
        self.box = np.concatenate([part.box for part in parts.values()])
        self.landmarks = np.concatenate([part.landmarks for part in parts.values()])
        self.num_filtered = sum(part.num_filtered for part in parts.values())
        self.skipped = {f"{name}/{face}": why for name, part in parts.items() for face, why in part.skipped.items()}
        self.doubts = [f"{name}: {doubt}" for name, part in parts.items() for doubt in part.doubts]

    def image(self, index: int) -> NDArray[np.uint8]:
        """The picture of one face."""
        number = int(np.searchsorted(self.starts, index, side="right")) - 1
        return list(self.parts.values())[number].image(index - int(self.starts[number]))

    def photo_of(self, name: str) -> str:
        """The part's photograph."""
        part, _, face = name.partition("/")
        return f"{part}/{self.parts[part].photo_of(face)}"

    def left_out(self) -> str:
        """What each part left out."""
        return "; ".join(f"{name}: {reason}" for name, part in self.parts.items() if (reason := part.left_out()))


class MixedBatches(Dataset[Batch]):
    """Batches over the faces of several views, counted through all of them.

    Args:
        views: of the parts, in order.
    """

    def __init__(self, views: Sequence[FaceBatches]) -> None:
        self.views, self.starts = views, np.cumsum([0, *map(len, views)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def __getitem__(self, key: BatchKey) -> Batch:
        wanted = np.asarray(key.indices)
        part = np.searchsorted(self.starts, wanted, side="right") - 1
        chosen = [np.flatnonzero(part == number) for number in range(len(self.views))]
        batches = [
            view[BatchKey(key.epoch, (wanted[places] - start).tolist())]
            for view, start, places in zip(self.views, self.starts, chosen, strict=False)
            if len(places)
        ]
        back = np.argsort(np.concatenate(chosen))
        order = torch.from_numpy(back)
        together: Any = {
            key: torch.cat([batch[key] for batch in batches])[order]
            for key in ("image", "pose", "box", "landmarks")
            if key in batches[0]
        }
        if "name" in batches[0]:
            names = [name for batch in batches for name in batch["name"]]
            together["name"] = [names[place] for place in back]
        mixed: Batch = together
        return mixed


class MixedSampler(Sampler[BatchKey]):
    """Batches that hold each part's share of faces, to within one face; the shares of an epoch are exact to one face.

    A part's faces come in one permutation after the other, whatever the epoch, so each is seen equally often.

    Args:
        sizes: numbers of faces of the parts.
        shares: of the parts, their sum 1.
        batch_size: faces per optimiser step, over all processes.
        num_batches: of an epoch.
        seed: of the order.
        rank, world_size: this process and their number.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        shares: Sequence[float],
        batch_size: int,
        num_batches: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % world_size:
            raise InputError(
                f"data.batch_size={batch_size} cannot be shared equally by {world_size} processes; give a multiple"
            )
        if num_batches < 1:
            raise InputError(f"{sum(sizes)} training faces do not fill one batch of {batch_size}; lower data.batch_size")
        self.sizes, self.shares, self.batch_size, self.num_batches = sizes, np.asarray(shares), batch_size, num_batches
        self.seed, self.rank, self.world_size, self.epoch = seed, rank, world_size, 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch, also after a resume."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[BatchKey]:
        share, starts = self.batch_size // self.world_size, np.cumsum([0, *self.sizes])
        rng = np.random.default_rng([self.seed, self.epoch])
        first = self.epoch * self.num_batches
        for batch in range(first, first + self.num_batches):
            before, after = self._taken(batch), self._taken(batch + 1)
            drawn = [
                starts[part] + self._face(part, position)
                for part in range(len(self.sizes))
                for position in range(before[part], after[part])
            ]
            mine = rng.permutation(drawn)[self.rank * share : (self.rank + 1) * share]
            yield BatchKey(self.epoch, mine.tolist())

    def _taken(self, batches: int) -> list[int]:
        """How many faces of each part so many batches hold; together they fill them."""
        limits = np.rint(np.cumsum(self.shares) * batches * self.batch_size).astype(int)
        taken: list[int] = np.diff(limits, prepend=0).tolist()
        return taken

    def _face(self, part: int, position: int) -> int:
        """The face at a position of a part's endless row of permutations."""
        turn, place = divmod(position, self.sizes[part])
        return int(self._order(part, turn)[place])

    def _order(self, part: int, turn: int) -> NDArray[np.int64]:
        if (part, turn) not in (orders := self.__dict__.setdefault("_orders", {})):
            for old in [key for key in orders if key[0] == part and key[1] < turn]:
                del orders[old]
            orders[part, turn] = np.random.default_rng([self.seed, part, turn]).permutation(self.sizes[part])
        found: NDArray[np.int64] = orders[part, turn]
        return found


class MixedDataModule(HeadPoseDataModule):
    """Loaders of several data sets at once; each part keeps its own crop box rule, augmentation and split.

    Args:
        parts: the DataModules, by name; batch size, workers and seed are the mixture's, not theirs.
        crop: the crop rule; each part takes its own form of it.
        shares: of each part in a batch, in any unit; null takes the numbers of faces, so that an epoch shows each face once.
        batch_size: faces per step, over all processes.
        num_workers: worker processes of each loader.
        seed: of the batches' order.

    Raises:
        InputError: no parts, shares of other parts, or a share below 0.
    """

    dataset_name: ClassVar[str] = "mixed"

    def __init__(
        self,
        parts: Mapping[str, HeadPoseDataModule],
        crop: CropRule,
        shares: Mapping[str, float] | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__("", crop, batch_size=batch_size, num_workers=num_workers, seed=seed)
        if not parts:
            raise InputError("data.parts={} mixes nothing; name at least one data set")
        if shares is not None and (set(shares) != set(parts) or min(shares.values()) < 0 or not sum(shares.values()) > 0):
            raise InputError(f"data.shares={dict(shares)}: give one number from 0 on for each of {', '.join(parts)}, or null")
        self.parts, self.shares = dict(parts), shares

    def read_dataset(self) -> MixedFaces:
        """Read all parts."""
        for part in sorted(self.parts.values(), key=lambda part: isinstance(part, SyntheticDataModule)):
            _ = part.dataset  # what is not there is said before heads are rendered
        return MixedFaces({name: part.dataset for name, part in self.parts.items()})

    @cached_property
    def split(self) -> Split:
        """The parts' own, one after the other."""
        starts = np.cumsum([0, *(len(part.dataset) for part in self.parts.values())])
        splits = [part.split for part in self.parts.values()]
        train, val = (
            [int(start) + index for start, split in zip(starts, splits, strict=False) for index in getattr(split, side)]
            for side in ("train", "val")
        )
        return Split(train, val, hashlib.sha256(" ".join(split.hash for split in splits).encode()).hexdigest()[:12])

    def turned_poses(self) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """Those of the parts."""
        for part in self.parts.values():
            yield from part.turned_poses()

    @property
    def rules(self) -> dict[str, Any]:
        """Those of the parts, and their shares of a batch."""
        parts = {
            name: {**part.rules, "share": round(share, 4)}
            for (name, part), share in zip(self.parts.items(), self._shares, strict=True)
        }
        return {"dataset": " + ".join(part.dataset.title for part in self.parts.values()), "parts": parts}

    @property
    def _shares(self) -> list[float]:
        numbers = [
            float(len(part.split.train) if self.shares is None else self.shares[name]) for name, part in self.parts.items()
        ]
        return [number / sum(numbers) for number in numbers]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Augmented batches of all parts; an epoch is as long as all training faces together."""
        rank, world_size = self._process()
        views = [
            FaceBatches(part.dataset, part.split.train, part.crop, part.augmentation, self.seed + number, for_training=True)
            for number, part in enumerate(self.parts.values())
        ]
        sizes = list(map(len, views))
        sampler = MixedSampler(sizes, self._shares, self.batch_size, sum(sizes) // self.batch_size, self.seed, rank, world_size)
        return self._loader(MixedBatches(views), sampler)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Plain batches of the parts' validation sides; an empty list where nothing is held out."""
        views = [FaceBatches(part.dataset, part.split.val, part.crop) for part in self.parts.values()]
        batches = MixedBatches(views)
        rank, world_size = self._process()
        return self._loader(batches, EvaluationSampler(len(batches), self.batch_size, rank, world_size)) if len(batches) else []


MixedDataModule.__signature__ = inspect.signature(MixedDataModule.__init__).replace(
    parameters=list(inspect.signature(MixedDataModule.__init__).parameters.values())[1:]
)
