"""Threads that a process must not have."""

import importlib
from pathlib import Path

import cv2
import pytest
from threadpoolctl import threadpool_info, threadpool_limits
from torch.utils.data import Dataset

import headposekit
from headposekit.data.chunks import in_parallel


class Threads(Dataset[int]):
    def __init__(self, path: Path) -> None:
        self.path = path

    def __getitem__(self, number: int) -> int:
        self.path.write_text(" ".join(str(pool["num_threads"]) for pool in threadpool_info() if pool["user_api"] == "blas"))
        return number


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_numpy_has_one_thread_in_a_worker_process(tmp_path: Path) -> None:
    with threadpool_limits(2, user_api="blas"):
        in_parallel(Threads(tmp_path / "in_worker"), [0], "asking", num_workers=1)
        in_parallel(Threads(tmp_path / "here"), [0], "asking", num_workers=0)
    assert set((tmp_path / "in_worker").read_text().split()) == {"1"}
    assert set((tmp_path / "here").read_text().split()) == {"2"}


def test_opencv_starts_no_threads_that_a_forked_worker_would_wait_for() -> None:
    cv2.setNumThreads(2)
    importlib.reload(headposekit)
    assert cv2.getNumThreads() == 1
