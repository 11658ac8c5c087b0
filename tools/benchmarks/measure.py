"""Blocks of work; memory and processor time of this process and of its children."""

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from types import TracebackType

import psutil

from headposekit.timing import Times, wait_for_device


@dataclass(frozen=True)
class Rate:
    """How many items a second, over blocks of equal work: the middle one and the two ends."""

    median: float
    slowest: float
    fastest: float


def rate_of(times: Times, items: int) -> dict[str, float]:
    """Items a second, of which a call does so many, as a plain `Rate`."""
    return asdict(Rate(*(1e3 * items / value for value in (times.median, times.most, times.least))))


def measure_rate(items: int, block: Callable[[], object], num_blocks: int, warm_up: int = 1) -> Rate:
    """Time blocks.

    Args:
        items: done by one block.
        block: the work.
        num_blocks: measured ones.
        warm_up: blocks before, not measured.
    """
    for _ in range(warm_up):
        block()
    rates = []
    for _ in range(num_blocks):
        wait_for_device()
        start = time.perf_counter()
        block()
        wait_for_device()
        rates.append(items / (time.perf_counter() - start))
    return Rate(statistics.median(rates), min(rates), max(rates))


@dataclass
class ProcessWatch:
    """Samples, while open, memory and processor time of the child processes that were started since.

    Attributes:
        interval: seconds between two samples.
        with_self: whether this process counts as well.
        resident: bytes of all of them together, one sample an interval; memory that several share counts for each.
        cpu_seconds: user and system time that they have used.
        seconds: wall time.
    """

    interval: float = 0.25
    with_self: bool = False
    resident: list[int] = field(default_factory=list)
    cpu_seconds: float = 0.0
    seconds: float = 0.0

    def __enter__(self) -> "ProcessWatch":
        self._start, self._done, self._cpu = time.perf_counter(), threading.Event(), dict[int, float]()
        self._before = set(psutil.Process().children(recursive=True))
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._done.set()
        self._thread.join()
        self.seconds, self.cpu_seconds = time.perf_counter() - self._start, sum(self._cpu.values())

    @property
    def peak_mib(self) -> float:
        """The most memory of any sample, in MiB."""
        return max(self.resident, default=0) / 2**20

    def growth(self) -> float:
        """Mean memory in the last quarter of the time over that in the second quarter, when all is warm."""
        n = len(self.resident)
        early, late = self.resident[n // 4 : n // 2], self.resident[3 * n // 4 :]
        return statistics.fmean(late) / statistics.fmean(early) if early and sum(early) and late else float("nan")

    def _watch(self) -> None:
        me = psutil.Process()
        while True:
            total = me.memory_info().rss if self.with_self else 0
            for child in set(me.children(recursive=True)) - self._before:
                try:
                    used = child.cpu_times()
                    self._cpu[child.pid] = used.user + used.system
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            self.resident.append(total)
            if self._done.wait(self.interval):
                return
