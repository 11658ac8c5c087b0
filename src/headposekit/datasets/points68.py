"""Photographs with 68 landmarks (300-W, HELEN, LFPW, AFW, IBUG): poses are our own labels, made from the points."""

import os
import re
from pathlib import Path
from typing import Any, ClassVar, get_args

import numpy as np

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, BadFiles, FolderDataset, check_box_in_file
from headposekit.errors import InputError
from headposekit.geometry.crops import landmarks_box
from headposekit.landmarks.labels import LabelRule, label_poses
from headposekit.landmarks.points import read_pts

PICTURES = (".jpg", ".png", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
FACE_NUMBER = re.compile(r"(?<=\d)_\d{1,2}$")
"""Of several faces of one photograph, as in AFW's `1051618982_2`; LFPW's `image_0001` has none."""


def photo_of_face(stem: str) -> str:
    """The photograph that a face of 300-W (or of 300W-LP, without its number) is part of; its mirror image is the same one.

    >>> photo_of_face("1051618982_2"), photo_of_face("image_0001"), photo_of_face("image_003_1_mirror")
    ('1051618982', 'image_0001', 'image_003')
    """
    return FACE_NUMBER.sub("", stem.removesuffix("_mirror"))


class Points68(FolderDataset):
    """A folder, at any depth, of `NAME.pts` with 68 points each and the picture `NAME.jpg` (or .png and so on) beside it.

    Points are iBUG's 68, as people or a detector placed them; files with and without a header are read. The tight box is that
    of the points, as for 300W-LP. The pose is our own label, see `headposekit.landmarks.labels`.

    Args:
        root, max_angle, bad_files: see `FolderDataset`.
        label_rule: how points become a pose.
        first_pixel: the coordinate of the first pixel's centre in the files: 1 as in 300-W, or 0.

    Raises:
        InputError: see `FolderDataset`; another number of points, a box outside the picture, or points that no pose explains.
    """

    title = "68 points"
    layout: ClassVar[str] = "NAME.pts with NAME.jpg, at any depth"
    label_suffix: ClassVar[str] = ".pts"

    def __init__(
        self,
        root: str | Path,
        max_angle: float | None = 99.0,
        bad_files: BadFiles = "raise",
        label_rule: LabelRule = "modes_inner",
        first_pixel: int = 1,
    ) -> None:
        if label_rule not in get_args(LabelRule):
            raise InputError(f"label_rule={label_rule} is unknown; choose {', '.join(get_args(LabelRule))}")
        if first_pixel not in (0, 1):
            raise InputError(f"first_pixel={first_pixel} is no way to count pixels; give 1 (as in 300-W) or 0")
        self.label_rule, self.first_pixel = label_rule, first_pixel
        super().__init__(root, max_angle, bad_files)

    @classmethod
    def rules(cls, options: dict[str, Any], has_boxes: bool) -> dict[str, Any]:
        """Whose labels these are, and how they were made."""
        return {"box": "68 points", "labels": f"our own, {options['label_rule']}"}

    def list_images(self) -> list[Path]:
        """The .pts files."""
        folders = (Path(folder, name) for folder, _, names in os.walk(self.root) for name in names)
        return sorted(path for path in folders if path.suffix.lower() == ".pts")

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
        points = read_pts(path) + (1 - self.first_pixel)
        if not np.isfinite(points).all():
            raise InputError(f"{path}: a point is NaN or infinite; restore or remove it")
        box = landmarks_box(points)
        size = check_box_in_file(str(path), box, self.picture_of(path))
        pose = label_poses(points[None], self.label_rule).pose[0]
        if not np.isfinite(pose).all():
            raise InputError(f"{path}: no pose of a face explains the 68 points; correct or remove the file")
        return Annotation(pose, box, points, size)

    def photo_of(self, name: str) -> str:
        """The photograph, of which several faces may have been cut."""
        return photo_of_face(name)


class Points68DataModule(FolderDataModule):
    """Loaders of photographs with 68 points."""

    dataset_name: ClassVar[str] = "points68"
    reader = Points68
