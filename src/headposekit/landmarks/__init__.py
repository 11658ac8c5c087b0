"""Landmarks → pose: the baselines that learn nothing."""

from headposekit.landmarks.model import LandmarkPose, ThreeDDFA

__all__ = ["LandmarkPose", "ThreeDDFA"]
