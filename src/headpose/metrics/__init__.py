"""Errors of poses as torchmetrics."""

from headpose.metrics.pose_error import PoseError

__all__ = ["PoseError"]
