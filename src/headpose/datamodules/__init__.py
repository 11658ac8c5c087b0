"""One LightningDataModule per dataset."""

from headpose.datamodules.aflw import AFLWDataModule
from headpose.datamodules.aflw2000 import AFLW2000DataModule
from headpose.datamodules.afw import AFWDataModule
from headpose.datamodules.base import HeadPoseDataModule
from headpose.datamodules.biwi import BIWIDataModule
from headpose.datamodules.synthetic import SyntheticDataModule
from headpose.datamodules.table import CSVDataModule
from headpose.datamodules.w300lp import W300LPDataModule

__all__ = [
    "AFLW2000DataModule",
    "AFLWDataModule",
    "AFWDataModule",
    "BIWIDataModule",
    "CSVDataModule",
    "HeadPoseDataModule",
    "SyntheticDataModule",
    "W300LPDataModule",
]
