import torch

from benchmarks.limits import count_work, machine_limits


def test_bytes_and_flops_of_known_work() -> None:
    one, two = torch.rand(8, 16), torch.rand(16, 4)
    assert count_work(lambda: one @ two) == {"operations": 1, "flops": 2 * 8 * 16 * 4, "bytes": 4 * (128 + 64 + 32)}
    assert count_work(lambda: one.t().reshape(16, 8)[:2])["operations"] == 0  # views move nothing
    assert count_work(lambda: one.add(1))["bytes"] == 2 * 4 * 128
    assert count_work(lambda: one.clone().relu_())["operations"] == 2


def test_limits_of_the_machine_are_those_of_a_machine() -> None:
    limits = machine_limits(num_rounds=1)
    assert 1e8 < limits["flops_per_second"] < 1e15
    assert 1e8 < limits["bytes_per_second"] < 1e13
