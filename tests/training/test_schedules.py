import pytest
import torch
from torch.optim import SGD

from headposekit.errors import InputError
from headposekit.training.schedules import WarmupCosine


def rates(total_steps: int, warmup: float) -> list[float]:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmupCosine(optimizer, warmup)
    schedule.span(total_steps)
    out = []
    for _ in range(total_steps):
        out.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return out


def test_rises_to_the_peak_and_falls_to_nothing() -> None:
    lr = rates(199, 0.1)
    peak = lr.index(max(lr))
    assert peak == 19  # a tenth of the steps
    assert max(lr) == pytest.approx(2.0, rel=0.01)
    assert lr[:peak] == sorted(lr[:peak])
    assert lr[peak:] == sorted(lr[peak:], reverse=True)
    assert lr[-1] == pytest.approx(0.0, abs=1e-3)


def test_state_restores_the_place() -> None:
    optimizer = SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    schedule = WarmupCosine(optimizer)
    schedule.span(10)
    for _ in range(4):
        optimizer.step()
        schedule.step()
    fresh = WarmupCosine(SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0))
    fresh.load_state_dict(schedule.state_dict())
    assert fresh.get_lr() == schedule.get_lr()


@pytest.mark.parametrize("warmup", [-0.1, 1.0, "long"])
def test_a_wrong_share_is_refused(warmup) -> None:
    with pytest.raises(InputError, match="warmup"):
        WarmupCosine(SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0), warmup)
