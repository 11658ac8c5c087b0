"""Weights of other authors' networks (`models/others.py`): which one a file holds, and its tensors by our names.

6DRepNet (in the form to deploy) and 6DRepNet360, hopenet-lite, Li et al.'s lightweight network and the PyTorch port of FSA-Net:
state dicts, the port's as ONNX too. WHENet: a Keras .h5 file.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from headposekit.errors import InputError, import_optional, refusing
from headposekit.geometry.conventions import ANGLES
from headposekit.models.others import WHENet
from headposekit.safe_files import MAX_BYTES, check_file, read_file

Named = tuple[str, dict[str, Tensor], dict[str, Any]]
"""What a network is called, its tensors by our names, its configuration."""
MODELS = "headposekit.models.others."
SHUFFLENET_STAGES = [*(f"stage2.{n}" for n in range(4)), *(f"stage3.{n}" for n in range(8)), *(f"stage4.{n}" for n in range(4))]
"""The blocks of ShuffleNetV2 as torchvision calls them."""
PORT_FIRST = "msms.s0_conv0.conv.depthwise.weight"
PORT_LEVELS = {
    "conv0": "0.0",
    "conv1_0": "0.1",
    "conv1_1": "0.2",
    "conv2_0": "1.0",
    "conv2_1": "1.1",
    "conv3_0": "2.0",
    "conv3_1": "2.1",
}
"""The port's blocks of a stream, and ours."""
EPS_OF_PORT, EPS = 1e-5, 1e-3
"""What batch normalisations add to a variance, in the port and here."""


def other_state_dict(path: str | Path, state: Mapping[str, Tensor]) -> Named | None:
    """The tensors of another author's network; None where the names are of none of them.

    Raises:
        InputError: 6DRepNet as it is trained; or the port without a tensor that is needed.
    """
    if any(".rbr_dense." in key for key in state):
        raise InputError(f"{path}: a 6DRepNet as it is trained; convert it for deployment first, by its authors' convert.py")
    if "layer0.rbr_reparam.weight" in state:
        return "6DRepNet", _renamed(state, _of_repvgg), {"_target_": f"{MODELS}SixDRepNet"}
    if "linear_reg.weight" in state:
        return "6DRepNet360", _renamed(state, _of_resnet), {"_target_": f"{MODELS}SixDRepNet360"}
    if "fc_y.weight" in state or "fc_y.0.weight" in state:
        return "hopenet-lite", _renamed(state, _of_shufflenet), {"_target_": f"{MODELS}HopenetLite"}
    if "features.1.exp_conv.0.weight" in state:
        return "lightweight network of Li et al.", _renamed(state, _of_lightweight), {"_target_": f"{MODELS}LightweightNet"}
    return _port(path, state) if PORT_FIRST in state else None


def _renamed(state: Mapping[str, Tensor], rename: Any) -> dict[str, Tensor]:
    """Without the layer that is left from an experiment."""
    return {rename(key): value for key, value in state.items() if not key.startswith("fc_finetune.")}


def _of_repvgg(key: str) -> str:
    key = re.sub(r"^layer0\.rbr_reparam", "layer0.0.rbr_reparam", key)
    return re.sub(r"^layer(\d)\.(\d+)\.rbr_reparam", r"backbone.stages.\1.\2", key)


def _of_resnet(key: str) -> str:
    return key if key.startswith("linear_reg.") else f"backbone.trunk.{key}"


def _of_shufflenet(key: str) -> str:
    """Of torchvision's names, or of those of the implementation before it."""
    if head := re.fullmatch(r"fc_([ypr])(?:\.0)?\.(\w+)", key):
        angle = next(angle for angle in ANGLES if angle.startswith(head[1]))
        return f"fc_{angle}.{head[2]}"
    key = re.sub(r"^features\.(\d|1[0-5])(?=\.)", lambda block: SHUFFLENET_STAGES[int(block[1])], key)
    return "backbone.trunk." + key.replace("conv_last.", "conv5.").replace(".banch", ".branch")


def _of_lightweight(key: str) -> str:
    return key if key.startswith("fc_") else f"backbone.{key}"


# ------------------------------------------------------------------------------------------------------------- port of FSA-Net


def read_port_onnx(path: str | Path) -> dict[str, Tensor] | None:
    """The weights in an ONNX file of the port, by its names; None of any other ONNX file, InputError where it is unreadable."""
    check_file(path, MAX_BYTES, "exported network")
    onnx = import_optional("onnx", "onnx is not installed; pip install onnx (or -r requirements.txt)")
    with refusing(path, "not a readable ONNX file, or cut short", "fetch or export it again"):
        tensors = {tensor.name: tensor for tensor in onnx.load_from_string(read_file(path)).graph.initializer}
        if PORT_FIRST not in tensors:
            return None
        named = {name: tensor for name, tensor in tensors.items() if not name.isdigit()}  # without the exporter's constants
        if any(tensor.data_location != onnx.TensorProto.DEFAULT or tensor.external_data for tensor in named.values()):
            raise InputError("it keeps its weights in other files; save it as one")
        return {name: torch.from_numpy(onnx.numpy_helper.to_array(tensor).copy()) for name, tensor in named.items()}


def _port(path: str | Path, state: Mapping[str, Tensor]) -> Named:
    """The port's tensors by the names of FSA-Net.

    What its layers have in excess goes into the next ones: the depthwise bias into the pointwise one, the smaller constant of
    batch normalisation into its scale. Its stage vectors begin with the numbers of the shift, ours with those of the scale.
    """
    scoring = "ConvScoring" if "fgsm.attention_maps.reduce_channel.conv.weight" in state else "VarianceScoring"
    config = {"_target_": f"{MODELS}FSANetPort", "scoring": {"_target_": f"headposekit.models.fsanet.{scoring}"}}
    with refusing(path, "not a complete published port of FSA-Net", "fetch the file again"):
        return "port of FSA-Net", dict(_port_tensors(state)), config


def _port_tensors(state: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    left = dict(state)
    for stream, ours in (("s0", "relu_stream"), ("s1", "tanh_stream")):
        for level, name in PORT_LEVELS.items():
            block = f"msms.{stream}_{level}"
            own = f"backbone.{ours}.{name}"
            taken = {part: left.pop(f"{block}.{part}") for part in BLOCK_OF_PORT}
            depthwise_bias, pointwise = taken.pop("conv.depthwise.bias"), taken["conv.pointwise.weight"]
            variance = taken["bn.running_var"]
            taken["conv.pointwise.bias"] = taken["conv.pointwise.bias"] + pointwise[:, :, 0, 0] @ depthwise_bias
            taken["bn.weight"] = taken["bn.weight"] * ((variance + EPS) / (variance + EPS_OF_PORT)).sqrt()
            for part, value in taken.items():
                yield f"{own}.{part.replace('conv.', '').replace('bn.', 'norm.')}", value
        for stage in range(3):  # ours begin with the deepest
            for part in ("weight", "bias"):
                yield (
                    f"stage_features.{ours[:4]}_conv.{stage}.{part}",
                    left.pop(f"msms.{stream}_conv{3 - stage}_out.conv.{part}"),
                )
    for part in ("weight", "bias"):
        if (score := left.pop(f"fgsm.attention_maps.reduce_channel.conv.{part}", None)) is not None:
            yield f"scoring.conv.{part}", score.flatten(1) if part == "weight" else score
        yield f"mapping.row_map.{part}", left.pop(f"fgsm.fm.{part}")
        yield f"mapping.combine.{part}", left.pop(f"fgsm.fc.{part}")
        for stage in range(3):
            for own, theirs in (("shift", "shift_fc"), ("scale", "scale_fc"), ("probs", "pred_fc")):
                yield f"heads.{stage}.{own}.{part}", left.pop(f"esp_s{stage + 1}.{theirs}.{part}")
    weight = left.pop("caps_layer.affine_w")  # (stages, capsules, 16, 64)
    weight = torch.cat([weight[:, :, 4:8], weight[:, :, :4], weight[:, :, 8:]], dim=2)
    yield "aggregation.weight", weight.permute(1, 3, 0, 2).flatten(2)
    for key, value in left.items():
        if not key.endswith("num_batches_tracked"):
            yield key, value  # which fits nowhere


BLOCK_OF_PORT = (
    *(f"conv.{layer}.{part}" for layer in ("depthwise", "pointwise") for part in ("weight", "bias")),
    *(f"bn.{part}" for part in ("weight", "bias", "running_mean", "running_var")),
)


# ---------------------------------------------------------------------------------------------------------------------- WHENet


def whenet_tensors(arrays: Mapping[str, NDArray[np.float32]]) -> Iterator[tuple[str, tuple[str, str]]]:
    """Where the tensors of WHENet come from in its Keras file, and how their axes change, see `weights/published.py`.

    Keras numbered the layers in the order in which EfficientNet was built, each kind by itself; timm names them in this order.
    """
    numbered = {kind: iter(_in_order(arrays, kind)) for kind in ("conv2d", "depthwise_conv2d", "batch_normalization")}
    for name, module in WHENet().named_modules():
        if isinstance(module, nn.Conv2d):
            kind, kernel, rule = ("conv2d", "kernel", "conv")
            if module.groups > 1:
                kind, kernel, rule = ("depthwise_conv2d", "depthwise_kernel", "depthwise")
            layer = next(numbered[kind], kind)
            yield f"{name}.weight", (f"{layer}/{kernel}", rule)
            if module.bias is not None:
                yield f"{name}.bias", (f"{layer}/bias", "same")
        elif isinstance(module, nn.BatchNorm2d):
            layer = next(numbered["batch_normalization"], "batch_normalization")
            parts = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
            for part, theirs in parts.items():
                yield f"{name}.{part}", (f"{layer}/{theirs}", "same")
        elif isinstance(module, nn.Linear):
            layer = f"{name.removeprefix('fc.')}_new"
            yield f"{name}.weight", (f"{layer}/kernel", "dense")
            yield f"{name}.bias", (f"{layer}/bias", "same")


def _in_order(arrays: Mapping[str, Any], kind: str) -> list[str]:
    found = {key.split("/")[0] for key in arrays}
    numbers = {name: int(match[1] or 0) for name in found if (match := re.fullmatch(rf"{kind}(?:_(\d+))?", name))}
    return sorted(numbers, key=numbers.__getitem__)
