"""LightningModules on one small base; optimisers, schedules, callbacks, tests and what a run records."""

from headposekit.training.architectures import FSANetModule, HopenetModule, HopenetRegressionModule, SSRNetModule
from headposekit.training.module import HeadPoseModule, PoseEvaluator

__all__ = ["FSANetModule", "HeadPoseModule", "HopenetModule", "HopenetRegressionModule", "PoseEvaluator", "SSRNetModule"]
