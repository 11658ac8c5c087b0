"""Checkpoints that hold all that is needed to use them, read safely.

A checkpoint is Lightning's, with one more entry, `headposekit`: plain containers with the network's configuration, the crop
rule, convention, training data and errors. What a configuration may build is decided here, not by Hydra, which would call
anything. The same as two plain files: tensors in NAME.safetensors, the entry in NAME.json.
"""

import contextlib
import inspect
import json
import math
import pkgutil
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from headposekit.errors import InputError, refusing
from headposekit.extensions import defines, is_extension
from headposekit.geometry.crops import CropRule
from headposekit.models.network import PoseNetwork
from headposekit.safe_files import check_file, read_file, read_json
from headposekit.weights.tensor_files import check_tensors, first_difference, load_tensors

CARD_VERSION = 1
CONVENTION = "yaw, pitch, roll in degrees; signs of 300W-LP: nose to image left, face up, head clockwise"
MAX_DEPTH, MAX_LENGTH, MAX_TEXT, MAX_NUMBER = 16, 64, 256, 4096
"""Of the options in a file: how deep they are nested, entries of each list, letters, and the numbers themselves."""
MAX_SIZE, MAX_MARGIN = 1024, 4
"""Of a file's crop rule: pixels of the square, and the margin as a share of the box."""
MAX_WEIGHTS = 2**32
"""Bytes of a .safetensors file, all of which is read."""
OTHERS = "published and exported .onnx files go with weights="
SPARE_VALUES = 2**24
"""How many more values building a network may take than its file holds: a classifier that is cut off again."""


SMALL = 50_000
"""Values of a tensor up to which halving saves little, and rounding shows most: first layers, norms, the last layer."""


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
    model: PoseNetwork
    model_config: dict[str, Any]
    crop_config: dict[str, Any]
    card: dict[str, Any]


def read_card(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Open a checkpoint of this suite without running anything in it.

    Returns:
        the whole checkpoint, and its `headposekit` entry.

    Raises:
        InputError: missing, cut short, holding anything but tensors and plain containers, or not of this suite.
    """
    check_file(path, what="checkpoint")
    is_archive = False  # what torch.save writes is a zip archive
    with contextlib.suppress(zipfile.BadZipFile, OSError):  # of a damaged one
        is_archive = zipfile.is_zipfile(path)
    if not is_archive:
        raise InputError(f"{path}: not a readable checkpoint, or cut short; restore it ({OTHERS})")
    content = load_tensors(path)
    card = content.get("headposekit") if isinstance(content, dict) else None
    if not isinstance(card, dict) or "state_dict" not in content:
        raise InputError(f"{path}: not a checkpoint of this suite (no `headposekit` entry); {OTHERS}")
    check_tensors(path, content["state_dict"])
    check_format(path, card)
    return content, card


def check_format(path: str | Path, card: dict[str, Any]) -> None:
    """Raise InputError where what a file says of itself is in another format, or not made of plain containers."""
    found = card.get("format")
    if found != CARD_VERSION or type(found) is not int:
        shown = repr(found)[:40] if isinstance(found, int | float | str) else type(found).__name__
        raise InputError(f"{path}: checkpoint format {shown}, this version reads {CARD_VERSION}; convert or retrain")
    with refusing(path, "what it says of itself is not made of numbers, texts and lists", "restore the file"):
        json.dumps(card)


def load_checkpoint(path: str | Path) -> LoadedNetwork:
    """Rebuild a network from its checkpoint alone, in eval mode; InputError see `read_card` and `rebuild`."""
    content, card = read_card(path)
    return rebuild(path, card, content["state_dict"])


def load_safetensors(path: str | Path) -> LoadedNetwork:
    """Rebuild a network, in eval mode, from a .safetensors file and the .json beside it; InputError where one is unusable."""
    path = Path(path)
    description = path.with_suffix(".json")
    for file in (path, description):
        check_file(file)
    card = read_json(description)
    if not isinstance(card, dict):
        raise InputError(f"{description}: does not describe a network; export it again")
    content = read_file(path, MAX_WEIGHTS)
    with refusing(path, "not readable as tensors, or cut short", "export it again"):
        state = safetensors.torch.load(content)
    check_format(path, card)
    return rebuild(path, card, check_tensors(path, state))


def safetensors_bytes(network: nn.Module, half: bool = False) -> bytes:
    """The content of a .safetensors file: every tensor of a network's state, named as in a checkpoint.

    With `half`, large ones are in half precision.
    """
    # Copies: tensors that share memory are refused.
    state = {f"model.{key}": value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
    if half:
        state = {
            key: value.half() if value.is_floating_point() and value.numel() > SMALL else value for key, value in state.items()
        }
    return bytes(safetensors.torch.save(state))


def rebuild(path: str | Path, card: dict[str, Any], state_dict: dict[str, Any]) -> LoadedNetwork:
    """A network, in eval mode, from what its file says of itself and from its `model.*` tensors.

    Raises:
        InputError: the configuration names something that may not be built, or does not fit the tensors.
    """
    num_values = sum(value.numel() for value in state_dict.values())
    with refusing(path, "its configuration cannot be used", "restore the file"):
        crop = build_crop(card["crop"])
        with _AtMost(num_values + SPARE_VALUES):
            model = build(card["model"])
    if not isinstance(model, PoseNetwork) or not isinstance(crop, CropRule):
        raise InputError(f"{path}: its configuration does not describe a network and a crop rule; refused")
    if model.input_size not in (crop.size, None):
        raise InputError(f"{path}: its crops have {crop.size} pixels, but its network takes {model.input_size}; refused")
    load_network_state(model, state_dict, path)
    return LoadedNetwork(str(path), model.eval(), card["model"], card["crop"], card)


class _AtMost(TorchDispatchMode):
    """Within it, new tensors of no more values than these in all can be made; raises InputError before memory is taken."""

    def __init__(self, num_values: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.left = num_values

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        """Count what an operation is asked to make."""
        if args and isinstance(args[0], list | tuple) and all(isinstance(side, int) for side in args[0]):
            self.left -= math.prod(args[0])
        elif func.overloadpacket in (torch.ops.aten.arange, torch.ops.aten.linspace):
            self.left -= int(max(abs(value) for value in args if isinstance(value, int | float)))
        if self.left < 0:
            raise InputError("it describes a network that is larger than the file's tensors; refused")
        return func(*args, **(kwargs or {}))


def read_weights_into(model: nn.Module, path: str | Path) -> None:
    """Fill a network from one of our checkpoints; InputError for an unusable one, or one of another network."""
    load_network_state(model, read_card(path)[0]["state_dict"], path)


def load_network_state(model: nn.Module, state_dict: dict[str, Any], path: str | Path) -> None:
    """Fill a network with the `model.*` tensors of a checkpoint; InputError in one line where they do not fit."""
    state = {key.removeprefix("model."): value for key, value in state_dict.items() if key.startswith("model.")}
    own = model.state_dict()
    if odd := first_difference(own, state):
        raise InputError(f"{path}: holds another network than {type(model).__name__} as configured (they differ in {odd[:80]})")
    model.load_state_dict(state)


def build_crop(config: Any) -> Any:
    """A crop rule from its plain configuration, see `build`; raises InputError also where its squares are too large."""
    crop = build(config)
    options = vars(crop) if isinstance(crop, CropRule) else {}
    for name, value in options.items():
        limit = MAX_SIZE if name == "size" else MAX_MARGIN if name.endswith("margin") else None
        if limit is not None and isinstance(value, int | float) and not value <= limit:
            raise InputError(f"crop.{name}={value} is beyond {limit}; refused")
    return crop


def build(config: Any, depth: int = 0) -> Any:
    """Instantiate a plain configuration, with `_target_`s of this suite's networks and crop rules only, and of extensions.

    A small, closed counterpart of `hydra.utils.instantiate` for files from strangers. InputError for another target, another
    option of Hydra's, or a value beyond what any network needs (`MAX_NUMBER` and others).
    """
    if depth > MAX_DEPTH:
        raise InputError(f"options nested more than {MAX_DEPTH} deep; refused")
    if isinstance(config, list | tuple | dict | str) and len(config) > (MAX_TEXT if isinstance(config, str) else MAX_LENGTH):
        raise InputError(f"an option of {len(config):,} entries or letters; refused")
    if isinstance(config, list | tuple):
        return [build(item, depth + 1) for item in config]
    if not isinstance(config, dict):
        return config
    arguments = {key: build(value, depth + 1) for key, value in config.items() if not key.startswith("_")}
    # A trunk's ImageNet weights: the checkpoint's own come in their place, so nothing is fetched or opened.
    arguments |= {key: without for key, without in {"pretrained": False, "checkpoint_path": None}.items() if key in arguments}
    if "_target_" not in config:
        return arguments
    unexpected = {key for key in config if key.startswith("_")} - {"_target_", "_partial_"}
    if unexpected:
        raise InputError(f"{sorted(unexpected)[0]} is not allowed in a checkpoint")
    target = _allowed_target(config["_target_"])
    for key, value in arguments.items():
        if not is_extension(config["_target_"]) and isinstance(value, int | float) and not abs(value) <= MAX_NUMBER:
            raise InputError(f"{key}={str(value)[:40]} is beyond {MAX_NUMBER}; refused")
    return partial(target, **arguments) if config.get("_partial_") else target(**arguments)


def _allowed_target(name: Any) -> Any:
    """The class behind a target, if it is a network or crop rule of ours, or of the user's own extensions.

    Never what a name reaches by walking through the attributes of such a file, as another package that it imports.
    """
    refusal = InputError(
        f"target {name} is not one of this suite's networks or crop rules; refused (for a network of your own, "
        "name its folder in HEADPOSEKIT_EXTENSIONS)"
    )
    ours = ("headposekit.models.", "headposekit.heads.", "headposekit.geometry.crops.", "headposekit.geometry.bins.")
    if not isinstance(name, str) or not (name.startswith(ours) or is_extension(name)):
        raise refusal
    try:
        target = pkgutil.resolve_name(name)
    except Exception as error:  # importing can fail in any way
        raise refusal from error
    is_it = inspect.isclass(target) and f"{target.__module__}.{target.__qualname__}" == name
    if not is_it or not (name.startswith(ours) or defines(target)):
        raise refusal
    return target
