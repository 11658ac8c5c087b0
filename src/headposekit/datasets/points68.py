"""Photographs with 68 landmarks (300-W, HELEN, LFPW, AFW, IBUG): poses are our own labels, made from the points."""

import contextlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, FolderDataset, check_box_in_file
from headposekit.errors import InputError
from headposekit.geometry.crops import landmarks_box
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.landmarks.labels import LabelRule, label_poses
from headposekit.landmarks.points import read_pts

PICTURES = (".jpg", ".png", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
LEVEL = 6.6
"""Degrees between "level" in 300-W's points, as people place them, and in 300W-LP's and AFLW2000's labels.

Three published networks of FSA-Net see 2,012 photographs of 300-W 7.2 to 7.4 degrees lower than `modes_inner` labels them, and
51 faces of AFLW2000 0.1 to 0.9 lower than their labels (mean rotations, `offset_pitch` of results.json).
"""
FACE_NUMBER = re.compile(r"(?<=\d) ?_\d{1,2}$")
"""Of several faces of one photograph, as in AFW's `1051618982_2`; LFPW's `image_0001` has none."""


def photo_of_face(stem: str) -> str:
    """The photograph that a face of 300-W (or of 300W-LP, without its number) is part of; its mirror image is the same one.

    >>> photo_of_face("1051618982_2"), photo_of_face("image_0001"), photo_of_face("image_003_1_mirror")
    ('1051618982', 'image_0001', 'image_003')
    """
    return FACE_NUMBER.sub("", stem.removesuffix("_mirror"))


@dataclass(eq=False)
class Points68(FolderDataset):
    """A folder, at any depth, of `NAME.pts` with 68 points each and the picture `NAME.jpg` (or .png and so on) beside it.

    Points are iBUG's 68, as people or a detector placed them; files with and without a header are read. The tight box is that
    of the points, as for 300W-LP. The pose is our own label, see `headposekit.landmarks.labels`.

    Args:
        label_rule: how points become a pose.
        level: pitch in degrees that is taken off in the head's own frame, so that level means what it does in 300W-LP.
        first_pixel: the coordinate of the first pixel's centre in the files: 1 as in 300-W, or 0.

    Raises:
        InputError: see `FolderDataset`; another number of points, a box outside the picture, or points that no pose explains.
    """

    title, layout = "68 points", "NAME.pts with NAME.jpg, at any depth"

    label_rule: LabelRule = "modes_inner"
    level: float = LEVEL
    first_pixel: int = 1

    def __post_init__(self) -> None:
        if self.label_rule not in get_args(LabelRule):
            raise InputError(f"label_rule={self.label_rule} is unknown; choose {', '.join(get_args(LabelRule))}")
        if self.first_pixel not in (0, 1):
            raise InputError(f"first_pixel={self.first_pixel} is no way to count pixels; give 1 (as in 300-W) or 0")
        self._poses: dict[Path, NDArray[np.float64]] = {}
        self._turn = pose_to_matrix(torch.tensor([0.0, -self.level, 0.0], dtype=torch.float64))
        super().__post_init__()

    @classmethod
    def rules(cls, options: dict[str, Any], has_boxes: bool) -> dict[str, Any]:
        """Whose labels these are, and how they were made."""
        return {"box": "68 points", "labels": f"our own, {options['label_rule']}", "level": options["level"]}

    def list_images(self) -> list[Path]:
        """The .pts files."""
        folders = (Path(folder, name) for folder, _, names in os.walk(self.root) for name in names)
        return sorted(path for path in folders if path.suffix.lower() == ".pts")

    def _read_all(self) -> None:
        """All poses at once, which is five times as fast as one by one."""
        points = {}
        for path in self.listed:
            with contextlib.suppress(InputError):  # said when its turn comes
                points[path] = self._points(path)
        if points:
            poses = label_poses(np.stack(list(points.values())), self.label_rule).pose
            self._poses = dict(zip(points, poses, strict=True))
        super()._read_all()

    def _points(self, path: Path) -> NDArray[np.float64]:
        """Those of a file, counted from 1."""
        points = read_pts(path) + (1 - self.first_pixel)
        if not np.isfinite(points).all():
            raise InputError(f"{path}: a point is NaN or infinite; restore or remove it")
        return points

    def picture_of(self, path: Path) -> Path:
        """The picture beside the points."""
        for suffix in (suffix for known in PICTURES for suffix in (known, known.upper())):
            if os.path.isfile(picture := path.with_suffix(suffix)):
                return picture
        return path.with_suffix(PICTURES[0])

    def label_files(self, path: Path) -> list[Path]:
        """The points."""
        return [path]

    def read_annotation(self, path: Path) -> Annotation:
        """Box and pose of the points."""
        points = self._points(path)
        box = landmarks_box(points)
        size = check_box_in_file(str(path), box, self.picture_of(path))
        pose = self._poses[path] if path in self._poses else label_poses(points[None], self.label_rule).pose[0]
        if not np.isfinite(pose).all():
            raise InputError(f"{path}: no pose of a face explains the 68 points; correct or remove the file")
        pose = matrix_to_pose(pose_to_matrix(torch.from_numpy(pose)) @ self._turn).numpy()
        return Annotation(pose, box, points, size)

    def photo_of(self, name: str) -> str:
        """The photograph, of which several faces may have been cut."""
        return photo_of_face(name)


class Points68DataModule(FolderDataModule):
    """Loaders of photographs with 68 points."""

    dataset_name: ClassVar[str] = "points68"
    reader = Points68
