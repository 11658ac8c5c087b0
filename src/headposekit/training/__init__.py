"""LightningModules on one small base; optimisers, schedules, callbacks, tests and what a run records."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headposekit.training.module import FSANetModule as FSANetModule
    from headposekit.training.module import HeadPoseModule as HeadPoseModule
    from headposekit.training.module import HopenetModule as HopenetModule
    from headposekit.training.module import HopenetRegressionModule as HopenetRegressionModule
    from headposekit.training.module import PoseEvaluator as PoseEvaluator
    from headposekit.training.module import PoseModule as PoseModule
    from headposekit.training.module import SSRNetModule as SSRNetModule


def __getattr__(name: str) -> Any:
    """The LightningModules, imported when they are used: prediction needs other files of this folder, and no Lightning."""
    if name != "PoseEvaluator" and not name.endswith("Module"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.module"), name)
