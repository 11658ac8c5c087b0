"""Packs: pictures of equal size in chunk files, memory-mapped; a chunk appears whole or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from headposekit.data.dataset import HeadPoseDataset
from headposekit.errors import InputError
from headposekit.process import available_cores, start_worker
from headposekit.safe_files import map_npy


class PictureStore:
    """The pictures of a pack's chunks as one row of pictures.

    Args:
        paths: of the chunks, in order; each an .npy file (n, P, P, 3) uint8.

    Attributes:
        size: P, the side of a picture in pixels.

    Raises:
        InputError: a file is missing, cut short or holds something else.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = list(paths)
        # As plain arrays over the mapped files: a memmap's own indexing takes several times as long.
        self._chunks = [np.asarray(map_pictures(path)) for path in self.paths]
        if len({chunk.shape[1:] for chunk in self._chunks}) != 1:
            raise InputError(f"{self.paths[0].parent}: its chunks hold pictures of different sizes; remove the folder")
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks])
        self.size = int(self._chunks[0].shape[1])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        """A copy of one picture, (P, P, 3)."""
        picture: NDArray[np.uint8] = self.gather(np.array([number]))[0]
        return picture

    def gather(self, numbers: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """A copy of the pictures of `numbers` (B,), in their order: (B, P, P, 3); see `views`."""
        return np.array(self.views(numbers), dtype=np.uint8).reshape(-1, self.size, self.size, 3)

    def views(self, numbers: NDArray[np.integer[Any]]) -> list[NDArray[np.uint8]]:
        """The pictures of `numbers` (B,), in their order, each (P, P, 3) in its file: nothing is copied, none can be changed.

        Raises:
            IndexError: a number below 0 or beyond the last.
        """
        numbers = np.asarray(numbers)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"pictures {numbers.min()} to {numbers.max()} are not all among {len(self)}")
        places = np.searchsorted(self._ends, numbers, side="right")
        rows = numbers - np.concatenate([[0], self._ends])[places]
        return [self._chunks[place][row] for place, row in zip(places.tolist(), rows.tolist(), strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        return PictureStore, (self.paths,)  # to a worker process goes where the pictures are, not what they are


class StoredFaces(HeadPoseDataset):
    """Faces whose pictures lie in chunks.

    Attributes:
        store: the pictures.
        numbers: (n,), of each face the picture in it.
        sizes: (n, 2), height and width of each face's picture; the rest of the square is black.
    """

    store: PictureStore
    numbers: NDArray[np.int64]
    sizes: NDArray[np.int64]

    def image(self, index: int) -> NDArray[np.uint8]:
        """A copy of one picture, (H, W, 3)."""
        return self.pictures([index])[0].copy()

    def pictures(self, indices: Sequence[int] | NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """As they lie in their files, (H, W, 3) each."""
        views = self.store.views(self.numbers[indices])
        return [view[:height, :width] for view, (height, width) in zip(views, self.sizes[indices].tolist(), strict=True)]


def map_pictures(path: Path) -> NDArray[np.uint8]:
    """The pictures of a chunk, (n, P, P, 3), mapped; raises InputError where the file is missing or something else."""
    pictures = map_npy(path)
    if pictures.dtype != np.uint8 or pictures.ndim != 4 or pictures.shape[3] != 3 or 0 in pictures.shape:
        raise InputError(f"{path}: not pictures (n, P, P, 3) of eight bits; remove the file, it is made again")
    if pictures.shape[1] != pictures.shape[2]:
        raise InputError(f"{path}: its pictures are not square; remove the file, it is made again")
    return pictures


def make_chunks(maker: Dataset[int], numbers: Sequence[int], description: str, num_workers: int | None) -> None:
    """Have chunks made in parallel, with a progress bar.

    Args:
        maker: makes and writes chunk `number` where it is asked for it.
        numbers: of the chunks.
        description: beside the bar.
        num_workers: processes; null for one a core.
    """
    if not numbers:
        return
    workers = min(len(numbers), available_cores() if num_workers is None else num_workers)
    loader = DataLoader(
        maker,
        sampler=numbers,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # its own: a training must not depend on whether its data had to be made first
    )
    for _ in track(loader, description=description, total=len(numbers)):
        pass


def picture_path(folder: Path, number: int) -> Path:
    """Pictures of a chunk."""
    return folder / f"chunk_{number:05d}.npy"


def index_path(folder: Path, number: int) -> Path:
    """Labels of a chunk; written last: where they are, the pictures are."""
    return folder / f"chunk_{number:05d}.npz"
