"""Published weights: a file of the authors becomes the network it was saved from, which its content says, never its name.

FSA-Net and SSR-Net-MD: Keras .h5 files of shamangary/FSA-Net (`pre-trained/*_models/<name>/<name>.h5`). Hopenet: state dicts
(.pkl) of natanielruiz/deep-head-pose, of a ResNet or of AlexNet; the dead layer `fc_finetune` is left out. 3DDFA_V2: a state
dict of a MobileNet (.pth) of cleardusk/3DDFA_V2, and the mean and standard deviation of its parameters from a file beside it.
Other authors' networks: see `others.py`.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from headposekit.csv_file import number_in, read_rows
from headposekit.errors import InputError, refusing
from headposekit.models import fsanet
from headposekit.models.network import PoseNetwork
from headposekit.models.threeddfa import NUM_PARAMETERS
from headposekit.safe_files import check_file, has_arrays, read_npz
from headposekit.weights.checkpoint import build
from headposekit.weights.others import other_state_dict, read_port_onnx, whenet_tensors
from headposekit.weights.tensor_files import check_tensors, first_difference, load_tensors

Arrays = dict[str, NDArray[np.float32]]
Origin = tuple[str, str]
"""A dataset's `<layer>/<weight>` in the file, and how its axes become PyTorch's (a key of `TO_TORCH`)."""

TO_TORCH = {
    "same": lambda w: w,
    "dense": lambda w: w.T,
    "conv": lambda w: w.transpose(3, 2, 0, 1),
    "pixelwise": lambda w: w[0, 0].T,  # a 1×1 convolution that we apply as a linear layer
    "depthwise": lambda w: w.transpose(2, 3, 0, 1),
    "capsules": lambda w: w.transpose(1, 3, 0, 2).reshape(w.shape[1], fsanet.FEATURES, fsanet.NUM_STAGES * fsanet.CAPSULE_DIM),
    "centers": lambda w: w[0],
}

RESNETS: dict[tuple[tuple[int, ...], bool], str] = {
    ((2, 2, 2, 2), False): "resnet18.tv_in1k",
    ((3, 4, 6, 3), False): "resnet34.tv_in1k",
    ((3, 4, 6, 3), True): "resnet50.tv_in1k",
    ((3, 4, 23, 3), True): "resnet101.tv_in1k",
}
"""By the blocks of each layer, and whether these are bottlenecks."""

MAX_KERAS = 2**28
"""Bytes of a Keras file; those of this suite's networks have a million."""
WRAPPERS = ("state_dict", "model_state_dict", "best_states", "model", "ema", "net", "network", "weights")
"""Keys under which training programs keep a state dict beside other things."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
MOBILENETS = {8: 0.25, 16: 0.5, 24: 0.75, 32: 1.0, 64: 2.0}
"""Widths of 3DDFA_V2's networks, by the channels of the first layer."""
PICKLE = "param_mean_std_62d_120x120.pkl"
CONVERT = f"python -c \"import pickle, numpy; numpy.savez('mean_std.npz', **pickle.load(open('{PICKLE}', 'rb')))\""
"""Makes a file of mean and std from the published pickle."""

AGGREGATIONS: dict[str, tuple[type, dict[str, Origin]]] = {
    "caps": (fsanet.CapsuleAggregation, {"weight": ("caps/W", "capsules")}),
    "mat_mul_layer_1": (
        fsanet.LinearAggregation,
        {
            "features.weight": ("mat_mul_layer_1/kernel_type1", "dense"),
            "inputs.weight": ("mat_mul_layer_2/kernel_type2", "dense"),
        },
    ),
    "net_vlad_1": (
        fsanet.NetVLADAggregation,
        {
            "assign.weight": ("net_vlad_1/kernel_W1", "dense"),
            "assign.bias": ("net_vlad_1/kernel_B1", "same"),
            "centers": ("net_vlad_1/kernel_W2", "centers"),
            "project.weight": ("net_vlad_1/kernel_H1", "dense"),
        },
    ),
}
"""By the layer that shows which one it is: the class, and where its tensors come from."""


def load_published(path: str | Path) -> tuple[PoseNetwork, dict[str, Any]]:
    """Build and fill the network of one published file; InputError where it is missing, cut short, something else, or has NaN.

    Returns:
        the network in eval mode, and its configuration as `conf/model` would give it (`_target_`, ...).
    """
    check_file(path, what="weights file")
    if Path(path).suffix.lower() == ".onnx":
        return _load_state_dict(path, read_port_onnx(path))
    with open(path, "rb") as file:
        is_of_torch = file.read(2) in (b"PK", b"\x80\x02")  # a zip archive, or a pickle of the older form
    return _load_state_dict(path, load_tensors(path)) if is_of_torch else _load_keras(path)


def _load_keras(path: str | Path) -> tuple[PoseNetwork, dict[str, Any]]:
    arrays = _read_h5(path)
    origins, config = _identify(path, arrays)
    used = {source for source, _ in origins.values()}
    if missing := sorted(used - set(arrays)):
        raise InputError(f"{path}: not a complete published network ({missing[0]} is missing); fetch the file again")
    if unknown := sorted(set(arrays) - used):
        raise InputError(f"{path}: {unknown[0]} belongs to no published network of this suite; check the file")
    if broken := sum(int((~np.isfinite(array)).sum()) for array in arrays.values()):
        raise InputError(
            f"{path}: {broken:,} of its {sum(array.size for array in arrays.values()):,} weights are NaN or infinite; the file "
            "is unusable as published (300W_LP fsanet_var_netvlad is known for it), choose another"
        )
    model = build(config)
    state = model.state_dict()
    for name, (source, rule) in origins.items():
        try:
            tensor = torch.from_numpy(np.ascontiguousarray(TO_TORCH[rule](arrays[source])))
        except (ValueError, IndexError):  # another number of axes
            tensor = torch.empty(0)
        if tensor.shape != state[name].shape:
            raise InputError(f"{path}: {source} has shape {arrays[source].shape}, which does not fit {name}; check the file")
        state[name] = tensor
    model.load_state_dict(state)
    return model.eval(), config


def _load_state_dict(path: str | Path, content: Any) -> tuple[PoseNetwork, dict[str, Any]]:
    if isinstance(content, dict) and isinstance(content.get("headposekit"), dict):
        raise InputError(f"{path}: a checkpoint of this suite; name it *.ckpt and give it with checkpoint=")
    state = check_tensors(path, _unwrapped(content))
    if "dw2_1.conv_dw.weight" in state:
        name, named, config = ("3DDFA_V2", *_threeddfa(path, state))
    else:
        name, named, config = other_state_dict(path, state) or ("Hopenet", *_hopenet(path, state))
    model = build(config)
    own = model.state_dict()
    # Files of 2017 do not count their batches yet.
    named = {key: value for key, value in own.items() if key.endswith("num_batches_tracked")} | named
    if odd := first_difference(own, named):
        raise InputError(f"{path}: not a complete published {name} ({odd} does not fit); fetch the file again")
    model.load_state_dict(named)
    return model.eval(), config


def _hopenet(path: str | Path, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of a Hopenet by our names, and its configuration."""
    config: dict[str, Any] = {
        "_target_": "headposekit.models.hopenet.Hopenet",
        "backbone": _hopenet_trunk(path, state),
        "bins": {"_target_": "headposekit.geometry.bins.AngleBins", "limit": 99, "width": 3, "decoding": "left"},
        "input_size": 224,
    }
    prefix = "backbone.trunk." if "model_name" in config["backbone"] else "backbone."
    named = {
        key if key.startswith("fc_") else f"{prefix}{key}": value
        for key, value in state.items()
        if not key.startswith("fc_finetune.")
    }
    return named, config


def _threeddfa(path: str | Path, state: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors of 3DDFA_V2's network by our names, without the landmarks of its training, and its configuration."""
    channels = len(state["conv1.weight"]) if "conv1.weight" in state and state["conv1.weight"].ndim else 0
    if channels not in MOBILENETS:
        expected = ", ".join(map(str, MOBILENETS))
        raise InputError(f"{path}: a 3DDFA_V2 network whose first layer has {channels} channels, expected {expected}; check it")
    named = {
        f"blocks.{key}" if key.startswith("dw") else key.replace("fc_param.", "fc."): value
        for key, value in state.items()
        if not key.startswith("fc_lm.")
    }
    config = {
        "_target_": "headposekit.models.threeddfa.ThreeDDFANet",
        "width": MOBILENETS[channels],
        "input_size": 120,
    }
    return named | _mean_and_std(Path(path)), config


def _mean_and_std(path: Path) -> dict[str, Tensor]:
    """Mean and standard deviation of 3DDFA_V2's parameters, (62,) each, from the one file of them beside its weights."""
    beside = sorted(file for kind in ("csv", "npz") for file in path.parent.glob(f"*mean_std*.{kind}"))
    if len(beside) != 1:
        found = f"{len(beside)} files *mean_std* beside it" if beside else "no *mean_std*.csv or *mean_std*.npz beside it"
        remedy = "leave the one that belongs to it" if beside else f"make one of the published pickle there: {CONVERT}"
        raise InputError(f"{path}: {found}, which a 3DDFA_V2 network needs; {remedy}")
    (file,) = beside
    if file.suffix == ".csv":
        rows = read_rows(file, ("mean", "std"), "name the columns mean,std")
        numbers = [[number_in(f"{file}, line {row.line}", row, key) for row in rows] for key in ("mean", "std")]
        arrays = dict(zip(("mean", "std"), np.array(numbers), strict=True))
    else:
        arrays = read_npz(file)
    shape = (NUM_PARAMETERS,)
    if not has_arrays(arrays, {"mean": ("f", shape), "std": ("f", shape)}):
        raise InputError(f"{file}: expected {NUM_PARAMETERS} numbers each of mean and std; {CONVERT}")
    if not (np.isfinite(arrays["mean"]).all() and np.isfinite(arrays["std"]).all() and (arrays["std"] > 0).all()):
        raise InputError(f"{file}: mean must be finite, and std finite and above 0; {CONVERT}")
    return {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in ("mean", "std")}


def _unwrapped(content: Any) -> Any:
    """A state dict out of what training programs wrap around it, its names without the prefixes of DataParallel and others."""
    for _ in WRAPPERS:
        held = [content[key] for key in WRAPPERS if isinstance(content, dict) and isinstance(content.get(key), dict)]
        content = held[0] if held else content
    if not isinstance(content, dict) or not content or not all(isinstance(key, str) for key in content):
        return content
    while prefix := next((prefix for prefix in PREFIXES if all(key.startswith(prefix) for key in content)), None):
        content = {key.removeprefix(prefix): value for key, value in content.items()}
    return content


def _hopenet_trunk(path: str | Path, state: dict[str, Any]) -> dict[str, Any]:
    """Configuration of the trunk that a state dict's keys describe."""
    untrained = {"pretrained": False, "checkpoint_path": None}
    if "fc_yaw.weight" in state and "features.0.weight" in state:
        return {"_target_": "headposekit.models.backbones.AlexNetBackbone", **untrained}
    blocks = tuple(len({key.split(".")[1] for key in state if key.startswith(f"layer{layer}.")}) for layer in range(1, 5))
    name = RESNETS.get((blocks, "layer1.0.conv3.weight" in state))
    if "fc_yaw.weight" not in state or name is None:
        raise InputError(
            f"{path}: a state dict, but neither of Hopenet (its trunks are ResNets or AlexNet) nor of another network that "
            "docs/models.md names; check the file"
        )
    return {"_target_": "headposekit.models.backbones.TimmBackbone", "model_name": name, **untrained}


def _read_h5(path: str | Path) -> Arrays:
    """All datasets of a Keras weights file, by `<layer>/<weight>`."""
    size = check_file(path, MAX_KERAS, "weights file")
    with refusing(path, "not a readable HDF5 file, or cut short", "fetch it again"), h5py.File(path, "r") as file:
        is_model = "model_config" in file.attrs and "model_weights" in file  # of model.save, with the weights inside
        group = file["model_weights"] if is_model else file
        if "layer_names" not in group.attrs:
            raise InputError("an HDF5 file, but not of Keras weights (no layer_names); give the network's .h5")
        return dict(_datasets(group, size))


def _datasets(root: h5py.Group, size: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """`<layer>/<weight>` and values of all datasets below a group of a file of `size` bytes.

    InputError where one is not plain numbers in this file: a link, another file's, computed, compressed, or too large.
    """
    groups, seen, left = [root], {h5py.h5o.get_info(root.id).addr}, size
    while groups:
        group = groups.pop()
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                raise InputError(f"{name[:80]} is a link to another place; save the weights into one file")
            item = group[name]
            if (address := h5py.h5o.get_info(item.id).addr) in seen:
                raise InputError(f"{name[:80]} is there twice; save the weights again")
            seen.add(address)
            if isinstance(item, h5py.Group):
                groups.append(item)
            elif isinstance(item, h5py.Dataset):
                left -= _check_dataset(name[:80], item)
                if left < 0:
                    raise InputError("its arrays are larger than the file; it is damaged")
                layer, weight = item.name.split("/")[-2:]
                yield f"{layer}/{weight.removesuffix(':0')}", np.asarray(item[()], dtype=np.float32)


def _check_dataset(name: str, dataset: h5py.Dataset) -> int:
    """Bytes of a dataset of plain numbers; raises InputError where it is something else."""
    created = dataset.id.get_create_plist()
    if created.get_layout() == h5py.h5d.VIRTUAL or created.get_external_count() > 0:
        raise InputError(f"{name} lies in other files; save the weights into one file")
    if created.get_nfilters() > 0:
        raise InputError(f"{name} is compressed; save the weights again without compression")
    if dataset.shape is None or dataset.dtype.kind not in "fiu" or dataset.dtype.subdtype is not None:
        raise InputError(f"{name} holds something else than numbers; give the network's .h5")
    num_bytes = math.prod(dataset.shape) * dataset.dtype.itemsize
    is_chunked = created.get_layout() == h5py.h5d.CHUNKED
    stored = int(dataset.id.get_storage_size())
    if num_bytes > stored or (not is_chunked and num_bytes != stored):
        raise InputError(f"{name} is larger than what is stored of it; the file is damaged")
    return stored


def _identify(path: str | Path, arrays: Arrays) -> tuple[dict[str, Origin], dict[str, Any]]:
    """Which network a file holds: where each of its tensors comes from, and its configuration."""
    layers = {key.split("/")[0] for key in arrays}
    if "yaw_new" in layers:
        return dict(whenet_tensors(arrays)), {"_target_": "headposekit.models.others.WHENet"}
    if "separable_conv2d_1" not in layers or "delta_s1" not in layers:
        raise InputError(f"{path}: Keras weights, but neither of FSA-Net, SSR-Net-MD nor WHENet; check the file")
    if "conv2d_1" in layers and "dense_9" in layers:  # three dense layers a stage; FSA-Net has at most five in all
        return dict(_ssrnet_tensors()), {"_target_": "headposekit.models.ssrnet.SSRNetMD"}
    scoring = (
        fsanet.ConvScoring if "conv2d_7" in layers else fsanet.VarianceScoring if "dense_4" in layers else fsanet.NoScoring
    )
    shown_by = next((layer for layer in AGGREGATIONS if layer in layers), None)
    if shown_by is None:
        raise InputError(f"{path}: an FSA-Net without a known aggregation; check the file")
    aggregation: dict[str, Any] = {"_target_": _name_of(AGGREGATIONS[shown_by][0]), "_partial_": True}
    if shown_by == "caps":
        aggregation["routing_iterations"] = 2
    config = {
        "_target_": "headposekit.models.fsanet.FSANet",
        "scoring": {"_target_": _name_of(scoring)},
        "aggregation": aggregation,
    }
    return dict(fsanet_tensors(scoring, shown_by)), config


def _name_of(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def fsanet_tensors(scoring: type, shown_by: str) -> Iterator[tuple[str, Origin]]:
    """The tensors of an FSA-Net and where they come from, by its scoring and the layer that shows its aggregation."""
    yield from _backbone_tensors()
    for stage in range(fsanet.NUM_STAGES):
        yield from _layer(f"stage_features.tanh_conv.{stage}", f"conv2d_{2 * stage + 1}", "conv")
        yield from _layer(f"stage_features.relu_conv.{stage}", f"conv2d_{2 * stage + 2}", "conv")
    if scoring is fsanet.ConvScoring:
        yield from _layer("scoring.conv", "conv2d_7", "pixelwise")
    if scoring is not fsanet.NoScoring:
        yield from _layer("mapping.row_map", "dense_1", "dense")
        yield from _layer("mapping.combine", "dense_2", "dense")
    for name, origin in AGGREGATIONS[shown_by][1].items():
        yield f"aggregation.{name}", origin
    first_dense = 1 if scoring is fsanet.NoScoring else 3
    for stage in range(fsanet.NUM_STAGES):
        yield from _layer(f"heads.{stage}.probs", f"dense_{first_dense + stage}", "dense")
        yield from _layer(f"heads.{stage}.scale", f"delta_s{stage + 1}", "dense")
        yield from _layer(f"heads.{stage}.shift", f"local_delta_stage{stage + 1}", "dense")


def _ssrnet_tensors() -> Iterator[tuple[str, Origin]]:
    yield from _backbone_tensors()
    for stage in range(fsanet.NUM_STAGES):
        yield from _layer(f"stages.{stage}.tanh_branch.0", f"conv2d_{2 * stage + 1}", "conv")
        yield from _layer(f"stages.{stage}.relu_branch.0", f"conv2d_{2 * stage + 2}", "conv")
        yield from _layer(f"heads.{stage}.scale.0", f"dense_{3 * stage + 1}", "dense")
        yield from _layer(f"heads.{stage}.scale.2", f"delta_s{stage + 1}", "dense")
        yield from _layer(f"heads.{stage}.shift.0", f"dense_{3 * stage + 2}", "dense")
        yield from _layer(f"heads.{stage}.shift.2", f"local_delta_stage{stage + 1}", "dense")
        yield from _layer(f"heads.{stage}.probs.0", f"dense_{3 * stage + 3}", "dense")


def _backbone_tensors() -> Iterator[tuple[str, Origin]]:
    """The two streams: Keras numbers the ReLU stream's seven blocks first, then the tanh stream's."""
    blocks = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0), (2, 1)]
    names = [f"backbone.{stream}.{level}.{block}" for stream in ("relu_stream", "tanh_stream") for level, block in blocks]
    for number, name in enumerate(names, start=1):
        separable, norm = f"separable_conv2d_{number}", f"batch_normalization_{number}"
        yield f"{name}.depthwise.weight", (f"{separable}/depthwise_kernel", "depthwise")
        yield f"{name}.pointwise.weight", (f"{separable}/pointwise_kernel", "conv")
        yield f"{name}.pointwise.bias", (f"{separable}/bias", "same")
        yield f"{name}.norm.weight", (f"{norm}/gamma", "same")
        yield f"{name}.norm.bias", (f"{norm}/beta", "same")
        yield f"{name}.norm.running_mean", (f"{norm}/moving_mean", "same")
        yield f"{name}.norm.running_var", (f"{norm}/moving_variance", "same")


def _layer(name: str, layer: str, rule: str) -> Iterator[tuple[str, Origin]]:
    yield f"{name}.weight", (f"{layer}/kernel", rule)
    yield f"{name}.bias", (f"{layer}/bias", "same")
