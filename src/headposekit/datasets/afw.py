"""AFW (Zhu and Ramanan, CVPR 2012): 205 photographs with 468 faces, their yaw annotated in steps of 15 degrees."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, FolderDataset, check_box_in_file, find_file, read_label_line
from headposekit.errors import InputError
from headposekit.geometry.conventions import pose_from_afw

COLUMNS = ("yaw", "pitch", "roll", "x1", "y1", "x2", "y2")
FULL_TURN = 360.0


class AFW(FolderDataset):
    """AFW as Hopenet reads it: `<root>/<picture>_<i>.txt` for each face, and `<root>/<picture>.jpg`.

    A label is one line, `<ignored> yaw pitch roll x1 y1 x2 y2 ...`, in degrees and pixels. The picture's name ends at the
    first underscore. Yaw changes sign, which Hopenet's own loader forgets.
    """

    title, layout, label_suffix = "AFW", "PICTURE_N.txt with PICTURE.jpg", ".txt"

    def list_images(self) -> list[Path]:
        """The faces' labels."""
        files = self.root.glob("*_*.*")
        return sorted(path for path in files if path.suffix.lower() == ".txt" and not path.name.startswith("._"))

    def picture_of(self, path: Path) -> Path:
        """The photograph of a label."""
        return find_file(self.root / f"{self.photo_of(path.name)}.jpg")

    def read_annotation(self, path: Path) -> Annotation:
        """The line's numbers."""
        yaw, pitch, roll, *box = read_label_line(path, COLUMNS)
        if max(abs(yaw), abs(pitch), abs(roll)) > FULL_TURN:
            raise InputError(f"{path}: {yaw:g}, {pitch:g}, {roll:g} hold more than a full turn in degrees; restore the file")
        size = check_box_in_file(str(path), np.array(box), self.picture_of(path))
        return Annotation(pose_from_afw(yaw, pitch, roll), np.array(box, np.float32), picture_size=size)

    def photo_of(self, name: str) -> str:
        """The photograph: what stands before the first underscore."""
        return name.partition("_")[0]


class AFWDataModule(FolderDataModule):
    """Loaders of AFW; Hopenet's crop rule has factors of its own for it."""

    dataset_name: ClassVar[str] = "afw"
    reader = AFW
