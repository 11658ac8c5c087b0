from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.losses import MeanAbsoluteError, MeanSquaredError, MultiBinLoss
from headposekit.models.hopenet import HopenetOutput


@pytest.mark.parametrize("alpha", [0.0, 0.5, 2.0])
def test_sum_of_the_three_losses_as_published(alpha: float) -> None:
    generator = torch.Generator().manual_seed(0)
    logits, true = torch.randn(5, 3, 66, generator=generator), torch.rand(5, 3, generator=generator) * 190 - 95
    bins = AngleBins(decoding="left")
    pose, std = bins.decode(logits)
    expected = torch.tensor(0.0)
    index = torch.arange(66.0)
    for angle in range(3):  # code/train_hopenet.py, angle by angle
        label = torch.floor((true[:, angle] + 99) / 3).long()
        predicted = (logits[:, angle].softmax(1) * index).sum(1) * 3 - 99
        expected = expected + functional.cross_entropy(logits[:, angle], label)
        expected = expected + alpha * (predicted - true[:, angle]).square().mean()
    loss = MultiBinLoss(bins, alpha)(HopenetOutput(pose, std, logits=logits), {"pose": true})  # type: ignore[typeddict-item]
    torch.testing.assert_close(loss, expected)


def test_alpha_below_zero_is_refused() -> None:
    with pytest.raises(InputError, match=r"loss\.alpha=-1"):
        MultiBinLoss(AngleBins(), -1)


def test_squared_error_is_of_all_three_angles() -> None:
    output = HopenetOutput(torch.tensor([[1.0, 2.0, 3.0]]), torch.zeros(1, 3), logits=torch.zeros(1, 3, 66))
    assert float(MeanSquaredError()(output, {"pose": torch.zeros(1, 3)})) == pytest.approx(14 / 3)  # type: ignore[typeddict-item]


def test_mean_over_batch_and_angles_by_hand() -> None:
    output = SimpleNamespace(pose=torch.tensor([[10.0, 0.0, -5.0], [0.0, 0.0, 0.0]]))
    batch = {"pose": torch.tensor([[7.0, 1.0, -3.0], [0.0, 6.0, 0.0]])}
    assert MeanAbsoluteError()(output, batch).item() == 2.0


def test_gradient_is_the_sign_over_the_count() -> None:
    pose = torch.tensor([[10.0, -20.0, 30.0]], requires_grad=True)
    MeanAbsoluteError()(SimpleNamespace(pose=pose), {"pose": torch.zeros(1, 3)}).backward()
    torch.testing.assert_close(pose.grad, torch.tensor([[1.0, -1.0, 1.0]]) / 3)
