"""What a training consists of, without and with its data: steps, whole epochs, and how near the machine's limits they come."""

import copy
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.batches import random_batch
from benchmarks.inference import speedups
from benchmarks.limits import count_work, machine_limits
from benchmarks.measure import measure_rate, rate_of
from benchmarks.plain import plain_form
from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.losses import MeanAbsoluteError
from headposekit.models.fold import fold
from headposekit.models.network import PoseNetwork
from headposekit.timing import compare_times
from headposekit.training.callbacks import Heartbeat, Progress, SeedEpochs, Stopwatch
from headposekit.training.module import HeadPoseModule
from headposekit.types import Batch, PoseOutput


def benchmark_train(
    module: HeadPoseModule, batch_size: int, num_steps: int, num_blocks: int, device: torch.device
) -> dict[str, Any]:
    """Training steps (forward, loss, backward, optimiser) on one random batch, without any loading.

    Args:
        module: architecture, loss and optimiser.
        batch_size: faces in a step.
        num_steps: steps in a block.
        num_blocks: blocks.
        device: where.

    Returns:
        images a second; on a GPU also launches a step, the share of a step that it is busy, its peak memory.
    """
    module.to(device).train()
    optimizer = module.configure_optimizers()["optimizer"]
    batch = random_batch(batch_size, module.model.input_size, device)

    def block() -> None:
        for _ in range(num_steps):
            optimizer.zero_grad()
            module.loss(module.model(batch), batch).backward()
            optimizer.step()

    rate = measure_rate(batch_size * num_steps, block, num_blocks)
    results = {"batch_size": batch_size, "threads": torch.get_num_threads(), "images_per_second": asdict(rate)}
    if device.type == "cuda":
        work = _launches(block)
        results |= {
            "launches_per_step": work["launches"] / num_steps,
            "gpu_busy_share": work["gpu_busy_seconds"] * rate.median / (batch_size * num_steps),
            "peak_gpu_mib": torch.cuda.max_memory_allocated() / 2**20,
        }
    return results


def benchmark_loop(
    make_optimizer: Any, make_scheduler: Any, batch_size: int, num_steps: int, num_blocks: int, device: torch.device
) -> dict[str, Any]:
    """Steps of Lightning's loop around next to no network: an upper limit of the steps a second of any training.

    Args:
        make_optimizer, make_scheduler: as a module takes them.
        batch_size: faces in a step.
        num_steps: steps in an epoch.
        num_blocks: epochs of each, in turn.
        device: where.

    Returns:
        steps a second of an empty module without callbacks, and of one of ours with our callbacks, without and with the bar;
        by processor time where there is no GPU.
    """
    loader = DataLoader([random_batch(batch_size, 1)] * num_steps, batch_size=None)  # type: ignore[arg-type, var-annotated]
    folder = tempfile.TemporaryDirectory()

    def fit(module: pl.LightningModule, *callbacks: pl.Callback) -> None:
        options = {**_options(device), "enable_progress_bar": any(isinstance(item, Progress) for item in callbacks)}
        pl.Trainer(**options, callbacks=list(callbacks)).fit(module, loader)

    def ours() -> tuple[Any, ...]:
        module = HeadPoseModule(_Constant(), MeanAbsoluteError(), make_optimizer, make_scheduler)
        return module, SeedEpochs(0), Heartbeat(Path(folder.name) / "heartbeat"), Stopwatch()

    pieces = {"empty": lambda: fit(_Empty()), "ours": lambda: fit(*ours()), "ours_bar": lambda: fit(*ours(), Progress())}
    with folder:
        times = compare_times(pieces, num_blocks, clock=time.process_time if device.type == "cpu" else time.perf_counter)
    return {"batch_size": batch_size} | {f"{name}_steps_per_second": rate_of(one, num_steps) for name, one in times.items()}


class _Constant(PoseNetwork):
    """A pose to learn, and no network."""

    def __init__(self) -> None:
        super().__init__()
        self.pose = nn.Parameter(torch.zeros(3))

    def forward(self, batch: Batch) -> PoseOutput:
        """The pose, for each face."""
        return PoseOutput(self.pose.expand(len(batch["pose"]), 3))


class _Empty(pl.LightningModule):
    """As little as Lightning takes."""

    def __init__(self) -> None:
        super().__init__()
        self.model = _Constant()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """A number that has a gradient."""
        return self.model.pose.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The plainest."""
        return torch.optim.SGD(self.parameters(), 0.1)


def benchmark_step(network: PoseNetwork, batch_sizes: Sequence[int], num_blocks: int, device: torch.device) -> dict[str, Any]:
    """Training steps of the plain form, of the network as it is, and of that in bf16: the same loss, each with its Adam.

    On a GPU also in bf16, compiled and recorded as a CUDA graph.

    Args:
        network: any of this suite.
        batch_sizes: faces in a step.
        num_blocks: blocks of four steps that each form is measured on, in turn.
        device: where.

    Returns:
        for each batch size: images a second of each form, how many times as fast as the plain form (medians of the rounds).
    """
    # On one thread, the time that others took from the processor does not count.
    alone = device.type == "cpu" and torch.get_num_threads() == 1
    results: dict[str, Any] = {"threads": torch.get_num_threads()}
    for batch_size in batch_sizes:
        batch = random_batch(batch_size, network.input_size, device)
        forms = {
            "plain": _step(plain_form(network).to(device), batch, fused=False),
            "network": _step(_copy(network, device), batch),
            "bf16": _step(_copy(network, device), batch, bf16=True),
        }
        if device.type == "cuda":
            compiled = _copy(network, device)
            compiled.compile(mode="reduce-overhead")
            forms["bf16_graph"] = _step(compiled, batch, bf16=True)
        times = compare_times(forms, num_blocks, calls=4, clock=time.process_time if alone else time.perf_counter)
        results |= {f"batch_{batch_size}_{name}_images_per_second": rate_of(one, batch_size) for name, one in times.items()}
        results |= {f"batch_{batch_size}_{name}": value for name, value in speedups(times).items()}
    return results


def benchmark_epoch(
    make_module: Callable[[], HeadPoseModule],
    data: HeadPoseDataModule,
    num_blocks: int,
    device: torch.device,
) -> dict[str, Any]:
    """An epoch of training and a test by Lightning, all included but the start; ours, and the plain network.

    Args:
        make_module: architecture, loss and optimiser.
        data: loaders.
        num_blocks: epochs of each, in turn.
        device: where.

    Returns:
        images a second of both epochs and of a test of the same faces, how many times as fast ours is.
    """
    ours, naive = make_module(), make_module()
    naive.model = plain_form(naive.model)  # type: ignore[assignment]  # it is called in the same way
    faces = len(data.split.train) // data.batch_size * data.batch_size
    options = _options(device)
    pieces = {
        "naive": lambda: pl.Trainer(**options).fit(naive, datamodule=data),
        "ours": lambda: pl.Trainer(**options).fit(ours, datamodule=data),
        "test": lambda: pl.Trainer(**options).test(ours, datamodule=data, verbose=False),
    }
    times = compare_times(pieces, num_blocks, clock=time.perf_counter)
    tested = len(data.test_indices)
    return {
        "threads": torch.get_num_threads(),
        "faces": faces,
        **{f"{name}_images_per_second": rate_of(value, tested if name == "test" else faces) for name, value in times.items()},
        "ours_times_naive": 1 / times["ours"].ratio,
    }


def benchmark_limits(network: PoseNetwork, batch_size: int, num_blocks: int, device: torch.device) -> dict[str, Any]:
    """Work of an image by count, what this machine could do of it at best, and how near the network comes.

    Args:
        network: any of this suite.
        batch_size: faces.
        num_blocks: how often each is measured.
        device: where.

    Returns:
        FLOPs, bytes and operations of an image, forward and in a training step; the machine's limits; the images a second that
        either limit alone would allow; those measured, and their share of the lower of the two.
    """
    network = network.to(device)
    batch, limits = random_batch(batch_size, network.input_size, device), machine_limits(device)
    results: dict[str, Any] = {"batch_size": batch_size, "threads": torch.get_num_threads(), **limits}

    def forward() -> None:
        with torch.no_grad():
            network(batch)

    pieces = {"forward": forward, "step": _step(network, batch)}
    for name, piece in pieces.items():
        network.train(name == "step")
        work = count_work(piece)
        rate = measure_rate(batch_size, piece, num_blocks)
        by_flops = limits["flops_per_second"] * batch_size / work["flops"]
        by_bytes = limits["bytes_per_second"] * batch_size / work["bytes"]
        results |= {
            f"{name}_operations": work["operations"],
            f"{name}_mflops_per_image": work["flops"] / batch_size / 1e6,
            f"{name}_mbytes_per_image": work["bytes"] / batch_size / 1e6,
            f"{name}_images_per_second_by_flops": by_flops,
            f"{name}_images_per_second_by_bytes": by_bytes,
            f"{name}_images_per_second": asdict(rate),
            f"{name}_share_of_limit": rate.median / min(by_flops, by_bytes),
        }
    return results


def benchmark_scaling(
    network: PoseNetwork, batch_sizes: Sequence[int], num_blocks: int, device: torch.device
) -> dict[str, Any]:
    """Training steps and inference over batch sizes.

    Args:
        network: any of this suite.
        batch_sizes: faces in a step.
        num_blocks: how often each is measured.
        device: where.

    Returns:
        images a second of each batch size.
    """
    results: dict[str, Any] = {"threads": torch.get_num_threads()}
    for batch_size in batch_sizes:
        batch = random_batch(batch_size, network.input_size, device)
        step = _step(_copy(network, device), batch)
        folded = fold(network.eval().to(device))
        results[f"batch_{batch_size}_step_images_per_second"] = asdict(measure_rate(batch_size, step, num_blocks))
        with torch.inference_mode():
            inference = measure_rate(batch_size, partial(folded, batch), num_blocks)
        results[f"batch_{batch_size}_inference_images_per_second"] = asdict(inference)
    return results


def _options(device: torch.device) -> dict[str, Any]:
    return {
        "accelerator": device.type, "devices": 1, "logger": False, "enable_checkpointing": False, "enable_progress_bar": False,
        "enable_model_summary": False, "num_sanity_val_steps": 0, "use_distributed_sampler": False, "limit_val_batches": 0,
        "max_epochs": 1,
    }  # fmt: skip


def _launches(work: Callable[[], object]) -> dict[str, float]:
    """Kernels and copies that a piece of work starts on the GPU, and how long the GPU is at them."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        work()
        torch.cuda.synchronize()
    on_gpu = [event for event in profile.events() if event.device_type.name == "CUDA"]
    busy = sum(event.device_time for event in on_gpu) / 1e6
    return {"launches": len(on_gpu), "gpu_busy_seconds": busy}


def _step(network: nn.Module, batch: Batch, fused: bool = True, bf16: bool = False) -> Callable[[], object]:
    network.train()
    optimizer = torch.optim.Adam(network.parameters(), fused=fused)
    kind = batch["image"].device.type

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(kind, torch.bfloat16, enabled=bf16):
            pose = network(batch).pose
        (pose.float() - batch["pose"]).abs().mean().backward()
        optimizer.step()

    return step


def _copy(network: nn.Module, device: torch.device) -> nn.Module:
    return copy.deepcopy(network).to(device)
