"""Every head: any rotation, invariance of its loss, finite gradients, and 64 faces learned by heart."""

import math
from typing import Any

import pytest
import torch
from hydra.utils import instantiate
from torch import Tensor, nn

from configs import train_config
from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.geometry.rotations import geodesic_distance, pose_to_matrix
from headposekit.geometry.so3 import matrix_to_upright_pose, pose_to_quaternion, quaternion_to_vector
from headposekit.heads.base import Head, ProbabilisticHead, rotation_of
from headposekit.heads.bins import BinsHead
from headposekit.heads.fisher import FisherHead
from headposekit.heads.gaussian import GaussianHead
from headposekit.heads.laplace import LaplaceHead
from headposekit.heads.matrix import SCALE
from headposekit.heads.point import (
    EulerHead,
    QuaternionHead,
    RotationVectorHead,
    SinCosHead,
    SixDHead,
    StagewiseHead,
    SVDHead,
)
from headposekit.losses import FrobeniusLoss, GeodesicLoss, HeadLoss, OpalLoss
from headposekit.models.pose import PoseNet

WRAPPED = BinsHead(AngleBins(decoding="centre"), wrapped=True)
ALL: dict[str, Head] = {
    "euler": EulerHead(),
    "sincos": SinCosHead(),
    "stagewise": StagewiseHead(),
    "bins": BinsHead(AngleBins(decoding="centre"), alpha=1.0),
    "wrapped bins": WRAPPED,
    "quaternion": QuaternionHead(),
    "rotvec": RotationVectorHead(),
    "sixd": SixDHead(),
    "svd": SVDHead(),
    "fisher": FisherHead(),
    "laplace": LaplaceHead(),
    "gaussian": GaussianHead(),
}
NARROW = ("stagewise", "bins")
each_head = pytest.mark.parametrize("name", ALL)


def poses_for(name: str, count: int = 64) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    limits = torch.tensor([95.0 if name in NARROW else 180.0, 80.0, 80.0])
    return (torch.rand(count, 3, generator=generator) * 2 - 1) * limits


def numbers_of(head: Head, pose: Tensor) -> Tensor:
    """Numbers that mean these poses."""
    matrix, quaternion, radians = pose_to_matrix(pose), pose_to_quaternion(pose), torch.deg2rad(pose)
    if isinstance(head, EulerHead):
        return radians
    if isinstance(head, SinCosHead):
        return torch.cat([2 * radians.sin(), 2 * radians.cos()], dim=-1)
    if isinstance(head, RotationVectorHead):
        return quaternion_to_vector(quaternion)
    if isinstance(head, SixDHead):
        return torch.cat([2 * matrix[..., 0], matrix[..., 1] + matrix[..., 0]], dim=-1)
    if isinstance(head, QuaternionHead):
        return -2 * quaternion
    if isinstance(head, GaussianHead):
        return torch.cat([quaternion, head.start()[4:].expand(len(pose), -1)], dim=-1)
    return (matrix @ torch.diag(torch.tensor([3.0, 2.0, 1.0]))).flatten(1)


@pytest.mark.parametrize("name", [name for name in ALL if name not in (*NARROW, "wrapped bins")])
def test_every_rotation_can_be_predicted(name: str) -> None:
    pose = torch.cat([poses_for(name, 200), torch.tensor([[180.0, 0.0, 0.0], [90.0, 20.0, 0.0], [0.0, 0.0, 0.0]])])
    output = ALL[name](numbers_of(ALL[name], pose))
    assert geodesic_distance(output.pose, pose).max() < 0.05
    assert geodesic_distance(matrix_to_upright_pose(rotation_of(output)), pose).max() < 0.05


def test_wrapped_bins_go_all_around() -> None:
    assert WRAPPED.sizes == (120, 66, 66)
    yaw = torch.arange(-180.0, 180.0, 0.5)
    shares = WRAPPED._shares(yaw, 120)
    torch.testing.assert_close(shares.sum(dim=-1), torch.ones(720))
    assert shares[0].nonzero().flatten().tolist() == [0, 119]  # 180 degrees lies between the last centre and the first
    numbers = torch.cat([(shares + 1e-6).log(), torch.zeros(720, 132)], dim=-1)
    pose = WRAPPED(numbers).pose
    assert geodesic_distance(pose * torch.tensor([1.0, 0.0, 0.0]), torch.stack([yaw, yaw * 0, yaw * 0], dim=-1)).max() < 0.02
    with pytest.raises(InputError, match=r"head\.bins\.width=7: a full turn is not made of whole bins"):
        BinsHead(AngleBins(limit=98, width=7), wrapped=True)


@each_head
def test_start_is_the_frontal_pose(name: str) -> None:
    assert ALL[name](ALL[name].start().unsqueeze(0)).pose.abs().max() < 1e-3
    assert ALL[name].start().shape == (ALL[name].size,)


@pytest.mark.parametrize("name", ["quaternion", "rotvec", "sixd", "svd", "fisher", "laplace", "gaussian"])
@pytest.mark.parametrize(
    "loss", [None, GeodesicLoss(), FrobeniusLoss(), OpalLoss()], ids=["head", "geodesic", "frobenius", "opal"]
)
def test_losses_stay_when_prediction_and_truth_are_turned_together(name: str, loss: Any) -> None:
    head = ALL[name]
    pose, true, turn = poses_for(name), poses_for(name).roll(1, dims=0), pose_to_matrix(torch.tensor([40.0, -30.0, 100.0]))
    turned, turned_true = (matrix_to_upright_pose(turn @ pose_to_matrix(each)) for each in (pose, true))
    loss = loss or HeadLoss(head)
    first, second = (
        float(loss(head(numbers_of(head, predicted)), {"pose": label}))
        for predicted, label in ((pose, true), (turned, turned_true))
    )
    assert first == pytest.approx(second, rel=1e-3)


@each_head
@pytest.mark.parametrize("degrees", [0.0, 180.0])
@pytest.mark.parametrize(
    "loss", [None, GeodesicLoss(), FrobeniusLoss(), OpalLoss()], ids=["head", "geodesic", "frobenius", "opal"]
)
def test_gradients_are_finite_at_no_error_and_at_180_degrees(name: str, degrees: float, loss: Any) -> None:
    head = ALL[name]
    numbers = head.start().unsqueeze(0).requires_grad_()
    if loss is not None and "rotation" not in head.trained_by:
        pytest.skip("trained by its likelihood")
    true = torch.tensor([[degrees if name not in NARROW else min(degrees, 98.0), 0.0, 0.0]])
    (loss or HeadLoss(head))(head(numbers), {"pose": true}).backward()
    assert torch.isfinite(numbers.grad).all()


class Small(nn.Module):
    """A trunk that learns in seconds."""

    num_features, stem = 128, ()

    def __init__(self) -> None:
        super().__init__()
        first, second = (nn.Linear(192, 128), nn.BatchNorm1d(128)), (nn.Linear(128, 128), nn.BatchNorm1d(128))
        self.layers = nn.Sequential(nn.Flatten(), *first, nn.ReLU(), *second, nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


@each_head
def test_64_faces_are_learned_by_heart(name: str) -> None:
    torch.manual_seed(0)
    model, loss = PoseNet(Small(), ALL[name], 8), HeadLoss(ALL[name])
    batch: Any = {"image": torch.randint(0, 256, (64, 3, 8, 8), dtype=torch.uint8), "pose": poses_for(name)}
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, total_steps=600, pct_start=0.1)
    error = math.inf
    for step in range(600):
        output = model(batch)
        if step % 20 == 0 and (error := float(geodesic_distance(output.pose.detach(), batch["pose"]).mean())) < 1:
            break
        optimizer.zero_grad()
        loss(output, batch).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        schedule.step()
    assert error < 1


@pytest.mark.parametrize("name", ["sincos", "svd", "fisher"])
def test_head_composes_with_every_loss_or_is_refused_in_one_line(name: str) -> None:
    for loss in ("l1", "wrapped", "geodesic", "frobenius", "opal", "head"):
        module = train_config("model=pose", f"head={name}", f"loss={loss}").module
        head: Any = instantiate(module.model.head)
        is_defined = loss == "head" or ("angles" if loss in ("l1", "wrapped") else "rotation") in head.trained_by
        if is_defined:
            instantiate(module, _convert_="all")
        else:
            with pytest.raises(
                Exception, match=r"compares (angles|rotation), by which \w+Head is not trained; choose loss=head"
            ):
                instantiate(module, _convert_="all")


def test_scale_of_a_matrix_is_its_width() -> None:
    head = ALL["fisher"]
    assert isinstance(head, ProbabilisticHead)
    _, spread = head.spreads(head(head.start().unsqueeze(0)))
    assert float(spread) == pytest.approx(math.degrees(math.sqrt(3 / (2 * SCALE))), rel=0.1)
