"""Training of Hopenet and of its regression baseline."""

from collections.abc import Callable, Iterable
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from headposekit.errors import InputError
from headposekit.models.hopenet import Hopenet, HopenetOutput, HopenetRegression
from headposekit.training.module import HeadPoseModule, Loss

FrozenBatchNorm = Literal["none", "official", "all"]


class HopenetModule(HeadPoseModule):
    """Hopenet, with what its published training does to the trunk as options; all neutral by default.

    Args:
        model, loss, optimizer, scheduler: see `HeadPoseModule`.
        stem_lr, trunk_lr, heads_lr: learning rates as multiples of `optimizer.lr`. The published code has 0 (frozen), 1 and
            5; but it lists every tensor of a ResNet's blocks three times, and the Adam of its day made as many updates, so
            that 3 comes closer for the trunk.
        frozen_batchnorm: which batch normalisations keep their statistics: `none`; `all` of the trunk; or, of a ResNet,
            the `official` ones: bn1 to bn3 of each block, but neither the stem's nor the shortcuts'.

    Raises:
        InputError: a negative multiple, an unknown choice, or multiples with an optimiser of two learning rates.

    Reference: natanielruiz/deep-head-pose, code/train_hopenet.py.
    """

    architecture = Hopenet

    def __init__(
        self,
        model: nn.Module,
        loss: Loss,
        optimizer: Callable[[Iterable[Any]], Optimizer],
        scheduler: Callable[[Optimizer], LRScheduler],
        stem_lr: float = 1.0,
        trunk_lr: float = 1.0,
        heads_lr: float = 1.0,
        frozen_batchnorm: FrozenBatchNorm = "none",
    ) -> None:
        super().__init__(model, loss, optimizer, scheduler)
        self.multiples = {"stem_lr": stem_lr, "trunk_lr": trunk_lr, "heads_lr": heads_lr}
        for key, value in self.multiples.items():
            if not isinstance(value, int | float) or not value >= 0:
                raise InputError(f"module.{key}={value} is no multiple of a learning rate; give 0 or more")
        if frozen_batchnorm not in get_args(FrozenBatchNorm):
            choices = ", ".join(get_args(FrozenBatchNorm))
            raise InputError(f"module.frozen_batchnorm={frozen_batchnorm} is unknown; choose {choices}")
        self.frozen_batchnorm = frozen_batchnorm
        if stem_lr == 0:
            for parameter in self._parts()["stem_lr"]:
                parameter.requires_grad_(False)

    def parameter_groups(self) -> Iterable[Any]:
        """Stem, trunk and heads, each with its learning rate; one group where they do not differ."""
        if set(self.multiples.values()) == {1.0}:
            return super().parameter_groups()
        options = getattr(self.optimizer, "keywords", {})
        if "lr" not in options or "adamw_lr" in options:
            raise InputError("module.stem_lr, trunk_lr, heads_lr: multiply one optimizer.lr; choose optimizer=adam or adamw")
        parts = {key: [p for p in part if p.requires_grad] for key, part in self._parts().items()}
        return [{"params": part, "lr": self.multiples[key] * options["lr"]} for key, part in parts.items() if part]

    def on_train_epoch_start(self) -> None:
        """Keep the chosen batch normalisations as they are."""
        super().on_train_epoch_start()
        for name, module in self.model.backbone.named_modules():  # type: ignore[union-attr]
            if isinstance(module, nn.modules.batchnorm._BatchNorm) and self._is_frozen(name):
                module.eval()

    def diagnostics(self, output: HopenetOutput) -> dict[str, Tensor]:
        """Mean standard deviation of the predicted distributions: how sure the network is, in degrees."""
        return {"std": output.spread.mean()}

    def _parts(self) -> dict[str, list[nn.Parameter]]:
        backbone: Any = self.model.backbone
        stem = [p for name, p in backbone.named_parameters() if name.removeprefix("trunk.") in backbone.stem]
        rest = [p for name, p in backbone.named_parameters() if name.removeprefix("trunk.") not in backbone.stem]
        heads: Any = self.model.heads
        return {"stem_lr": stem, "trunk_lr": rest, "heads_lr": [p for head in heads for p in head.parameters()]}

    def _is_frozen(self, name: str) -> bool:
        if self.frozen_batchnorm == "official":
            block, _, own = name.removeprefix("trunk.").rpartition(".")
            return block.startswith("layer") and own.startswith("bn")
        return self.frozen_batchnorm == "all"


class HopenetRegressionModule(HopenetModule):
    """The regression baseline, trained the same way."""

    architecture = HopenetRegression  # type: ignore[assignment]  # the class variable's type was narrowed above

    def diagnostics(self, output: Any) -> dict[str, Tensor]:
        """No diagnostics: it predicts no distribution."""
        return {}
