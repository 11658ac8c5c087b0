"""AFLW2000, the test set of both papers; it can also be trained on, to see whether a network can overfit real faces."""

from typing import ClassVar

from headpose.datamodules.base import HeadPoseDataModule
from headpose.datasets.aflw2000 import AFLW2000


class AFLW2000DataModule(HeadPoseDataModule):
    """Loaders of AFLW2000; which points make the box is the crop rule's to say (`crop.aflw2000_box`)."""

    dataset_name: ClassVar[str] = "aflw2000"

    def read_dataset(self) -> AFLW2000:
        """Index the folder."""
        return AFLW2000(self.root, self.max_angle, self.bad_files, self.crop.aflw2000_box)
