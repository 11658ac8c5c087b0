"""LightningModules on one small base; optimisers, schedules, callbacks, tests and what a run records."""

from headposekit.training.fsanet import FSANetModule
from headposekit.training.hopenet import HopenetModule, HopenetRegressionModule
from headposekit.training.module import HeadPoseModule, PoseEvaluator
from headposekit.training.ssrnet import SSRNetModule

__all__ = ["FSANetModule", "HeadPoseModule", "HopenetModule", "HopenetRegressionModule", "PoseEvaluator", "SSRNetModule"]
