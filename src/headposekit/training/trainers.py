"""Lightning's trainer with its own switches: each works to the end of a run, or is refused before anything is computed."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.callbacks import Callback, ModelCheckpoint, ProgressBar
from pytorch_lightning.loggers import Logger

from headposekit.errors import InputError
from headposekit.process import available_cores

GIVEN_ELSEWHERE = {
    "callbacks": "give callbacks.NAME=...",
    "logger": "choose logger= (null for none)",
    "barebones": "it writes neither results nor checkpoints; leave it out",
    "sync_batchnorm": "it loses the activations in timm's norms; choose trainer=ddp, which shares statistics without",
    "overfit_batches": "it changes which faces make a batch; give data.num_train=N data.val_fraction=0 augmentation=none",
}
"""Switches that a run cannot do with, and what to do instead."""
NOT_ZERO = ("limit_train_batches", "limit_test_batches", "max_steps", "check_val_every_n_epoch", "val_check_interval")
"""With 0 (or `max_steps=0`) there is nothing to train, test or compare."""


def check_trainer(config: DictConfig) -> None:
    """Refuse, by InputError, a trainer that this machine does not have, or that leaves a run without results."""
    switches = config.trainer
    for key, remedy in GIVEN_ELSEWHERE.items():
        if switches.get(key):
            raise InputError(f"trainer.{key}={switches[key]}: {remedy}")
    if switches.get("logger") is False:
        raise InputError(f"trainer.logger=false: {GIVEN_ELSEWHERE['logger']}")
    for key in NOT_ZERO:
        if switches.get(key, 1) == 0 and not isinstance(switches.get(key), bool):
            raise InputError(f"trainer.{key}={switches[key]} leaves nothing to do; give more, or leave it out")
    if switches.get("accumulate_grad_batches", 1) < 1:
        raise InputError(f"trainer.accumulate_grad_batches={switches.accumulate_grad_batches} is less than 1; give 1 or more")
    if not isinstance(switches.get("max_epochs"), int) or switches.max_epochs < 1:
        raise InputError(f"trainer.max_epochs={switches.get('max_epochs')}: a training ends after epochs=; leave it out")
    trainer = make_trainer(config, {}, [])
    workers = trainer.num_devices
    if isinstance(trainer.accelerator, CPUAccelerator) and workers > max(2, available_cores()):
        raise InputError(
            f"trainer.devices={workers} would start {workers} processes on {available_cores()} cores; give at most as many"
        )


def make_trainer(config: DictConfig, callbacks: Mapping[str, Callback], loggers: Sequence[Logger]) -> pl.Trainer:
    """The trainer, without the callbacks that its own switches turn off; InputError where Lightning refuses a switch."""
    kinds = {"enable_checkpointing": ModelCheckpoint, "enable_progress_bar": ProgressBar}
    left_out = tuple(kind for switch, kind in kinds.items() if config.trainer.get(switch, True) is False)
    kept = [callback for callback in callbacks.values() if not isinstance(callback, left_out)]
    try:
        trainer: pl.Trainer = instantiate(config.trainer, callbacks=kept, logger=list(loggers), _convert_="all")
    except Exception as error:  # Lightning raises six kinds of exceptions for wrong switches
        cause: BaseException = error.__cause__ or error
        said = str(cause).strip() or type(cause).__name__
        raise InputError(f"trainer: {' '.join(said.split())[:300]}; correct trainer.*") from error
    return trainer


def validates(trainer: Mapping[str, Any]) -> bool:
    """Whether a training looks at held-out faces at all, where there are any."""
    return bool(trainer.get("limit_val_batches", 1) != 0)
