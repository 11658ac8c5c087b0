"""How fast the stages are on this machine: `python src/benchmark.py [stages=[render,train]]`, see conf/benchmark.yaml."""

from collections.abc import Callable
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from rich.console import Console

from headpose.benchmarks.data import benchmark_data
from headpose.benchmarks.report import as_markdown, print_benchmark
from headpose.benchmarks.stages import (
    benchmark_epoch,
    benchmark_inference,
    benchmark_landmarks,
    benchmark_latency,
    benchmark_limits,
    benchmark_render,
    benchmark_scaling,
    benchmark_step,
    benchmark_train,
)
from headpose.datamodules.synthetic import LOOSENESS
from headpose.datasets.packed import available_cores
from headpose.errors import InputError
from headpose.reporting.files import write_json
from headpose.running.entry import entry_point, output_dir
from headpose.running.memory import keep_freed_memory
from headpose.running.provenance import commit, versions


@entry_point("benchmark")
def benchmark(config: DictConfig) -> None:
    """Measure each stage asked for, print a table, write benchmark.json."""
    torch.set_num_threads(config.num_threads or available_cores())
    keep_freed_memory()
    stages: dict[str, Callable[[], Any]] = {
        "render": lambda: benchmark_render(
            instantiate(config.heads, _convert_="all"),
            config.num_heads,
            round(LOOSENESS * config.crop.size),
            config.num_workers,
        ),
        "data": lambda: benchmark_data(
            instantiate(config.heads, _convert_="all"),
            instantiate(config.crop, _convert_="all"),
            {name: instantiate(config[name], _convert_="all") for name in ("fsanet", "rigid")},
            config.num_units,
            config.batch_size,
            config.num_blocks,
        ),
        "train": lambda: benchmark_train(
            instantiate(config.module, _convert_="all"), config.batch_size, config.num_steps, config.num_blocks
        ),
        "step": lambda: benchmark_step(
            instantiate(config.module.model, _convert_="all"), config.batch_sizes, config.num_blocks
        ),
        "epoch": lambda: benchmark_epoch(
            lambda: instantiate(config.module, _convert_="all"),
            lambda feed: instantiate(config.data, feed=feed, _convert_="all"),
            config.num_blocks,
        ),
        "limits": lambda: benchmark_limits(
            instantiate(config.module.model, _convert_="all"), config.batch_size, config.num_blocks
        ),
        "scaling": lambda: benchmark_scaling(
            instantiate(config.module.model, _convert_="all"), config.scaling, config.num_blocks
        ),
        "inference": lambda: benchmark_inference(
            instantiate(config.module.model, _convert_="all"), config.batch_size, config.num_blocks
        ),
        "latency": lambda: benchmark_latency(instantiate(config.module.model, _convert_="all"), config.num_blocks),
        "landmarks": lambda: benchmark_landmarks(config.num_faces, config.num_blocks),
    }
    if unknown := [stage for stage in config.stages if stage not in stages]:
        raise InputError(f"stages={unknown} are unknown; choose from {', '.join(stages)}")
    results: dict[str, Any] = {"status": "finished", "commit": commit(), "versions": versions(), "cores": available_cores()}
    for stage in config.stages:
        results[stage] = stages[stage]()
        write_json(output_dir() / "benchmark.json", results)
        (output_dir() / "benchmark.md").write_text(as_markdown(results))
    print_benchmark(results, Console())


if __name__ == "__main__":
    benchmark()
