"""AFW, a test set of Hopenet."""

from typing import ClassVar

from headpose.datamodules.base import FolderDataModule
from headpose.datasets.afw import AFW


class AFWDataModule(FolderDataModule):
    """Loaders of AFW; Hopenet's crop rule has factors of its own for it."""

    dataset_name: ClassVar[str] = "afw"

    def read_dataset(self) -> AFW:
        """Index the folder."""
        return AFW(self.root, self.max_angle, self.bad_files)
