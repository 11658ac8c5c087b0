"""BIWI: test set of protocol 1, training and test set of protocol 2."""

from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

from headpose.datamodules.base import Feed, FolderDataModule
from headpose.datasets.augmentation import Augmentation
from headpose.datasets.biwi import BIWI, biwi_sequences
from headpose.datasets.biwi_boxes import BoxRule
from headpose.datasets.packing import Pack
from headpose.datasets.perturbation import Perturbation
from headpose.errors import InputError
from headpose.geometry.conventions import EulerOrder
from headpose.geometry.crops import CropRule


class BIWIDataModule(FolderDataModule):
    """Loaders of BIWI; faces are cropped by the crop rule's form for detectors' boxes.

    Args:
        root, crop, ...: see `FolderDataModule`; `split: photo` keeps people apart.
        boxes, box_rule, calibrated, frames: see `BIWI`.
        euler_order: in which angles a test measures; poses are ours all the same.
        part, part_by, part_seed: sequences of protocol 2, see `biwi_sequences`.
    """

    dataset_name: ClassVar[str] = "biwi"
    reader = BIWI

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
        boxes: str | Path | None = None,
        box_rule: BoxRule = "fsanet_protocol1",
        part: Literal["all", "train", "test"] = "all",
        part_by: Literal["sequence", "person"] = "sequence",
        part_seed: int = 0,
        calibrated: bool = False,
        frames: str | Path | None = None,
        perturb: Perturbation | None = None,
        pack: Pack | None = None,
        euler_order: EulerOrder = "ypr",
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
        if euler_order not in get_args(EulerOrder):
            raise InputError(f"euler_order={euler_order} is unknown; choose {' or '.join(get_args(EulerOrder))}")
        self.euler_order = euler_order
        if box_rule == "listed_crops":
            self.crop = crop.for_dataset("crops")
        self.boxes, self.box_rule, self.calibrated, self.frames = boxes, box_rule, calibrated, frames
        self.part, self.part_by, self.part_seed = part, part_by, part_seed

    def reader_options(self) -> dict[str, Any]:
        """Which boxes, sequences, poses and frames."""
        return {
            "boxes": self.boxes,
            "box_rule": self.box_rule,
            "sequences": biwi_sequences(self.part, self.part_by, self.part_seed),
            "calibrated": self.calibrated,
            "frames": self.frames,
        }

    @property
    def rules(self) -> dict[str, Any]:
        """Those of every folder, boxes, frames, sequences, whose poses, and in which angles errors are measured."""
        files = {key: Path(file).name for key, file in (("box_file", self.boxes), ("frames", self.frames)) if file is not None}
        drawn = {} if self.part == "all" else {"part_by": self.part_by, "part_seed": self.part_seed}
        parts = {"part": self.part, **drawn, "calibrated": self.calibrated, "euler_order": self.euler_order}
        return {**super().rules, "box": self.box_rule, **files, **parts}
