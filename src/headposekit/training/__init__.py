"""LightningModules on one small base; optimisers, schedules, callbacks, tests and what a run records."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headposekit.training.fsanet import FSANetModule as FSANetModule
    from headposekit.training.hopenet import HopenetModule as HopenetModule
    from headposekit.training.hopenet import HopenetRegressionModule as HopenetRegressionModule
    from headposekit.training.module import HeadPoseModule as HeadPoseModule
    from headposekit.training.module import PoseEvaluator as PoseEvaluator
    from headposekit.training.ssrnet import SSRNetModule as SSRNetModule

FILES = {
    "FSANetModule": "fsanet",
    "HeadPoseModule": "module",
    "HopenetModule": "hopenet",
    "HopenetRegressionModule": "hopenet",
    "PoseEvaluator": "module",
    "SSRNetModule": "ssrnet",
}


def __getattr__(name: str) -> Any:
    """The LightningModules, imported when they are used: prediction needs other files of this folder, and no Lightning."""
    if name not in FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{FILES[name]}"), name)
