import math
import subprocess
import sys
import time

import pytest

from benchmarks.measure import ProcessWatch, measure_rate
from headposekit.timing import compare_times


def test_rate_counts_items_a_second_after_a_warm_up() -> None:
    calls = []
    rate = measure_rate(2, lambda: (calls.append(1), time.sleep(0.02)), num_blocks=3)
    assert len(calls) == 4
    assert rate.slowest <= rate.median <= rate.fastest < 100.1  # two naps in a fiftieth of a second


def test_times_are_of_a_call_and_in_turn() -> None:
    now, order = [0.0], []

    def work(name: str, seconds: float) -> None:
        order.append(name)
        now[0] += seconds

    pieces = {"slow": lambda: work("slow", 0.004), "quick": lambda: work("quick", 0.001)}
    times = compare_times(pieces, num_rounds=2, calls=2, clock=lambda: now[0])
    assert order == ["slow", "quick"] + 2 * ["slow", "slow", "quick", "quick"]
    assert (times["slow"].median, times["slow"].least) == (pytest.approx(4), pytest.approx(4))
    assert times["quick"].ratio == pytest.approx(0.25)


BUSY = """
import time
held = bytearray(200 * 2**20)
while time.process_time() < 0.4:
    held[0] ^= 1
"""


def test_child_watch_sees_memory_and_processor_time_of_children() -> None:
    with ProcessWatch(interval=0.05) as watch:
        subprocess.run([sys.executable, "-c", BUSY], check=True)
    assert max(watch.resident) > 200 * 2**20
    assert 0.1 < watch.cpu_seconds <= watch.seconds + 0.1


def test_growth_is_the_last_quarter_over_the_second() -> None:
    watch = ProcessWatch()
    watch.resident = [0, 0, 2, 2, 9, 9, 3, 5]
    assert watch.growth() == 2
    watch.resident = []
    assert math.isnan(watch.growth())
