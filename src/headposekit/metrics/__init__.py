"""Errors of poses as torchmetrics."""

from headposekit.metrics.alignment import aligned_errors, errors_by_view, errors_by_yaw, pose_errors
from headposekit.metrics.pose_error import PoseError

__all__ = ["PoseError", "aligned_errors", "errors_by_view", "errors_by_yaw", "pose_errors"]
