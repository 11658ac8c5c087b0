"""Landmarks → pose: the baselines that learn nothing."""

from headpose.landmarks.model import LandmarkPose
from headpose.landmarks.threeddfa import ThreeDDFA

__all__ = ["LandmarkPose", "ThreeDDFA"]
