"""BIWI Kinect Head Pose (Fanelli et al., IJCV 2013): 24 sequences of 20 people before a depth camera, 640×480.

Its files are `frame_NNNNN_{rgb.png,pose.txt,depth.bin}`, `depth.cal` and `rgb.cal`, lengths in millimetres. Boxes are a
detector's, chosen frame by frame as FSA-Net did, or those of a published test set's list.

Reference: the readme published with the data; shamangary/FSA-Net, data/type3/TYY_create_db_biwi.py and
TYY_create_db_biwi_70_30.py; kuhnkeF/headposeplus, data/; natanielruiz/deep-head-pose, code/datasets.py.
"""

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, FolderDataset, check_seed
from headposekit.detectors.files import read_boxes
from headposekit.errors import InputError
from headposekit.geometry.conventions import EulerOrder, calibrate_biwi_matrix, pose_from_biwi_matrix
from headposekit.geometry.crops import check_box, fsanet_box
from headposekit.geometry.perspective import Frame, camera_to_ray
from headposekit.safe_files import MAX_TEXT, check_file, has_arrays, read_file, read_npz, read_text

Array = NDArray[Any]
Choice = Callable[[Sequence[Array]], list[Array | None]]
"""From the faces (n, 5) of each frame of a sequence, confidence and box, to a box (4,) or None for each."""
BoxRule = Literal["fsanet_protocol1", "fsanet_protocol2", "listed", "listed_crops", "dockerface"]
Part = Literal["all", "train", "test"]
PartBy = Literal["sequence", "person"]

WIDTH, HEIGHT = 640, 480
PIXELS = WIDTH * HEIGHT
PEOPLE = (
    *("F01", "F02", "F03", "F04", "F05", "F06", "M01", "M02", "M03", "M04", "M05", "M06"),
    *("M07", "M08", "F03", "M09", "M10", "F05", "M11", "M12", "F02", "M01", "M13", "M14"),
)
"""Of sequences 01 to 24: four people were recorded twice."""
NUM_TRAIN = 16
DETECTIONS, DOCKERFACE = "detections.csv", "dockerface-frame_?????_rgb.txt"
MAX_LIST = 2**26  # bytes of a list of boxes
MARGIN = 0.4  # by which boxes are enlarged before they are compared
MAX_JUMP = 80  # pixels that the left side of the enlarged box may move from one frame to the next
DOCKERFACE_MISSES = {
    *("15/frame_00346", "15/frame_00348", "18/frame_00473", "18/frame_00476", "18/frame_00477", "18/frame_00478"),
    *("18/frame_00479", "18/frame_00480", "18/frame_00481", "21/frame_00456", "21/frame_00457", "21/frame_00458"),
}
"""The twelve frames of which Hopenet's test set has no box; 15,666 of 15,678 are left."""


@dataclass(eq=False)
class BIWI(FolderDataset):
    """BIWI as published: `<root>/<01..24>/frame_NNNNN_{rgb.png,pose.txt,depth.bin}`, 15,678 frames, and a detector's boxes.

    Poses are the papers': the depth camera's matrix as it stands, unless `calibrated`.

    Args:
        boxes: a file of `read_detections`; null for one in each sequence's folder, `<root>/<NN>/detections.csv`. With
            `box_rule: dockerface` a folder of `<NN>/dockerface-frame_NNNNN_rgb.txt`; null for the root.
        box_rule: which of a frame's faces counts and which frames are dropped, see `RULES`.
        part, part_by, part_seed: which part of the set counts; of sequences, see `biwi_sequences`.
        calibrated: poses as the colour camera sees them, by the rotation in each sequence's `rgb.cal`.
        frame: `camera`, the labels as they are; or `ray`, the pose relative to the line from the colour camera to the head,
            which is what a crop shows. Needs `calibrated`.
        frames: a file of `read_detections` whose frames alone count, wherever the boxes come from; null for all.

    Raises:
        InputError: see `FolderDataset`; boxes of frames that are not there, or none for a frame that should have one.
    """

    title, layout, files = "BIWI", "01/frame_NNNNN_rgb.png with frame_NNNNN_pose.txt", ("boxes", "frames")

    neutral: ClassVar[dict[str, Any]] = {"frame": "camera"}

    boxes: str | Path | None = None
    box_rule: BoxRule = "fsanet_protocol1"
    part: Part = "all"
    part_by: PartBy = "sequence"
    part_seed: int = 0
    calibrated: bool = False
    frame: Frame = "camera"
    frames: str | Path | None = None

    @classmethod
    def rules(cls, options: dict[str, Any], has_boxes: bool) -> dict[str, Any]:
        """Boxes, frames, sequences and whose poses."""
        files = {"box_file": options["boxes"], "frames": options["frames"]}
        named = {key: Path(file).name for key, file in files.items() if file is not None}
        drawn = ("part",) if options["part"] == "all" else ("part", "part_by", "part_seed")
        return {"box": options["box_rule"], **named, **{key: options[key] for key in (*drawn, "calibrated", "frame")}}

    def list_images(self) -> list[Path]:
        """The frames that have a box, sequence by sequence."""
        sequences = biwi_sequences(self.part, self.part_by, self.part_seed)
        if self.box_rule not in RULES:
            raise InputError(f"box_rule={self.box_rule} is unknown; choose {', '.join(RULES)}")
        if self.frame not in get_args(Frame):
            raise InputError(f"frame={self.frame} is unknown; choose {' or '.join(get_args(Frame))}")
        if self.frame == "ray" and not self.calibrated:
            raise InputError("frame=ray is seen from the colour camera; set calibrated=true as well")
        self.has_boxes = self.box_rule != "listed_crops"
        self._boxes: dict[str, NDArray[np.float32]] = {}
        self._cameras: dict[Path, Calibration] = {}
        self._has_file_each = self.box_rule == "dockerface"  # of boxes, for each frame
        self._box_folder = self.root if self.boxes is None else Path(self.boxes)
        if self._has_file_each and not self._box_folder.is_dir():
            raise InputError(
                f"boxes={self.boxes} is no folder; box_rule=dockerface reads <boxes>/01/dockerface-frame_NNNNN_rgb.txt, "
                "give the folder or null for the root"
            )
        given = None if self._has_file_each or self.boxes is None else read_detections(Path(self.boxes))
        counted = None if self.frames is None else set(read_detections(Path(self.frames)))
        listed = []
        for folder in (self.root / f"{number:02d}" for number in sequences):
            files = (path for kind in ("rgb.png", "pose.txt") for path in folder.glob(f"frame_?????_{kind}"))
            names = sorted({f"{folder.name}/{path.name[:11]}" for path in files})
            if names:
                kept = [name for name in self._with_box(folder, names, given) if counted is None or name in counted]
                self.num_filtered += len(names) - len(kept)
                listed += [self.root / f"{name}_rgb.png" for name in kept]
        folders = sorted({path.parent for path in listed})
        lists = [Path(path) for path in (self.boxes, self.frames) if path is not None]
        self.common_files = [*lists, *(folder / name for folder in folders for name in (DETECTIONS, "rgb.cal"))]
        return listed

    def _with_box(self, folder: Path, names: Sequence[str], given: dict[str, Array] | None) -> list[str]:
        """The frames of a sequence that have a box; a detector's boxes are chosen and kept."""
        if self._has_file_each:
            source: str | Path = self._box_folder
            boxed = {f"{folder.name}/{path.name[11:22]}" for path in (self._box_folder / folder.name).glob(DOCKERFACE)}
            kept = [name for name in names if name not in DOCKERFACE_MISSES]
        else:
            source, found = self.boxes or folder, read_detections(folder / DETECTIONS) if given is None else given
            boxed = {name for name in found if name.startswith(f"{folder.name}/")}
            boxes = RULES[self.box_rule]([found.get(name, np.zeros((0, 5))) for name in names])
            chosen = {name: box.astype(np.float32) for name, box in zip(names, boxes, strict=True) if box is not None}
            self._boxes |= chosen
            kept = list(chosen)
        if absent := boxed - set(names):
            raise InputError(f"{source}: boxes of {min(absent)}, which is not in {self.root}")
        return kept

    def label_files(self, path: Path) -> list[Path]:
        """The pose, and Dockerface's box."""
        return [_beside(path, "pose.txt"), *([self._dockerface_path(path)] if self._has_file_each else [])]

    def read_annotation(self, path: Path) -> Annotation:
        """Pose from the text file beside the picture, box from the detector."""
        matrix, center = read_pose(_beside(path, "pose.txt"))
        if self.calibrated:
            if path.parent not in self._cameras:
                self._cameras[path.parent] = read_calibration(path.parent / "rgb.cal")
            camera = self._cameras[path.parent]
            matrix, center = calibrate_biwi_matrix(matrix, camera.rotation), camera.rotation @ center + camera.translation
        pose = pose_from_biwi_matrix(matrix)
        if self.frame == "ray":
            if not center[2] > 0:
                raise InputError(f"{_beside(path, 'pose.txt')}: the head's centre stands behind the camera; restore the file")
            pose = camera_to_ray(torch.from_numpy(pose), torch.from_numpy(center[:2] / center[2]), (0, 0), 1.0).numpy()
        name = self.name_of(path)
        if self._has_file_each:
            source = self._dockerface_path(path)
            box = read_dockerface(source)  # with the pose, so that `bad_files` holds for it too
        else:
            source = path.parent / DETECTIONS if self.boxes is None else Path(self.boxes)
            box = self._boxes[name]
        check_box(box, WIDTH, HEIGHT, f"{source}: {name}: the box")
        return Annotation(pose, box, picture_size=(HEIGHT, WIDTH))

    def name_of(self, path: Path) -> str:
        """`01/frame_00003`."""
        return f"{path.parent.name}/{path.name.removesuffix('_rgb.png')}"

    def photo_of(self, name: str) -> str:
        """The person: all of a person's sequences belong together."""
        return PEOPLE[int(name[:2]) - 1]

    def depth(self, index: int) -> NDArray[np.int16]:
        """What the depth camera (`depth.cal`), which stands beside the colour camera, saw of a frame; see `read_depth`."""
        return read_depth(_beside(self.paths[index], "depth.bin"))

    def _dockerface_path(self, path: Path) -> Path:
        return self._box_folder / path.parent.name / f"dockerface-{path.stem}.txt"


def _beside(path: Path, kind: str) -> Path:
    return path.with_name(path.name.replace("rgb.png", kind))


def biwi_sequences(part: Part, by: PartBy, seed: int) -> list[int]:
    """Sequences of a part of protocol 2: 16 to train on, 8 to test on; which ones the paper did not publish.

    Args:
        part: `train`, `test`, or `all` 24.
        by: `sequence` as in the paper, where a person may stand on both sides; `person` keeps people apart (16 sequences, or
            one more where the last person has two).
        seed: of the division.
    """
    if part not in get_args(Part) or by not in get_args(PartBy):
        raise InputError(f"part={part} by={by} is unknown; choose all, train or test by sequence or person")
    numbers = range(1, len(PEOPLE) + 1)
    if part == "all":
        return list(numbers)
    check_seed("part_seed", seed)
    rng = np.random.default_rng(seed)
    if by == "sequence":
        train = set(rng.permutation(numbers)[:NUM_TRAIN].tolist())
    else:
        train = set()
        for person in rng.permutation(sorted(set(PEOPLE))):
            if len(train) < NUM_TRAIN:
                train |= {number for number in numbers if PEOPLE[number - 1] == person}
    return [number for number in numbers if (number in train) == (part == "train")]


class BIWIDataModule(FolderDataModule):
    """Loaders of BIWI; faces are cropped by the crop rule's form for detectors' boxes, `split: photo` keeps people apart.

    Args:
        euler_order: in which angles a test measures; poses are ours all the same.
        given, options: see `FolderDataModule`.
    """

    dataset_name: ClassVar[str] = "biwi"
    reader = BIWI

    def __init__(self, *given: Any, euler_order: EulerOrder = "ypr", **options: Any) -> None:
        super().__init__(*given, **options)
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
    """
    if path.suffix != ".npz":
        return read_boxes(path)
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


def read_dockerface(path: Path) -> NDArray[np.float32]:
    """A frame's `dockerface-frame_NNNNN_rgb.txt`; its first line is a word, x0, y0, x1, y1 and perhaps the confidence.

    Returns:
        (4,) pixels; all of the picture where the line has fewer than four columns, as in Hopenet's loader.

    Raises:
        InputError: missing, another number of columns, no number, or a box without area.
    """
    columns = (read_text(path).splitlines() or [""])[0].split()
    if len(columns) < 4:
        return np.array([0, 0, WIDTH, HEIGHT], dtype=np.float32)
    if len(columns) not in (5, 6):
        raise InputError(f"{path}: {len(columns)} columns where a word, x0, y0, x1, y1 and perhaps a confidence are expected")
    try:
        box = np.array(columns[1:5], dtype=np.float32)
    except ValueError as error:
        raise InputError(f"{path}: x0, y0, x1, y1 are not all numbers; restore the file Dockerface wrote") from error
    if not np.isfinite(box).all() or box[0] >= box[2] or box[1] >= box[3]:
        raise InputError(f"{path}: the box has no area; x0 < x1 and y0 < y1 in pixels are needed")
    return box


def choose_face(faces: Array, confidence: float) -> Array | None:
    """Of several faces the one whose enlarged box has its upper left corner nearest to two thirds of the picture's sides.

    Args:
        faces: (n, 5), confidence and box.
        confidence: faces must have more; None is returned where none has.
    """
    sure = faces[faces[:, 0] > confidence, 1:]
    if not len(sure):
        return None
    corners = fsanet_box(sure, MARGIN, WIDTH, HEIGHT)[:, :2]
    chosen: Array = sure[np.abs(corners - [2 * WIDTH / 3, 2 * HEIGHT / 3]).sum(axis=1).argmin()]
    return chosen


def fsanet_protocol1(frames: Sequence[Array]) -> list[Array | None]:
    """Boxes of a sequence for testing: frames without a face, or whose face has jumped, are dropped.

    A face must be surer than .9; where all are less sure, the box before is taken again. The jump is measured from the last
    frame that was kept, so one that is missed loses all frames until the head comes back.
    """
    boxes: list[Array | None] = []
    kept: Array | None = None
    current: Array | None = None
    for faces in frames:
        found = choose_face(faces, 0.9)
        current = current if found is None else found
        accepted = len(faces) > 0 and current is not None and not _jumps(kept, current)
        boxes.append(current if accepted else None)
        kept = current if accepted else kept
    return boxes


def fsanet_protocol2(frames: Sequence[Array]) -> list[Array | None]:
    """Boxes of a sequence for training on BIWI: no frame is dropped, a missing or jumping one has the box before it.

    A face must be surer than .95. Frames before the first face have the first face's box; all of a sequence without any
    face have None.
    """
    boxes: list[Array | None] = []
    last: Array | None = None
    for faces in frames:
        found = choose_face(faces, 0.95)
        if found is not None and not _jumps(last, found):
            last = found
        boxes.append(last)
    first = next((box for box in boxes if box is not None), None)
    return [first if box is None else box for box in boxes]


def listed(frames: Sequence[Array]) -> list[Array | None]:
    """Frames count that the file lists, with the first box it has for them."""
    return [faces[0, 1:] if len(faces) else None for faces in frames]


RULES: dict[str, Choice] = {
    "fsanet_protocol1": fsanet_protocol1,
    "fsanet_protocol2": fsanet_protocol2,
    "listed": listed,
    "listed_crops": listed,  # and the crop rule adds nothing to them
    "dockerface": listed,  # each frame's one box, see `read_dockerface`, but for `DOCKERFACE_MISSES`
}


def _jumps(before: Array | None, box: Array) -> bool:
    if before is None:
        return False
    left, left_before = (fsanet_box(side, MARGIN, WIDTH, HEIGHT)[0] for side in (box, before))
    return bool(abs(left - left_before) >= MAX_JUMP)


class Calibration(NamedTuple):
    """A camera of a sequence: a point of the depth camera's frame is `rotation @ point + translation` in its own."""

    intrinsics: NDArray[np.float64]  # (3, 3) pixels
    distortion: NDArray[np.float64]  # (4,)
    rotation: NDArray[np.float64]  # (3, 3)
    translation: NDArray[np.float64]  # (3,) mm
    size: tuple[int, int]  # width, height


def read_calibration(path: Path) -> Calibration:
    """A `depth.cal` or `rgb.cal`; raises InputError where it is missing or no calibration of a camera of 640×480 pixels."""
    numbers = _numbers(path, 27)
    intrinsics, size = numbers[:9].reshape(3, 3), numbers[25:]
    if tuple(size) != (WIDTH, HEIGHT) or not (intrinsics[[0, 1], [0, 1]] > 0).all():
        raise InputError(f"{path}: not the intrinsics of a camera of {WIDTH}×{HEIGHT} pixels; restore the original file")
    return Calibration(intrinsics, numbers[9:13], _rotation(path, numbers[13:22]), numbers[22:25], (WIDTH, HEIGHT))


def read_pose(path: Path) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Rotation (3, 3) and centre (3,) in mm of the head in a `pose.txt`, before the depth camera (x right, y down, z away)."""
    numbers = _numbers(path, 12)
    return _rotation(path, numbers[:9]), numbers[9:]


def read_depth(path: Path) -> NDArray[np.int16]:
    """A `depth.bin`: width, height, then by turns how many pixels are empty, how many are full, and the depths of these.

    Returns:
        (480, 640) mm, 0 where nothing was measured.
    """
    try:
        return _parse_depth(read_file(path, MAX_TEXT))
    except (ValueError, struct.error) as error:
        reason = error if isinstance(error, ValueError) else "it is cut short"
        raise InputError(f"{path}: not a whole depth picture, {reason}; restore the original file") from error


def _parse_depth(raw: bytes) -> NDArray[np.int16]:
    """Raises ValueError, or struct.error where two numbers are not there any more."""
    pair = struct.Struct("<ii")
    width, height = pair.unpack_from(raw)
    if (width, height) != (WIDTH, HEIGHT):
        raise ValueError(f"its size is {width}×{height} instead of {WIDTH}×{HEIGHT}")
    pixels, end, offset = bytearray(2 * PIXELS), 0, pair.size
    while end < PIXELS:
        num_empty, num_full = pair.unpack_from(raw, offset)
        if num_empty < 0 or num_full < 0:
            raise ValueError("it has a run of negative length")
        start = end + num_empty
        end = start + num_full
        if end > PIXELS:
            raise ValueError("a run goes beyond the picture")
        run = raw[offset + pair.size : offset + pair.size + 2 * num_full]
        if len(run) < 2 * num_full:
            raise ValueError("it is cut short")
        pixels[2 * start : 2 * end] = run
        offset += pair.size + len(run)
    if offset < len(raw):
        raise ValueError(f"it has {len(raw) - offset} bytes left over")
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
