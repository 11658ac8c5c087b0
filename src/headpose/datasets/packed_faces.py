"""The faces of a pack, read from its files alone; `packing.py` writes them.

A pack's folder holds, of every 512 listed faces, `chunk_NNNNN.npy`, memory-mapped (512, P, P, 3) uint8, and `chunk_NNNNN.npz`
(see `read_index`); `bad_files.csv`, the broken ones and why; and, written last, `manifest.json`. All faces are packed whatever
their angles.
"""

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headpose.datasets.base import BadFiles, HeadPoseDataset, nothing_left
from headpose.datasets.chunks import PictureStore, index_path, picture_path
from headpose.datasets.label_checks import label_doubts
from headpose.errors import InputError
from headpose.types import Image

Index = dict[str, NDArray[Any]]

CHUNK = 512
MANIFEST, BAD_FILES = "manifest.json", "bad_files.csv"


class PackedFaces(HeadPoseDataset):
    """The faces of a complete pack.

    Args:
        folder: of the pack.
        title: of the dataset.
        max_angle, bad_files: see `FolderDataset`.

    Attributes:
        store: the pack's pictures; numbers: (n,), of each face the picture in it.
        sizes: (n, 2), height and width of each face's picture; the rest of the square is black.

    Raises:
        InputError: a broken file, or everything filtered away.
    """

    def __init__(self, folder: Path, title: str, max_angle: float | None, bad_files: BadFiles) -> None:
        self.folder, self.title = folder, title  # type: ignore[misc]  # the files' dataset has it on the class
        manifest, index = read_pack(folder)
        is_bad, limit = index["reason"] != "", np.inf if max_angle is None else max_angle
        beyond = np.abs(index["pose"]).max(axis=1) > limit  # of a face without a label, False
        if bad_files == "raise":
            is_bad &= ~beyond  # as from files: what is filtered away is not looked at
            if is_bad.any():
                raise InputError(
                    f"{index['reason'][is_bad][0]} (the first of {is_bad.sum()} bad files, listed in {folder / BAD_FILES}; "
                    "set bad_files=skip to leave them out)"
                )
        self.skipped = dict(zip(index["name"][is_bad].tolist(), index["reason"][is_bad].tolist(), strict=True))
        self.num_beyond, self.max_angle = int((beyond & ~is_bad).sum()), max_angle
        self.num_filtered = manifest["unlisted"] + self.num_beyond
        self.doubts = doubts_of(index)
        self.has_boxes = manifest["has_boxes"]
        self.numbers = np.flatnonzero(~is_bad & ~beyond)
        if not len(self.numbers):
            raise nothing_left(self, manifest["faces"], folder)
        self.names = index["name"][self.numbers].tolist()
        self._photos = dict(zip(self.names, index["photo"][self.numbers].tolist(), strict=True))
        self.pose, self.box, self.landmarks = (
            index[key][self.numbers].astype(np.float32) for key in ("pose", "box", "landmarks")
        )
        self.sizes = index["size"][self.numbers]
        self.store = _store(folder, manifest)

    def image(self, index: int) -> Image:
        """One picture, (H, W, 3)."""
        height, width = self.sizes[index]
        return self.store[self.numbers[index]][:height, :width]

    def photo_of(self, name: str) -> str:
        """As the files' dataset says."""
        return str(self._photos[name])


def doubts_of(index: Index) -> list[str]:
    """`label_doubts` of all faces of a pack, whatever their angles."""
    return label_doubts(index["pose"], index["source_box"], index["picture_size"])


def read_pack(folder: Path) -> tuple[dict[str, Any], Index]:
    """Manifest and labels of a complete pack, of all its faces in the order in which they were listed.

    Raises:
        InputError: something of it is missing or broken.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{folder}: not a complete pack; run prepare.py where the files are")
    numbers = range(-(-manifest["faces"] // CHUNK))
    indices = [read_index(folder, number) for number in numbers]
    if None in indices:
        raise InputError(f"{index_path(folder, indices.index(None))}: missing or broken; run prepare.py where the files are")
    kept = [key for key in indices[0] or () if key not in ("common", "stamp")]
    return manifest, {key: np.concatenate([index[key] for index in indices if index is not None]) for key in kept}


def read_examples(folder: Path, n: int) -> Image:
    """At most n of a complete pack's pictures, (m, P, P, 3), drawn evenly from those of good files."""
    manifest, index = read_pack(folder)
    good = np.flatnonzero(index["reason"] == "")
    return _store(folder, manifest).gather(good[np.linspace(0, len(good) - 1, min(n, len(good))).astype(int)])


def read_index(folder: Path, number: int) -> Index | None:
    """Labels of a chunk; None where it is not there in full.

    Returns:
        `name`, `photo`, `reason` (empty where nothing is wrong) of n faces; `pose` (n, 3) degrees; `box` (n, 4), `landmarks`
        (n, 68, 2), `size` (n, 2: height, width) of the pictures kept; `picture_size` and `source_box` of the files';
        `outside` (n,), landmarks that lie outside the picture; `digest` (n,) of the pixels kept; `stamp` (n, files, 2), sizes
        and times of change of picture and label, `common` (files, 2) likewise; `compared`, see `NUM_COMPARED`.
    """
    try:
        with np.load(index_path(folder, number), allow_pickle=False) as file:
            index = dict(file)
        with picture_path(folder, number).open("rb") as pictures:
            np.lib.format.read_magic(pictures)
            shape, _, _ = np.lib.format.read_array_header_1_0(pictures)
            is_whole = pictures.tell() + np.prod(shape) == os.fstat(pictures.fileno()).st_size
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    return index if is_whole and shape[0] == len(index["name"]) else None


def _store(folder: Path, manifest: dict[str, Any]) -> PictureStore:
    return PictureStore([picture_path(folder, number) for number in range(-(-manifest["faces"] // CHUNK))])


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What a pack says of itself; None where it is not complete."""
    try:
        manifest: dict[str, Any] = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return None
    return manifest
