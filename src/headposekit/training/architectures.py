"""A LightningModule for each architecture; what is special about a network, it knows itself."""

from collections.abc import Iterable
from typing import Any, get_args

from headposekit.errors import InputError
from headposekit.models.fsanet import FSANet
from headposekit.models.hopenet import FrozenBatchNorm, Hopenet, HopenetRegression
from headposekit.models.network import PoseNetwork
from headposekit.models.ssrnet import SSRNetMD
from headposekit.training.module import HeadPoseModule, Loss, MakeOptimizer, MakeScheduler


class FSANetModule(HeadPoseModule):
    """FSA-Net: recipe of section 4 of the paper in `conf/recipe/fsanet_300w_lp.yaml`."""

    architecture = FSANet


class SSRNetModule(HeadPoseModule):
    """SSR-Net-MD: recipe in `conf/recipe/fsanet_300w_lp.yaml`, with batch 8."""

    architecture = SSRNetMD


class HopenetModule(HeadPoseModule):
    """Hopenet, with what its published training does to the trunk as options; all neutral by default.

    Args:
        model, loss, optimizer, scheduler: see `HeadPoseModule`.
        stem_lr, trunk_lr, heads_lr: learning rates as multiples of `optimizer.lr`. The published code has 0 (frozen), 1 and
            5; but it lists every tensor of a ResNet's blocks three times, and the Adam of its day made as many updates, so
            that 3 comes closer for the trunk.
        frozen_batchnorm: see `FrozenBatchNorm`.

    Raises:
        InputError: a negative multiple, an unknown choice, or multiples with an optimiser of two learning rates.

    Reference: natanielruiz/deep-head-pose, code/train_hopenet.py.
    """

    architecture: type[PoseNetwork] = Hopenet

    def __init__(
        self,
        model: PoseNetwork,
        loss: Loss,
        optimizer: MakeOptimizer,
        scheduler: MakeScheduler,
        stem_lr: float = 1.0,
        trunk_lr: float = 1.0,
        heads_lr: float = 1.0,
        frozen_batchnorm: FrozenBatchNorm = "none",
    ) -> None:
        super().__init__(model, loss, optimizer, scheduler)
        self.multiples = {"stem": stem_lr, "trunk": trunk_lr, "heads": heads_lr}
        for part, value in self.multiples.items():
            if not isinstance(value, int | float) or not value >= 0:
                raise InputError(f"module.{part}_lr={value} is no multiple of a learning rate; give 0 or more")
        if frozen_batchnorm not in get_args(FrozenBatchNorm):
            choices = ", ".join(get_args(FrozenBatchNorm))
            raise InputError(f"module.frozen_batchnorm={frozen_batchnorm} is unknown; choose {choices}")
        self.frozen_batchnorm = frozen_batchnorm
        if stem_lr == 0:
            for parameter in model.parameter_groups()["stem"]:
                parameter.requires_grad_(False)

    def parameter_groups(self) -> Iterable[Any]:
        """Stem, trunk and heads, each with its learning rate; one group where they do not differ."""
        if set(self.multiples.values()) == {1.0}:
            return super().parameter_groups()
        options = getattr(self.optimizer, "keywords", {})
        if "lr" not in options or "adamw_lr" in options:
            raise InputError("module.stem_lr, trunk_lr, heads_lr: multiply one optimizer.lr; choose optimizer=adam or adamw")
        trained = {part: [p for p in group if p.requires_grad] for part, group in self.model.parameter_groups().items()}
        return [{"params": group, "lr": self.multiples[part] * options["lr"]} for part, group in trained.items() if group]

    def on_train_epoch_start(self) -> None:
        """Keep the chosen batch normalisations as they are."""
        super().on_train_epoch_start()
        self.model.freeze_batchnorm(self.frozen_batchnorm)  # type: ignore[operator]  # a method, not a tensor


class HopenetRegressionModule(HopenetModule):
    """The regression baseline, trained the same way."""

    architecture = HopenetRegression
