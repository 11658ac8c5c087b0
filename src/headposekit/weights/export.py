"""Exporting: what a file says of itself, the comparison with the network that it has to pass, and its eight-bit form."""

import inspect
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.errors import InputError
from headposekit.files import check_writable, encode_json, write_together
from headposekit.models.fold import fold
from headposekit.models.network import PoseNetwork, count_parameters
from headposekit.timing import compare_times
from headposekit.weights.checkpoint import CARD_VERSION, CONVENTION, LoadedNetwork, build, rebuild, safetensors_bytes
from headposekit.weights.onnx_files import TOLERANCE, OnnxNetwork, int8_bytes, onnx_bytes, torch_export_bytes, with_card

NUM_RANDOM = 256
NUM_CALIBRATION = 64
BATCH = 32
HALF_TOLERANCE = 0.01
"""Degrees by which any angle of a network with weights in half precision may be off."""
SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}

Pictures = NDArray[np.uint8]  # (n, S, S, 3), RGB
Estimate = Callable[[Pictures], NDArray[np.float32]]  # to poses (n, 3), degrees


def describe_export(members: Sequence[LoadedNetwork], network: PoseNetwork) -> dict[str, Any]:
    """What an exported file says of itself: plain containers, as in a checkpoint."""
    size, crop = network.input_size, members[0].crop_config
    defaults = {name: option.default for name, option in inspect.signature(type(build(crop))).parameters.items()}
    sources = [
        {
            "file": Path(member.path).name,
            "train_id": member.card.get("train_id"),
            "training_data": member.card.get("training_data"),
            "model": member.model_config,
        }
        for member in members
    ]
    fusion = {"_target_": "headposekit.models.fusion.LateFusion", "members": [member.model_config for member in members]}
    return {
        "format": CARD_VERSION,
        "model": members[0].model_config if len(members) == 1 else fusion,
        "crop": {"_target_": crop["_target_"], **defaults, **crop},  # with what it leaves to its defaults
        "input": {"name": "image", "size": size, "shape": "N, size, size, 3", "dtype": "uint8", "channels": "RGB"},
        "output": {
            "pose": "N, 3: yaw, pitch, roll in degrees",
            "spread": "N, 3: standard deviations of yaw, pitch, roll, if the network says how sure it is",
            "rotation_spread": "N, 1: root mean square angle of the rotation, likewise",
        },
        "convention": CONVENTION,
        "params": count_parameters(network),
        "sources": sources,
    }


def check_output(config: DictConfig, members: Sequence[LoadedNetwork], folder: Path) -> Path:
    """Where the file goes; InputError for options that cannot be, or a place that cannot be written to."""
    if config.format not in SUFFIXES:
        raise InputError(f"format={config.format} is unknown; choose {', '.join(SUFFIXES)}")
    if config.int8 and config.format != "onnx":
        raise InputError(f"int8=true is onnxruntime's, and needs format=onnx, not {config.format}; leave one of them out")
    if config.half and config.format != "safetensors":
        raise InputError(f"half=true is for format=safetensors, not {config.format}; leave one of them out")
    if config.int8 and not config.test:
        raise InputError("int8=true needs faces to set its ranges by; give some, such as test=[synthetic]")
    if config.format == "safetensors" and (len(members) > 1 or isinstance(members[0].model, OnnxNetwork)):
        raise InputError("format=safetensors holds the weights of one network; give one checkpoint= or weights= (no .onnx)")
    suffix = SUFFIXES[config.format]
    name = Path(members[0].path).stem if len(members) == 1 else "fusion"
    path = folder / f"{name}{suffix}" if config.output is None else Path(config.output)
    if path.suffix != suffix:
        raise InputError(f"output={path}: a file of format={config.format} is named *{suffix}; rename it")
    if not path.parent.is_dir() or path.is_dir():
        what = "a folder" if path.is_dir() else f"no folder {path.parent}"
        raise InputError(f"output={path}: {what}; give the path of a file")
    check_writable(path)
    return path


def export_network(
    network: PoseNetwork, card: dict[str, Any], path: Path, faces: Pictures | None, int8: bool, half: bool = False
) -> dict[str, Any]:
    """Write a file that has passed the comparison, and its eight-bit form beside it.

    Args:
        network: in eval mode.
        card: see `describe_export`.
        path: its suffix says which format.
        faces: crops to compare on beside random ones; the eight-bit form needs some.
        half: weights in half precision; where there are faces, these decide whether it is kept.

    Returns:
        the files, the differences in degrees, the time of a picture in milliseconds.

    Raises:
        InputError: the outputs differ; nothing is left behind then.
    """
    size = network.input_size
    random = np.random.default_rng(0).integers(0, 256, (NUM_RANDOM, size, size, 3), dtype=np.uint8)
    pictures = random if faces is None else faces if half else np.concatenate([random, faces])
    allowed = HALF_TOLERANCE if half else TOLERANCE
    writer, reader = FORMATS[path.suffix]
    content = safetensors_bytes(network, half=True) if half else writer(network, card)
    estimate = reader(content, card, path)
    differences = compare_poses(_estimate_network(network), estimate, pictures)
    if not differences["max"] <= allowed:  # so written, NaN is refused as well
        raise InputError(
            f"{path}: differs from the network by up to {differences['max']:.4g} degrees on {len(pictures)} pictures "
            f"(allowed: {allowed}); refused, nothing was kept"
        )
    results: dict[str, Any] = {
        "file": str(path),
        "bytes": len(content),
        "random": len(pictures) if faces is None else len(pictures) - len(faces),
        "faces": 0 if faces is None else len(faces),
        "degrees_from_network": differences,
    }
    contents = {path: content}
    estimates: dict[str, Estimate] = {"network": _estimate_network(network), path.suffix.removeprefix("."): estimate}
    if int8 and faces is not None:
        small = path.with_name(f"{path.stem}_int8.onnx")
        # On other faces than those it was fitted to, as far as there are any.
        fitted, held_out = faces[::2][:NUM_CALIBRATION], faces[1::2] if len(faces) > 1 else faces
        eight_bits = int8_bytes(content, card, fitted, path.parent)
        estimates["int8"] = _estimate_onnx(eight_bits, card, small)
        degrees = compare_poses(estimate, estimates["int8"], held_out)
        loss = {"calibrated_on": len(fitted), "measured_on": len(held_out), "degrees_from_float": degrees}
        eight_bits = with_card(eight_bits, {**card, "int8": loss})
        results["int8"] = {"file": str(small), "bytes": len(eight_bits), **loss}
        contents[small] = eight_bits
    if path.suffix == ".safetensors":
        contents[path.with_suffix(".json")] = encode_json(card)
    write_together(contents)
    one = pictures[-1:]
    blocks = {name: lambda run=run: run(one) for name, run in estimates.items()}
    results["milliseconds"] = {name: asdict(times) for name, times in compare_times(blocks, num_rounds=10, calls=5).items()}
    return results


def compare_poses(expected: Estimate, found: Estimate, pictures: Pictures) -> dict[str, float]:
    """Mean and largest difference of any angle in degrees; the first picture alone, the others in batches."""
    parts = [pictures[:1], *(pictures[i : i + BATCH] for i in range(1, len(pictures), BATCH))]
    difference = np.concatenate([np.abs(expected(part) - found(part)) for part in parts])
    return {"mean": float(difference.mean()), "max": float(difference.max())}


def faces_of(test_sets: Mapping[str, Any]) -> Pictures | None:
    """All crops of some test sets, given as configurations by name; None of none."""
    found: list[Pictures] = []
    for test in test_sets.values():
        datamodule: HeadPoseDataModule = instantiate(test, _convert_="all")
        indices = datamodule.test_indices
        datamodule.dataset.verify(indices)
        for start in range(0, len(indices), BATCH):
            image = datamodule.faces(indices[start : start + BATCH])["image"]
            found.append(np.ascontiguousarray(image.permute(0, 2, 3, 1).numpy()))
    return np.concatenate(found) if found else None


def _estimate(run: Callable[[Tensor], Tensor]) -> Estimate:
    def estimate(pictures: Pictures) -> NDArray[np.float32]:
        with torch.inference_mode():
            pose: NDArray[np.float32] = run(torch.from_numpy(pictures)).numpy()
        return pose

    return estimate


def _estimate_network(network: PoseNetwork) -> Estimate:
    return _estimate(lambda pictures: network({"image": pictures.permute(0, 3, 1, 2)}).pose)


def _estimate_onnx(content: bytes, card: dict[str, Any], path: Path) -> Estimate:
    runtime = OnnxNetwork(content, path, threads=1)
    return lambda pictures: runtime.estimate(pictures)[0]


def _estimate_torch_export(content: bytes, card: dict[str, Any], path: Path) -> Estimate:
    program = torch.export.load(io.BytesIO(content)).module()
    return _estimate(lambda pictures: program(pictures)[0])


def _estimate_safetensors(content: bytes, card: dict[str, Any], path: Path) -> Estimate:
    return _estimate_network(rebuild(path, card, safetensors.torch.load(content)).model)


FORMATS: dict[str, tuple[Callable[[PoseNetwork, dict[str, Any]], bytes], Callable[[bytes, dict[str, Any], Path], Estimate]]] = {
    ".onnx": (lambda network, card: onnx_bytes(fold(network), card), _estimate_onnx),
    ".pt2": (lambda network, card: torch_export_bytes(fold(network), card), _estimate_torch_export),
    ".safetensors": (lambda network, card: safetensors_bytes(network), _estimate_safetensors),
}
"""By suffix: a file's content, and how to estimate with it."""
