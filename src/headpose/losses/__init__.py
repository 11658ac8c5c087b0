"""Losses: called with a network's output and the batch, they return one number to minimise."""

from headpose.losses.regression import MeanAbsoluteError

__all__ = ["MeanAbsoluteError"]
