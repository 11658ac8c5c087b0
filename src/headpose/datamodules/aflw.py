"""AFLW: training and test set of Hopenet's fourth table."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from headpose.datamodules.base import Feed, FolderDataModule
from headpose.datasets.aflw import AFLW, Part
from headpose.datasets.augmentation import Augmentation
from headpose.datasets.packing import Pack
from headpose.datasets.perturbation import Perturbation
from headpose.geometry.crops import CropRule


class AFLWDataModule(FolderDataModule):
    """Loaders of AFLW, its database or ready crops; the crop rule adds nothing to the latter.

    Of the database's rectangles the rules know no form of their own: they grow them as the landmarks' boxes of 300W-LP.

    Args:
        root, crop, ...: see `FolderDataModule`.
        part, faces, part_seed: which faces, see `AFLW`.
    """

    dataset_name: ClassVar[str] = "aflw"
    reader = AFLW

    def __init__(
        self,
        root: str | Path,
        crop: CropRule,
        augmentation: Augmentation | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        split: Literal["photo", "random"] = "photo",
        val_fraction: float = 0.0,
        split_seed: int = 0,
        seed: int = 0,
        num_train: int | None = None,
        num_val: int | None = None,
        num_test: int | None = None,
        max_angle: float | None = 99.0,
        bad_files: Literal["raise", "skip"] = "raise",
        part: Part = "all",
        faces: str | Path | None = None,
        part_seed: int = 0,
        perturb: Perturbation | None = None,
        pack: Pack | None = None,
        feed: Feed = "auto",
    ) -> None:
        super().__init__(
            root=root,
            crop=crop,
            augmentation=augmentation,
            batch_size=batch_size,
            num_workers=num_workers,
            split=split,
            val_fraction=val_fraction,
            split_seed=split_seed,
            seed=seed,
            num_train=num_train,
            num_val=num_val,
            num_test=num_test,
            max_angle=max_angle,
            bad_files=bad_files,
            perturb=perturb,
            pack=pack,
            feed=feed,
        )
        self.part: Part = part
        self.face_list, self.part_seed = faces, part_seed

    def reader_options(self) -> dict[str, Any]:
        """Which faces."""
        return {"part": self.part, "faces": self.face_list, "part_seed": self.part_seed}

    @property
    def rules(self) -> dict[str, Any]:
        """Those of every folder, the box and which faces."""
        drawn = {"part": self.part} if self.part == "all" else {"part": self.part, "part_seed": self.part_seed}
        faces = drawn if self.face_list is None else {"faces": Path(self.face_list).name}
        return {**super().rules, "box": "annotated" if self.dataset.has_boxes else "ready_crops", **faces}
