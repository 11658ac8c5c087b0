"""AFLW2000-3D (Zhu et al., CVPR 2016): the first 2000 AFLW images with 3D-fitted poses, 450×450."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, BadFiles, FolderDataset, find_file, list_pairs, read_mat
from headposekit.errors import InputError
from headposekit.geometry.conventions import pose_from_pose_para
from headposekit.geometry.crops import AFLW2000Box, aflw2000_box


class AFLW2000(FolderDataset):
    """AFLW2000 as published: `<root>/imageNNNNN.{jpg,mat}`, 2000 pairs, 1,969 of them within ±99 degrees.

    Each .mat has `Pose_Para` (1, 7), `pt3d_68` (3, 68) and `pt2d` (2, 21) whose invisible points have x = -1.

    Args:
        box: which points make the tight box, see `headposekit.geometry.crops.aflw2000_box`.
    """

    title, layout, label_suffix = "AFLW2000", "imageNNNNN.jpg with imageNNNNN.mat", ".mat"
    of_crop: ClassVar[dict[str, str]] = {"box": "aflw2000_box"}

    def __init__(
        self, root: Path, max_angle: float | None = 99.0, bad_files: BadFiles = "raise", box: AFLW2000Box = "visible21"
    ) -> None:
        self.box_rule = box
        super().__init__(root, max_angle, bad_files)

    @classmethod
    def rules(cls, options: dict[str, Any], has_boxes: bool) -> dict[str, Any]:
        """The box."""
        return {"box": options["box"]}

    def list_images(self) -> list[Path]:
        """The pictures of the folder."""
        return list_pairs(self.root, "image")

    def read_annotation(self, path: Path) -> Annotation:
        """Pose, box and points from the .mat beside the picture."""
        mat = find_file(path.with_suffix(".mat"))
        arrays = read_mat(mat, {"Pose_Para": (1, 7), "pt2d": (2, 21), "pt3d_68": (3, 68)})
        landmarks = arrays["pt3d_68"][:2].T
        box = aflw2000_box(arrays["pt2d"].T, landmarks, self.box_rule)
        if np.isnan(box).any():
            raise InputError(f"{mat}: no visible point in pt2d; remove the pair, or set crop.aflw2000_box=pt3d_68")
        return Annotation(pose_from_pose_para(arrays["Pose_Para"][0]), box, landmarks)


class AFLW2000DataModule(FolderDataModule):
    """Loaders of AFLW2000; `box: null` leaves the box to the crop rule."""

    dataset_name: ClassVar[str] = "aflw2000"
    reader = AFLW2000
