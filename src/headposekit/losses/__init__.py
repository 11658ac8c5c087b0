"""Losses: called with a network's output and the batch, they return one number to minimise."""

from headposekit.losses.multibin import MultiBinLoss
from headposekit.losses.regression import MeanAbsoluteError, MeanSquaredError

__all__ = ["MeanAbsoluteError", "MeanSquaredError", "MultiBinLoss"]
