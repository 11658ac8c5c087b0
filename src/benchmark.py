"""How fast the stages are on this machine: `python src/benchmark.py [stages=[render,train]]`, see conf/benchmark.yaml."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from headposekit.cli.entry import entry_point
from headposekit.datasets.synthetic import RENDER_SCALE
from headposekit.errors import InputError
from headposekit.files import write_json, write_text
from headposekit.paths import ROOT, output_dir
from headposekit.process import available_cores, keep_freed_memory
from headposekit.training.results import commit, versions

sys.path.append(str(ROOT / "tools"))

from benchmarks.data import benchmark_data, benchmark_loader, benchmark_prepare, benchmark_render
from benchmarks.inference import benchmark_export, benchmark_inference, benchmark_landmarks, benchmark_latency
from benchmarks.measure import ProcessWatch
from benchmarks.report import as_markdown, print_benchmark
from benchmarks.training import (
    benchmark_epoch,
    benchmark_limits,
    benchmark_loop,
    benchmark_scaling,
    benchmark_step,
    benchmark_train,
)


@entry_point("benchmark")
def benchmark(config: DictConfig) -> None:
    """Measure each stage asked for, print a table, write benchmark.json."""
    torch.set_num_threads(config.num_threads or available_cores())
    keep_freed_memory()
    try:
        device = torch.device(config.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise InputError(f"device={config.device} cannot be used ({str(error).splitlines()[0]}); give cpu or cuda") from error

    def made(key: str) -> Any:
        return instantiate(OmegaConf.select(config, key), _convert_="all")

    stages: dict[str, Callable[[], Any]] = {
        "render": lambda: benchmark_render(
            made("heads"), config.num_heads, round(RENDER_SCALE * config.crop.size), config.num_workers
        ),
        "prepare": lambda: benchmark_prepare(made("heads"), made("crop"), config.num_units, config.growth, config.num_workers),
        "data": lambda: benchmark_data(
            made("heads"),
            made("crop"),
            {name: made(name) for name in ("fsanet", "rigid")},
            config.num_units,
            config.batch_size,
            config.num_blocks,
        ),
        "loader": lambda: benchmark_loader(
            made("heads"),
            made("crop"),
            made("fsanet"),
            config.num_units,
            config.growth,
            config.batch_size,
            config.loader_workers,
            config.num_blocks,
        ),
        "limits": lambda: benchmark_limits(made("module.model"), config.batch_size, config.num_blocks, device),
        "train": lambda: benchmark_train(made("module"), config.batch_size, config.num_steps, config.num_blocks, device),
        "loop": lambda: benchmark_loop(
            made("module").optimizer,
            made("module").scheduler,
            config.batch_size,
            64 * config.num_steps,
            config.num_blocks,
            device,
        ),
        "step": lambda: benchmark_step(made("module.model"), config.batch_sizes, config.num_blocks, device),
        "epoch": lambda: benchmark_epoch(
            lambda: made("module"),
            made("data"),
            config.num_blocks,
            device,
        ),
        "scaling": lambda: benchmark_scaling(made("module.model"), config.scaling, config.num_blocks, device),
        "inference": lambda: benchmark_inference(made("module.model"), config.batch_size, config.num_blocks, device),
        "latency": lambda: benchmark_latency(made("module.model"), config.num_blocks),
        "export": lambda: benchmark_export(made("module.model"), config.batch_size, config.num_blocks),
        "landmarks": lambda: benchmark_landmarks(config.num_faces, config.num_blocks),
    }
    if unknown := [stage for stage in config.stages if stage not in stages]:
        raise InputError(f"stages={unknown} are unknown; choose from {', '.join(stages)}")
    machine = {"cores": available_cores(), "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu"}
    results: dict[str, Any] = {"status": "finished", "commit": commit(), "versions": versions(), **machine}
    for stage in config.stages:
        with ProcessWatch(interval=0.5, with_self=True) as watch:
            results[stage] = stages[stage]()
        results[stage]["peak_mib"] = watch.peak_mib
        write_json(output_dir() / "benchmark.json", results)
        write_text(output_dir() / "benchmark.md", as_markdown(results))
    print_benchmark(results)


if __name__ == "__main__":
    benchmark()
