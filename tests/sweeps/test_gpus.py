"""GPUs that cells of sweeps lock, on machines whose nvidia-smi is a script."""

import contextlib
import os
import resource
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf

from headposekit.errors import InputError
from headposekit.sweeps import folders, gpus
from headposekit.sweeps.folders import GivenUp
from headposekit.sweeps.gpus import own_gpus, visible_gpus

MakeGpus = Callable[..., list[str]]


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeGpus:
    """Give this machine some GPUs; returns their UUIDs."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gpus, "POLL_SECONDS", 0.002)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def make(number: int, visible: str | None = None) -> list[str]:
        uuids = [f"GPU-{n}5a09f1e-3c1a-0000-a1b2-00000000000{n}" for n in range(number)]
        lines = [f"GPU {n}: NVIDIA H100 80GB HBM3 (UUID: {uuid})" for n, uuid in enumerate(uuids)]
        lines.insert(1, "  MIG 1g.10gb     Device  0: (UUID: MIG-c7a3b2d1-0000-5d5f-9d3c-000000000000)")
        program = tmp_path / "bin" / "nvidia-smi"
        program.parent.mkdir(exist_ok=True)
        program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in lines))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
        if visible is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
        return uuids

    return make


def trainer(devices: Any = 1, accelerator: str = "auto") -> DictConfig:
    return OmegaConf.create({"accelerator": accelerator, "devices": devices})


@contextlib.contextmanager
def owned(devices: Any = 1, given_up: Callable[[], str | None] = lambda: None, patience: float = 60) -> Iterator[list[str]]:
    with own_gpus(trainer(devices), patience, given_up) as taken:
        yield list(taken)


@pytest.mark.parametrize(
    ("visible", "numbers"),
    [(None, [0, 1, 2]), ("2, 0", [2, 0]), ("GPU-25a,1", [2, 1]), ("", []), ("-1", []), ("1,7,0", [1])],
)
def test_a_gpu_has_one_name_whatever_the_variable_calls_it(machine: MakeGpus, visible: str | None, numbers: list[int]) -> None:
    uuids = machine(3, visible)
    assert visible_gpus() == [uuids[number] for number in numbers]


def test_a_part_of_a_gpu_has_its_own_name(machine: MakeGpus) -> None:
    machine(2, "MIG-c7a3b2d1-0000-5d5f-9d3c-000000000000")
    assert visible_gpus() == ["MIG-c7a3b2d1-0000-5d5f-9d3c-000000000000"]


def test_without_nvidia_smi_they_are_called_as_cuda_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(gpus.torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,6")
    assert visible_gpus() == ["4", "6"]
    monkeypatch.setattr(gpus.torch.cuda, "device_count", lambda: 0)
    assert visible_gpus() == []


@pytest.mark.parametrize(
    ("devices", "number"),
    [(-1, 4), ("-1", 4), ("auto", 4), (2, 2), ("2", 2), (1, 1), (4, 4), (5, 0), (0, 0), ("some", 0), (None, 0)],
)
def test_devices_mean_what_lightning_takes_them_for(machine: MakeGpus, devices: Any, number: int) -> None:
    uuids = machine(4)
    with owned(devices) as taken:
        assert taken == uuids[:number]


@pytest.mark.parametrize("devices", [[0, 1], "0,1", [2], "2,"])
def test_a_cell_does_not_choose_its_gpus(machine: MakeGpus, devices: Any) -> None:
    machine(4)
    with pytest.raises(InputError, match="a sweep chooses the GPUs; give their number"), owned(devices):
        pass


def test_cells_side_by_side_get_a_gpu_each(machine: MakeGpus) -> None:
    uuids = machine(8, "4,6,7")
    with owned() as first, owned(2) as second:
        assert (first, second) == ([uuids[4]], [uuids[6], uuids[7]])
    with owned() as again:
        assert again == [uuids[4]]  # given back


@pytest.mark.parametrize(("accelerator", "visible"), [("cpu", None), ("mps", None), ("gpu", "")])
def test_a_cell_without_gpus_takes_none(machine: MakeGpus, accelerator: str, visible: str | None) -> None:
    machine(4, visible)
    with own_gpus(trainer(2, accelerator), 60, lambda: None) as taken:
        assert taken == {}


def in_threads(run: Callable[[Any], None], arguments: list[Any]) -> None:
    threads = [threading.Thread(target=run, args=(argument,), daemon=True) for argument in arguments]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
        assert not thread.is_alive()


@pytest.mark.parametrize(("number", "cells"), [(1, [1, 1, -1]), (4, [4, 1, "auto", 2])])
def test_two_cells_are_never_on_one_gpu(machine: MakeGpus, number: int, cells: list[Any]) -> None:
    machine(number)
    busy: set[str] = set()
    overlaps: list[set[str]] = []

    def run(devices: Any) -> None:
        with owned(devices) as taken:
            overlaps.append(busy & set(taken))
            busy.update(taken)
            time.sleep(0.01)
            busy.difference_update(taken)

    in_threads(run, cells)
    assert overlaps == [set()] * len(cells)
    assert not busy


def test_cells_that_want_most_gpus_never_wait_for_each_other(machine: MakeGpus) -> None:
    machine(4)
    ended: list[list[str]] = []

    def run(devices: int) -> None:
        with owned(devices) as taken:
            ended.append(taken)

    for _ in range(100):
        in_threads(run, [3, 3, 3, 3])
    assert [len(taken) for taken in ended] == [3] * 400


def test_many_waiting_cells_need_few_descriptors(machine: MakeGpus) -> None:
    machine(4)
    used = max(int(name) for name in os.listdir("/proc/self/fd"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    looks, ended, errors = threading.Semaphore(0), threading.Event(), list[Exception]()

    def reason() -> str | None:
        looks.release()
        return "enough" if ended.is_set() else None

    def wait(_: int) -> None:
        try:
            with owned(given_up=reason):
                errors.append(AssertionError("all are taken"))
        except GivenUp:
            pass
        except Exception as error:
            errors.append(error)

    with owned(4):
        threads = [threading.Thread(target=wait, args=(number,), daemon=True) for number in range(40)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 64, limits[1]))
        try:
            for thread in threads:
                thread.start()
            for _ in range(400):
                assert looks.acquire(timeout=20)
            ended.set()
            for thread in threads:
                thread.join(timeout=20)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert errors == []


def test_a_waiting_cell_holds_nothing(machine: MakeGpus) -> None:
    uuids = machine(4)

    def look() -> str:
        with owned(3) as others:
            assert others == uuids[1:]
        return "unpromising"

    with owned(), pytest.raises(GivenUp, match="unpromising"), owned(4, given_up=look):
        pass


def test_a_waiting_cell_is_as_patient_as_a_running_one(machine: MakeGpus, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look takes a minute; what holds the GPU shows signs of life in the first 99."""
    machine(1)
    now = 0.0
    monkeypatch.setattr(folders.time, "monotonic", lambda: now)
    with own_gpus(trainer(), 60, lambda: None) as holder:

        def look() -> None:
            nonlocal now
            now += 60
            if now < 60 * 100:
                (lock,) = holder.values()
                os.utime(lock, (now, now))

        with (
            pytest.raises(GivenUp, match=r"no sign of life in .*gpus for 60 minutes"),
            owned(given_up=look),
        ):
            pass
    assert now == 60 * (99 + 61)
