"""Synthetic heads: training without any download, and people nobody has trained on to test with."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from headpose.datamodules.base import Feed, HeadPoseDataModule
from headpose.datasets.augmentation import Augmentation
from headpose.datasets.perturbation import Perturbation
from headpose.datasets.synthetic import RENDER_SCALE, SyntheticHeads
from headpose.geometry.crops import CropRule
from headpose.synthesis.sampler import HeadSampler


class SyntheticDataModule(HeadPoseDataModule):
    """Loaders of synthetic heads; validation holds out people, a test set (`side=test`) has people of its own.

    Args:
        root: folder of packs, see `SyntheticHeads`.
        crop, augmentation, ...: see `HeadPoseDataModule`.
        num_heads: how many are rendered, training and validation together.
        heads: the sampler, with all its options.
        side: `train` or `test`.
        max_angle: see `SyntheticHeads`.
    """

    dataset_name: ClassVar[str] = "synthetic"

    def __init__(
        self,
        root: str | Path,
        crop: CropRule,
        heads: HeadSampler,
        num_heads: int,
        side: Literal["train", "test"] = "train",
        max_angle: float | None = None,
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
        perturb: Perturbation | None = None,
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
            perturb=perturb,
            feed=feed,
        )
        self.heads, self.num_heads, self.side, self.max_angle = heads, num_heads, side, max_angle

    def read_dataset(self) -> SyntheticHeads:
        """Render what is missing, open the rest."""
        size = round(RENDER_SCALE * self.crop.size)
        return SyntheticHeads(self.root, self.heads, self.num_heads, size, self.side, self.max_angle)

    @property
    def rules(self) -> dict[str, Any]:
        """Those of every data set, whose heads, and filter."""
        people = "unseen" if self.side == "test" else "of training"
        return {**super().rules, "people": people, **({} if self.max_angle is None else {"max_angle": self.max_angle})}
