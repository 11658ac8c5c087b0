"""Threads that a process must not have."""

import importlib
from pathlib import Path

import cv2
import pytest
from threadpoolctl import threadpool_info, threadpool_limits
from torch.utils.data import DataLoader, Dataset

import headposekit
from headposekit.data.chunks import in_parallel
from headposekit.process import start_worker


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


class TooLarge:
    """What torch raises where a tensor does not fit into /dev/shm."""

    def __reduce__(self) -> str:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")


class Batches(Dataset[TooLarge]):
    def __getitem__(self, number: int) -> TooLarge:
        return TooLarge()

    def __len__(self) -> int:
        return 4


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_batch_that_does_not_fit_into_shared_memory_is_not_waited_for() -> None:
    loader = DataLoader(Batches(), batch_size=None, num_workers=1, worker_init_fn=start_worker)
    with pytest.raises(RuntimeError, match=r"DataLoader worker \(pid"):
        next(iter(loader))


def test_opencv_starts_no_threads_that_a_forked_worker_would_wait_for() -> None:
    cv2.setNumThreads(2)
    importlib.reload(headposekit)
    assert cv2.getNumThreads() == 1
