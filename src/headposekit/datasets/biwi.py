"""BIWI Kinect Head Pose (Fanelli et al., IJCV 2013): 24 sequences of 20 people before a depth camera, 640×480.

Its files are `frame_NNNNN_{rgb.png,pose.txt,depth.bin}`, `depth.cal` and `rgb.cal`, lengths in millimetres. Boxes are a
detector's, chosen frame by frame as FSA-Net did, or those of a published test set's list.

Reference: the readme published with the data; shamangary/FSA-Net, data/type3/TYY_create_db_biwi.py and
TYY_create_db_biwi_70_30.py; kuhnkeF/headposeplus, data/; natanielruiz/deep-head-pose, code/datasets.py.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from struct import Struct
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from headposekit.data.augmentation import Augmentation
from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, BadFiles, FolderDataset, check_seed, no_landmarks
from headposekit.detectors.files import read_boxes
from headposekit.errors import InputError
from headposekit.geometry.conventions import EulerOrder, calibrate_biwi_matrix, pose_from_biwi_matrix
from headposekit.geometry.crops import CropRule, check_box, fsanet_box
from headposekit.safe_files import MAX_TEXT, check_file, has_arrays, read_file, read_npz, read_text

Array = NDArray[Any]
BoxRule = Literal["fsanet_protocol1", "fsanet_protocol2", "listed", "listed_crops", "dockerface"]

MAX_LIST = 2**26
"""Bytes of a list of boxes."""
MARGIN = 0.4
"""By which boxes are enlarged before they are compared."""
MAX_JUMP = 80
"""Pixels that the left side of the enlarged box may move from one frame to the next."""
DOCKERFACE_MISSES = frozenset(
    f"{sequence}/frame_{number:05d}"
    for sequence, numbers in {"15": (346, 348), "18": (473, *range(476, 482)), "21": (456, 457, 458)}.items()
    for number in numbers
)
"""The twelve frames of which Hopenet's test set has no box; 15,666 of 15,678 are left."""
WIDTH, HEIGHT = 640, 480
PIXELS = WIDTH * HEIGHT
PAIR = Struct("<ii")
"""Width and height, or how many pixels are empty and how many full thereafter."""
PEOPLE = (
    *("F01", "F02", "F03", "F04", "F05", "F06", "M01", "M02", "M03", "M04", "M05", "M06"),
    *("M07", "M08", "F03", "M09", "M10", "F05", "M11", "M12", "F02", "M01", "M13", "M14"),
)
"""Of sequences 01 to 24: four people were recorded twice."""
NUM_TRAIN = 16
DETECTIONS = "detections.csv"
Part = Literal["all", "train", "test"]
NO_FACES = np.zeros((0, 5))


class BIWI(FolderDataset):
    """BIWI as published: `<root>/<01..24>/frame_NNNNN_{rgb.png,pose.txt,depth.bin}`, 15,678 frames, and a detector's boxes.

    Poses are the papers': the depth camera's matrix as it stands, unless `calibrated`.

    Args:
        root: folder of the sequences.
        max_angle: see `FolderDataset`; no frame lies beyond 99.
        bad_files: see `FolderDataset`.
        boxes: a file of `read_detections`; null for one in each sequence's folder, `<root>/<NN>/detections.csv`. With
            `box_rule: dockerface` a folder of `<NN>/dockerface-frame_NNNNN_rgb.txt`; null for the root.
        box_rule: which of a frame's faces counts and which frames are dropped, see `RULES`.
        part, part_by, part_seed: which part of the set counts; of sequences, see `biwi_sequences`.
        calibrated: poses as the colour camera sees them, by the rotation in each sequence's `rgb.cal`.
        frames: a file of `read_detections` whose frames alone count, wherever the boxes come from; null for all.

    Raises:
        InputError: see `FolderDataset`; boxes of frames that are not there, or none for a frame that should have one.
    """

    title = "BIWI"
    layout: ClassVar[str] = "01/frame_NNNNN_rgb.png with frame_NNNNN_pose.txt"
    files = ("boxes", "frames")

    def __init__(
        self,
        root: str | Path,
        max_angle: float | None = 99.0,
        bad_files: BadFiles = "raise",
        boxes: str | Path | None = None,
        box_rule: BoxRule = "fsanet_protocol1",
        part: Part = "all",
        part_by: Literal["sequence", "person"] = "sequence",
        part_seed: int = 0,
        calibrated: bool = False,
        frames: str | Path | None = None,
    ) -> None:
        self.boxes_path, self.box_rule, self.calibrated, self.frames_path = boxes, box_rule, calibrated, frames
        self.sequences, self.has_boxes = biwi_sequences(part, part_by, part_seed), box_rule != "listed_crops"
        self._boxes: dict[Path, NDArray[np.float32]] = {}
        self._rotations: dict[Path, NDArray[np.float64]] = {}
        super().__init__(root, max_angle, bad_files)

    @classmethod
    def rules(cls, options: dict[str, Any], has_boxes: bool) -> dict[str, Any]:
        """Boxes, frames, sequences and whose poses."""
        files = {"box_file": options["boxes"], "frames": options["frames"]}
        named = {key: Path(file).name for key, file in files.items() if file is not None}
        drawn = ("part",) if options["part"] == "all" else ("part", "part_by", "part_seed")
        return {"box": options["box_rule"], **named, **{key: options[key] for key in (*drawn, "calibrated")}}

    def list_images(self) -> list[Path]:
        """The frames that have a box, sequence by sequence."""
        box_rule(self.box_rule)
        per_frame = self.box_rule == "dockerface"
        if per_frame and not self._dockerface_root.is_dir():
            raise InputError(
                f"boxes={self.boxes_path} is no folder; box_rule=dockerface reads <boxes>/01/dockerface-frame_NNNNN_rgb.txt, "
                "give the folder or null for the root"
            )
        given = None if per_frame or self.boxes_path is None else read_detections(Path(self.boxes_path))
        counted = None if self.frames_path is None else set(read_detections(Path(self.frames_path)))
        listed = []
        for number in self.sequences:
            folder = self.root / f"{number:02d}"
            frames = sorted({path.name[:11] for kind in ("rgb.png", "pose.txt") for path in folder.glob(f"frame_?????_{kind}")})
            if not frames:
                continue
            kept = self._dockerface_frames(folder, frames) if per_frame else self._detected_frames(folder, frames, given)
            if counted is not None:
                kept = [frame for frame in kept if f"{folder.name}/{frame}" in counted]
            self.num_filtered += len(frames) - len(kept)
            listed += [folder / f"{frame}_rgb.png" for frame in kept]
        return listed

    def label_files(self, path: Path) -> list[Path]:
        """The pose, and Dockerface's box."""
        return [_pose_path(path), *([self._dockerface_path(path)] if self.box_rule == "dockerface" else [])]

    def common_files(self) -> list[Path]:
        """Other boxes, lists and calibrations."""
        given = [Path(path) for path in (self.boxes_path, self.frames_path) if path is not None]
        folders = sorted({path.parent for path in self.listed})
        return [*given, *(folder / name for folder in folders for name in (DETECTIONS, "rgb.cal"))]

    def read_annotation(self, path: Path) -> Annotation:
        """Pose from the text file beside the picture, box from the detector."""
        matrix = read_pose(_pose_path(path)).rotation
        if self.calibrated:
            matrix = calibrate_biwi_matrix(matrix, self._rotation(path.parent))
        box = self._box(path)
        check_box(box, WIDTH, HEIGHT, f"{self._boxes_of(path)}: {self.name_of(path)}: the box")
        return Annotation(pose_from_biwi_matrix(matrix), box, no_landmarks(), (HEIGHT, WIDTH))

    def name_of(self, path: Path) -> str:
        """`01/frame_00003`."""
        return f"{path.parent.name}/{path.name.removesuffix('_rgb.png')}"

    def photo_of(self, name: str) -> str:
        """The person: all of a person's sequences belong together."""
        return PEOPLE[int(name[:2]) - 1]

    def depth(self, index: int) -> NDArray[np.int16]:
        """The depth picture of a frame, as the depth camera sees it (`depth.cal`), which stands beside the colour camera.

        Returns:
            (480, 640) mm, 0 where nothing was measured.

        Raises:
            InputError: missing or broken.
        """
        path = self.paths[index]
        return read_depth(path.with_name(path.name.replace("_rgb.png", "_depth.bin")))

    @property
    def _dockerface_root(self) -> Path:
        return self.root if self.boxes_path is None else Path(self.boxes_path)

    def _dockerface_frames(self, folder: Path, frames: Sequence[str]) -> list[str]:
        boxed = {path.name[11:22] for path in (self._dockerface_root / folder.name).glob("dockerface-frame_?????_rgb.txt")}
        if absent := boxed - set(frames):
            raise InputError(f"{self._dockerface_root}: boxes of {folder.name}/{min(absent)}, which is not in {self.root}")
        names = dockerface_frames([f"{folder.name}/{frame}" for frame in frames])
        return [name.split("/")[1] for name in names]

    def _detected_frames(self, folder: Path, frames: Sequence[str], given: dict[str, NDArray[Any]] | None) -> list[str]:
        found = read_detections(folder / DETECTIONS) if given is None else given
        names = [f"{folder.name}/{frame}" for frame in frames]
        if absent := {name for name in found if name.startswith(f"{folder.name}/")} - set(names):
            raise InputError(f"{self.boxes_path or folder}: boxes of {min(absent)}, which is not in {self.root}")
        boxes = box_rule(self.box_rule)([found.get(name, NO_FACES) for name in names], WIDTH, HEIGHT)
        chosen = {frame: box for frame, box in zip(frames, boxes, strict=True) if box is not None}
        self._boxes |= {folder / f"{frame}_rgb.png": box.astype(np.float32) for frame, box in chosen.items()}
        return list(chosen)

    def _box(self, path: Path) -> NDArray[np.float32]:
        if self.box_rule != "dockerface":
            return self._boxes[path]
        # A file for each frame, read with its pose, so that `bad_files` holds for it too.
        return read_dockerface(self._dockerface_path(path), WIDTH, HEIGHT)

    def _boxes_of(self, path: Path) -> Path:
        """The file that a frame's box comes from."""
        if self.box_rule == "dockerface":
            return self._dockerface_path(path)
        return path.parent / DETECTIONS if self.boxes_path is None else Path(self.boxes_path)

    def _dockerface_path(self, path: Path) -> Path:
        return self._dockerface_root / path.parent.name / f"dockerface-{path.stem}.txt"

    def _rotation(self, folder: Path) -> NDArray[np.float64]:
        if folder not in self._rotations:
            self._rotations[folder] = read_calibration(folder / "rgb.cal").rotation
        return self._rotations[folder]


def _pose_path(path: Path) -> Path:
    return path.with_name(path.name.replace("_rgb.png", "_pose.txt"))


def biwi_sequences(part: Part, by: Literal["sequence", "person"], seed: int) -> list[int]:
    """Sequences of a part of protocol 2: 16 to train on, 8 to test on; which ones the paper did not publish.

    Args:
        part: `train`, `test`, or `all` 24.
        by: `sequence` as in the paper, where a person may stand on both sides; `person` keeps people apart (16 sequences, or
            one more where the last person has two).
        seed: of the division.

    Raises:
        InputError: unknown part or division.
    """
    numbers = np.arange(1, len(PEOPLE) + 1)
    if part not in ("all", "train", "test") or by not in ("sequence", "person"):
        raise InputError(f"part={part} by={by} is unknown; choose all, train or test by sequence or person")
    if part == "all":
        return [int(number) for number in numbers]
    check_seed("part_seed", seed)
    rng = np.random.default_rng(seed)
    if by == "sequence":
        train = set(rng.permutation(numbers)[:NUM_TRAIN].tolist())
    else:
        train = set()
        for person in rng.permutation(sorted(set(PEOPLE))):
            if len(train) < NUM_TRAIN:
                train |= {number for number, name in enumerate(PEOPLE, start=1) if name == person}
    return [int(number) for number in numbers if (number in train) == (part == "train")]


class BIWIDataModule(FolderDataModule):
    """Loaders of BIWI; faces are cropped by the crop rule's form for detectors' boxes, `split: photo` keeps people apart.

    Args:
        root, crop, augmentation: see `FolderDataModule`.
        euler_order: in which angles a test measures; poses are ours all the same.
        options: all others.
    """

    dataset_name: ClassVar[str] = "biwi"
    reader = BIWI

    def __init__(
        self,
        root: str | Path,
        crop: CropRule,
        augmentation: Augmentation | None = None,
        *,
        euler_order: EulerOrder = "ypr",
        **options: Any,
    ) -> None:
        super().__init__(root, crop, augmentation, **options)
        if euler_order not in get_args(EulerOrder):
            raise InputError(f"euler_order={euler_order} is unknown; choose {' or '.join(get_args(EulerOrder))}")
        self.euler_order = euler_order

    @property
    def rules(self) -> dict[str, Any]:
        """Those of every folder, and in which angles errors are measured."""
        return {**super().rules, "euler_order": self.euler_order}


def read_detections(path: Path) -> dict[str, Array]:
    """A detector's file: CSV with the columns name, confidence, x0, y0, x1, y1, a row for every face found.

    Or one of headposeplus' .npz files, which list the frames of a published test set: `images` (n,) and `bbox` (n, 4) as x, y,
    width, height. Their authors cut one pixel less than that in each direction, and so do we.

    Args:
        path: the file; names are those of the dataset, such as `01/frame_00003`.

    Returns:
        name to (n, 5): confidence and box in pixels, in the order of the file.

    Raises:
        InputError: no such file, a missing column, or a row that is no box.
    """
    return _read_list(path) if path.suffix == ".npz" else read_boxes(path)


def _read_list(path: Path) -> dict[str, Array]:
    check_file(path, what="box file; headposeplus publishes them")
    arrays = read_npz(path, MAX_LIST)
    if not has_arrays(arrays, {"images": ("US", (None,)), "bbox": ("fiu", (None, 4))}):
        raise InputError(f"{path}: not a list of BIWI frames (images and bbox); fetch it again")
    images, boxes = arrays["images"].astype(str), arrays["bbox"].astype(np.float64)
    if len(boxes) != len(images) or not np.isfinite(boxes).all() or (boxes[:, 2:] < 2).any():
        raise InputError(f"{path}: bbox does not hold x, y, width, height of each image; fetch it again")
    x, y, width, height = boxes.T
    rows = np.stack([np.ones(len(x)), x, y, x + width - 1, y + height - 1], axis=1)
    return {str(image).removesuffix("_rgb.png"): row[None] for image, row in zip(images, rows, strict=True)}


def dockerface_frames(names: Sequence[str]) -> list[str]:
    """The frames of Hopenet's test set among names such as `01/frame_00003`."""
    return [name for name in names if name not in DOCKERFACE_MISSES]


def read_dockerface(path: Path, width: int, height: int) -> NDArray[np.float32]:
    """A frame's `dockerface-frame_NNNNN_rgb.txt`; its first line is a word, x0, y0, x1, y1 and perhaps the confidence.

    Args:
        path: the file.
        width, height: of the picture, which is the box where the line has fewer than four columns, as in Hopenet's loader.

    Returns:
        (4,) pixels.

    Raises:
        InputError: missing, another number of columns, no number, or a box without area.

    Reference: natanielruiz/deep-head-pose, code/datasets.py (class BIWI).
    """
    columns = (read_text(path).splitlines() or [""])[0].split()
    if len(columns) < 4:
        return np.array([0, 0, width, height], dtype=np.float32)
    if len(columns) not in (5, 6):
        raise InputError(f"{path}: {len(columns)} columns where a word, x0, y0, x1, y1 and perhaps a confidence are expected")
    try:
        box = np.array(columns[1:5], dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{path}: x0, y0, x1, y1 are not all numbers; restore the file Dockerface wrote") from error
    if not np.isfinite(box).all() or box[0] >= box[2] or box[1] >= box[3]:
        raise InputError(f"{path}: the box has no area; x0 < x1 and y0 < y1 in pixels are needed")
    return box


def choose_face(faces: Array, confidence: float, width: int, height: int) -> Array | None:
    """Of several faces the one whose enlarged box has its upper left corner nearest to two thirds of the picture's sides.

    Args:
        faces: (n, 5), confidence and box.
        confidence: faces must have more.
        width, height: of the picture.

    Returns:
        (4,), or None where no face is sure enough.
    """
    sure = faces[faces[:, 0] > confidence][:, 1:] if len(faces) else faces
    if not len(sure):
        return None
    corners = np.array([fsanet_box(box, MARGIN, width, height)[:2] for box in sure])
    chosen: Array = sure[np.abs(corners - [2 * width / 3, 2 * height / 3]).sum(axis=1).argmin()]
    return chosen


def fsanet_protocol1(frames: Sequence[Array], width: int, height: int) -> list[Array | None]:
    """Boxes of a sequence for testing: frames without a face, or whose face has jumped, are dropped.

    A face must be surer than .9; where all are less sure, the box before is taken again. The jump is measured from the last
    frame that was kept, so one that is missed loses all frames until the head comes back.

    Args:
        frames: (n, 5) faces of each frame.
        width, height: of the pictures.

    Returns:
        (4,) or None for each frame.
    """
    boxes: list[Array | None] = []
    kept: Array | None = None
    current: Array | None = None
    for faces in frames:
        if len(faces):
            found = choose_face(faces, 0.9, width, height)
            current = current if found is None else found
        accepted = len(faces) > 0 and current is not None and not _jumps(kept, current, width, height)
        boxes.append(current if accepted else None)
        kept = current if accepted else kept
    return boxes


def fsanet_protocol2(frames: Sequence[Array], width: int, height: int) -> list[Array | None]:
    """Boxes of a sequence for training on BIWI: no frame is dropped, a missing or jumping one has the box before it.

    A face must be surer than .95. Frames before the first face have the first face's box.

    Args:
        frames: (n, 5) faces of each frame.
        width, height: of the pictures.

    Returns:
        (4,) for each frame; None for all of a sequence without any face.
    """
    boxes: list[Array | None] = []
    last: Array | None = None
    for faces in frames:
        found = choose_face(faces, 0.95, width, height)
        if found is not None and not _jumps(last, found, width, height):
            last = found
        boxes.append(last)
    first = next((box for box in boxes if box is not None), None)
    return [first if box is None else box for box in boxes]


def listed(frames: Sequence[Array], width: int, height: int) -> list[Array | None]:
    """Frames count that the file lists, with the first box it has for them.

    Args:
        frames: (n, 5) faces of each frame.
        width, height: of the pictures.

    Returns:
        (4,) or None for each frame.
    """
    return [faces[0, 1:] if len(faces) else None for faces in frames]


RULES: dict[str, Callable[[Sequence[Array], int, int], list[Array | None]]] = {
    "fsanet_protocol1": fsanet_protocol1,
    "fsanet_protocol2": fsanet_protocol2,
    "listed": listed,
    "listed_crops": listed,  # and the crop rule adds nothing to them
    "dockerface": listed,  # each frame's one box, see `read_dockerface`, but for `DOCKERFACE_MISSES`
}


def box_rule(name: BoxRule) -> Callable[[Sequence[Array], int, int], list[Array | None]]:
    """A rule by its name; raises InputError for another."""
    if name not in RULES:
        raise InputError(f"box_rule={name} is unknown; choose {', '.join(get_args(BoxRule))}")
    return RULES[name]


def _jumps(before: Array | None, box: Array, width: int, height: int) -> bool:
    if before is None:
        return False
    left, left_before = (fsanet_box(side, MARGIN, width, height)[0] for side in (box, before))
    return bool(abs(left - left_before) >= MAX_JUMP)


class HeadPlace(NamedTuple):
    """Where a head is before the depth camera, frame B (x right, y down, z away)."""

    rotation: NDArray[np.float64]  # (3, 3)
    center: NDArray[np.float64]  # (3,) mm


class Calibration(NamedTuple):
    """A camera of a sequence: a point of the depth camera's frame is `rotation @ point + translation` in its own."""

    intrinsics: NDArray[np.float64]  # (3, 3) pixels
    distortion: NDArray[np.float64]  # (4,)
    rotation: NDArray[np.float64]  # (3, 3)
    translation: NDArray[np.float64]  # (3,) mm
    size: tuple[int, int]  # width, height


def read_pose(path: Path) -> HeadPlace:
    """Rotation and head centre of a `pose.txt`.

    Raises:
        InputError: missing, other than twelve numbers, or no rotation.
    """
    numbers = _numbers(path, 12)
    return HeadPlace(_rotation(path, numbers[:9]), numbers[9:])


def read_calibration(path: Path) -> Calibration:
    """A `depth.cal` or `rgb.cal`.

    Raises:
        InputError: missing, other than 27 numbers, no rotation, or not of a camera of 640×480 pixels.
    """
    numbers = _numbers(path, 27)
    intrinsics, size = numbers[:9].reshape(3, 3), numbers[25:]
    if tuple(size) != (WIDTH, HEIGHT) or not (intrinsics[[0, 1], [0, 1]] > 0).all():
        raise InputError(f"{path}: not the intrinsics of a camera of {WIDTH}×{HEIGHT} pixels; restore the original file")
    return Calibration(intrinsics, numbers[9:13], _rotation(path, numbers[13:22]), numbers[22:25], (WIDTH, HEIGHT))


def read_depth(path: Path) -> NDArray[np.int16]:
    """A `depth.bin`: width, height, then by turns how many pixels are empty, how many are full, and the depths of these.

    Returns:
        (480, 640) mm, 0 where nothing was measured.

    Raises:
        InputError: missing, of another size, cut short, runs beyond the picture, or bytes left over.
    """
    raw = read_file(path, MAX_TEXT)
    broken = f"{path}: not a whole depth picture, {{}}; restore the original file"
    if len(raw) < PAIR.size:
        raise InputError(broken.format("it is cut short"))
    width, height = PAIR.unpack_from(raw)
    if (width, height) != (WIDTH, HEIGHT):
        raise InputError(broken.format(f"its size is {width}×{height} instead of {WIDTH}×{HEIGHT}"))
    pixels, pixel, offset = bytearray(2 * PIXELS), 0, PAIR.size
    while pixel < PIXELS:
        if offset + PAIR.size > len(raw):
            raise InputError(broken.format("it is cut short"))
        num_empty, num_full = PAIR.unpack_from(raw, offset)
        if num_empty < 0 or num_full < 0:
            raise InputError(broken.format("it has a run of negative length"))
        start, end, offset = pixel + num_empty, pixel + num_empty + num_full, offset + PAIR.size
        if end > PIXELS:
            raise InputError(broken.format("a run goes beyond the picture"))
        run = raw[offset : offset + 2 * num_full]
        if len(run) < 2 * num_full:
            raise InputError(broken.format("it is cut short"))
        pixels[2 * start : 2 * end] = run
        pixel, offset = end, offset + len(run)
    if offset < len(raw):
        raise InputError(broken.format(f"it has {len(raw) - offset} bytes left over"))
    return np.frombuffer(pixels, "<i2").astype(np.int16, copy=False).reshape(HEIGHT, WIDTH)


def _numbers(path: Path, count: int) -> NDArray[np.float64]:
    text = read_text(path)
    try:
        numbers = np.array(text.split(), dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{path}: holds something else than numbers; restore the original file") from error
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{path}: {len(numbers)} numbers where {count} are expected, or one is not finite; restore the file")
    return numbers


def _rotation(path: Path, numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    matrix = numbers.reshape(3, 3)
    if np.abs(matrix @ matrix.T - np.eye(3)).max() > 1e-2 or np.linalg.det(matrix) < 0:
        raise InputError(f"{path}: its matrix is no rotation; restore the original file")
    return matrix
