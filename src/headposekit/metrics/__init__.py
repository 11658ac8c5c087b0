"""Errors of poses as torchmetrics."""

from headposekit.metrics.pose_error import PoseError

__all__ = ["PoseError"]
