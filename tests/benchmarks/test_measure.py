import math
import subprocess
import sys
import time

from headpose.benchmarks.measure import ChildWatch, measure_rate


def test_rate_counts_items_a_second_after_a_warm_up() -> None:
    calls = []
    rate = measure_rate("sleep", "naps", 2, lambda: (calls.append(1), time.sleep(0.02)), num_blocks=3)
    assert len(calls) == 4
    assert rate.slowest <= rate.median <= rate.fastest < 100.1  # two naps in a fiftieth of a second


BUSY = """
import time
held = bytearray(200 * 2**20)
while time.process_time() < 0.4:
    held[0] ^= 1
"""


def test_child_watch_sees_memory_and_processor_time_of_children() -> None:
    with ChildWatch(interval=0.05) as watch:
        subprocess.run([sys.executable, "-c", BUSY], check=True)
    assert max(watch.resident) > 200 * 2**20
    assert 0.1 < watch.cpu_seconds <= watch.seconds + 0.1


def test_growth_is_the_last_quarter_over_the_second() -> None:
    watch = ChildWatch()
    watch.resident = [0, 0, 2, 2, 9, 9, 3, 5]
    assert watch.growth() == 2
    watch.resident = []
    assert math.isnan(watch.growth())
