"""LightningModules: one small base with the shared step, the metrics and what a test leaves; a thin one per architecture."""

import functools
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, get_args

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLES
from headposekit.geometry.rotations import geodesic_distance
from headposekit.heads.base import ProbabilisticHead
from headposekit.metrics import PoseError
from headposekit.models.fsanet import FSANet
from headposekit.models.hopenet import FrozenBatchNorm, Hopenet, HopenetRegression
from headposekit.models.network import PoseNetwork
from headposekit.models.pose import PoseNet
from headposekit.models.ssrnet import SSRNetMD
from headposekit.training.schedules import WarmupCosine
from headposekit.types import Batch, PoseOutput

Stage = Literal["train", "val", "test"]
Loss = Callable[[PoseOutput, Batch], Tensor]
MakeOptimizer = Callable[[Iterable[Any]], Optimizer]
MakeScheduler = Callable[[Optimizer], LRScheduler]
Prediction = dict[str, Any]


class PoseEvaluator(pl.LightningModule):
    """Anything that estimates poses, under test: a network, a fusion, a baseline.

    A model whose output has `is_refused` and `is_behind` may have no pose (NaN) for a face; errors are means over the others.

    Attributes:
        predictions: after a test, on every process: one row a face (name, true and predicted angles in degrees, geodesic
            error, and what `PoseNetwork.uncertainty` says), sorted by name; NaN for a face without a pose.
        test_errors: after a test: what `PoseError` computes, as plain numbers.
        test_failures: after a test of a model that can fail: how many faces were `refused`, how many poses stood `behind` the
            camera, and how many faces have no pose (`without_pose`); otherwise empty.
    """

    def __init__(self, model: PoseNetwork) -> None:
        super().__init__()
        self.model = model
        self.compiled: Callable[[Batch], PoseOutput] | None = None  # of the model, for training
        self.sums: dict[str, Tensor] = {}  # of an epoch's batch means times faces, on the device
        self.faces = dict.fromkeys(get_args(Stage), 0)
        # A ModuleDict hides the type of what it holds.
        self.errors: Mapping[str, PoseError] = nn.ModuleDict(  # type: ignore[assignment]
            {f"{stage}_error": PoseError() for stage in ("train", "val", "test")}
        )
        self.predictions: list[Prediction] = []
        self.test_errors: dict[str, float] = {}
        self.test_failures: dict[str, int] = {}

    def on_test_epoch_start(self) -> None:
        """Forget the last test; measure in the angles of this one."""
        self.predictions, self.test_failures = [], {}
        data: HeadPoseDataModule = self.trainer.datamodule  # type: ignore[attr-defined]
        self.errors["test_error"].euler_order = data.euler_order

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Predict a batch and keep its rows."""
        output = self._predict(batch, "test")
        pose, predicted = batch["pose"].cpu(), output.pose.float().cpu()
        geodesic = geodesic_distance(predicted, pose)
        for failure, faces in {"refused": output.is_refused, "behind": output.is_behind}.items():
            if faces is not None:
                self.test_failures[failure] = self.test_failures.get(failure, 0) + int(faces.sum())
        for name, true, guess, error in zip(batch["name"], pose.tolist(), predicted.tolist(), geodesic.tolist(), strict=True):
            self.predictions.append({"name": name, "true": true, "predicted": guess, "geodesic": error})
        for key, values in self.model.uncertainty(output, batch["pose"]).items():
            for row, value in zip(self.predictions[-len(pose) :], values.tolist(), strict=True):
                row[key] = value

    def on_test_epoch_end(self) -> None:
        """Bring the rows and sums of all processes together."""
        if self.trainer.world_size > 1:
            gathered: list[Any] = [None] * self.trainer.world_size
            torch.distributed.all_gather_object(gathered, (self.predictions, self.test_failures))
            self.predictions = [row for rows, _ in gathered for row in rows]
            self.test_failures = {key: sum(part[key] for _, part in gathered) for key in self.test_failures}
        self.predictions.sort(key=lambda row: str(row["name"]))
        if self.test_failures:
            self.test_failures["without_pose"] = sum(math.isnan(row["geodesic"]) for row in self.predictions)
        self.test_errors = {key: value.item() for key, value in self._finish_errors("test").items()}

    def _predict(self, batch: Batch, stage: Stage) -> PoseOutput:
        forward = self.compiled if self.compiled and stage == "train" else self.model
        output: PoseOutput = forward(batch)
        pose, true = output.pose, batch["pose"]
        if output.is_refused is not None:
            has_pose = torch.isfinite(pose).all(dim=-1)
            pose, true = pose[has_pose], true[has_pose]
        self.errors[f"{stage}_error"].update(pose, true)
        return output

    def _finish_errors(self, stage: Stage) -> dict[str, Tensor]:
        error = self.errors[f"{stage}_error"]
        values: dict[str, Tensor] = error.compute()
        error.reset()
        return values


class HeadPoseModule(PoseEvaluator):
    """Training of a network of the one `architecture` that a subclass names; others are refused by InputError.

    The scheduler steps once an epoch, `WarmupCosine` with every batch.
    """

    architecture: type[PoseNetwork] = PoseNetwork

    def __init__(self, model: PoseNetwork, loss: Loss, optimizer: MakeOptimizer, scheduler: MakeScheduler) -> None:
        if not isinstance(model, self.architecture):
            raise InputError(
                f"{type(self).__name__} trains {self.architecture.__name__}, not {type(model).__name__}; "
                "choose a matching model="
            )
        super().__init__(model)
        self.loss, self.optimizer, self.scheduler = loss, optimizer, scheduler

    def on_fit_start(self) -> None:
        """Have the loss look at all labels at once: in a step, a look would wait for the device.

        Raises:
            InputError: it takes one of them not, or not turned as far as the augmentation may turn it.
        """
        data: HeadPoseDataModule | None = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None or not hasattr(self.loss, "check"):
            return
        self.loss.check(torch.from_numpy(data.dataset.pose[[*data.split.train, *data.split.val]]))
        for rotation, turned in data.turned_poses():
            try:
                self.loss.check(torch.from_numpy(turned))
            except InputError as error:
                reason = f"augmentation.rotation={rotation:g} may turn a label too far for model.bins.limit"
                raise InputError(f"{reason}; lower it, or raise the limit ({error})") from None

    def on_train_epoch_start(self) -> None:
        """Log the learning rate of the first parameter group."""
        self.log("train/lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """One batch's loss."""
        return self._step(batch, "train")

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """One batch's loss, and what the architecture shows of itself."""
        self._step(batch, "val")

    def on_train_epoch_end(self) -> None:
        """Log the epoch's means over augmented faces; a training that has diverged ends here, before it is saved."""
        values = self._log_epoch("train")
        if not math.isfinite(values["train/loss"]):
            kept = "; checkpoints/last.ckpt is of the epoch before" if self.current_epoch else ""
            raise InputError(
                f"training diverged: the loss of epoch {self.current_epoch} is {values['train/loss']}{kept}. "
                "Lower optimizer.lr (and adamw_lr), or clip with trainer.gradient_clip_val"
            )

    def on_validation_epoch_end(self) -> None:
        """Log the means over the held-out faces."""
        self._log_epoch("val")

    def configure_optimizers(self) -> Any:
        """The injected optimiser and scheduler."""
        try:
            optimizer = self.optimizer(self.parameter_groups())
        except (TypeError, ValueError) as error:
            raise InputError(f"optimizer: {error}; correct optimizer.*") from error
        scheduler, interval = self.scheduler(optimizer), "epoch"
        if isinstance(scheduler, WarmupCosine):
            scheduler.span(int(self.trainer.estimated_stepping_batches))
            interval = "step"
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": interval}}

    def parameter_groups(self) -> Iterable[Any]:
        """What the optimiser is given."""
        return self.model.parameters()

    def _step(self, batch: Batch, stage: Stage) -> Tensor:
        output = self._predict(batch, stage)
        loss = self.loss(output, batch)
        faces = len(batch["pose"])
        with torch.no_grad():
            self.faces[stage] += faces
            for key, value in {"loss": loss, **(self.model.diagnostics(output) if stage == "val" else {})}.items():
                name = f"{stage}/{key}"
                if name not in self.sums:
                    wide = torch.float32 if value.device.type == "mps" else torch.float64  # Apple's GPUs have no float64
                    self.sums[name] = torch.zeros((), dtype=wide, device=value.device)
                self.sums[name].add_(value, alpha=faces)  # one launch; a number made into a tensor would wait for the device
        return loss

    def _log_epoch(self, stage: Stage) -> dict[str, float]:
        """Compute and log an epoch's means, summed over all processes in one place and in one order."""
        errors = self._finish_errors(stage)
        values = {f"{stage}/mae_{angle}": errors[angle] for angle in ANGLES}
        values |= {f"{stage}/{key}": errors[key] for key in ("mae", "geodesic")}
        names = sorted(name for name in self.sums if name.startswith(stage))
        sums = torch.stack([self.sums.pop(name) for name in names])
        sums = torch.cat([sums, sums.new_tensor([self.faces[stage]])])
        *totals, faces = self.trainer.strategy.reduce(sums, reduce_op="sum")
        values |= {name: total / faces for name, total in zip(names, totals, strict=True)}
        self.faces[stage] = 0
        self.log_dict({key: value.float() for key, value in values.items()})
        return {key: float(value) for key, value in values.items()}


class FSANetModule(HeadPoseModule):
    """FSA-Net: recipe of section 4 of the paper in `conf/recipe/fsanet_300w_lp.yaml`."""

    architecture = FSANet


class SSRNetModule(HeadPoseModule):
    """SSR-Net-MD: recipe in `conf/recipe/fsanet_300w_lp.yaml`, with batch 8."""

    architecture = SSRNetMD


class HopenetModule(HeadPoseModule):
    """Hopenet, with what its published training does to the trunk as options; all neutral by default.

    Args:
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
        options = self.optimizer.keywords if isinstance(self.optimizer, functools.partial) else {}
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


class PoseModule(HeadPoseModule):
    """A trunk with any head. A loss that the head is not trained by is refused by InputError.

    With each validation, the temperature of a probabilistic head is set to that of the smallest negative log likelihood of the
    held-out faces; training itself knows no temperature.
    """

    architecture = PoseNet
    temperatures = tuple(2 ** (step / 2) for step in range(-8, 13))

    def __init__(self, model: PoseNetwork, loss: Loss, optimizer: MakeOptimizer, scheduler: MakeScheduler) -> None:
        super().__init__(model, loss, optimizer, scheduler)
        head: Any = model.head
        compares = getattr(loss, "compares", "head")
        if compares != "head" and compares not in head.trained_by:
            remedy = "choose loss=head" + (", geodesic, frobenius or opal" if "rotation" in head.trained_by else "")
            raise InputError(
                f"{type(loss).__name__} compares {compares}, by which {type(head).__name__} is not trained; {remedy}"
            )
        self.is_probabilistic = isinstance(head, ProbabilisticHead)
        self.nll_sums: Tensor | None = None

    def on_validation_epoch_start(self) -> None:
        """Forget the last validation."""
        self.nll_sums = None

    def _step(self, batch: Batch, stage: Stage) -> Tensor:
        self.last_output: Any = None
        loss = super()._step(batch, stage)
        if self.is_probabilistic and stage == "val":
            head: Any = self.model.head
            nll = [-head.log_density(self.last_output, batch["pose"], value).sum() for value in self.temperatures]
            sums = torch.stack(nll)
            self.nll_sums = sums if self.nll_sums is None else self.nll_sums + sums
        return loss

    def _predict(self, batch: Batch, stage: Stage) -> PoseOutput:
        output = super()._predict(batch, stage)
        self.last_output = output
        return output

    def on_validation_epoch_end(self) -> None:
        """Log the means over the held-out faces; fit the temperature to them."""
        super().on_validation_epoch_end()
        if self.nll_sums is not None:
            sums = self.trainer.strategy.reduce(self.nll_sums, reduce_op="sum")
            self.model.temperature.fill_(lowest(self.temperatures, sums.tolist()))  # type: ignore[operator]  # a tensor


def lowest(values: Sequence[float], heights: Sequence[float]) -> float:
    """Where a curve over evenly spaced logarithms of values is lowest, by a parabola through the three lowest points."""
    heights = [height if math.isfinite(height) else math.inf for height in heights]
    at = min(range(len(values)), key=heights.__getitem__)
    if not 0 < at < len(values) - 1 or not all(map(math.isfinite, heights[at - 1 : at + 2])):
        return values[at]
    before, here, after = heights[at - 1 : at + 2]
    curvature = before - 2 * here + after
    shift = 0.5 * (before - after) / curvature if curvature > 0 else 0.0
    place: float = values[at] * (values[at + 1] / values[at]) ** shift
    return place
