"""Fixtures: generated dataset trees, the real samples where they are, and the entry points as a user calls them."""

import functools
import os
import runpy
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import pytest
import torch
from filelock import FileLock
from threadpoolctl import threadpool_limits

import trees
from processes import call
from run_folders import SWEPT

PROJECT = Path(__file__).resolve().parents[1]
SHARED = PROJECT.parent / "shared" / "data"
# A slow moment of the machine is no failure; a continuous integration repeats the same examples.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=bool(os.environ.get("CI")))
hypothesis.settings.load_profile("suite")
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)  # as many test processes as cores; threads of all would wait for each other
threadpool_limits(1)


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test adds to the places of modules (extensions do) goes with it."""
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture(scope="session")
def shared() -> Path:
    if not SHARED.is_dir():
        pytest.skip(f"no real samples: {SHARED} is not there")
    return SHARED


@pytest.fixture(scope="session")
def official(shared: Path) -> Path:
    return shared / "fsanet_official"


@pytest.fixture(scope="session")
def expected(official: Path) -> dict[str, np.ndarray]:
    """What the authors' own code outputs."""
    with np.load(official / "expected.npz", allow_pickle=False) as file:
        return dict(file)


@pytest.fixture(scope="session")
def w300lp_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("300W_LP")
    trees.write_300w_lp(root)
    return root


@pytest.fixture(scope="session")
def aflw2000_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("AFLW2000")
    trees.write_aflw2000(root, beyond=2)
    return root


@pytest.fixture(scope="session")
def labels_root(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real labels, 494 of them within ±99 degrees, with blank pictures."""
    root = tmp_path_factory.mktemp("AFLW2000_labels")
    trees.write_aflw2000_labels(root, shared / "aflw2000_labels_500.csv")
    return root


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A copy of a folder that `make` fills once for all processes of the tests."""
    base = factory.getbasetemp()
    original = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    with FileLock(original.with_suffix(".lock")):
        if not original.is_dir():
            folder = factory.mktemp("making")
            make(folder)
            folder.rename(original)
    return Path(shutil.copytree(original, factory.mktemp("copy") / name))


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs with one of `train.py` itself: a cell of a sweep on few synthetic heads.

    It is trained once for all processes of the tests; each has a copy.
    """

    def train(folder: Path) -> None:
        cell = ("model=fsanet", "aggregation=none", "scoring=none")
        done = call(folder, "train", "-m", *SWEPT, *cell, HEADPOSEKIT_DATASETS=str(folder / "datasets"))
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "trained", train) / "runs"


@pytest.fixture
def roots(w300lp_root: Path, aflw2000_root: Path) -> tuple[str, ...]:
    """Options that train on the tree of 300W-LP and test on that of AFLW2000."""
    return "data=300w_lp", f"data.root={w300lp_root}", "test=[aflw2000]", f"test.aflw2000.root={aflw2000_root}"


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call an entry point in its own process, from an empty folder, with runs/ below it; see `processes.call`."""
    return functools.partial(call, tmp_path)


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start an entry point in a new interpreter, from an empty folder, and end it with the test at the latest."""
    started: list[subprocess.Popen[str]] = []

    def call(script: str, *overrides: str, stdout: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, str(PROJECT / "src" / f"{script}.py"), *overrides],
            cwd=tmp_path,
            env={**os.environ, "HEADPOSEKIT_RUNS": str(tmp_path / "runs")},
            stdout=stdout,
            stderr=subprocess.PIPE,
            text=True,
            # A test run in a shell's background inherits an ignored SIGINT, and would hand it on.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def enter(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Call an entry point in this process (no imports again), otherwise like `run`: for those that only read or refuse."""

    def call(script: str, *overrides: str, **env: str) -> subprocess.CompletedProcess[str]:
        path = PROJECT / "src" / f"{script}.py"
        environment = {"HEADPOSEKIT_RUNS": str(tmp_path / "runs"), "HYDRA_FULL_ERROR": "0", "COLUMNS": "160", **env}
        code: Any = 0
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path)
            patch.setattr(sys, "argv", [str(path), *overrides])
            for name, value in environment.items():
                patch.setenv(name, value)
            try:
                runpy.run_path(str(path), run_name="__main__")
            except SystemExit as leave:
                code = leave.code
        return subprocess.CompletedProcess([script, *overrides], code, *capfd.readouterr())

    return call


@pytest.fixture
def refused(enter: Callable[..., subprocess.CompletedProcess[str]]) -> Callable[..., str]:
    """Call an entry point in this process and return the one line with which it refuses."""

    def call(script: str, *overrides: str) -> str:
        done = enter(script, *overrides)
        errors = [line for line in done.stderr.splitlines() if line.strip()]
        assert done.returncode == 1
        assert len(errors) == 1, errors
        return errors[0]

    return call
