"""300W-LP, the training set of both papers."""

from typing import Any, ClassVar

from headpose.datamodules.base import FolderDataModule
from headpose.datasets.w300lp import W300LP


class W300LPDataModule(FolderDataModule):
    """Loaders of 300W-LP; whether points outside the picture count in the box is the crop rule's to say."""

    dataset_name: ClassVar[str] = "300w_lp"
    reader = W300LP

    def reader_options(self) -> dict[str, Any]:
        """Which points count."""
        return {"drop_negative_points": self.crop.drop_negative_points}
