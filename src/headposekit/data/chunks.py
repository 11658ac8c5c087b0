"""Packs: pictures of equal size in chunk files, memory-mapped; a chunk appears whole or not at all."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.progress import track
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from headposekit.errors import InputError
from headposekit.process import available_cores, one_thread
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
        """A copy of the pictures of `numbers` (B,), in their order: (B, P, P, 3).

        Raises:
            IndexError: a number below 0 or beyond the last.
        """
        numbers = np.asarray(numbers)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"pictures {numbers.min()} to {numbers.max()} are not all among {len(self)}")
        places = np.searchsorted(self._ends, numbers, side="right")
        rows = numbers - np.concatenate([[0], self._ends])[places]
        pictures = np.empty((len(numbers), self.size, self.size, 3), dtype=np.uint8)
        # One by one: a batch seldom has two pictures in one chunk, and indexing chunk by chunk took three times as long.
        for picture, place, row in zip(pictures, places.tolist(), rows.tolist(), strict=True):
            picture[...] = self._chunks[place][row]
        return pictures

    def on_device(self, device: torch.device) -> Tensor | None:
        """All pictures (n, P, P, 3) in a GPU's memory, or None where they would take more than half of what is free."""
        free, _ = torch.cuda.mem_get_info(device)
        if len(self) * 3 * self.size**2 > free // 2:
            return None
        pictures = torch.empty(len(self), self.size, self.size, 3, dtype=torch.uint8, device=device)
        for end, chunk in zip(self._ends.tolist(), self._chunks, strict=True):
            pictures[end - len(chunk) : end] = torch.from_numpy(np.array(chunk)).to(device)
        return pictures

    def __reduce__(self) -> tuple[Any, ...]:
        return PictureStore, (self.paths,)  # to a worker process goes where the pictures are, not what they are


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
        worker_init_fn=one_thread,
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
