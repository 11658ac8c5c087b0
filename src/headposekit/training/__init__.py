"""LightningModules on one small base; optimisers, schedules, callbacks, tests and what a run records."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headposekit.training.architectures import FSANetModule as FSANetModule
    from headposekit.training.architectures import HopenetModule as HopenetModule
    from headposekit.training.architectures import HopenetRegressionModule as HopenetRegressionModule
    from headposekit.training.architectures import SSRNetModule as SSRNetModule
    from headposekit.training.module import HeadPoseModule as HeadPoseModule
    from headposekit.training.module import PoseEvaluator as PoseEvaluator

FILES = {
    **dict.fromkeys(("FSANetModule", "HopenetModule", "HopenetRegressionModule", "SSRNetModule"), "architectures"),
    **dict.fromkeys(("HeadPoseModule", "PoseEvaluator"), "module"),
}


def __getattr__(name: str) -> Any:
    """The LightningModules, imported when they are used: prediction needs other files of this folder, and no Lightning."""
    if name not in FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{FILES[name]}"), name)
