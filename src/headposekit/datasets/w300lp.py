"""300W-LP (Zhu et al., CVPR 2016): 61,225 synthesised faces of 3,837 faces in 3,456 photographs, and their mirrors, 450×450."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, FolderDataset, find_file, list_pairs, read_mat
from headposekit.datasets.points68 import photo_of_face
from headposekit.errors import InputError
from headposekit.geometry.conventions import pose_from_pose_para
from headposekit.geometry.crops import drop_negative_points, landmarks_box

SUBSETS = tuple(f"{subset}{flip}" for subset in ("AFW", "HELEN", "IBUG", "LFPW") for flip in ("", "_Flip"))


@dataclass(eq=False)
class W300LP(FolderDataset):
    """300W-LP as published: `<root>/<SUBSET>/<SUBSET>_<photo>_<k>.{jpg,mat}`.

    `SUBSET` is AFW, HELEN, IBUG, LFPW or one of these with `_Flip`; k numbers the poses made of one face. Names may hold
    spaces. Each .mat has `Pose_Para` (1, 7) and `pt2d` (2, 68). 122,450 files; 122,415 within ±99 degrees.

    Args:
        drop_negative_points: leave points outside the picture's left (or upper) edge out of the box, as FSA-Net does;
            Hopenet takes all 68.
    """

    title, layout, label_suffix = "300W-LP", "AFW/AFW_*_0.jpg and seven more folders", ".mat"
    of_crop: ClassVar[dict[str, str]] = {"drop_negative_points": "drop_negative_points"}

    drop_negative_points: bool = True

    def list_images(self) -> list[Path]:
        """The pictures of the eight folders (those that exist)."""
        return [path for subset in SUBSETS for path in list_pairs(self.root / subset)]

    def read_annotation(self, path: Path) -> Annotation:
        """Pose and points from the .mat beside the picture."""
        mat = find_file(path.with_suffix(".mat"))
        arrays = read_mat(mat, {"Pose_Para": (1, 7), "pt2d": (2, 68)})
        points = arrays["pt2d"].T
        kept = drop_negative_points(points) if self.drop_negative_points else points
        if not len(kept):
            raise InputError(f"{mat}: no point of pt2d lies in the picture; remove the pair")
        return Annotation(pose_from_pose_para(arrays["Pose_Para"][0]), landmarks_box(kept), points)

    def photo_of(self, name: str) -> str:
        """`AFW/AFW_134212` of `AFW_Flip/AFW_134212_1_3`: all its faces, their mirrors and synthesised poses belong together."""
        folder, stem = name.split("/")
        return f"{folder.removesuffix('_Flip')}/{photo_of_face(re.sub(r'_[0-9]+$', '', stem))}"


class W300LPDataModule(FolderDataModule):
    """Loaders of 300W-LP; whether points outside the picture count in the box is the crop rule's to say."""

    dataset_name: ClassVar[str] = "300w_lp"
    reader = W300LP
