"""What a run records of itself: results.json, and the card inside its checkpoints."""

from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from omegaconf import DictConfig, OmegaConf
from torch import nn

from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.errors import InputError
from headposekit.files import write_text
from headposekit.models.network import count_parameters
from headposekit.training.callbacks import Stopwatch
from headposekit.training.identity import identity, learns, train_id
from headposekit.training.model_card import describe_training
from headposekit.training.provenance import commit, versions
from headposekit.weights.checkpoint import CARD_VERSION, CONVENTION, read_card


def new_results(config: DictConfig, model: nn.Module) -> dict[str, Any]:
    """The content of results.json before anything has run."""
    params = count_parameters(model)
    is_training = "data" in config
    counted = {"train_id": train_id(config), "config": identity(config)} if is_training else {"config": _evaluated(config)}
    return {
        "status": "running",
        **counted,
        "params": params,
        "size_mb": round(4 * params / 1e6, 2),
        "commit": commit(),
        "versions": versions(),
        "test": {},
    }


def _evaluated(config: DictConfig) -> dict[str, Any]:
    plain: Any = OmegaConf.to_container(config)
    keys = ("checkpoint", "weights", "crop") if "module" not in config or learns(config) else ("model", "seed", "crop")
    return {key: plain[key] for key in keys}


def summarise_training(trainer: pl.Trainer, datamodule: HeadPoseDataModule, callbacks: dict[str, Any]) -> dict[str, Any]:
    """The `train` entry of results.json; the epochs are those that were run, as the trainer may stop early."""
    watch = callbacks.get("stopwatch") or Stopwatch()
    best = callbacks.get("best")
    summary = {
        "dataset": datamodule.dataset_name,
        "rules": datamodule.rules,
        "n": len(datamodule.split.train),
        "n_val": len(datamodule.split.val),
        "filtered": datamodule.dataset.num_filtered,
        "skipped": len(datamodule.dataset.skipped),
        "split_hash": datamodule.split.hash,
        "epochs": trainer.current_epoch,
        "seconds": round(watch.seconds, 1),
        "images_per_second": round(watch.images / watch.seconds, 1) if watch.seconds else None,
        "best_epoch": None,
    }
    if best is not None and best.best_model_path:  # some of the trainer's switches keep it from being written
        try:
            summary["best_epoch"] = read_card(best.best_model_path)[1]["epoch"]
        except InputError as error:
            again = f"remove {Path(best.best_model_path).parent}, and the same command trains from the start"
            raise InputError(f"{str(error).split(';')[0]}; {again}") from error
        summary["best_val_mae"] = float(best.best_model_score)
    return summary


def no_training() -> dict[str, Any]:
    """The `train` entry of results.json for a model that learns nothing."""
    return {"dataset": None, "n": 0, "epochs": 0, "seconds": 0.0, "best_epoch": None}


def model_card(config: DictConfig, model: nn.Module, datamodule: HeadPoseDataModule) -> dict[str, Any]:
    """The `headposekit` entry of this training's checkpoints: plain containers only."""
    counted = identity(config)
    return {
        "format": CARD_VERSION,
        "train_id": train_id(config),
        "identity": counted,
        "model": counted["model"],
        "crop": counted["crop"],
        "input": _declared_input(model),
        "convention": CONVENTION,
        "training_data": {
            "dataset": datamodule.dataset_name,
            "rules": datamodule.rules,
            "n": len(datamodule.split.train),
        },
    }


def write_model_card(folder: Path, results: dict[str, Any]) -> None:
    """Write README.md beside the checkpoints of a finished training; nothing where there are none."""
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if checkpoint.is_file():
        page = describe_training(results, read_card(checkpoint)[1])
        write_text(checkpoint.parent / "README.md", page)


def _declared_input(model: Any) -> dict[str, Any]:
    """Size, channel order and range, as every network of ours declares them."""
    return {"size": model.input_size, "channels": model.preprocess.channels, "range": "0..255, normalised inside"}
