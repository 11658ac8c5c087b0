"""Configurations as the entry points compose them, networks as checkpoints describe them, and checkpoints of such."""

import copy
import functools
import os
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import nn

from headposekit.sweeps.compose import compose_files
from headposekit.sweeps.resolvers import register_resolvers
from headposekit.weights.checkpoint import build

FSANET: dict[str, Any] = {
    "_target_": "headposekit.models.fsanet.FSANet",
    "scoring": {"_target_": "headposekit.models.fsanet.ConvScoring"},
    "aggregation": {"_target_": "headposekit.models.fsanet.CapsuleAggregation", "_partial_": True, "routing_iterations": 2},
}
HOPENET: dict[str, Any] = {
    "_target_": "headposekit.models.hopenet.Hopenet",
    "backbone": {"_target_": "headposekit.models.backbones.TimmBackbone", "model_name": "resnet10t"},
    "bins": {"_target_": "headposekit.geometry.bins.AngleBins", "limit": 99, "width": 3, "decoding": "left"},
    "input_size": 64,
}
CROP: dict[str, Any] = {
    "_target_": "headposekit.geometry.crops.FSANetCrop", "size": 64, "margin": 0.5, "aflw2000_box": "visible21",
}  # fmt: skip


def compose_config(entry: str, *overrides: str) -> DictConfig:
    """What `python src/<entry>.py` composes of conf/; composed once for all that ask for the same."""
    register_resolvers()
    return copy.deepcopy(_composed(entry, overrides, os.environ.get("HEADPOSEKIT_EXTENSIONS")))


@functools.cache
def _composed(entry: str, overrides: tuple[str, ...], extensions: str | None) -> DictConfig:
    return compose_files(entry, overrides)


def train_config(*overrides: str) -> DictConfig:
    return compose_config("train", *overrides)


def checkpoint_of(
    network: nn.Module, model: dict[str, Any] = FSANET, crop: dict[str, Any] = CROP, **card: Any
) -> dict[str, Any]:
    """What a checkpoint of this network holds; `model` and `crop` say how to build it, `card` what else it says of itself."""
    state = {f"model.{key}": value for key, value in network.state_dict().items()}
    return {"state_dict": state, "headposekit": {"format": 1, "model": model, "crop": crop, **card}}


def write_checkpoint(
    path: Path, model: dict[str, Any] = FSANET, crop: dict[str, Any] = CROP, seed: int = 0, **card: Any
) -> Path:
    """A checkpoint of an untrained network whose poses differ from face to face."""
    torch.manual_seed(seed)
    network = build(model)
    heads = network.heads.parameters() if hasattr(network, "heads") else network.parameter_groups()["heads"]
    for parameter in heads:
        nn.init.normal_(parameter, std=0.2)  # else every pose would be 0
    path.parent.mkdir(exist_ok=True)
    torch.save(checkpoint_of(network, model, crop, **card), path)
    return path
