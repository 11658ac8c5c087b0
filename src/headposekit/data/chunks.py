"""Packs: pictures of equal size and their labels in chunk files; a chunk appears whole or not at all."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from filelock import FileLock
from numpy.typing import NDArray
from rich.progress import track
from torch.utils.data import DataLoader, Dataset

from headposekit.data.dataset import HeadPoseDataset
from headposekit.errors import InputError
from headposekit.files import replacing
from headposekit.process import available_cores, start_worker
from headposekit.safe_files import map_npy
from headposekit.types import Image

Index = dict[str, NDArray[Any]]  # labels of faces, by name
T = TypeVar("T")


class PictureStore:
    """The pictures of a pack's first chunks as one row, each (P, P, 3), P is `size`; raises InputError where one is broken."""

    def __init__(self, folder: Path, num_chunks: int) -> None:
        self.folder, self.num_chunks = folder, num_chunks
        # As plain arrays over the mapped files: a memmap's own indexing takes several times as long.
        self._chunks = [np.asarray(map_pictures(picture_path(folder, number))) for number in range(num_chunks)]
        if len({chunk.shape[1:] for chunk in self._chunks}) != 1:
            raise InputError(f"{folder}: its chunks hold pictures of different sizes; remove the folder")
        self._ends = np.cumsum([len(chunk) for chunk in self._chunks])
        self.size = int(self._chunks[0].shape[1])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def gather(self, numbers: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
        """A copy of the pictures of `numbers` (B,), in their order: (B, P, P, 3); see `views`."""
        return np.array(self.views(numbers), dtype=np.uint8).reshape(-1, self.size, self.size, 3)

    def views(self, numbers: NDArray[np.integer[Any]]) -> list[NDArray[np.uint8]]:
        """The pictures of `numbers` (B,), in their order, each (P, P, 3) as it lies in its file, read-only."""
        numbers = np.asarray(numbers)
        if len(numbers) and not 0 <= numbers.min() <= numbers.max() < len(self):
            raise IndexError(f"pictures {numbers.min()} to {numbers.max()} are not all among {len(self)}")
        places = np.searchsorted(self._ends, numbers, side="right")
        rows = numbers - np.concatenate([[0], self._ends])[places]
        return [self._chunks[place][row] for place, row in zip(places.tolist(), rows.tolist(), strict=True)]

    def __reduce__(self) -> tuple[Any, ...]:
        return PictureStore, (self.folder, self.num_chunks)  # to a worker process goes where the pictures are, not they


class StoredFaces(HeadPoseDataset):
    """Faces whose pictures lie in chunks.

    Args:
        store: the pictures.
        index: of each picture `pose`, `box`, `landmarks` and `size`: height and width; the rest of the square is black.
        numbers: (n,), the pictures whose faces belong to the set.
    """

    def __init__(self, store: PictureStore, index: Index, numbers: NDArray[np.int64]) -> None:
        self.store, self.numbers, self.sizes = store, numbers, index["size"][numbers]
        self.pose, self.box, self.landmarks = (index[key][numbers].astype(np.float32) for key in ("pose", "box", "landmarks"))

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
    shape = pictures.shape
    if pictures.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or shape[1] != shape[2] or 0 in shape:
        raise InputError(f"{path}: not square pictures (n, P, P, 3) of eight bits; remove the file, it is made again")
    return pictures


def write_chunk(folder: Path, number: int, shape: tuple[int, int], pictures: Iterable[Image], index: Index) -> None:
    """Write a chunk: `shape` is the number of its pictures and the side P of their squares.

    The pictures, each at most (P, P, 3), are taken one by one; the labels (`index`) may be filled in meanwhile.
    """
    n, size = shape
    index_path(folder, number).unlink(missing_ok=True)
    with replacing(picture_path(folder, number)) as partial, partial.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": (n, size, size, 3)})
        for picture in pictures:
            square = np.zeros((size, size, 3), dtype=np.uint8)
            square[: picture.shape[0], : picture.shape[1]] = picture
            file.write(square.tobytes())
    # The labels go last: where they are, the pictures are.
    with replacing(index_path(folder, number)) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **index)


@contextlib.contextmanager
def reserved(folder: Path, option: str) -> Iterator[None]:
    """Make a pack's folder and lock it for the block; the InputError where it cannot be written names `option`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            yield
    except OSError as error:
        reason = error.strerror or error
        raise InputError(f"{folder}: cannot be written ({reason}); set {option} to a folder with room") from error


def in_parallel(jobs: Dataset[T], numbers: Sequence[int], description: str, num_workers: int | None = None) -> list[T]:
    """What `jobs[number]` returns for each number (at least one), computed in `num_workers` processes (None: one a core)."""
    workers = min(len(numbers), available_cores() if num_workers is None else num_workers)
    loader = DataLoader(
        jobs,
        sampler=numbers,
        batch_size=None,
        num_workers=workers,
        prefetch_factor=1 if workers else None,
        worker_init_fn=start_worker,
        generator=torch.Generator(),  # its own: a training must not depend on whether its data had to be made first
    )
    return list(track(loader, description=description, total=len(numbers)))


def picture_path(folder: Path, number: int) -> Path:
    """Pictures of a chunk."""
    return folder / f"chunk_{number:05d}.npy"


def index_path(folder: Path, number: int) -> Path:
    """Labels of a chunk."""
    return folder / f"chunk_{number:05d}.npz"
