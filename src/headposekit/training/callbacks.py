"""Callbacks and plugins of the trainer."""

import contextlib
import functools
import io
import sys
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, RichProgressBar
from pytorch_lightning.plugins import LayerSync
from pytorch_lightning.plugins.io import TorchCheckpointIO
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from headposekit.errors import InputError
from headposekit.files import write_bytes
from headposekit.training.loggers import EpochCSVLogger


class SeedEpochs(Callback):
    """Make the random numbers inside the network (dropout) a function of seed, epoch and process; a resume repeats them."""

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Seed all devices."""
        torch.manual_seed((self.seed * 1_000_003 + trainer.current_epoch + 15_485_863 * trainer.global_rank) % 2**63)


class SelfDescription(Callback):
    """Write into each checkpoint what is needed to use it (`card`, see `training.results`), and the epoch's numbers."""

    def __init__(self, card: dict[str, Any]) -> None:
        self.card = card

    def on_save_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the entry."""
        logged = {key: float(value) for key, value in trainer.callback_metrics.items()}
        errors = {key: value for key, value in logged.items() if key.startswith("val/")}
        checkpoint["headposekit"] = {**self.card, "epoch": trainer.current_epoch, "errors": errors}
        checkpoint["logged"] = logged

    def on_load_checkpoint(self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Log the epoch's numbers again: Lightning logs some after it has saved, and the training may have ended in between."""
        if logged := checkpoint.get("logged"):
            for logger in trainer.loggers:
                if isinstance(logger, EpochCSVLogger):
                    logger.log_metrics({**logged, "epoch": checkpoint["epoch"]})


class Heartbeat(Callback):
    """Touch a file every so many seconds while batches go by, so that a sweep can tell a slow training from one that hangs."""

    def __init__(self, path: str | Path, seconds: float = 10.0) -> None:
        self.path, self.seconds, self._last = Path(path), seconds, 0.0

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:
        """Touch the file."""
        if time.monotonic() - self._last > self.seconds:
            self._last = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk is for those to say who have something to keep
                self.path.touch()

    on_validation_batch_end = on_train_batch_end
    on_test_batch_end = on_train_batch_end


class Progress(RichProgressBar):
    """A bar in a terminal (with `leave` those of finished epochs stay); elsewhere, as in a file, one line for each epoch."""

    def __init__(self, leave: bool = False) -> None:
        self.is_plain = not sys.stdout.isatty()
        super().__init__(refresh_rate=0 if self.is_plain else 100, leave=leave)
        self._start, self._ended = 0.0, -1

    def on_train_epoch_start(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Start the clock."""
        self._print_ended(trainer)
        super().on_train_epoch_start(trainer, *arguments)
        self._start = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """Remember that a line is due: the module logs the epoch's means after this."""
        super().on_train_epoch_end(trainer, *arguments)
        self._ended = trainer.current_epoch

    def on_train_end(self, trainer: pl.Trainer, *arguments: Any) -> None:
        """The last line."""
        self._print_ended(trainer)
        super().on_train_end(trainer, *arguments)

    def _print_ended(self, trainer: pl.Trainer) -> None:
        """Print the line of the epoch that has ended, from one process."""
        if self._ended < 0 or not self.is_plain or not trainer.is_global_zero:
            return
        parts = [f"epoch {self._ended + 1}/{trainer.max_epochs}"]
        for name, key, unit in (("loss", "train/loss", ""), ("val MAE", "val/mae", " degrees")):
            if key in trainer.callback_metrics:
                parts.append(f"{name} {float(trainer.callback_metrics[key]):.4g}{unit}")
        print(", ".join([*parts, f"{time.perf_counter() - self._start:.1f} s"]), flush=True)
        self._ended = -1


class EpochCheckpoint(ModelCheckpoint):
    """Lightning's checkpoint of each epoch's end, in a run folder that may have been moved since."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the state; paths of the folder it was saved in become those of this one."""
        old, new = str(state_dict["dirpath"]), str(self.dirpath)

        def moved(value: Any) -> Any:
            if isinstance(value, dict):
                return {moved(key): item for key, item in value.items()}
            return new + value.removeprefix(old) if isinstance(value, str) and value.startswith(old) else value

        super().load_state_dict({key: moved(value) for key, value in state_dict.items()})


class WholeCheckpoints(TorchCheckpointIO):
    """A plugin for Lightning's Trainer: a checkpoint takes the place of the one before when all of it is on the disk.

    Lightning's own is written to the system's temporary folder and copied over the one before where that is elsewhere.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Write one; raises InputError naming it where that fails."""
        content = io.BytesIO()
        torch.save(checkpoint, content)
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(path, content.getvalue())


class Stopwatch(Callback):
    """`seconds` spent in training epochs and `images` (faces) seen, over all sessions of a resumed training."""

    def __init__(self) -> None:
        self.seconds, self.images = 0.0, 0
        self._start: float | None = None

    def on_train_epoch_start(self, *_: Any) -> None:
        """Start the clock."""
        self._start = time.perf_counter()

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the faces of all processes."""
        self.images += len(batch["pose"]) * trainer.world_size

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Stop before validation, or at the end of the epoch where there is none, when the device has done its work."""
        if self._start is not None:
            if pl_module.device.type == "cuda":
                torch.cuda.synchronize(pl_module.device)
            self.seconds += time.perf_counter() - self._start
            self._start = None

    on_train_epoch_end = on_validation_start

    def state_dict(self) -> dict[str, Any]:
        """Kept in the checkpoint."""
        return {"seconds": self.seconds, "images": self.images}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on counting."""
        self.seconds, self.images = state_dict["seconds"], state_dict["images"]


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation with the mean and variance of the batch that all processes hold together, on any device.

    What a class of timm does afterwards, `drop` and `act`, it does as well. Torch's own SyncBatchNorm leaves that out.
    """

    def forward(self, input: Tensor) -> Tensor:
        """(B, C, ...) of this process to the same."""
        if not self.training or not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
            return super().forward(input)
        axes, shape = [0, *range(2, input.ndim)], (-1, *[1] * (input.ndim - 2))
        x = input if input.dtype == torch.float64 else input.float()  # half precision is too coarse for sums
        # Each process sums about its own mean; what is then added up is in float64, so that nothing cancels out.
        faces, own = x.numel() / x.shape[1], x.mean(axes)
        spread = (x - own.view(shape)).square().sum(axes).double()
        sums = [faces * own.double(), spread + faces * own.double().square(), spread.new_full((1,), faces)]
        total, squares, count = all_reduce(torch.cat(sums)).split([x.shape[1], x.shape[1], 1])
        mean = total / count
        variance = (squares / count - mean.square()).to(x)
        centered = x - mean.to(x).view(shape)
        if self.running_mean is not None and self.running_var is not None and self.momentum is not None:
            with torch.no_grad():
                if self.num_batches_tracked is not None:
                    self.num_batches_tracked.add_(1)
                self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
                self.running_var.lerp_((variance * (count / (count - 1))).to(self.running_var), self.momentum)
        output: Tensor = centered * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            output = output * self.weight.view(shape) + self.bias.view(shape)
        output = output.to(input.dtype)
        if isinstance(self, BatchNormAct2d):
            output = self.act(self.drop(output))
        return output


class ShareBatchStatistics(LayerSync):
    """A plugin for Lightning's Trainer: batch normalisations are `SharedBatchNorm` too for the time of a training.

    Parameters, buffers and all else of theirs stay what they are.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Share statistics."""
        for module in model.modules():
            if isinstance(module, _BatchNorm) and not isinstance(module, SharedBatchNorm):
                kind: Any = type(module)
                module.__class__ = _shared(kind)
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Back to what they were."""
        for module in model.modules():
            if isinstance(module, SharedBatchNorm):
                module.__class__ = type(module).__bases__[1]
        return model


@functools.cache
def _shared(kind: Any) -> type[SharedBatchNorm]:
    """A class of batch normalisation that shares its statistics; InputError where it is not known what else it does."""
    if kind.forward is not _BatchNorm.forward and not kind.__module__.startswith("timm.layers.norm_act"):
        raise InputError(f"{kind.__name__} cannot share its statistics with other processes; train in one, or use BatchNorm2d")
    return type(f"Shared{kind.__name__}", (SharedBatchNorm, kind), {})
