"""What all datasets share: an index of annotations in memory, pictures read when asked for; and how labels are read."""

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import Dataset

from headposekit.data.label_checks import label_doubts
from headposekit.errors import InputError
from headposekit.geometry.crops import check_box
from headposekit.matlab import read_matlab
from headposekit.pictures import picture_size, read_image, read_whole
from headposekit.safe_files import read_text
from headposekit.types import Sample

BadFiles = Literal["raise", "skip", "defer"]


@dataclass(frozen=True)
class Annotation:
    """One face's label, as a reader returns it."""

    pose: NDArray[np.float64]  # (3,) yaw, pitch, roll in degrees
    box: NDArray[np.float32]  # (4,) tight box in pixels
    landmarks: NDArray[np.floating[Any]] = field(default_factory=lambda: np.full((68, 2), np.nan))  # (68, 2)
    picture_size: tuple[int, int] = (0, 0)  # height and width of the picture, where the reader has looked at it


class HeadPoseDataset(Dataset[Sample], ABC):
    """A set of annotated faces; a map from 0..n-1 to samples."""

    title: str  # the usual name, for messages and tables
    names: list[str]  # n, unique, with forward slashes, in the same order on every machine
    pose: NDArray[np.float32]  # (n, 3) degrees
    box: NDArray[np.float32]  # (n, 4) pixels
    landmarks: NDArray[np.float32]  # (n, 68, 2) pixels
    num_filtered: int = 0  # faces left out by the protocol
    num_beyond: int = 0  # those of them that lie beyond `max_angle`
    max_angle: float | None = None
    doubts: Sequence[str] = ()  # what makes the labels look like something else than they are taken for, see `label_doubts`
    skipped: dict[str, str]  # name to reason, of broken files left out
    has_boxes: bool = True  # whether boxes are tight; otherwise what they hold, mostly the whole picture, is a crop already

    @abstractmethod
    def image(self, index: int) -> NDArray[np.uint8]:
        """One whole picture, (H, W, 3) RGB."""

    def pictures(self, indices: Sequence[int] | NDArray[np.int64]) -> list[NDArray[np.uint8]]:
        """The whole pictures of some faces, each (H, W, 3) RGB; nobody changes them."""
        return [self[int(index)]["image"] for index in indices]

    def at(self, epoch: int) -> "HeadPoseDataset":
        """The faces that training sees in an epoch: these, in most data sets."""
        return self

    def verify(self, indices: Sequence[int]) -> None:
        """Look for pictures that are missing or cut short, without decoding them; raises InputError naming the first."""

    def photo_of(self, name: str) -> str:
        """Name of the photograph (or person) a face comes from; its faces never stand on both sides of a split."""
        return name

    def attributes_of(self, name: str) -> dict[str, str]:
        """What else is known of a face, by which errors can be compared; the same keys for each, nothing in most sets."""
        return {}

    def left_out(self) -> str:
        """How many faces were left out and why, and what is odd about the labels; empty where none was."""
        counts = {
            f"beyond ±{self.max_angle} degrees": self.num_beyond,
            "without a label or box": self.num_filtered - self.num_beyond,
            "broken": len(self.skipped),
        }
        reasons = [f"{count} {reason}" for reason, count in counts.items() if count]
        return "; ".join([*([f"left out: {', '.join(reasons)}"] if reasons else []), *self.doubts])

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        return {
            "image": self.image(index),
            "pose": self.pose[index],
            "box": self.box[index],
            "landmarks": self.landmarks[index],
            "name": self.names[index],
        }


@dataclass(eq=False)
class FolderDataset(HeadPoseDataset):
    """A folder of pictures with an annotation file each; annotations are read at once, pictures when asked for.

    A reader says how faces are listed (`list_images`), where each one's picture and label lie (`picture_of`, `label_files`,
    `common_files`) and how a label is read (`read_annotation`). Its further options are options of its DataModule as well.

    Args:
        root: folder of the dataset.
        max_angle: keep a face if all three |angles| are at most this many degrees; null keeps all.
        bad_files: `raise` stops at the first broken file; `skip` leaves it out, counted and named. `skip` also decodes
            every picture once at the start, so that nothing can fail later. `defer` lists the faces in `listed` and reads
            nothing: whoever asked for it does, one by one (`read_face`).

    Raises:
        InputError: no such folder, nothing in it, a broken file, or everything filtered away.
    """

    layout: ClassVar[str]  # file pattern shown when nothing is found
    label_suffix: ClassVar[str] = ""
    """Of the file beside a picture (or other listed path) that holds its label, if there is one."""
    files: ClassVar[tuple[str, ...]] = ()  # options that name files: they count by content in the identity of a training
    full_range: ClassVar[bool] = False  # whether it shows heads from behind, so that large angles are no sign of a mistake
    neutral: ClassVar[dict[str, Any]] = {}  # values of options that change nothing: they do not count in an identity
    of_crop: ClassVar[dict[str, str]] = {}
    """Options that a DataModule takes from the crop rule where they are not given, and the rule's attribute for each."""

    common_files: Sequence[Path] = field(default=(), init=False)  # that hold something of many labels
    root: Path
    max_angle: float | None = 99.0
    bad_files: BadFiles = "raise"

    def __post_init__(self) -> None:
        self.root, self.skipped = Path(self.root), {}
        if self.bad_files not in get_args(BadFiles):
            raise InputError(f"bad_files={self.bad_files} is unknown; choose raise or skip")
        self.check_root()
        self.listed = self.list_images()
        if not self.listed:
            raise InputError(f"{self.title}: {self.root} holds none of its pictures ({self.layout}); check the root")
        if self.bad_files != "defer":
            self._read_all()

    @classmethod
    def rules(cls, options: dict[str, Any], has_boxes: bool) -> dict[str, Any]:
        """What results.json says of the reader's own options (by name) and of the boxes."""
        return {}

    def _read_all(self) -> None:
        read: list[tuple[Path, Annotation]] = []
        for path in self.listed:
            try:
                annotation = self.read_face(path)
                if self.bad_files == "skip":
                    height, width = read_image(self.picture_of(path)).shape[:2]
                    check_box(annotation.box, width, height, f"{self.name_of(path)}: the box")
                read.append((path, annotation))
            except InputError as error:
                if self.bad_files == "raise":
                    raise InputError(f"{error} (or set bad_files=skip to leave such files out)") from error
                self.skipped[self.name_of(path)] = str(error)
        kept = [(path, label) for path, label in read if not is_beyond(label.pose, self.max_angle)]
        self.num_beyond = len(read) - len(kept)
        self.num_filtered += self.num_beyond
        if read:
            pose, box, _, size = _columns([label for _, label in read])
            self.doubts = label_doubts(pose, box, size, self.full_range)
        if not kept:
            raise nothing_left(self, len(self.listed), self.root)
        self.paths = [path for path, _ in kept]
        self.names = [self.name_of(path) for path in self.paths]
        pose, box, landmarks, _ = _columns([label for _, label in kept])
        self.pose, self.box, self.landmarks = (values.astype(np.float32) for values in (pose, box, landmarks))

    def read_face(self, path: Path) -> Annotation:
        """The label of one listed face; raises InputError naming a file that is broken, or a picture that is missing."""
        picture = self.picture_of(path)
        if not os.path.isfile(picture):  # where `Path.is_file` raises, as at names that are too long, it says no
            raise InputError(f"{picture}: the picture of an annotation is missing; restore it or remove the annotation")
        return self.read_annotation(path)

    def check_root(self) -> None:
        """Raise InputError where the root is not what it should be."""
        if not self.root.is_dir():
            raise InputError(
                f"{self.title} not found: no folder {self.root}; set its root (data.root or test.<name>.root), "
                "see docs/datasets.md"
            )

    @abstractmethod
    def list_images(self) -> list[Path]:
        """All pictures under the root, sorted."""

    def picture_of(self, path: Path) -> Path:
        """The file of a listed picture; where one holds several faces, they are listed under names of their own."""
        return path

    def label_files(self, path: Path) -> Sequence[Path]:
        """The files that hold this label and no other."""
        return [find_file(path.with_suffix(self.label_suffix))] if self.label_suffix else []

    @abstractmethod
    def read_annotation(self, path: Path) -> Annotation:
        """The label of one picture; raises InputError naming the broken file."""

    def name_of(self, path: Path) -> str:
        """A picture's name: its path below the root, without suffix."""
        return path.relative_to(self.root).with_suffix("").as_posix()

    def image(self, index: int) -> NDArray[np.uint8]:
        """Decode one picture."""
        return read_image(self.picture_of(self.paths[index]))

    def __getitem__(self, index: int) -> Sample:
        """As of every dataset; raises InputError where the box does not fit the picture."""
        sample = super().__getitem__(index)
        height, width = sample["image"].shape[:2]
        check_box(sample["box"], width, height, f"{sample['name']}: the box")
        return sample

    def verify(self, indices: Sequence[int]) -> None:
        """Read the files and look at their ends."""
        for index in indices:
            read_whole(self.picture_of(self.paths[index]))


def nothing_left(dataset: HeadPoseDataset, n: int, root: Path) -> InputError:
    """The refusal of a dataset of n faces of which none is left."""
    return InputError(f"{dataset.title}: none of the {n} faces in {root} is left ({dataset.left_out()})")


def is_beyond(pose: NDArray[np.floating[Any]], max_angle: float | None) -> NDArray[np.bool_]:
    """Whether an angle of a pose (..., 3) is larger than `max_angle` degrees; never where that is None or the pose NaN."""
    return np.asarray(np.abs(pose).max(axis=-1) > (np.inf if max_angle is None else max_angle))


def _columns(labels: Sequence[Annotation]) -> list[NDArray[Any]]:
    """Poses (n, 3), boxes (n, 4), landmarks (n, 68, 2) and sizes of pictures (n, 2) of n labels."""
    return [np.array([getattr(label, key.name) for label in labels]) for key in fields(Annotation)]


def check_seed(name: str, seed: object) -> None:
    """Refuse what would draw anew each time, or nothing at all; raises InputError."""
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise InputError(f"{name}={seed} is no seed; give a whole number from 0 on")


def list_pairs(folder: Path, prefix: str = "") -> list[Path]:
    """Sorted paths of all .jpg (or .JPG) whose name begins so, and of the missing pictures of .mat files."""
    pictures: dict[str, str] = {}
    for name in sorted(os.listdir(folder) if folder.is_dir() else []):  # .JPG before .jpg, which then takes its place
        stem, suffix = os.path.splitext(name)
        if name.startswith("._"):  # what macOS keeps beside each file on foreign disks and in archives
            continue
        if name.startswith(prefix) and suffix.lower() == ".jpg":
            pictures[stem] = name
        elif name.startswith(prefix) and suffix.lower() == ".mat":
            pictures.setdefault(stem, f"{stem}.jpg")
    return [folder / name for _, name in sorted(pictures.items())]


def find_file(path: Path) -> Path:
    """The path, or where there is no such file, one whose suffix is in another case."""
    if not path.suffix or os.path.exists(path):  # `Path.exists` raises where a name is too long
        return path
    others = (path.with_suffix(suffix) for suffix in (path.suffix.upper(), path.suffix.lower(), path.suffix.title()))
    return next((other for other in others if os.path.exists(other)), path)


def whole_box(path: Path) -> NDArray[np.float32]:
    """(4,) box around all of a picture as `read_image` shows it, without decoding it; InputError where it is no picture."""
    return np.array([0, 0, *picture_size(path)], dtype=np.float32)


def check_box_in_file(where: str, box: NDArray[np.floating[Any]], picture: Path) -> tuple[int, int]:
    """Height and width of a box's picture, from its header; InputError where the box (4,) does not fit it."""
    width, height = (int(side) for side in whole_box(picture)[2:])
    check_box(box, width, height, f"{where}: the box")
    return height, width


def read_mat(path: Path, shapes: dict[str, tuple[int, ...]]) -> dict[str, NDArray[np.float64]]:
    """Arrays of a MATLAB v5 annotation by name; InputError where one is missing, of another shape than given, or not finite."""
    if not path.is_file():
        raise _label_missing(path)
    content, arrays = read_matlab(path, list(shapes)), {}
    for key, shape in shapes.items():
        if key not in content:
            raise InputError(f"{path}: no {key} in it; restore the original annotation or remove the pair")
        value = content[key]
        if value.shape != shape:
            raise InputError(f"{path}: {key} is {value.dtype} of shape {value.shape}, expected numbers of shape {shape}")
        arrays[key] = value.astype(np.float64)
        if not np.isfinite(arrays[key]).all():
            raise InputError(f"{path}: {key} holds NaN or infinity; restore the original annotation or remove the pair")
    return arrays


def read_label_line(path: Path, columns: Sequence[str]) -> list[float]:
    """Numbers of a label of one line, `<ignored> <columns> ...`, as Hopenet reads those of AFLW and AFW.

    Tabs separate the fields or, where there are too few of them, spaces; further fields are ignored. InputError where the file
    is missing, unreadable or too short, or a field is no finite number.
    """
    if not os.path.exists(path):
        raise _label_missing(path)
    line = (read_text(path).strip("\r\n").splitlines() or [""])[0]
    cells = line.split("\t")
    if len(cells) <= len(columns):
        cells = line.split()
    if len(cells) <= len(columns):
        raise InputError(f"{path}: {len(cells)} fields where <ignored> {' '.join(columns)} are expected; restore the file")
    return [check_number(str(path), column, _number(cell)) for column, cell in zip(columns, cells[1:], strict=False)]


def _label_missing(path: Path) -> InputError:
    return InputError(f"{path.with_suffix('.jpg')}: its annotation {path.name} is missing; restore it or remove the picture")


def check_number(where: str, column: str, value: object) -> float:
    """A label's number; InputError where it is something else, NaN or infinite."""
    if not isinstance(value, int | float) or not np.isfinite(value):
        raise InputError(f"{where}: {column} is {repr(value)[:60]}, not a finite number; correct or remove the label")
    return float(value)


def _number(cell: str) -> float | str:
    try:
        return float(cell)
    except ValueError:
        return cell
