from types import SimpleNamespace

import torch

from headposekit.losses import MeanAbsoluteError


def test_mean_over_batch_and_angles_by_hand() -> None:
    output = SimpleNamespace(pose=torch.tensor([[10.0, 0.0, -5.0], [0.0, 0.0, 0.0]]))
    batch = {"pose": torch.tensor([[7.0, 1.0, -3.0], [0.0, 6.0, 0.0]])}
    assert MeanAbsoluteError()(output, batch).item() == 2.0


def test_gradient_is_the_sign_over_the_count() -> None:
    pose = torch.tensor([[10.0, -20.0, 30.0]], requires_grad=True)
    MeanAbsoluteError()(SimpleNamespace(pose=pose), {"pose": torch.zeros(1, 3)}).backward()
    torch.testing.assert_close(pose.grad, torch.tensor([[1.0, -1.0, 1.0]]) / 3)
