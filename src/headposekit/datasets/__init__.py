"""One file for each data set: its reader and its DataModule."""

from headposekit.datasets.aflw import AFLW, AFLWDataModule
from headposekit.datasets.aflw2000 import AFLW2000, AFLW2000DataModule
from headposekit.datasets.afw import AFW, AFWDataModule
from headposekit.datasets.biwi import BIWI, BIWIDataModule
from headposekit.datasets.coco_heads import AGORA, AGORADataModule, Panoptic, PanopticDataModule
from headposekit.datasets.dad3dheads import DAD3DHeads, DAD3DHeadsDataModule
from headposekit.datasets.mixed import MixedDataModule
from headposekit.datasets.pointing04 import Pointing04, Pointing04DataModule
from headposekit.datasets.points68 import Points68, Points68DataModule
from headposekit.datasets.synthetic import SyntheticDataModule, SyntheticHeads
from headposekit.datasets.table import CSVDataModule, CSVTable
from headposekit.datasets.w300lp import W300LP, W300LPDataModule

__all__ = [
    "AFLW",
    "AFLW2000",
    "AFW",
    "AGORA",
    "BIWI",
    "W300LP",
    "AFLW2000DataModule",
    "AFLWDataModule",
    "AFWDataModule",
    "AGORADataModule",
    "BIWIDataModule",
    "CSVDataModule",
    "CSVTable",
    "DAD3DHeads",
    "DAD3DHeadsDataModule",
    "MixedDataModule",
    "Panoptic",
    "PanopticDataModule",
    "Pointing04",
    "Pointing04DataModule",
    "Points68",
    "Points68DataModule",
    "SyntheticDataModule",
    "SyntheticHeads",
    "W300LPDataModule",
]
