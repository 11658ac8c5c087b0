"""The faces of a pack, read from its files alone; `packing.py` writes them.

A pack's folder holds, of every 512 listed faces, `chunk_NNNNN.npy`, memory-mapped (512, P, P, 3) uint8, and `chunk_NNNNN.npz`
(see `read_index`); `bad_files.csv`, the broken ones and why; and, written last, `manifest.json`. All faces are packed whatever
their angles.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headposekit.data.chunks import PictureStore, StoredFaces, index_path, map_pictures, picture_path
from headposekit.data.dataset import BadFiles, nothing_left
from headposekit.data.label_checks import label_doubts
from headposekit.errors import InputError
from headposekit.safe_files import has_arrays, read_json, read_npz
from headposekit.types import Image

Index = dict[str, NDArray[Any]]

CHUNK = 512
MANIFEST, BAD_FILES = "manifest.json", "bad_files.csv"
MAX_INDEX = 2**26
"""Bytes of the labels of a chunk."""
INDEX: dict[str, tuple[str, tuple[Any, ...]]] = {
    **dict.fromkeys(("name", "photo", "reason"), ("U", ("n",))),
    "pose": ("f", ("n", 3)),
    **dict.fromkeys(("box", "source_box"), ("f", ("n", 4))),
    "landmarks": ("f", ("n", 68, 2)),
    **dict.fromkeys(("size", "picture_size"), ("i", ("n", 2))),
    "outside": ("i", ("n",)),
    "digest": ("u", ("n",)),
    "stamp": ("i", ("n", None, 2)),
    "common": ("i", (None, 2)),
    "compared": ("f", (None,)),
}
"""Arrays of a chunk's labels: their kind as NumPy names it, and shape, of n faces; a side of None may have any length."""
ENTRIES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("faces", "bad", "unlisted", "compared", "size"), (int,)),
    **dict.fromkeys(("dataset", "kind", "root"), (str,)),
    "has_boxes": (bool,),
    "options": (dict,),
    "mean_difference": (int, float, type(None)),
}
"""What a manifest must say, and the types of it."""


class PackedFaces(StoredFaces):
    """The faces of a complete pack.

    Args:
        folder: of the pack.
        title: of the dataset.
        max_angle, bad_files: see `FolderDataset`.

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
    indices = []
    for number in range(-(-manifest["faces"] // CHUNK)):
        index = read_index(folder, number)
        if index is None:
            raise InputError(f"{index_path(folder, number)}: missing or broken; run prepare.py where the files are")
        indices.append(index)
    kept = [key for key in INDEX if key not in ("common", "stamp")]
    together = {key: np.concatenate([index[key] for index in indices]) for key in kept}
    if len(together["name"]) != manifest["faces"]:
        raise InputError(f"{folder}: its chunks hold another number of faces than {MANIFEST} says; run prepare.py again")
    return manifest, together


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
        index = read_npz(index_path(folder, number), MAX_INDEX)
        pictures = map_pictures(picture_path(folder, number))
    except InputError:
        return None
    num_faces, side = pictures.shape[:2]
    expected = {key: (kinds, tuple(num_faces if n == "n" else n for n in shape)) for key, (kinds, shape) in INDEX.items()}
    if not has_arrays(index, expected) or not ((index["size"] >= 0) & (index["size"] <= side)).all():
        return None
    return index if np.isfinite(index["pose"][index["reason"] == ""]).all() else None


def _store(folder: Path, manifest: dict[str, Any]) -> PictureStore:
    return PictureStore([picture_path(folder, number) for number in range(-(-manifest["faces"] // CHUNK))])


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What a pack says of itself; None where it is not complete."""
    try:
        manifest = read_json(folder / MANIFEST)
    except InputError:
        return None
    is_right = isinstance(manifest, dict) and all(type(manifest.get(key)) in kinds for key, kinds in ENTRIES.items())
    numbers = [value for value in manifest.values() if type(value) in (int, float)] if is_right else []
    return manifest if is_right and manifest["faces"] and all(0 <= number < 2**53 for number in numbers) else None
