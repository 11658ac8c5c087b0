"""Networks from files of every kind, each with what is needed to use it right."""

import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from headposekit.errors import InputError
from headposekit.models.fold import fold
from headposekit.models.fusion import LateFusion
from headposekit.models.network import PoseNetwork
from headposekit.safe_files import refuse_address
from headposekit.weights.checkpoint import (
    LoadedNetwork,
    build,
    load_checkpoint,
    load_network_state,
    load_safetensors,
    read_weights_into,
)
from headposekit.weights.onnx_files import OnnxNetwork, in_onnx_runtime, load_onnx
from headposekit.weights.others import read_port_onnx
from headposekit.weights.published import load_published
from headposekit.weights.shipped import find_shipped

FSANET_CROP = {
    "_target_": "headposekit.geometry.crops.FSANetCrop",
    "size": 64,
    "margin": 0.6,
    "aflw2000_box": "visible21",
    "detector_margin": 0.4,
}
HOPENET_CROP = {
    "_target_": "headposekit.geometry.crops.HopenetCrop",
    "size": 224,
    "aflw2000_box": "official",
    "order_free": False,
}
THREEDDFA_CROP = {"_target_": "headposekit.geometry.crops.ThreeDDFACrop", "size": 120, "aflw2000_box": "pt3d_68"}
SIXDREPNET_CROP = {**HOPENET_CROP, "_target_": "headposekit.geometry.crops.SixDRepNetCrop"}
HEAD_CROP = {"_target_": "headposekit.geometry.crops.MarginCrop", "size": 224, "margin": 0.1, "aflw2000_box": "pt3d_68"}
PUBLISHED_CROP = {
    "headposekit.models.fsanet.FSANet": FSANET_CROP,
    "headposekit.models.ssrnet.SSRNetMD": FSANET_CROP,
    "headposekit.models.hopenet.Hopenet": HOPENET_CROP,
    "headposekit.models.threeddfa.ThreeDDFANet": THREEDDFA_CROP,
    "headposekit.models.others.SixDRepNet": SIXDREPNET_CROP,
    "headposekit.models.others.SixDRepNet360": SIXDREPNET_CROP,
    "headposekit.models.others.HopenetLite": HOPENET_CROP,
    "headposekit.models.others.WHENet": HOPENET_CROP,
    "headposekit.models.others.LightweightNet": HEAD_CROP,
    "headposekit.models.others.FSANetPort": FSANET_CROP,
}
"""With which each architecture's published weights were trained on 300W-LP, as far as their authors say, see docs/models.md."""

log = logging.getLogger(__name__)


def load_member(path: str | Path) -> LoadedNetwork:
    """Load a checkpoint (.ckpt), a .safetensors file with its .json, an exported .onnx file, a published one (any other), or a
    network of the package by its name.

    InputError for an unusable file; or a .pt2, which cannot be opened without trusting it (torch.export.load unpickles).
    """
    refuse_address(path)
    path = find_shipped(path)
    suffix = Path(path).suffix.lower()
    if suffix in (".ckpt", ".safetensors"):
        return load_own(path)
    if suffix == ".pt2":
        raise InputError(f"{path}: opening a .pt2 file could run code in it; export as format=onnx or format=safetensors")
    if suffix == ".onnx" and read_port_onnx(path) is None:
        exported, card = load_onnx(path)
        return LoadedNetwork(str(path), exported, card["model"], card["crop"], card)
    model, model_config = load_published(path)
    return LoadedNetwork(str(path), model, model_config, PUBLISHED_CROP[model_config["_target_"]], {})


def load_own(path: str | Path) -> LoadedNetwork:
    """Load a checkpoint of this suite, its .safetensors form, or a network of the package; InputError where it is none."""
    path = find_shipped(path)
    return load_safetensors(path) if Path(path).suffix.lower() == ".safetensors" else load_checkpoint(path)


def load_all(paths: Sequence[str | Path]) -> list[LoadedNetwork]:
    """Load the files of one network or of a late fusion; InputError for none, a repeated or unusable one, different crops."""
    if not paths:
        raise InputError("no network given; name a checkpoint or a file of published weights (several make their late fusion)")
    refuse_repeated([str(path) for path in paths])
    members = [load_member(path) for path in paths]
    refuse_other_crops(members)
    return members


def load_initial_weights(model: nn.Module, path: str | Path) -> None:
    """Fill a network before training from a checkpoint (.ckpt) or a published file; InputError where it does not fit."""
    if Path(path).suffix == ".ckpt":
        read_weights_into(model, path)
    else:
        state = load_published(path)[0].state_dict()
        load_network_state(model, {f"model.{key}": value for key, value in state.items()}, path)


def refuse_repeated(paths: Sequence[str]) -> None:
    """Raise InputError where a file is named twice."""
    if twice := [path for path in paths if paths.count(path) > 1]:
        raise InputError(f"{twice[0]} is named twice; a fusion counts each file once")


def refuse_other_crops(members: Sequence[LoadedNetwork]) -> None:
    """Raise InputError where networks were trained with different crops."""
    first, *others = ({"crop": crop.name, **vars(crop)} for crop in (build(member.crop_config) for member in members))
    for member, other in zip(members[1:], others, strict=True):
        if odd := [f"{key}: {first.get(key)}, {other.get(key)}" for key in first | other if first.get(key) != other.get(key)]:
            raise InputError(
                f"{member.path}: trained with another crop than {members[0].path} ({'; '.join(odd)}); use them separately"
            )


def fuse(members: Sequence[LoadedNetwork]) -> PoseNetwork:
    """One network, or the late fusion of several, in eval mode."""
    return _fused([member.model for member in members])


def fastest(members: Sequence[LoadedNetwork], device: torch.device) -> PoseNetwork:
    """The same on a device, in the form that is fastest there: in ONNX Runtime on a CPU, folded on a GPU.

    A network that ONNX Runtime cannot take over runs folded as well, and one that cannot be folded as it is.
    """
    return _fused([_fastest(member.model, device) for member in members])


def _fused(models: list[PoseNetwork]) -> PoseNetwork:
    return (models[0] if len(models) == 1 else LateFusion(models)).eval()


def _fastest(network: PoseNetwork, device: torch.device) -> PoseNetwork:
    if isinstance(network, OnnxNetwork):
        return network
    folded = fold(network)
    if device.type == "cpu":
        try:
            return in_onnx_runtime(folded)
        except InputError as error:
            log.info("%s", error)
    return folded.to(device)
