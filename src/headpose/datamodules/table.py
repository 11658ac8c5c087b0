"""A user's own pictures, named in a CSV file, to train on and to test with."""

from typing import ClassVar

from headpose.datamodules.base import FolderDataModule
from headpose.datasets.table import CSVTable


class CSVDataModule(FolderDataModule):
    """Loaders of a CSV file's faces; `root` is the file."""

    dataset_name: ClassVar[str] = "csv"
    reader = CSVTable
