"""Packed datasets: each face read once, checked, made smaller and kept in chunks that open in no time.

What a pack's files are, `packed_faces.py` says. A chunk is made anew where a file that it comes from has another size or time
of change than it had, or where other faces are listed in its place.
"""

import csv
import hashlib
import json
import logging
import math
import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from headposekit.data.augmentation import Augmentation
from headposekit.data.chunks import Index, in_parallel, index_path, picture_path, reserved, write_chunk
from headposekit.data.dataset import Annotation, BadFiles, FolderDataset, HeadPoseDataset
from headposekit.data.packed_faces import (
    BAD_FILES,
    CHUNK,
    LABELS,
    MANIFEST,
    PackedFaces,
    count_chunks,
    read_index,
    read_manifest,
)
from headposekit.data.perturbation import Perturbation
from headposekit.errors import InputError
from headposekit.files import replacing, write_json
from headposekit.geometry.crops import CropRule, ReadyCrop, check_box
from headposekit.pictures import read_image
from headposekit.types import Image

log = logging.getLogger(__name__)

PACK_VERSION = 2
NUM_COMPARED = 4  # faces of each chunk whose crops are compared with those made of the files
PACK_SCALE = 2.0
"""Side of a loose picture over that of the network's square; crops of smaller ones differ more, see docs/packs.md."""
KEPT = 1.01
"""Up to so many times its size, a loose picture is kept as it is: made smaller by less than a hundredth it would lose
sharpness and save nothing. Crops of 224 pixels have loose pictures of 448, and those of 300W-LP and AFLW2000 are 450."""
SLACK = 0.05
"""What a loose picture shows beyond all that a crop can need, as a share of the box's longer side: for whole pixels."""
MAX_SIZE, MAX_MARGIN = 4096, 100  # of a loose pack's pictures: side in pixels, and room around the box


@dataclass(frozen=True)
class FacesOnDisk:
    """A data set on disk, and what is made of its faces: all that decides a pack.

    Attributes:
        reader: class of the dataset; root, options: what it is constructed with.
        crop: the crop rule.
        augmentation: of training faces; perturb: of a test's; or None.
    """

    reader: type[FolderDataset]
    root: Path
    options: dict[str, Any]
    crop: CropRule
    augmentation: Augmentation | None = None
    perturb: Perturbation | None = None

    def read(self, max_angle: float | None, bad_files: BadFiles) -> FolderDataset:
        """The dataset itself."""
        return self.reader(self.root, max_angle, bad_files, **self.options)

    def rule(self, dataset: HeadPoseDataset) -> CropRule:
        """The crop rule; where boxes are crops already, its form that adds nothing."""
        return self.crop if dataset.has_boxes else self.crop.for_dataset("crops")


@dataclass(frozen=True)
class Face:
    """What a pack keeps of one face."""

    picture: Image  # (H, W, 3), H and W at most P, see `stored_size`
    box: NDArray[np.float32]  # (4,)
    landmarks: NDArray[np.float32]  # (68, 2)


class Pack(ABC):
    """How the faces of a dataset are kept."""

    rules: ClassVar[dict[str, str]] = {}  # what results.json says of it; nothing where the numbers are those of the files

    @abstractmethod
    def open(self, source: FacesOnDisk, max_angle: float | None, bad_files: BadFiles) -> tuple[HeadPoseDataset, CropRule]:
        """The dataset, and the rule that crops its pictures."""


class NoPack(Pack):
    """Not at all: pictures are read from their files, each time anew."""

    uncounted = ("_target_",)

    def open(self, source: FacesOnDisk, max_angle: float | None, bad_files: BadFiles) -> tuple[HeadPoseDataset, CropRule]:
        """Index the files."""
        dataset = source.read(max_angle, bad_files)
        return dataset, source.rule(dataset)


class FacePack(Pack):
    """A folder of chunks, made at first use.

    Args:
        root: folder of packs.
        num_workers: processes that make chunks; null for one a core.
    """

    kind: ClassVar[str]
    uncounted: ClassVar[tuple[str, ...]] = ("root", "num_workers")
    """Options that do not count in an identity, see `training.identity`."""

    def __init__(self, root: str | Path, num_workers: int | None = None) -> None:
        self.root, self.num_workers = Path(root), num_workers

    @abstractmethod
    def size(self, source: FacesOnDisk) -> int:
        """Side of the pictures, in pixels."""

    def stored_size(self, source: FacesOnDisk) -> int:
        """Side P of the squares that they are kept in."""
        return self.size(source)

    @abstractmethod
    def make(self, image: Image, annotation: Annotation, source: FacesOnDisk) -> Face:
        """A face out of its whole picture; raises InputError where there is none in it."""

    def rule(self, crop: CropRule) -> CropRule:
        """The rule that crops the pack's pictures."""
        return crop

    def check(self, source: FacesOnDisk) -> None:
        """Refuse what the pack's pictures cannot be put through; raises InputError."""
        if source.perturb and (changed := source.perturb.changed):
            shown = ", ".join(f"perturb.{key}={value}" for key, value in changed.items())
            raise InputError(f"pack={self.kind} cannot serve a test with {shown}; set that test's pack to none")

    def open(self, source: FacesOnDisk, max_angle: float | None, bad_files: BadFiles) -> tuple[HeadPoseDataset, CropRule]:
        """Bring the pack up to date and open it; where the files are not there any more, as it is."""
        dataset = PackedFaces(self.prepare(source), source.reader.title, max_angle, bad_files)
        return dataset, self.rule(source.rule(dataset))

    def prepare(self, source: FacesOnDisk) -> Path:
        """Make what is missing or stale; returns the pack's folder."""
        self.check(source)
        folder = self.folder(source)
        if not source.root.exists():
            return self._left_behind(source, folder)
        reader = source.read(None, "defer")
        with reserved(folder, "pack.root"):
            self._bring_up_to_date(folder, replace(source, crop=source.rule(reader)), reader)
        return folder

    def folder(self, source: FacesOnDisk) -> Path:
        """Named after all that decides the pictures, then after where the files lie."""
        title = "".join(letter for letter in source.reader.title.lower() if letter.isalnum())
        content, place = json.dumps(self.describe(source), sort_keys=True), str(source.root.resolve())
        return self.root / f"{title}_{self.kind}_{self.size(source)}px_{_hash(content)}_{_hash(place)}"

    def describe(self, source: FacesOnDisk) -> dict[str, Any]:
        """What decides the pictures beside the files."""
        return {
            "format": PACK_VERSION,
            "dataset": source.reader.title,
            "options": {key: str(value) if isinstance(value, Path) else value for key, value in source.options.items()},
            "kind": self.kind,
            "size": self.size(source),
            "crop": {"name": source.crop.name, **vars(source.crop)},
        }

    def _left_behind(self, source: FacesOnDisk, folder: Path) -> Path:
        """A complete pack of a dataset that is not there (any more), made from the same root or another one."""
        places = [folder, *sorted(folder.parent.glob(f"{folder.name.rpartition('_')[0]}_*"))]
        complete = next((place for place in places if (place / MANIFEST).is_file()), None)
        if complete is None:
            raise InputError(
                f"{source.reader.title} not found: neither {source.root} nor a complete pack of it in {self.root}; "
                "set its root (data.root or test.<name>.root), see docs/datasets.md"
            )
        log.info("%s is not there; using the pack %s", source.root, complete)
        return complete

    def _bring_up_to_date(self, folder: Path, source: FacesOnDisk, reader: FolderDataset) -> None:
        packer = _ChunkPacker(folder, self, source, reader)
        numbers = range(count_chunks(len(reader.listed)))
        indices = [packer.current(number) for number in numbers]
        stale = [number for number in numbers if indices[number] is None]
        if stale:
            if (folder / MANIFEST).is_file() or len(stale) < len(numbers):
                log.info("%s: making %d of %d chunks, which are missing or stale", folder, len(stale), len(numbers))
            (folder / MANIFEST).unlink(missing_ok=True)
            num_faces = sum(len(packer.names[packer.part(number)]) for number in stale)
            in_parallel(packer, stale, f"packing {num_faces} faces", self.num_workers)
            for number in stale:
                indices[number] = packer.current(number)
        current = {place(folder, number) for number in numbers for place in (picture_path, index_path)}
        for path in set(folder.glob("chunk_*")) - current:
            path.unlink()
        made = [index for index in indices if index is not None]
        if len(made) < len(numbers):
            raise InputError(f"{folder}: a chunk that was just made cannot be read; check the disk")
        compared = np.concatenate([index["compared"] for index in made])
        manifest = {
            **self.describe(source),
            "root": str(source.root.resolve()),
            "faces": len(packer.names),
            "chunk": CHUNK,
            "bad": int(sum((index["reason"] != "").sum() for index in made)),
            "unlisted": reader.num_filtered,
            "has_boxes": reader.has_boxes,
            "compared": len(compared),
            "mean_difference": round(float(compared.mean()), 4) if len(compared) else None,
        }
        if read_manifest(folder) != manifest:
            _write_bad_files(folder, made)
            write_json(folder / MANIFEST, manifest)
            if self.kind == "loose" and len(compared):
                log.info("%s: crops differ from the files' by %.2f grey levels on average", folder, compared.mean())


class FixedPack(FacePack):
    """Each face's crop as the rule makes it without augmentation: a training from it is bit for bit the training from files."""

    kind = "fixed"
    uncounted = ("_target_", "root", "num_workers")  # its crops are those of the files

    def size(self, source: FacesOnDisk) -> int:
        """The crop's."""
        return source.crop.size

    def make(self, image: Image, annotation: Annotation, source: FacesOnDisk) -> Face:
        """The crop; box and landmarks stay those of the whole picture, as a batch has them."""
        return Face(source.crop(image, annotation.box), annotation.box, annotation.landmarks.astype(np.float32))

    def rule(self, crop: CropRule) -> CropRule:
        """None: the pack's pictures are finished crops."""
        return ReadyCrop(crop)

    def check(self, source: FacesOnDisk) -> None:
        """A crop can neither be varied nor turned nor mirrored as the whole picture can (a mirrored box rounds otherwise)."""
        super().check(source)
        if source.augmentation is None:
            return
        needs_picture = {
            f"crop={source.crop.name}, whose cut training varies": source.crop.varies,
            **{f"augmentation.{key}": getattr(source.augmentation, key) for key in ("mirror", "rotation", "cut")},
        }
        if refused := next((what for what, is_on in needs_picture.items() if is_on), None):
            raise InputError(f"pack=fixed holds finished crops and cannot be used with {refused}; set pack=loose or pack=none")


class LoosePack(FacePack):
    """A smaller picture around each face, of which every rule and augmentation can make its crops.

    It shows the square around the box's centre whose side is the box's longer one times 1 + 2 margin, as far as it lies in
    the picture, made smaller (never larger) until its longer side is `size`; up to a hundredth above that it stays as it is.

    Args:
        root, num_workers: see `FacePack`.
        size: side P of the largest picture in pixels; null for twice the crop's, larger by as much as a rotation needs.
        margin: null for what the crop rule and a rotation need.
    """

    kind = "loose"
    rules: ClassVar[dict[str, str]] = {"pack": "loose"}  # errors differ a little from those on the files

    def __init__(
        self, root: str | Path, num_workers: int | None = None, size: int | None = None, margin: float | None = None
    ) -> None:
        super().__init__(root, num_workers)
        if size is not None and not (isinstance(size, int) and 1 <= size <= MAX_SIZE):
            raise InputError(f"pack.size={size} is not a number of pixels; give 1 to {MAX_SIZE}, or null")
        if margin is not None and not (isinstance(margin, int | float) and 0 <= margin <= MAX_MARGIN):
            raise InputError(f"pack.margin={margin} is not a share of the box; give 0 to {MAX_MARGIN}, or null")
        self.fixed_size, self.fixed_margin = size, margin

    def margin(self, source: FacesOnDisk) -> float:
        """Beyond the box, as a share of its longer side; of a rule that may be turned, out to the corners."""
        if self.fixed_margin is not None:
            return self.fixed_margin
        return round((0.5 + source.crop.reach) * _room_to_turn(source) - 0.5 + SLACK, 4)

    def size(self, source: FacesOnDisk) -> int:
        """Given, or so that a crop keeps about its resolution."""
        return self.fixed_size or round(PACK_SCALE * source.crop.size * _room_to_turn(source))

    def stored_size(self, source: FacesOnDisk) -> int:
        """With room for those that are kept as they are."""
        return math.ceil(KEPT * self.size(source))

    def describe(self, source: FacesOnDisk) -> dict[str, Any]:
        """As of every pack, and the margin; crops of the rule were compared."""
        return {**super().describe(source), "margin": self.margin(source)}

    def make(self, image: Image, annotation: Annotation, source: FacesOnDisk) -> Face:
        """Cut and made smaller; a pixel is the mean of those that it stands for."""
        corner, opposite = annotation.box.reshape(2, 2).astype(np.float64)
        center, half = (corner + opposite) / 2, (0.5 + self.margin(source)) * (opposite - corner).max()
        left, top = np.maximum(np.floor(center - half), 0).astype(int).tolist()
        right, bottom = np.minimum(np.ceil(center + half), image.shape[1::-1]).astype(int).tolist()
        part, extent = image[top:bottom, left:right], np.array([right - left, bottom - top])
        new_extent = extent
        if extent.max() > self.stored_size(source):
            new_extent = np.maximum(np.rint(self.size(source) / extent.max() * extent), 1).astype(int)
            part = np.asarray(cv2.resize(part, new_extent.tolist(), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        scale = new_extent / extent
        box, landmarks = ((points - [left, top]) * scale for points in (annotation.box.reshape(2, 2), annotation.landmarks))
        return Face(part, box.reshape(4).astype(np.float32), landmarks.astype(np.float32))


class _ChunkPacker(Dataset[int]):
    """Makes a chunk where a DataLoader's worker asks for it; holds one picture at a time."""

    def __init__(self, folder: Path, pack: FacePack, source: FacesOnDisk, reader: FolderDataset) -> None:
        self.folder, self.pack, self.source, self.reader = folder, pack, source, reader
        self.names = [reader.name_of(path) for path in reader.listed]
        # Size and time of change of each face's files (n, k, 2) and of the common ones (c, 2); nothing is read.
        self.stamps = np.array([[_stamp(file) for file in _files_of(reader, path)] for path in reader.listed], dtype=np.int64)
        self.common = np.array([_stamp(path) for path in reader.common_files], dtype=np.int64).reshape(-1, 2)
        self._last: tuple[Path, Image] | None = None

    def part(self, number: int) -> slice:
        """Which of the listed faces are those of a chunk."""
        return slice(number * CHUNK, (number + 1) * CHUNK)

    def current(self, number: int) -> Index | None:
        """Labels of a chunk; None where it is not there in full, or stale."""
        index, part = read_index(self.folder, number), self.part(number)
        if index is None or index["name"].tolist() != self.names[part]:
            return None
        is_new = np.array_equal(index["stamp"], self.stamps[part]) and np.array_equal(index["common"], self.common)
        return index if is_new else None

    def __getitem__(self, number: int) -> int:
        names = self.names[self.part(number)]
        n, size = len(names), self.pack.stored_size(self.source)
        index = {key: np.full((n, *shape), np.nan if kind[0] == "f" else 0, kind) for key, (kind, shape) in LABELS.items()}
        index["name"], index["photo"] = np.array(names), np.array([self.reader.photo_of(name) for name in names])
        # Of before the files are read: what changes meanwhile is stale.
        index["stamp"], index["common"] = self.stamps[self.part(number)], self.common
        write_chunk(self.folder, number, (n, size), self._pictures(number, index), index)
        return number

    def _pictures(self, number: int, index: Index) -> Iterator[Image]:
        """The pictures of a chunk's faces, nothing of a bad one; fills in the labels."""
        reasons, compared = list[str](), list[float]()
        for row, path in enumerate(self.reader.listed[self.part(number)]):
            try:
                face = self._face(path, index, row, compared)
                reason, picture = "", face.picture
                index["size"][row], index["box"][row], index["landmarks"][row] = picture.shape[:2], face.box, face.landmarks
                digest = hashlib.blake2b(picture.tobytes(), digest_size=8).digest()
                index["digest"][row] = int.from_bytes(digest, "little")
            except InputError as error:
                reason, picture = str(error), np.zeros((0, 0, 3), dtype=np.uint8)
            reasons.append(reason)
            yield picture
        index |= {"reason": np.array(reasons), "compared": np.array(compared, dtype=np.float32)}

    def _face(self, path: Path, index: Index, row: int, compared: list[float]) -> Face:
        annotation = self.reader.read_face(path)
        index["pose"][row] = annotation.pose
        file = self.reader.picture_of(path)
        if self._last is None or self._last[0] != file:  # neighbours may share it
            self._last = file, read_image(file)
        image = self._last[1]
        height, width = image.shape[:2]
        points = annotation.landmarks[np.isfinite(annotation.landmarks).all(axis=1)]
        index["picture_size"][row], index["source_box"][row] = (height, width), annotation.box
        index["outside"][row] = ((points < 0) | (points > [width, height])).any(axis=1).sum()
        try:
            check_box(annotation.box, width, height)
            face = self.pack.make(image, annotation, self.source)
            if len(compared) < NUM_COMPARED:
                crop = self.source.crop
                ours, theirs = self.pack.rule(crop)(face.picture, face.box), crop(image, annotation.box)
                compared.append(float(np.abs(ours.astype(np.int16) - theirs).mean()))
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
        return face


def _files_of(reader: FolderDataset, path: Path) -> Sequence[Path | None]:
    try:
        return [reader.picture_of(path), *reader.label_files(path)]
    except InputError:  # a label that names no picture; whoever reads it says so
        return [None, *reader.label_files(path)]


def _stamp(path: Path | None) -> tuple[int, int]:
    try:
        status = os.stat(path) if path is not None else None
    except (OSError, ValueError):  # of a name that holds a zero byte, the latter
        status = None
    return (status.st_size, status.st_mtime_ns) if status else (-1, -1)


def _write_bad_files(folder: Path, indices: Sequence[Index]) -> None:
    with replacing(folder / BAD_FILES) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["name", "reason"])
        for index in indices:
            bad = index["reason"] != ""
            writer.writerows(zip(index["name"][bad].tolist(), index["reason"][bad].tolist(), strict=True))


def _room_to_turn(source: FacesOnDisk) -> float:
    """How much larger a square must be if its corners are to stay inside when it is turned."""
    return 2**0.5 if source.augmentation is not None and source.augmentation.rotation > 0 else 1.0


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
