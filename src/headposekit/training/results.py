"""What a run records of itself: results.json, with the code and versions behind it, and the card inside its checkpoints."""

import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from headposekit.errors import InputError
from headposekit.files import write_text
from headposekit.models.network import count_parameters
from headposekit.paths import IS_INSTALLED, ROOT
from headposekit.training.identity import identity, learns, train_id
from headposekit.training.model_card import describe_training
from headposekit.weights.checkpoint import CARD_VERSION, CONVENTION, read_card

if TYPE_CHECKING:  # the pages of reports need no Lightning
    import pytorch_lightning as pl

    from headposekit.data.datamodule import HeadPoseDataModule

PACKAGES = ("torch", "torchvision", "pytorch-lightning", "numpy", "opencv-python-headless", "albumentations", "hydra-core")
"""That numbers depend on."""
NO_TRAINING = {"dataset": None, "n": 0, "epochs": 0, "seconds": 0.0, "best_epoch": None}
"""The `train` entry of results.json for a model that learns nothing."""


def commit() -> str | None:
    """Commit of the project, with `+` where files differ from it; None outside a git checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    if IS_INSTALLED:  # any repository around it is another project's
        return None
    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Versions of `PACKAGES`."""
    return {package: version(package) for package in PACKAGES}


def new_results(config: DictConfig, model: nn.Module) -> dict[str, Any]:
    """The content of results.json before anything has run, of a training or of an evaluation."""
    params = count_parameters(model)
    if "data" in config:
        counted = {"train_id": train_id(config), "config": identity(config)}
    else:
        plain: Any = OmegaConf.to_container(config)
        keys = ("checkpoint", "weights", "crop") if "module" not in config or learns(config) else ("model", "seed", "crop")
        counted = {"config": {key: plain[key] for key in keys}}
    return {
        "status": "running",
        **counted,
        "network": type(model).__name__,
        "params": params,
        "size_mb": round(4 * params / 1e6, 2),
        "commit": commit(),
        "versions": versions(),
        "test": {},
    }


def summarise_training(trainer: "pl.Trainer", datamodule: "HeadPoseDataModule", callbacks: dict[str, Any]) -> dict[str, Any]:
    """The `train` entry of results.json; the epochs are those that were run, as the trainer may stop early."""
    watch, best = callbacks.get("stopwatch"), callbacks.get("best")
    seconds, images = (watch.seconds, watch.images) if watch else (0.0, 0)
    summary = {
        **_training_data(datamodule),
        "n_val": len(datamodule.split.val),
        "filtered": datamodule.dataset.num_filtered,
        "skipped": len(datamodule.dataset.skipped),
        "split_hash": datamodule.split.hash,
        "epochs": trainer.current_epoch,
        "seconds": round(seconds, 1),
        "images_per_second": round(images / seconds, 1) if seconds else None,
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


def model_card(config: DictConfig, model: Any, datamodule: "HeadPoseDataModule") -> dict[str, Any]:
    """The `headposekit` entry of this training's checkpoints: plain containers only."""
    counted = identity(config)
    return {
        "format": CARD_VERSION,
        "train_id": train_id(config),
        "identity": counted,
        "model": counted["model"],
        "crop": counted["crop"],
        "input": {"size": model.input_size, "channels": model.preprocess.channels, "range": "0..255, normalised inside"},
        "convention": CONVENTION,
        "training_data": _training_data(datamodule),
    }


def _training_data(datamodule: "HeadPoseDataModule") -> dict[str, Any]:
    return {"dataset": datamodule.dataset_name, "rules": datamodule.rules, "n": len(datamodule.split.train)}


def write_model_card(folder: Path, results: dict[str, Any]) -> None:
    """Write README.md beside the checkpoints of a finished training; nothing where there are none."""
    checkpoint = folder / "checkpoints" / "last.ckpt"
    if checkpoint.is_file():
        write_text(checkpoint.parent / "README.md", describe_training(results, read_card(checkpoint)[1]))
