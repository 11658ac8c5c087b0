"""BIWI Kinect Head Pose (Fanelli et al., IJCV 2013): 24 sequences of 20 people before a depth camera, 640×480."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from headposekit.data.augmentation import Augmentation
from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, BadFiles, FolderDataset, check_seed, no_landmarks
from headposekit.datasets.biwi_boxes import BoxRule, box_rule, dockerface_frames, read_detections, read_dockerface
from headposekit.datasets.biwi_files import HEIGHT, WIDTH, read_calibration, read_depth, read_pose
from headposekit.errors import InputError
from headposekit.geometry.conventions import EulerOrder, calibrate_biwi_matrix, pose_from_biwi_matrix
from headposekit.geometry.crops import CropRule, check_box

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
        box_rule: which of a frame's faces counts and which frames are dropped, see `headposekit.datasets.biwi_boxes`.
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
        folders = sorted({path.parent for path in self.files})
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
