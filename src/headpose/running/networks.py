"""The network that an evaluation means: one checkpoint, one published file, or the late fusion of several."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from headpose.errors import InputError
from headpose.models.fusion import LateFusion
from headpose.models.published import load_published
from headpose.modules.checkpoint import load_checkpoint
from headpose.modules.exported import load_onnx
from headpose.running.entry import given_overrides
from headpose.running.identity import differences, learns

FSANET_CROP = {
    "_target_": "headpose.geometry.crops.FSANetCrop",
    "size": 64,
    "margin": 0.6,
    "aflw2000_box": "visible21",
    "detector_margin": 0.4,
}
HOPENET_CROP = {
    "_target_": "headpose.geometry.crops.HopenetCrop",
    "size": 224,
    "aflw2000_box": "official",
    "order_free": False,
}
PUBLISHED_CROP = {
    "headpose.models.fsanet.FSANet": FSANET_CROP,
    "headpose.models.ssrnet.SSRNetMD": FSANET_CROP,
    "headpose.models.hopenet.Hopenet": HOPENET_CROP,
}
"""With which each architecture's published weights were trained on 300W-LP."""


COMPILE_MODES = ("default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs")
"""Of torch.compile; `reduce-overhead` records CUDA graphs, which small batches on a GPU need."""


@dataclass(frozen=True)
class Member:
    """A network that a file holds.

    Attributes:
        path: the file.
        model: the network, in eval mode.
        model_config, crop_config: plain containers with `_target_`s.
        card: what else the file says of itself; nothing of a published one.
    """

    path: str
    model: nn.Module
    model_config: dict[str, Any]
    crop_config: dict[str, Any]
    card: dict[str, Any]


def load_networks(config: DictConfig) -> tuple[nn.Module, dict[str, Any]]:
    """Load what `checkpoint=` and `weights=` name, or make the `model=` that learns nothing.

    Returns:
        the network, in eval mode, and the configuration of the crop to test with.

    Raises:
        InputError: see `load_members`; or files given for a model that learns nothing.
    """
    if config.get("module") is not None and not learns(config):
        if config.checkpoint or config.weights:
            raise InputError(f"{config.model._target_.rsplit('.')[-1]} learns nothing; leave checkpoint= and weights= out")
        crop: Any = OmegaConf.to_container(config.crop, resolve=True)
        return instantiate(config.model, _convert_="all"), crop
    if not config.checkpoint and not config.weights:
        raise InputError(
            "no network given; give checkpoint=PATH or weights=PATH (a list makes their late fusion), or model=landmarks"
        )
    members = load_members(config)
    return fuse(members), members[0].crop_config


def fuse(members: Sequence[Member]) -> nn.Module:
    """One network, or the late fusion of several, in eval mode."""
    models = [member.model for member in members]
    return (models[0] if len(models) == 1 else LateFusion(models)).eval()


def load_members(config: DictConfig) -> list[Member]:
    """Load each file that `checkpoint=` and `weights=` name.

    Raises:
        InputError: nothing given, an unusable file, networks of different crops, or a `model=` that the files do not hold.
    """
    if any(override.key_or_group.split(".")[0] == "crop" for override in given_overrides()):
        raise InputError("crop= is the network's own in an evaluation; leave it out (test.aflw2000.box chooses the box)")
    checkpoints, weights = _paths(config.checkpoint), _paths(config.weights)
    if not checkpoints and not weights:
        raise InputError("no network given; give checkpoint=PATH or weights=PATH (a list makes their late fusion)")
    members: list[Member] = []
    for path in checkpoints:
        loaded = load_checkpoint(path)
        members.append(Member(path, loaded.model, loaded.model_config, loaded.crop_config, loaded.card))
    for path in weights:
        if Path(path).suffix == ".onnx":
            exported, card = load_onnx(path)
            members.append(Member(path, exported, card["model"], card["crop"], card))
        else:
            model, model_config = load_published(path)
            members.append(Member(path, model, model_config, PUBLISHED_CROP[model_config["_target_"]], {}))

    if config.get("model") is not None:
        asserted = OmegaConf.to_container(config.model, resolve=True)
        for member in members:
            if odd := differences(asserted, member.model_config):
                raise InputError(
                    f"{member.path}: not the model= that was given ({'; '.join(odd[:3])}); leave model= out or correct it"
                )
    for member in members:
        if odd := differences(members[0].crop_config, member.crop_config):
            raise InputError(
                f"{member.path}: trained with another crop than {members[0].path} ({'; '.join(odd)}); evaluate them separately"
            )
    return members


def without_imagenet(module: DictConfig) -> DictConfig:
    """The configuration of a network whose weights come from elsewhere: its trunk's ImageNet weights need not be fetched."""
    plain: Any = OmegaConf.to_container(module, resolve=True)
    if "backbone" in plain["model"]:
        plain["model"]["backbone"] |= {"pretrained": False, "checkpoint_path": None}
    network: DictConfig = OmegaConf.create(plain)
    return network


def compile_network(network: nn.Module, mode: str | None) -> None:
    """Have torch.compile translate a network at its first step; its parameters, and their names, stay as they are.

    Args:
        network: any.
        mode: one of `COMPILE_MODES`; null leaves it as it is.

    Raises:
        InputError: an unknown mode.
    """
    if mode is None:
        return
    if mode not in COMPILE_MODES:
        raise InputError(f"compile={mode} is unknown; choose {', '.join(COMPILE_MODES)} or null")
    network.compile(mode=mode)


def _paths(value: Any) -> list[str]:
    if value is None:
        return []
    paths = [str(path) for path in value] if isinstance(value, ListConfig | list) else [str(value)]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise InputError(f"{twice[0]} is named twice; a fusion counts each file once")
    return [str(Path(path)) for path in paths]
