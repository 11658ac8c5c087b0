"""Files → samples: one file per dataset."""

from headpose.datasets.aflw import AFLW
from headpose.datasets.aflw2000 import AFLW2000
from headpose.datasets.afw import AFW
from headpose.datasets.base import FolderDataset, HeadPoseDataset
from headpose.datasets.biwi import BIWI
from headpose.datasets.synthetic import SyntheticHeads
from headpose.datasets.w300lp import W300LP

__all__ = ["AFLW", "AFLW2000", "AFW", "BIWI", "W300LP", "FolderDataset", "HeadPoseDataset", "SyntheticHeads"]
