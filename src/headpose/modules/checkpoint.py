"""Checkpoints that explain themselves, and their safe reading.

A checkpoint is Lightning's, with one more entry, `headpose`: plain containers with the network's resolved configuration, the
crop rule, input size, channel order, angle convention, training data and errors. It opens with `weights_only=True`; what its
configuration may build is decided here, not by Hydra (which would call anything that can be imported).
"""

import inspect
import pickle
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from torch import nn

from headpose.errors import InputError
from headpose.extensions import defines, is_extension
from headpose.models.published import load_published

CARD_VERSION = 1
CONVENTION = "yaw, pitch, roll in degrees; signs of 300W-LP: nose to image left, face up, head clockwise"


@dataclass(frozen=True)
class LoadedNetwork:
    """A network that a file holds, with what it needs to be used right.

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


def read_card(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Open a checkpoint of this suite without running anything in it.

    Args:
        path: a .ckpt file.

    Returns:
        the whole checkpoint, and its `headpose` entry.

    Raises:
        InputError: missing, cut short, holding anything but tensors and plain containers, or not of this suite.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such checkpoint; check the path")
    if not zipfile.is_zipfile(path):  # what torch.save writes is a zip archive
        raise InputError(f"{path}: not a readable checkpoint, or cut short; restore it (published files go with weights=)")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = str(error).split("GLOBAL ")[-1].split(" was not")[0] if "GLOBAL " in str(error) else "code or custom objects"
        raise InputError(
            f"{path}: holds pickled objects ({found}), which could run code when opened; refused. "
            "Save it again as plain tensors and containers"
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise InputError(f"{path}: not a readable checkpoint, or cut short; restore it") from error
    card = content.get("headpose") if isinstance(content, dict) else None
    if not isinstance(card, dict) or "state_dict" not in content:
        raise InputError(f"{path}: not a checkpoint of this suite (no `headpose` entry); published files go with weights=")
    state = content["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()):
        raise InputError(f"{path}: its state_dict is not made of named tensors; restore the file")
    check_content(path, card, state)
    return content, card


def check_content(path: str | Path, card: dict[str, Any], state: dict[str, torch.Tensor]) -> None:
    """Raise InputError where tensors are not finite, or the file is of another format."""
    broken = [key for key, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        raise InputError(f"{path}: {broken[0]} holds NaN or infinity; use a checkpoint from before the training diverged")
    if card.get("format") != CARD_VERSION:
        raise InputError(
            f"{path}: checkpoint format {card.get('format')}, this version reads {CARD_VERSION}; convert or retrain"
        )


def load_checkpoint(path: str | Path) -> LoadedNetwork:
    """Rebuild a network from its checkpoint alone, in eval mode.

    Raises:
        InputError: see `read_card` and `rebuild`.
    """
    content, card = read_card(path)
    return rebuild(path, card, content["state_dict"])


def rebuild(path: str | Path, card: dict[str, Any], state_dict: dict[str, Any]) -> LoadedNetwork:
    """A network from what its file says of itself and from its `model.*` tensors, in eval mode.

    Raises:
        InputError: the configuration names something that may not be built, or does not fit the tensors.
    """
    try:
        model = build(card["model"])
        crop = build(card["crop"])
    except Exception as error:  # what a stranger's options can do to a constructor has no end
        raise InputError(f"{path}: its configuration cannot be used: {error}") from error
    if not isinstance(model, nn.Module) or not hasattr(crop, "aflw2000_box"):
        raise InputError(f"{path}: its configuration does not describe a network and a crop rule; refused")
    load_network_state(model, state_dict, path)
    return LoadedNetwork(str(path), model.eval(), card["model"], card["crop"], card)


def read_weights_into(model: nn.Module, path: str | Path) -> None:
    """Fill a network from one of our checkpoints.

    Raises:
        InputError: see `read_card`; or the checkpoint is of another network.
    """
    content, _ = read_card(path)
    load_network_state(model, content["state_dict"], path)


def load_initial_weights(model: nn.Module, path: str | Path) -> None:
    """Fill a network before training, from one of our checkpoints (.ckpt) or a published file (any other suffix).

    Raises:
        InputError: an unusable file, or one of another network.
    """
    if Path(path).suffix == ".ckpt":
        read_weights_into(model, path)
    else:
        published, _ = load_published(path)
        load_network_state(model, {f"model.{key}": value for key, value in published.state_dict().items()}, path)


def load_network_state(model: nn.Module, state_dict: dict[str, Any], path: str | Path) -> None:
    """Fill a network with the `model.*` tensors of a checkpoint; InputError in one line where they do not fit."""
    state = {key.removeprefix("model."): value for key, value in state_dict.items() if key.startswith("model.")}
    own = model.state_dict()
    odd = sorted(set(state) ^ set(own)) or sorted(key for key in own if own[key].shape != state[key].shape)
    if odd:
        raise InputError(f"{path}: holds another network than {type(model).__name__} as configured (they differ in {odd[0]})")
    model.load_state_dict(state)


def build(config: Any) -> Any:
    """Instantiate a plain configuration, with `_target_`s of this suite's networks and crop rules only, and of extensions.

    A small, closed counterpart of `hydra.utils.instantiate` for files from strangers.

    Raises:
        InputError: a target outside the allowed ones, or an option of Hydra's that has no business here.
    """
    if isinstance(config, list | tuple):
        return [build(item) for item in config]
    if not isinstance(config, dict):
        return config
    arguments = {key: build(value) for key, value in config.items() if not key.startswith("_")}
    # A trunk's ImageNet weights: the checkpoint's own come in their place, so nothing is fetched or opened.
    arguments |= {key: without for key, without in {"pretrained": False, "checkpoint_path": None}.items() if key in arguments}
    if "_target_" not in config:
        return arguments
    unexpected = {key for key in config if key.startswith("_")} - {"_target_", "_partial_"}
    if unexpected:
        raise InputError(f"{sorted(unexpected)[0]} is not allowed in a checkpoint")
    target = _allowed_target(config["_target_"])
    return partial(target, **arguments) if config.get("_partial_") else target(**arguments)


def _allowed_target(name: Any) -> Any:
    """The class behind a target, if it is a network or crop rule of ours, or of the user's own extensions.

    Never what a name reaches by walking through the attributes of such a file, as another package that it imports.
    """
    refusal = InputError(
        f"target {name} is not one of this suite's networks or crop rules; refused (for a network of your own, "
        "name its folder in HEADPOSE_EXTENSIONS)"
    )
    if not isinstance(name, str):
        raise refusal
    is_ours = name.startswith(("headpose.models.", "headpose.geometry.crops.", "headpose.geometry.bins."))
    if not is_ours and not is_extension(name):
        raise refusal
    try:
        target = get_object(name)
    except Exception as error:  # Hydra raises several kinds for a name that leads nowhere
        raise refusal from error
    if not inspect.isclass(target) or f"{target.__module__}.{target.__qualname__}" != name:
        raise refusal
    if not is_ours and not defines(target):
        raise refusal
    return target
