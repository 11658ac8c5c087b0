"""The temperature of a probabilistic head: fitted to held-out faces, kept in the network, used by its scores."""

from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.geometry.so3 import quaternion_to_matrix, vector_to_quaternion
from headposekit.heads.fisher import FisherHead
from headposekit.heads.matrix import SCALE
from headposekit.losses import HeadLoss
from headposekit.metrics.uncertainty import uncertainty_scores
from headposekit.models.fsanet import FSANetFeatures
from headposekit.models.pose import PoseNet
from headposekit.training.module import HeadPoseModule, PoseModule, lowest

FACES = 400


def test_lowest_point_lies_between_the_values() -> None:
    values = [2.0**step for step in range(-3, 4)]
    heights = [(step - 1.3) ** 2 for step in range(-3, 4)]
    assert lowest(values, heights) == pytest.approx(2**1.3)
    assert lowest(values, values) == values[0]
    assert lowest(values, [float("nan"), 3.0, 2.0, float("inf"), 5.0, 6.0, 7.0]) == 0.5


@pytest.mark.parametrize("degrees", [2.0, 5.0, 10.0])
def test_temperature_is_fitted_kept_and_scored(monkeypatch: pytest.MonkeyPatch, degrees: float) -> None:
    """A head that says 5 degrees in every direction, and labels that are off by another known noise."""
    torch.manual_seed(0)
    head = FisherHead()
    model = PoseNet(FSANetFeatures(), head)
    module = PoseModule(model, HeadLoss(head), partial(torch.optim.Adam), partial(torch.optim.lr_scheduler.ConstantLR))
    pose = torch.rand(FACES, 3) * 60 - 30
    claimed, noise = torch.deg2rad(torch.tensor([5.0, degrees]))
    rotation = pose_to_matrix(pose)
    numbers = (rotation * (0.5 / claimed**2) / SCALE).flatten(1)
    true = matrix_to_pose(rotation @ quaternion_to_matrix(vector_to_quaternion(noise * torch.randn(FACES, 3))))
    batch: Any = {"pose": true}
    model.forward = lambda _: head(numbers)  # type: ignore[method-assign]
    strategy = SimpleNamespace(reduce=lambda sums, reduce_op: sums)
    monkeypatch.setattr(PoseModule, "trainer", SimpleNamespace(strategy=strategy))
    monkeypatch.setattr(HeadPoseModule, "on_validation_epoch_end", lambda _: None)
    with torch.no_grad():
        module.on_validation_epoch_start()
        module.validation_step(batch, 0)
        module.on_validation_epoch_end()
        output = head(numbers)
        output.spread, output.rotation_spread = head.spreads(output, model.temperature)
        found = model.uncertainty(output, true)
    assert model.state_dict()["temperature"] == pytest.approx((degrees / 5) ** 2, rel=0.15)
    assert float(found["spread"].mean()) == pytest.approx(degrees * 3**0.5, rel=0.08)
    scores = uncertainty_scores(torch.rand(FACES), **found)
    for percent in (50, 90, 95):
        assert scores[f"coverage_{percent}"] == pytest.approx(percent, abs=6)
