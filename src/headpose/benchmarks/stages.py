"""The stages: each takes the configuration's objects and returns plain numbers for the report."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import numpy as np
import psutil
import torch
from torch import nn

from headpose.benchmarks.measure import ChildWatch, Times, compare_times, measure_rate
from headpose.benchmarks.plain import plain_form
from headpose.datasets.packed import available_cores
from headpose.datasets.synthetic import SyntheticHeads
from headpose.geometry.face_model import mean_face_68
from headpose.geometry.pnp import solve_weak_perspective
from headpose.geometry.rotations import pose_to_matrix
from headpose.models.folded import fold
from headpose.modules.base import HeadPoseModule
from headpose.modules.exported import OnnxNetwork, onnx_bytes
from headpose.synthesis.sampler import HeadSampler
from headpose.types import Batch


def benchmark_render(heads: HeadSampler, num_heads: int, size: int, num_workers: int | None) -> dict[str, Any]:
    """Render heads into a pack as a training does.

    Args:
        heads: the sampler.
        num_heads: how many.
        size: side of a picture in pixels.
        num_workers: processes; null for one a core.

    Returns:
        seconds, heads a second (of all and of one core), share of the cores in use, peak memory in MiB, growth of memory.
    """
    workers = available_cores() if num_workers is None else num_workers
    with tempfile.TemporaryDirectory() as root, ChildWatch() as watch:
        SyntheticHeads(root, heads, num_heads, size, num_workers=workers)
    return {
        "heads": num_heads,
        "workers": workers,
        "seconds": watch.seconds,
        "heads_per_second": num_heads / watch.seconds,
        "heads_per_second_per_core": num_heads / watch.seconds / max(workers, 1),
        "core_use": watch.cpu_seconds / watch.seconds / max(workers, 1),
        "peak_mib": max(watch.resident, default=0) / 2**20,
        "memory_growth": watch.growth(),
    }


def benchmark_train(module: HeadPoseModule, batch_size: int, num_steps: int, num_blocks: int) -> dict[str, Any]:
    """Training steps (forward, loss, backward, optimiser) on one random batch, without any loading.

    Args:
        module: architecture, loss and optimiser.
        batch_size: faces in a step.
        num_steps: steps in a block.
        num_blocks: blocks.

    Returns:
        images a second: median, slowest, fastest block; threads.
    """
    optimizer = module.configure_optimizers()["optimizer"]
    size = int(module.model.input_size)  # type: ignore[arg-type]  # nn.Module hides attribute types
    batch = random_batch(batch_size, size)
    module.train()

    def block() -> None:
        for _ in range(num_steps):
            optimizer.zero_grad()
            module.loss(module.model(batch), batch).backward()
            optimizer.step()

    rate = measure_rate("train", "images", batch_size * num_steps, block, num_blocks)
    return {"batch_size": batch_size, "threads": torch.get_num_threads(), **asdict(rate)}


def benchmark_inference(network: nn.Module, batch_size: int, num_blocks: int) -> dict[str, Any]:
    """Angles of one random batch: the plain form, the network as it is, its inference form.

    Args:
        network: any of this suite.
        batch_size: faces.
        num_blocks: how often each is measured, in turn.

    Returns:
        images a second of each (median), and how many times as fast as the plain form (median of the rounds).
    """
    network = network.eval()
    batch = random_batch(batch_size, int(network.input_size))  # type: ignore[arg-type]  # nn.Module hides attribute types
    forms = {"plain": plain_form(network), "network": network, "folded": fold(network)}
    with torch.inference_mode():
        times = compare_times({name: _call(form, batch) for name, form in forms.items()}, num_blocks, clock=time.perf_counter)
    rates = {f"{name}_images_per_second": 1e3 * batch_size / value.median for name, value in times.items()}
    return {"batch_size": batch_size, "threads": torch.get_num_threads(), **rates, **_speedups(times)}


def benchmark_latency(network: nn.Module, num_blocks: int) -> dict[str, Any]:
    """Angles of one picture on one thread: the same three forms in PyTorch, and the exported file in ONNX Runtime.

    Args:
        network: any of this suite.
        num_blocks: blocks of ten pictures that each form is measured on, in turn.

    Returns:
        milliseconds of each (median and least, of the processor's time), and how many times as fast as the plain form.
    """
    network = network.eval()
    size = int(network.input_size)  # type: ignore[arg-type]  # nn.Module hides attribute types
    batch, folded, threads = random_batch(1, size), fold(network), torch.get_num_threads()
    card = {"input": {"size": size}, "params": 0}
    runtime = OnnxNetwork(onnx_bytes(folded, card), "network.onnx", threads=1)
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
    return numbers | _speedups(times)


def benchmark_landmarks(batch_size: int, num_blocks: int) -> dict[str, Any]:
    """Poses of 68 landmarks each by weak perspective, on one core.

    Args:
        batch_size: faces in a call.
        num_blocks: blocks of 32 calls.

    Returns:
        faces a second: median, slowest, fastest block.
    """
    rng, face, num_calls = np.random.default_rng(0), mean_face_68(), 32
    matrix = pose_to_matrix(torch.from_numpy(rng.uniform(-60, 60, (batch_size, 3)))).numpy()
    points = 225 + 60 * (face @ matrix.swapaxes(-1, -2))[..., :2] * [1, -1] + rng.uniform(-2, 2, (batch_size, 68, 2))

    def block() -> None:
        for _ in range(num_calls):
            solve_weak_perspective(points, face)

    process = psutil.Process()
    cores = process.cpu_affinity()
    process.cpu_affinity(cores[:1])  # whatever threads NumPy's libraries start
    try:
        rate = measure_rate("landmarks", "faces", batch_size * num_calls, block, num_blocks)
    finally:
        process.cpu_affinity(cores)
    return {"batch_size": batch_size, **asdict(rate)}


def random_batch(batch_size: int, size: int) -> Batch:
    """Noise in the shape of faces, as the data sets lay it out in memory."""
    return {
        "image": torch.randint(0, 256, (batch_size, size, size, 3), dtype=torch.uint8).permute(0, 3, 1, 2),
        "pose": torch.rand(batch_size, 3) * 120 - 60,
        "box": torch.zeros(batch_size, 4),
        "landmarks": torch.zeros(batch_size, 68, 2),
        "name": ["random"] * batch_size,
    }


def _call(network: nn.Module, batch: Batch) -> Callable[[], object]:
    return lambda: network(batch)


def _speedups(times: dict[str, Times]) -> dict[str, float]:
    return {f"{name}_times_plain": 1 / value.ratio for name, value in times.items() if name != "plain"}
