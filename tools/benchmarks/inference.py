"""Angles from pictures: a batch, one picture, an exported file; and poses from landmarks."""

import io
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch

from benchmarks.batches import random_batch
from benchmarks.measure import measure_rate, rate_of
from benchmarks.plain import plain_form
from headposekit.geometry.face_model import mean_face_68
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.landmarks.solvers import WeakPerspective
from headposekit.models.fold import fold
from headposekit.models.network import PoseNetwork
from headposekit.timing import Times, compare_times
from headposekit.types import Batch
from headposekit.weights.onnx_files import OnnxNetwork, in_onnx_runtime, onnx_bytes, torch_export_bytes


def benchmark_inference(network: PoseNetwork, batch_size: int, num_blocks: int, device: torch.device) -> dict[str, Any]:
    """Angles of one random batch: the plain form, the network as it is, folded, and (on a CPU) as `load` runs it.

    Args:
        network: any of this suite.
        batch_size: faces.
        num_blocks: how often each is measured, in turn.
        device: where.

    Returns:
        images a second of each, and how many times as fast as the plain form (median of the rounds).
    """
    network = network.eval().to(device)
    batch = random_batch(batch_size, network.input_size, device)
    folded = fold(network)
    forms: dict[str, Any] = {"plain": plain_form(network), "network": network, "folded": folded}
    if device.type == "cpu":
        forms["onnxruntime"] = in_onnx_runtime(folded)
    with torch.inference_mode():
        pieces = {name: _call(form, batch) for name, form in forms.items()}
        times = compare_times(pieces, num_blocks, calls=5, clock=time.perf_counter)
    rates = {f"{name}_images_per_second": rate_of(value, batch_size) for name, value in times.items()}
    return {"batch_size": batch_size, "threads": torch.get_num_threads(), **rates, **speedups(times)}


def benchmark_latency(network: PoseNetwork, num_blocks: int) -> dict[str, Any]:
    """Angles of one picture on one thread: the same three forms in PyTorch, and the exported file in ONNX Runtime.

    Args:
        network: any of this suite.
        num_blocks: blocks of ten pictures that each form is measured on, in turn.

    Returns:
        milliseconds of each (median and least, of the processor's time), and how many times as fast as the plain form.
    """
    network = network.eval()
    batch, folded, threads = random_batch(1, network.input_size), fold(network), torch.get_num_threads()
    runtime = _runtime(onnx_bytes(folded, _card(network)), 1)
    picture = batch["image"].permute(0, 2, 3, 1).numpy()
    forms = {"plain": plain_form(network), "network": network, "folded": folded}
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            blocks = {name: _call(form, batch) for name, form in forms.items()}
            times = compare_times({**blocks, "onnxruntime": lambda: runtime.estimate(picture)}, num_blocks, calls=10)
    finally:
        torch.set_num_threads(threads)
    numbers = {f"{name}_ms": value.median for name, value in times.items()}
    numbers |= {f"{name}_least_ms": value.least for name, value in times.items()}
    return numbers | speedups(times)


def benchmark_export(network: PoseNetwork, batch_size: int, num_blocks: int) -> dict[str, Any]:
    """Both formats of an export: how long it takes, how large the file is, how fast it runs beside the network.

    Args:
        network: any of this suite.
        batch_size: faces in a call.
        num_blocks: how often each is measured, in turn.

    Returns:
        seconds and MiB of each export; images a second of each and how many times as fast as the network as it is.
    """
    network = network.eval()
    batch, folded, results = random_batch(batch_size, network.input_size), fold(network), dict[str, Any]()
    exporters = {"onnx": onnx_bytes, "torch_export": torch_export_bytes}
    contents = {}
    for name, export in exporters.items():
        start = time.perf_counter()
        contents[name] = export(folded, _card(network))
        results[f"{name}_seconds"] = time.perf_counter() - start
        results[f"{name}_mib"] = len(contents[name]) / 2**20
    runtime = _runtime(contents["onnx"], torch.get_num_threads())
    program = torch.export.load(io.BytesIO(contents["torch_export"])).module()
    pictures = batch["image"].permute(0, 2, 3, 1)
    array = pictures.numpy()
    with torch.inference_mode():
        pieces = {
            "network": _call(network, batch),
            "onnx": lambda: runtime.estimate(array),
            "torch_export": lambda: program(pictures),
        }
        times = compare_times(pieces, num_blocks, calls=5, clock=time.perf_counter)
    rates = {f"{name}_images_per_second": rate_of(value, batch_size) for name, value in times.items()}
    ratios = {f"{name}_times_network": 1 / value.ratio for name, value in times.items() if name != "network"}
    return {"batch_size": batch_size, "threads": torch.get_num_threads(), **results, **rates, **ratios}


def benchmark_landmarks(batch_size: int, num_blocks: int) -> dict[str, Any]:
    """Poses of 68 landmarks each by weak perspective, on one core.

    Args:
        batch_size: faces in a call.
        num_blocks: blocks of 32 calls.

    Returns:
        faces a second.
    """
    rng, face, solver, num_calls = np.random.default_rng(0), mean_face_68(), WeakPerspective(), 32
    matrix = pose_to_matrix(torch.from_numpy(rng.uniform(-60, 60, (batch_size, 3)))).numpy()
    points = 225 + 60 * (face @ matrix.swapaxes(-1, -2))[..., :2] * [1, -1] + rng.uniform(-2, 2, (batch_size, 68, 2))

    def block() -> None:
        for _ in range(num_calls):
            solver(points, face)

    process = psutil.Process()
    cores = process.cpu_affinity()
    process.cpu_affinity(cores[:1])  # whatever threads NumPy's libraries start
    try:
        rate = measure_rate(batch_size * num_calls, block, num_blocks)
    finally:
        process.cpu_affinity(cores)
    return {"batch_size": batch_size, "threads": 1, "faces_per_second": asdict(rate)}


def speedups(times: Mapping[str, Times]) -> dict[str, float]:
    """How many times as fast as the first, the plain form, each of the others is."""
    return {f"{name}_times_plain": 1 / value.ratio for name, value in times.items() if name != "plain"}


def _card(network: PoseNetwork) -> dict[str, Any]:
    return {"input": {"size": network.input_size}, "params": 0}


def _runtime(content: bytes, threads: int) -> OnnxNetwork:
    return OnnxNetwork(content, Path("network.onnx"), threads=threads)


def _call(network: Callable[[Batch], object], batch: Batch) -> Callable[[], object]:
    return lambda: network(batch)
