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
    def protocol(self) -> str:
        """Title, filter, boxes, sequences, whose poses and which frames."""
        part = "" if self.part == "all" else f", {self.part} sequences by {self.part_by} (seed {self.part_seed})"
        boxes = f"{self.box_rule}{'' if self.boxes is None else f' of {Path(self.boxes).name}'}"
        frames = "" if self.frames is None else f", frames of {Path(self.frames).name}"
        angles = "" if self.euler_order == "ypr" else f", errors in {self.euler_order} angles"
        return f"{super().protocol}, boxes {boxes}{frames}{part}, {'' if self.calibrated else 'un'}calibrated{angles}"
