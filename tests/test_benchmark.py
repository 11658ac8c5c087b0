"""`python src/benchmark.py`."""

import json
from pathlib import Path

import pytest
import torch


def test_benchmark_measures_and_writes(run, tmp_path: Path) -> None:
    options = (
        "stages=[render,train]",
        "num_heads=128",
        "num_workers=2",
        "batch_size=4",
        "num_steps=1",
        "num_blocks=2",
        "heads.texture_pool=4",
    )
    done = run("benchmark", "num_threads=1", *options, f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert results["render"]["heads"] == 128
    assert results["render"]["heads_per_second"] > 0
    rate = results["train"]["images_per_second"]
    assert rate["slowest"] <= rate["median"] <= rate["fastest"]
    assert "heads per second" in done.stdout


def test_step_is_compared_with_the_plain_form(run, tmp_path: Path) -> None:
    options = ("stages=[step]", "model=ssrnet", "batch_sizes=[2]", "num_blocks=2", f"hydra.run.dir={tmp_path}/out")
    done = run("benchmark", "num_threads=1", *options)
    assert done.returncode == 0, done.stderr
    step = json.loads((tmp_path / "out" / "benchmark.json").read_text())["step"]
    assert {"batch_2_network_times_plain", "batch_2_bf16_times_plain"} < set(step)
    assert all(step[f"batch_2_{form}_images_per_second"]["slowest"] > 0 for form in ("plain", "network", "bf16"))


def test_inference_and_latency_are_compared_with_the_plain_form(run, tmp_path: Path) -> None:
    options = ("stages=[inference,latency]", "model=ssrnet", "batch_size=2", "num_blocks=2", f"hydra.run.dir={tmp_path}/out")
    done = run("benchmark", "num_threads=1", *options)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert {key for key in results["inference"] if key.endswith("_times_plain")} == {
        "network_times_plain",
        "folded_times_plain",
        "onnxruntime_times_plain",
    }
    assert 0 < results["latency"]["onnxruntime_least_ms"] <= results["latency"]["onnxruntime_ms"]
    assert results["latency"]["onnxruntime_times_plain"] > 2  # a loaded machine slows both; a quiet one shows 8 and more
    assert "onnxruntime times plain" in done.stdout


def test_unknown_stage_is_named(refused) -> None:
    assert "paint" in refused("benchmark", "stages=[paint]")


def test_data_path_is_compared_with_files(run, tmp_path: Path) -> None:
    options = ("stages=[data]", "num_units=2", "batch_size=4", "num_blocks=2", "heads.texture_pool=4")
    done = run("benchmark", "num_threads=1", *options, f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    data = json.loads((tmp_path / "out" / "benchmark.json").read_text())["data"]
    ways = {key.removesuffix("_times_files") for key in data if key.endswith("_times_files")}
    assert ways == {
        "files_augmented",
        "fixed_pack_gathered",
        "fixed_pack",
        "loose_pack",
    }
    assert data["fixed_pack_gathered_times_files"] > 5  # a thousand faces of a batch cost what one file does
    assert (tmp_path / "out" / "benchmark.md").read_text().count("| data |") == len(data)


def test_epoch_and_limits(run, tmp_path: Path) -> None:
    small = ("data.num_heads=128", "data.root=packs", "data.batch_size=32", "data.heads.texture_pool=4", "model=ssrnet")
    options = (
        "stages=[epoch,limits,scaling]",
        "num_blocks=1",
        "batch_size=2",
        "scaling=[1,2]",
        f"hydra.run.dir={tmp_path}/out",
    )
    done = run("benchmark", "num_threads=1", *options, *small)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert results["epoch"]["faces"] == 128
    assert results["epoch"]["ours_times_naive"] > 0
    assert 0 < results["limits"]["step_share_of_limit"] < 1
    rates = {f"batch_{n}_{what}_images_per_second" for n in (1, 2) for what in ("step", "inference")}
    assert set(results["scaling"]) == {"threads", "peak_mib", *rates}
    assert results["scaling"]["peak_mib"] > 100  # of a process with torch in it


def test_packing_and_loading_over_sizes_and_workers(run, tmp_path: Path) -> None:
    options = ("stages=[prepare,loader]", "num_units=1", "growth=[1,3]", "loader_workers=[0,1]", "batch_size=4", "num_blocks=2")
    done = run("benchmark", "num_threads=1", *options, "num_workers=1", "heads.texture_pool=4", f"hydra.run.dir={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert (results["prepare"]["1x_faces"], results["prepare"]["3x_faces"]) == (6, 18)
    assert results["prepare"]["3x_seconds_to_find_it_complete"] < 18 / results["prepare"]["3x_faces_per_second"]
    assert {key for key in results["loader"] if key.endswith("per_second")} == {
        *(f"{times}x_faces_per_second" for times in (1, 3)),
        *(f"{n}_workers_faces_per_second" for n in (0, 1)),
    }


def test_exports_are_compared_with_the_network(run, tmp_path: Path) -> None:
    done = run(
        "benchmark",
        "num_threads=1",
        "stages=[export]",
        "model=ssrnet",
        "batch_size=2",
        "num_blocks=2",
        f"hydra.run.dir={tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    export = json.loads((tmp_path / "out" / "benchmark.json").read_text())["export"]
    assert all(export[f"{form}_times_network"] > 0 and export[f"{form}_mib"] > 0.1 for form in ("onnx", "torch_export"))


def test_gpu_is_refused_where_there_is_none(refused) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is one")
    assert "device=cuda" in refused("benchmark", "device=cuda")
