"""Published weights: a file of the authors becomes the network it was saved from.

FSA-Net and SSR-Net-MD: Keras .h5 files of shamangary/FSA-Net (`pre-trained/*_models/<name>/<name>.h5`). Which network it is
follows from the layer names in the file, never from the file's name. Every tensor of the file is loaded, and every tensor of
the network comes from the file.

Hopenet: state dicts (.pkl) of natanielruiz/deep-head-pose, of a ResNet or of AlexNet, likewise by their keys; the dead layer
`fc_finetune` is left out.
"""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.models.backbones import AlexNetBackbone, TimmBackbone
from headposekit.models.fsanet import (
    CAPSULE_DIM,
    FEATURES,
    NUM_STAGES,
    CapsuleAggregation,
    ConvScoring,
    FSANet,
    LinearAggregation,
    NetVLADAggregation,
    NoScoring,
    VarianceScoring,
)
from headposekit.models.hopenet import Hopenet
from headposekit.models.network import PoseNetwork
from headposekit.models.ssrnet import SSRNetMD
from headposekit.safe_files import check_file
from headposekit.weights.tensor_files import load_tensors

Arrays = dict[str, NDArray[np.float32]]
Source = tuple[str, str]
"""A dataset's `<layer>/<weight>` in the file, and how its axes become PyTorch's (a key of `TO_TORCH`)."""

TO_TORCH = {
    "same": lambda w: w,
    "dense": lambda w: w.T,
    "conv": lambda w: w.transpose(3, 2, 0, 1),
    "pixelwise": lambda w: w[0, 0].T,  # a 1×1 convolution that we apply as a linear layer
    "depthwise": lambda w: w.transpose(2, 3, 0, 1),
    "capsules": lambda w: w.transpose(1, 3, 0, 2).reshape(w.shape[1], FEATURES, NUM_STAGES * CAPSULE_DIM),
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
WRAPPERS = ("state_dict", "model_state_dict", "model", "ema", "net", "network", "weights")
"""Keys under which training programs keep a state dict beside other things."""
PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")

SCORINGS = {"none": NoScoring, "conv": ConvScoring, "variance": VarianceScoring}
AGGREGATIONS = {"none": LinearAggregation, "capsule": CapsuleAggregation, "netvlad": NetVLADAggregation}


def load_published(path: str | Path) -> tuple[PoseNetwork, dict[str, Any]]:
    """Build and fill the network of one published file.

    Args:
        path: a Keras .h5 file of FSA-Net's or SSR-Net-MD's authors, or a .pkl state dict of Hopenet's.

    Returns:
        the network in eval mode, and its configuration as `conf/model` would give it (`_target_`, ...).

    Raises:
        InputError: missing, truncated, of something else, or holding NaN.
    """
    path = Path(path)
    if _is_of_torch(path):
        return _load_hopenet(path)
    arrays = _read_h5(path)
    sources, model, config = _identify(path, arrays)
    missing = sorted({source for source, _ in sources.values()} - set(arrays))
    if missing:
        raise InputError(f"{path}: not a complete published network ({missing[0]} is missing); fetch the file again")
    unknown = sorted(set(arrays) - {source for source, _ in sources.values()})
    if unknown:
        raise InputError(f"{path}: {unknown[0]} belongs to no published network of this suite; check the file")
    _refuse_broken(path, list(arrays.values()))
    state = model.state_dict()
    for name, (source, rule) in sources.items():
        try:
            tensor = torch.from_numpy(np.ascontiguousarray(TO_TORCH[rule](arrays[source])))
        except (ValueError, IndexError):  # another number of axes
            tensor = torch.empty(0)
        if tensor.shape != state[name].shape:
            raise InputError(f"{path}: {source} has shape {arrays[source].shape}, which does not fit {name}; check the file")
        state[name] = tensor
    model.load_state_dict(state)
    return model.eval(), config


def _refuse_broken(path: Path, arrays: Sequence[NDArray[Any]]) -> None:
    numbers = sum(array.size for array in arrays)
    broken = sum(int((~np.isfinite(array)).sum()) for array in arrays)
    if broken:
        raise InputError(
            f"{path}: {broken:,} of its {numbers:,} weights are NaN or infinite; the file is unusable as published "
            "(300W_LP fsanet_var_netvlad is known for it), choose another"
        )


def _is_of_torch(path: Path) -> bool:
    """Whether a file was written by torch.save: a zip archive, or a pickle of its older format."""
    check_file(path, what="weights file")
    with path.open("rb") as file:
        return file.read(2) in (b"PK", b"\x80\x02")


def _load_hopenet(path: Path) -> tuple[PoseNetwork, dict[str, Any]]:
    content = load_tensors(path)
    if isinstance(content, dict) and isinstance(content.get("headposekit"), dict):
        raise InputError(f"{path}: a checkpoint of this suite; name it *.ckpt and give it with checkpoint=")
    state = _unwrapped(content)
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items()):
        raise InputError(f"{path}: not a state dict of tensors; published Hopenet files are (ours go with checkpoint=)")
    _refuse_broken(path, [value.detach().float().numpy() for value in state.values()])
    state = {key: value for key, value in state.items() if not key.startswith("fc_finetune.")}
    backbone = _hopenet_trunk(path, state)
    target = TimmBackbone if "model_name" in backbone else AlexNetBackbone
    arguments = {key: value for key, value in backbone.items() if not key.startswith("_")}
    model = Hopenet(target(**arguments), AngleBins())
    prefix = "backbone.trunk." if target is TimmBackbone else "backbone."
    own = model.state_dict()
    named = {key if key.startswith("fc_") else f"{prefix}{key}": value for key, value in state.items()}
    # Files of 2017 do not count their batches yet.
    named |= {key: value for key, value in own.items() if key.endswith("num_batches_tracked") and key not in named}
    odd = sorted(set(named) ^ set(own)) or sorted(key for key in own if own[key].shape != named[key].shape)
    if odd:
        raise InputError(f"{path}: not a complete published Hopenet ({odd[0]} does not fit); fetch the file again")
    model.load_state_dict(named)
    config = {
        "_target_": "headposekit.models.hopenet.Hopenet",
        "backbone": backbone,
        "bins": {"_target_": "headposekit.geometry.bins.AngleBins", "limit": 99, "width": 3, "decoding": "left"},
        "input_size": 224,
    }
    return model.eval(), config


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


def _hopenet_trunk(path: Path, state: dict[str, Any]) -> dict[str, Any]:
    """Configuration of the trunk that a state dict's keys describe."""
    untrained = {"pretrained": False, "checkpoint_path": None}
    if "fc_yaw.weight" in state and "features.0.weight" in state:
        return {"_target_": "headposekit.models.backbones.AlexNetBackbone", **untrained}
    blocks = tuple(len({key.split(".")[1] for key in state if key.startswith(f"layer{layer}.")}) for layer in range(1, 5))
    name = RESNETS.get((blocks, "layer1.0.conv3.weight" in state))
    if "fc_yaw.weight" not in state or name is None:
        raise InputError(f"{path}: a state dict, but not of Hopenet (its trunks are ResNets or AlexNet); check the file")
    return {"_target_": "headposekit.models.backbones.TimmBackbone", "model_name": name, **untrained}


def _read_h5(path: Path) -> Arrays:
    """All datasets of a Keras weights file, by `<layer>/<weight>`."""
    size = check_file(path, MAX_KERAS, "weights file")
    try:
        with h5py.File(path, "r") as file:
            is_model = "model_config" in file.attrs and "model_weights" in file  # of model.save, with the weights inside
            group = file["model_weights"] if is_model else file
            is_keras = "layer_names" in group.attrs
            arrays = dict(_datasets(group, size)) if is_keras else {}
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    except Exception as error:  # h5py raises many kinds on broken files
        raise InputError(f"{path}: not a readable HDF5 file, or cut short; fetch it again") from error
    if not is_keras:
        raise InputError(f"{path}: an HDF5 file, but not of Keras weights (no layer_names); give the network's .h5")
    return arrays


def _datasets(root: h5py.Group, size: int) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """`<layer>/<weight>` and values of all datasets below a group of a file of `size` bytes.

    Raises:
        InputError: one of them is not plain numbers in this file: a link, another file's, computed, compressed, or larger than
            what is stored of it.
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
                continue
            if not isinstance(item, h5py.Dataset):
                continue
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


def _identify(path: Path, arrays: Arrays) -> tuple[dict[str, Source], PoseNetwork, dict[str, Any]]:
    """Which network a file holds: where each of its tensors comes from, the empty network, and its configuration."""
    layers = {key.split("/")[0] for key in arrays}
    if "separable_conv2d_1" not in layers or "delta_s1" not in layers:
        raise InputError(f"{path}: Keras weights, but neither of FSA-Net nor of SSR-Net-MD; check the file")
    if "conv2d_1" in layers and "dense_9" in layers:  # three dense layers a stage; FSA-Net has at most five in all
        return dict(_ssrnet_sources()), SSRNetMD(), {"_target_": "headposekit.models.ssrnet.SSRNetMD"}
    scoring = "conv" if "conv2d_7" in layers else "variance" if "dense_4" in layers else "none"
    by_layer = {"caps": "capsule", "mat_mul_layer_1": "none", "net_vlad_1": "netvlad"}
    aggregation = next((kind for layer, kind in by_layer.items() if layer in layers), None)
    if aggregation is None:
        raise InputError(f"{path}: an FSA-Net without a known aggregation; check the file")
    config = {
        "_target_": "headposekit.models.fsanet.FSANet",
        "scoring": {"_target_": f"headposekit.models.fsanet.{SCORINGS[scoring].__name__}"},
        "aggregation": {"_target_": f"headposekit.models.fsanet.{AGGREGATIONS[aggregation].__name__}", "_partial_": True},
    }
    if aggregation == "capsule":
        config["aggregation"]["routing_iterations"] = 2  # type: ignore[index]  # the dict above is nested
    model = FSANet(SCORINGS[scoring](), AGGREGATIONS[aggregation])
    return dict(_fsanet_sources(scoring, aggregation)), model, config


def _layer(name: str, layer: str, rule: str) -> Iterator[tuple[str, Source]]:
    yield f"{name}.weight", (f"{layer}/kernel", rule)
    yield f"{name}.bias", (f"{layer}/bias", "same")


def _backbone_sources() -> Iterator[tuple[str, Source]]:
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


def _fsanet_sources(scoring: str, aggregation: str) -> Iterator[tuple[str, Source]]:
    yield from _backbone_sources()
    for stage in range(NUM_STAGES):
        yield from _layer(f"stage_features.tanh_conv.{stage}", f"conv2d_{2 * stage + 1}", "conv")
        yield from _layer(f"stage_features.relu_conv.{stage}", f"conv2d_{2 * stage + 2}", "conv")
    if scoring == "conv":
        yield from _layer("scoring.conv", "conv2d_7", "pixelwise")
    if scoring != "none":
        yield from _layer("mapping.row_map", "dense_1", "dense")
        yield from _layer("mapping.combine", "dense_2", "dense")
    if aggregation == "capsule":
        yield "aggregation.weight", ("caps/W", "capsules")
    elif aggregation == "netvlad":
        yield "aggregation.assign.weight", ("net_vlad_1/kernel_W1", "dense")
        yield "aggregation.assign.bias", ("net_vlad_1/kernel_B1", "same")
        yield "aggregation.centers", ("net_vlad_1/kernel_W2", "centers")
        yield "aggregation.project.weight", ("net_vlad_1/kernel_H1", "dense")
    else:
        yield "aggregation.features.weight", ("mat_mul_layer_1/kernel_type1", "dense")
        yield "aggregation.inputs.weight", ("mat_mul_layer_2/kernel_type2", "dense")
    first_dense = 1 if scoring == "none" else 3
    for stage in range(NUM_STAGES):
        yield from _layer(f"heads.{stage}.probs", f"dense_{first_dense + stage}", "dense")
        yield from _layer(f"heads.{stage}.scale", f"delta_s{stage + 1}", "dense")
        yield from _layer(f"heads.{stage}.shift", f"local_delta_stage{stage + 1}", "dense")


def _ssrnet_sources() -> Iterator[tuple[str, Source]]:
    yield from _backbone_sources()
    for stage in range(NUM_STAGES):
        yield from _layer(f"stages.{stage}.tanh_branch.0", f"conv2d_{2 * stage + 1}", "conv")
        yield from _layer(f"stages.{stage}.relu_branch.0", f"conv2d_{2 * stage + 2}", "conv")
        yield from _layer(f"heads.{stage}.scale.0", f"dense_{3 * stage + 1}", "dense")
        yield from _layer(f"heads.{stage}.scale.2", f"delta_s{stage + 1}", "dense")
        yield from _layer(f"heads.{stage}.shift.0", f"dense_{3 * stage + 2}", "dense")
        yield from _layer(f"heads.{stage}.shift.2", f"local_delta_stage{stage + 1}", "dense")
        yield from _layer(f"heads.{stage}.probs.0", f"dense_{3 * stage + 3}", "dense")
