"""300W-LP, the training set of both papers."""

from typing import ClassVar

from headpose.datamodules.base import FolderDataModule
from headpose.datasets.w300lp import W300LP


class W300LPDataModule(FolderDataModule):
    """Loaders of 300W-LP; whether points outside the picture count in the box is the crop rule's to say."""

    dataset_name: ClassVar[str] = "300w_lp"

    def read_dataset(self) -> W300LP:
        """Index the eight folders."""
        return W300LP(self.root, self.max_angle, self.bad_files, self.crop.drop_negative_points)
