"""CMU Panoptic and AGORA as prepared for head pose: pictures with several heads each, labels in one COCO-style JSON file.

The files are those that DirectMHP's scripts make of CMU Panoptic's calibrated faces and of AGORA's SMPL-X ground truth, by
WHENet's recipe. Read after these scripts, not tried on the real sets. AGORA's own ground truth is pickled, and not read.

References: hnuzhy/DirectMHP, exps/CMU and exps/AGORA; Zhou and Gregson, WHENet, BMVC 2020; Joo et al., ICCV 2015; Patel et al.,
AGORA, CVPR 2021.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, FolderDataset, check_box_in_file, check_number
from headposekit.errors import InputError
from headposekit.geometry.rotations import upright_pose
from headposekit.safe_files import read_json

MAX_ANNOTATIONS = 2**29
"""Bytes of an annotation file; those of the published sets hold the faces' points as well."""


@dataclass(eq=False)
class CocoHeads(FolderDataset):
    """`<root>/<annotations>` with `images` (id, file_name) and `annotations` (id, image_id, bbox, euler_angles).

    A box is x, y, width and height of the whole head. Angles are pitch, yaw and roll in degrees, by WHENet's formulas: those of
    our own matrix with our signs, relative to the camera's axes. There are no landmarks.

    Args:
        annotations: the JSON file, below the root.
        images: folder of the pictures, below the root.

    Raises:
        InputError: see `FolderDataset`; an annotation file of another form.
    """

    title, layout, full_range = "heads with COCO-style labels", "annotations/NAME.json and images/", True

    max_angle: float | None = None
    annotations: str = "annotations/coco_style_sampled_train_v2.json"
    images: str = "images/train"

    def list_images(self) -> list[Path]:
        """A path for each head: its picture's, without suffix, and the number of its annotation."""
        table = self.root / self.annotations
        self.common_files = [table]
        self._heads: dict[Path, dict[str, Any]] = {}
        content = read_json(table, MAX_ANNOTATIONS)
        pictures, heads = (_entries(content, key, table) for key in ("images", "annotations"))
        self._pictures: dict[str, dict[str, Any]] = {str(picture.get("id")): picture for picture in pictures}
        for head in heads:
            picture = self._pictures.get(str(head.get("image_id")))
            name = None if picture is None else picture.get("file_name")
            if not isinstance(name, str) or not name or Path(name).name != name:
                raise InputError(f"{table}: annotation {head.get('id')} names no picture of images; restore the file")
            self._heads[self.root / self.images / f"{Path(name).stem}_{head.get('id')}"] = head
        return sorted(self._heads)

    def picture_of(self, path: Path) -> Path:
        """The picture that shows the head."""
        return self.root / self.images / str(self._pictures[str(self._heads[path]["image_id"])]["file_name"])

    def read_annotation(self, path: Path) -> Annotation:
        """Angles and box of one head."""
        head, where = self._heads[path], f"{self.root / self.annotations}: annotation {path.name}"
        pitch, yaw, roll = _numbers(head, "euler_angles", 3, where)
        x, y, width, height = _numbers(head, "bbox", 4, where)
        box = np.array([x, y, x + width, y + height], dtype=np.float32)
        size = check_box_in_file(where, box, self.picture_of(path))
        pose = upright_pose(torch.tensor([yaw, pitch, roll], dtype=torch.float64)).numpy()
        return Annotation(pose, box, picture_size=size)

    def name_of(self, path: Path) -> str:
        """The picture's name and the annotation's number."""
        return path.name

    def photo_of(self, name: str) -> str:
        """The sequence, where the file says it, or else the picture."""
        head = self._heads[self.root / self.images / name]
        picture = self._pictures[str(head["image_id"])]
        return str(picture.get("seq") or picture.get("seq_key") or picture["file_name"])


class Panoptic(CocoHeads):
    """CMU Panoptic: several people in a dome of cameras, seen from every side."""

    title = "CMU Panoptic"


class AGORA(CocoHeads):
    """AGORA: scanned people in rendered scenes; pictures are 1280×720."""

    title = "AGORA"


class PanopticDataModule(FolderDataModule):
    """Loaders of CMU Panoptic."""

    dataset_name: ClassVar[str] = "panoptic"
    reader = Panoptic


class AGORADataModule(FolderDataModule):
    """Loaders of AGORA."""

    dataset_name: ClassVar[str] = "agora"
    reader = AGORA


def _entries(content: Any, key: str, path: Path) -> list[dict[str, Any]]:
    entries = content.get(key) if isinstance(content, dict) else None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError(f"{path}: no list of {key} in it; expected COCO-style JSON with images and annotations")
    return entries


def _numbers(entry: dict[str, Any], key: str, n: int, where: str) -> list[float]:
    values = entry.get(key)
    if not isinstance(values, list) or len(values) != n:
        raise InputError(f"{where}: {key} is no list of {n} numbers; correct or remove the annotation")
    return [check_number(where, key, value) for value in values]
