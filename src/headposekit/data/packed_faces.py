"""The faces of a pack, read from its files alone; `packing.py` writes them.

A pack's folder holds, of every 512 listed faces, `chunk_NNNNN.npy`, memory-mapped (512, P, P, 3) uint8, and `chunk_NNNNN.npz`
(see `LABELS`); `bad_files.csv`, the broken ones and why; and, written last, `manifest.json`. All faces are packed whatever
their angles.
"""

from pathlib import Path
from typing import Any

import numpy as np

from headposekit.data.chunks import Index, PictureStore, StoredFaces, index_path, map_pictures, picture_path
from headposekit.data.dataset import BadFiles, is_beyond, nothing_left
from headposekit.data.label_checks import label_doubts
from headposekit.errors import InputError
from headposekit.safe_files import has_arrays, read_json, read_npz
from headposekit.types import Image

CHUNK = 512
MANIFEST, BAD_FILES = "manifest.json", "bad_files.csv"
MAX_INDEX = 2**26  # bytes of the labels of a chunk
LABELS: dict[str, tuple[str, tuple[int, ...]]] = {
    "pose": ("f8", (3,)),  # degrees
    "box": ("f4", (4,)),  # in the picture kept
    "landmarks": ("f4", (68, 2)),  # likewise
    "size": ("i4", (2,)),  # height and width of the picture kept
    "source_box": ("f4", (4,)),  # in the file's picture
    "picture_size": ("i4", (2,)),  # of the file's picture
    "outside": ("i4", ()),  # landmarks that lie outside that
    "digest": ("u8", ()),  # of the pixels kept
}
"""Numbers of a chunk about each face, their type and shape; without a meaning where the file is bad."""
TEXTS = ("name", "photo", "reason")  # texts about each face; the reason is empty where nothing is wrong
ENTRIES: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("faces", "bad", "unlisted", "compared", "size"), (int,)),
    **dict.fromkeys(("dataset", "kind", "root"), (str,)),
    "has_boxes": (bool,),
    "options": (dict,),
    "mean_difference": (int, float, type(None)),
}
"""What a manifest must say, and the types of it."""


class PackedFaces(StoredFaces):
    """The faces of a complete pack; options and refusals are those of `FolderDataset`."""

    def __init__(self, folder: Path, title: str, max_angle: float | None, bad_files: BadFiles) -> None:
        self.folder, self.title, self.max_angle = folder, title, max_angle
        manifest, index = read_pack(folder)
        is_bad, beyond = index["reason"] != "", is_beyond(index["pose"], max_angle)
        if bad_files == "raise":
            is_bad &= ~beyond  # as from files: what is filtered away is not looked at
            if is_bad.any():
                raise InputError(
                    f"{index['reason'][is_bad][0]} (the first of {is_bad.sum()} bad files, listed in {folder / BAD_FILES}; "
                    "set bad_files=skip to leave them out)"
                )
        self.skipped = dict(zip(index["name"][is_bad].tolist(), index["reason"][is_bad].tolist(), strict=True))
        self.num_beyond = int((beyond & ~is_bad).sum())
        self.num_filtered = manifest["unlisted"] + self.num_beyond
        self.doubts, self.has_boxes = doubts_of(index), manifest["has_boxes"]
        numbers = np.flatnonzero(~is_bad & ~beyond)
        if not len(numbers):
            raise nothing_left(self, manifest["faces"], folder)
        super().__init__(PictureStore(folder, count_chunks(manifest["faces"])), index, numbers)
        self.names = index["name"][numbers].tolist()
        self._photos = dict(zip(self.names, index["photo"][numbers].tolist(), strict=True))

    def photo_of(self, name: str) -> str:
        """As the files' dataset says."""
        return str(self._photos[name])


def doubts_of(index: Index) -> list[str]:
    """`label_doubts` of all faces of a pack, whatever their angles."""
    return label_doubts(index["pose"], index["source_box"], index["picture_size"])


def read_pack(folder: Path) -> tuple[dict[str, Any], Index]:
    """Manifest and labels of a pack, of all faces in the order in which they were listed; InputError where it is incomplete."""
    manifest = read_manifest(folder)
    if manifest is None:
        raise InputError(f"{folder}: not a complete pack; run prepare.py where the files are")
    indices = []
    for number in range(count_chunks(manifest["faces"])):
        index = read_index(folder, number)
        if index is None:
            raise InputError(f"{index_path(folder, number)}: missing or broken; run prepare.py where the files are")
        indices.append(index)
    together = {key: np.concatenate([index[key] for index in indices]) for key in (*TEXTS, *LABELS)}
    if len(together["name"]) != manifest["faces"]:
        raise InputError(f"{folder}: its chunks hold another number of faces than {MANIFEST} says; run prepare.py again")
    return manifest, together


def read_examples(folder: Path, n: int) -> Image:
    """At most n of a complete pack's pictures, (m, P, P, 3), drawn evenly from those of good files."""
    manifest, index = read_pack(folder)
    good = np.flatnonzero(index["reason"] == "")
    chosen = good[np.linspace(0, len(good) - 1, min(n, len(good))).astype(int)]
    return PictureStore(folder, count_chunks(manifest["faces"])).gather(chosen)


def read_index(folder: Path, number: int) -> Index | None:
    """Labels of a chunk of n faces (`TEXTS`, `LABELS`), or None where it is not there in full.

    Also `stamp` (n, files, 2) and `common` (files, 2), sizes and times of change of its files; `compared`, see `NUM_COMPARED`.
    """
    try:
        index = read_npz(index_path(folder, number), MAX_INDEX)
        pictures = map_pictures(picture_path(folder, number))
    except InputError:
        return None
    n, side = pictures.shape[:2]
    expected: dict[str, tuple[str, tuple[int | None, ...]]] = {
        **{key: (kind[0], (n, *shape)) for key, (kind, shape) in LABELS.items()},
        **dict.fromkeys(TEXTS, ("U", (n,))),
        **{"stamp": ("i", (n, None, 2)), "common": ("i", (None, 2)), "compared": ("f", (None,))},
    }
    if not has_arrays(index, expected) or not ((index["size"] >= 0) & (index["size"] <= side)).all():
        return None
    return index if np.isfinite(index["pose"][index["reason"] == ""]).all() else None


def count_chunks(num_faces: int) -> int:
    """Of a pack."""
    return -(-num_faces // CHUNK)


def read_manifest(folder: Path) -> dict[str, Any] | None:
    """What a pack says of itself; None where it is not complete."""
    try:
        manifest = read_json(folder / MANIFEST)
    except InputError:
        return None
    is_right = isinstance(manifest, dict) and all(type(manifest.get(key)) in kinds for key, kinds in ENTRIES.items())
    numbers = [value for value in manifest.values() if type(value) in (int, float)] if is_right else []
    return manifest if is_right and manifest["faces"] and all(0 <= number < 2**53 for number in numbers) else None
