"""Landmarks → pose: the baselines that learn nothing."""

from headposekit.landmarks.model import LandmarkPose
from headposekit.landmarks.threeddfa import ThreeDDFA

__all__ = ["LandmarkPose", "ThreeDDFA"]
