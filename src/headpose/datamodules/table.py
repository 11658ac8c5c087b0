"""A user's own pictures, named in a CSV file, to train on and to test with."""

from typing import ClassVar

from headpose.datamodules.base import FolderDataModule
from headpose.datasets.table import CSVTable


class CSVDataModule(FolderDataModule):
    """Loaders of a CSV file's faces; `root` is the file."""

    dataset_name: ClassVar[str] = "csv"

    def read_dataset(self) -> CSVTable:
        """Read the file; pictures without boxes are crops already."""
        dataset = CSVTable(self.root, self.max_angle, self.bad_files)
        if not dataset.has_boxes:
            self.crop = self.crop.for_dataset("crops")
        return dataset
