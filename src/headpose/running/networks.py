"""The network that an evaluation means: one checkpoint, one published file, or the late fusion of several."""

from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf
from torch import nn

from headpose.errors import InputError
from headpose.models.fusion import LateFusion
from headpose.models.published import load_published
from headpose.modules.checkpoint import load_checkpoint
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


def load_networks(config: DictConfig) -> tuple[nn.Module, dict[str, Any]]:
    """Load what `checkpoint=` and `weights=` name, or make the `model=` that learns nothing.

    Returns:
        the network, in eval mode, and the configuration of the crop to test with.

    Raises:
        InputError: nothing given, an unusable file, networks of different crops, or a `model=` that the files do not hold.
    """
    if config.get("module") is not None and not learns(config):
        if config.checkpoint or config.weights:
            raise InputError(f"{config.model._target_.rsplit('.')[-1]} learns nothing; leave checkpoint= and weights= out")
        crop: Any = OmegaConf.to_container(config.crop, resolve=True)
        return instantiate(config.model, _convert_="all"), crop
    if any(override.key_or_group.split(".")[0] == "crop" for override in given_overrides()):
        raise InputError("crop= is the network's own in an evaluation; leave it out (test.aflw2000.box chooses the box)")
    checkpoints, weights = _paths(config.checkpoint), _paths(config.weights)
    if not checkpoints and not weights:
        raise InputError(
            "nothing to evaluate; give checkpoint=PATH or weights=PATH (a list makes their late fusion), or model=landmarks"
        )
    networks: list[tuple[str, nn.Module, dict[str, Any], dict[str, Any]]] = []
    for path in checkpoints:
        loaded = load_checkpoint(path)
        networks.append((path, loaded.model, loaded.model_config, loaded.crop_config))
    for path in weights:
        model, model_config = load_published(path)
        networks.append((path, model, model_config, PUBLISHED_CROP[model_config["_target_"]]))

    if config.get("model") is not None:
        asserted = OmegaConf.to_container(config.model, resolve=True)
        for path, _, model_config, _ in networks:
            if odd := differences(asserted, model_config):
                raise InputError(
                    f"{path}: not the model= that was given ({'; '.join(odd[:3])}); leave model= out or correct it"
                )
    crops = [crop for *_, crop in networks]
    for (path, *_), crop in zip(networks, crops, strict=True):
        if odd := differences(crops[0], crop):
            raise InputError(
                f"{path}: trained with another crop than {networks[0][0]} ({'; '.join(odd)}); evaluate them separately"
            )
    models = [model for _, model, *_ in networks]
    return (models[0] if len(models) == 1 else LateFusion(models)).eval(), crops[0]


def without_imagenet(module: DictConfig) -> DictConfig:
    """The configuration of a network whose weights come from elsewhere: its trunk's ImageNet weights need not be fetched."""
    plain: Any = OmegaConf.to_container(module, resolve=True)
    if "backbone" in plain["model"]:
        plain["model"]["backbone"] |= {"pretrained": False, "checkpoint_path": None}
    network: DictConfig = OmegaConf.create(plain)
    return network


def _paths(value: Any) -> list[str]:
    if value is None:
        return []
    paths = [str(path) for path in value] if isinstance(value, ListConfig | list) else [str(value)]
    twice = [path for path in paths if paths.count(path) > 1]
    if twice:
        raise InputError(f"{twice[0]} is named twice; a fusion counts each file once")
    return [str(Path(path)) for path in paths]
