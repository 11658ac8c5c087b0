"""AFLW2000, the test set of both papers; it can also be trained on, to see whether a network can overfit real faces."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from headpose.datamodules.base import Feed, FolderDataModule
from headpose.datasets.aflw2000 import AFLW2000
from headpose.datasets.augmentation import Augmentation
from headpose.datasets.packing import Pack
from headpose.datasets.perturbation import Perturbation
from headpose.geometry.crops import AFLW2000Box, CropRule


class AFLW2000DataModule(FolderDataModule):
    """Loaders of AFLW2000.

    Args:
        root, crop, ...: see `FolderDataModule`.
        box: which points make the box, see `headpose.geometry.crops.aflw2000_box`; null leaves it to the crop rule.
    """

    dataset_name: ClassVar[str] = "aflw2000"
    reader = AFLW2000

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
        box: AFLW2000Box | None = None,
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
        self.box: AFLW2000Box = box or crop.aflw2000_box

    def reader_options(self) -> dict[str, Any]:
        """Which box."""
        return {"box": self.box}

    @property
    def rules(self) -> dict[str, Any]:
        """Those of every folder, and the box."""
        return {**super().rules, "box": self.box}
