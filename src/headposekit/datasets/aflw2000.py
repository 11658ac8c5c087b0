"""AFLW2000-3D (Zhu et al., CVPR 2016): the first 2000 AFLW images with 3D-fitted poses, 450×450."""

from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from headposekit.data.datamodule import FolderDataModule
from headposekit.data.dataset import Annotation, BadFiles, FolderDataset, find_file, list_pairs, read_mat
from headposekit.errors import InputError
from headposekit.geometry.conventions import pose_from_pose_para
from headposekit.geometry.crops import AFLW2000Box, aflw2000_box
from headposekit.landmarks.labels import read_labels


class AFLW2000(FolderDataset):
    """AFLW2000 as published: `<root>/imageNNNNN.{jpg,mat}`, 2000 pairs, 1,969 of them within ±99 degrees.

    Each .mat has `Pose_Para` (1, 7), `pt3d_68` (3, 68) and `pt2d` (2, 21) whose invisible points have x = -1.

    Args:
        box: which points make the tight box, see `headposekit.geometry.crops.aflw2000_box`.
        labels: a file of `read_labels` whose poses count in place of the official ones; faces that it does not name are left
            out.
    """

    title, layout, label_suffix = "AFLW2000", "imageNNNNN.jpg with imageNNNNN.mat", ".mat"
    files: ClassVar[tuple[str, ...]] = ("labels",)
    neutral: ClassVar[dict[str, Any]] = {"labels": None}
    of_crop: ClassVar[dict[str, str]] = {"box": "aflw2000_box"}

    def __init__(
        self,
        root: Path,
        max_angle: float | None = 99.0,
        bad_files: BadFiles = "raise",
        box: AFLW2000Box = "visible21",
        labels: str | Path | None = None,
    ) -> None:
        self.box_rule, self.labels = box, labels
        super().__init__(root, max_angle, bad_files)

    @classmethod
    def rules(cls, options: dict[str, Any], has_boxes: bool) -> dict[str, Any]:
        """The box, and whose labels where they are others."""
        labels = options["labels"]
        return {"box": options["box"], **({} if labels is None else {"labels": Path(labels).name})}

    def list_images(self) -> list[Path]:
        """The pictures of the folder, or those of them that have another label."""
        listed = list_pairs(self.root, "image")
        if self.labels is None:
            return listed
        self.common_files, self._labels = [Path(self.labels)], read_labels(Path(self.labels))
        kept = [path for path in listed if self.name_of(path) in self._labels]
        if listed and not kept:
            raise InputError(f"{self.labels}: names no face of {self.root}; names are those of the files, such as image00002")
        self.num_filtered += len(listed) - len(kept)
        return kept

    def read_annotation(self, path: Path) -> Annotation:
        """Pose, box and points from the .mat beside the picture."""
        mat = find_file(path.with_suffix(".mat"))
        arrays = read_mat(mat, {"Pose_Para": (1, 7), "pt2d": (2, 21), "pt3d_68": (3, 68)})
        landmarks = arrays["pt3d_68"][:2].T
        box = aflw2000_box(arrays["pt2d"].T, landmarks, self.box_rule)
        if np.isnan(box).any():
            raise InputError(f"{mat}: no visible point in pt2d; remove the pair, or set crop.aflw2000_box=pt3d_68")
        pose = pose_from_pose_para(arrays["Pose_Para"][0]) if self.labels is None else self._labels[self.name_of(path)]
        return Annotation(pose, box, landmarks)


class AFLW2000DataModule(FolderDataModule):
    """Loaders of AFLW2000; `box: null` leaves the box to the crop rule."""

    dataset_name: ClassVar[str] = "aflw2000"
    reader = AFLW2000
