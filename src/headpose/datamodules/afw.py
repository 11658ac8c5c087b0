"""AFW, a test set of Hopenet."""

from typing import ClassVar

from headpose.datamodules.base import FolderDataModule
from headpose.datasets.afw import AFW


class AFWDataModule(FolderDataModule):
    """Loaders of AFW; Hopenet's crop rule has factors of its own for it."""

    dataset_name: ClassVar[str] = "afw"
    reader = AFW
