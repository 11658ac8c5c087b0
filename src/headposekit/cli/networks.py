"""Networks as options name them: to train, and, of checkpoints and published files, to evaluate."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from hydra import compose
from hydra.core.hydra_config import HydraConfig
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from headposekit.errors import InputError
from headposekit.models.network import PoseNetwork
from headposekit.paths import runs_dir
from headposekit.sweeps.cells import key_of
from headposekit.sweeps.folders import folders_of
from headposekit.sweeps.pool import finished_results
from headposekit.training.identity import differences, learns, train_id
from headposekit.weights.checkpoint import LoadedNetwork
from headposekit.weights.load import fuse, load_member, load_own, refuse_other_crops, refuse_repeated
from headposekit.weights.shipped import DEFAULT

if TYPE_CHECKING:  # prediction runs without Lightning
    from headposekit.training import PoseEvaluator

COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""Of torch.compile; `reduce-overhead` records CUDA graphs, which small batches on a GPU need."""


def load_networks(config: DictConfig) -> tuple[PoseNetwork, dict[str, Any]]:
    """The network that `checkpoint=` and `weights=` name, or the `model=` that learns nothing, and the crop to test with."""
    if config.get("module") is not None and not learns(config):
        if config.checkpoint or config.weights:
            raise InputError(f"{config.model._target_.rsplit('.')[-1]} learns nothing; leave checkpoint= and weights= out")
        crop: Any = OmegaConf.to_container(config.crop, resolve=True)
        return instantiate(config.model, _convert_="all"), crop
    members = load_given(config)
    return fuse(members), members[0].crop_config


def load_given(config: DictConfig, default: str | None = None) -> list[LoadedNetwork]:
    """Load each file that `checkpoint=` and `weights=` name, or the default.

    InputError where one is no `model=`, or crops differ.
    """
    if any(key_of(option).split(".")[0] == "crop" for option in HydraConfig.get().overrides.task):
        raise InputError("crop= is the network's own in an evaluation; leave it out (test.aflw2000.box chooses the box)")
    if not named_files(config) and default is None:
        raise InputError(
            "no network given; give checkpoint=PATH or weights=PATH (a list makes their late fusion), "
            f"or checkpoint={DEFAULT}, which comes with the package"
        )
    members = [*map(load_own, _paths(config.checkpoint)), *map(load_member, _paths(config.weights))]
    if default is not None and not members:
        members = [load_own(default)]
    if config.get("model") is not None:
        asserted = OmegaConf.to_container(config.model, resolve=True)
        for member in members:
            if changed := differences(asserted, member.model_config):
                raise InputError(
                    f"{member.path}: not the model= that was given ({'; '.join(changed[:3])}); leave model= out or correct it"
                )
    refuse_other_crops(members)
    return members


def named_files(config: DictConfig) -> list[str]:
    """What `checkpoint=` and `weights=` name together, each file once."""
    paths = _paths(config.checkpoint) + _paths(config.weights)
    refuse_repeated(paths)
    return paths


def newest_default_training() -> Path | None:
    """The best checkpoint of the newest finished training of `train.py` without options, where there is one."""
    config = compose("train")
    folders = [folder for folder in folders_of(train_id(config), runs_dir()) if finished_results(config, folder)]
    if not folders:
        return None
    newest = max(folders, key=lambda folder: (folder / "results.json").stat().st_mtime) / "checkpoints"
    return newest / "best.ckpt" if (newest / "best.ckpt").is_file() else newest / "last.ckpt"


def without_imagenet(module: DictConfig) -> DictConfig:
    """The configuration of a network whose weights come from elsewhere: its trunk's ImageNet weights need not be fetched."""
    plain: Any = OmegaConf.to_container(module, resolve=True)
    if "backbone" in plain["model"]:
        plain["model"]["backbone"] |= {"pretrained": False, "checkpoint_path": None}
    network: DictConfig = OmegaConf.create(plain)
    return network


def compile_network(module: "PoseEvaluator", mode: str | None) -> None:
    """Have torch.compile translate a module's network at its first training step (None: not at all), for training alone.

    Validation and tests run as written: each would be translated for itself, for tens of seconds.
    """
    if mode is not None and mode not in COMPILE_MODES:
        raise InputError(f"compile={mode} is unknown; choose {', '.join(COMPILE_MODES)} or null")
    if mode is not None:
        module.compiled = torch.compile(module.model.forward, mode=mode)


def _paths(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(Path(path)) for path in (value if isinstance(value, ListConfig | list) else [value])]
