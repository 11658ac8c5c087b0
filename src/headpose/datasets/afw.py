"""AFW (Zhu and Ramanan, CVPR 2012): 205 photographs with 468 faces, their yaw annotated in steps of 15 degrees."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from headpose.datasets.base import Annotation, FolderDataset, read_label_line
from headpose.errors import InputError
from headpose.geometry.conventions import pose_from_afw

COLUMNS = ("yaw", "pitch", "roll", "x1", "y1", "x2", "y2")
FULL_TURN = 360.0


class AFW(FolderDataset):
    """AFW as Hopenet reads it: `<root>/<picture>_<i>.txt` for each face, and `<root>/<picture>.jpg`.

    A label is one line, `<ignored> yaw pitch roll x1 y1 x2 y2 ...`, in degrees and pixels. The picture's name ends at the
    first underscore. Yaw changes sign, which Hopenet's own loader forgets.

    Args:
        root: folder of labels and pictures.
        max_angle, bad_files: see `FolderDataset`.
    """

    title = "AFW"
    layout: ClassVar[str] = "PICTURE_N.txt with PICTURE.jpg"
    label_suffix: ClassVar[str] = ".txt"

    def list_images(self) -> list[Path]:
        """The faces' labels."""
        return sorted(self.root.glob("*_*.txt"))

    def picture_of(self, path: Path) -> Path:
        """The photograph of a label."""
        return self.root / f"{self.photo_of(path.name)}.jpg"

    def read_annotation(self, path: Path) -> Annotation:
        """The line's numbers."""
        yaw, pitch, roll, *box = read_label_line(path, COLUMNS)
        if max(abs(yaw), abs(pitch), abs(roll)) > FULL_TURN:
            raise InputError(f"{path}: {yaw:g}, {pitch:g}, {roll:g} hold more than a full turn in degrees; restore the file")
        x1, y1, x2, y2 = box
        if x1 >= x2 or y1 >= y2:
            raise InputError(f"{path}: the box has no area; x1 < x2 and y1 < y2 in pixels are needed")
        return Annotation(pose_from_afw(yaw, pitch, roll), np.array(box, np.float32), np.full((68, 2), np.nan))

    def photo_of(self, name: str) -> str:
        """The photograph: what stands before the first underscore."""
        return name.partition("_")[0]
