"""LightningModules on one small base; optimisers, schedules, callbacks, checkpoints and exported files."""

from headpose.modules.base import HeadPoseModule, PoseEvaluator
from headpose.modules.fsanet import FSANetModule
from headpose.modules.hopenet import HopenetModule, HopenetRegressionModule
from headpose.modules.ssrnet import SSRNetModule

__all__ = ["FSANetModule", "HeadPoseModule", "HopenetModule", "HopenetRegressionModule", "PoseEvaluator", "SSRNetModule"]
