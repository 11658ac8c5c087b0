"""The inference forms: the same function, in fewer operations."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from headposekit.geometry.bins import AngleBins
from headposekit.models.backbones import AlexNetBackbone, TimmBackbone
from headposekit.models.fold import fold
from headposekit.models.fsanet import (
    CapsuleAggregation,
    ConvScoring,
    FSANet,
    LinearAggregation,
    NetVLADAggregation,
    NoScoring,
    VarianceScoring,
)
from headposekit.models.fusion import LateFusion
from headposekit.models.hopenet import Hopenet, HopenetRegression
from headposekit.models.network import PoseNetwork
from headposekit.models.ssrnet import SSRNetMD
from headposekit.types import PoseOutput
from headposekit.weights.published import load_published

SCORINGS = [NoScoring, ConvScoring, VarianceScoring]
AGGREGATIONS = [CapsuleAggregation, partial(CapsuleAggregation, routing_iterations=4), NetVLADAggregation, LinearAggregation]
TRUNKS = ["resnet18", "efficientnet_b0", "mobilenetv4_conv_small", "convnext_atto", "densenet121"]


def with_history(network: nn.Module) -> nn.Module:
    """A network whose batch normalisations all do something, and whose angles are of ordinary size."""
    torch.manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.3)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.3)
        elif isinstance(module, CapsuleAggregation):
            module.weight.data *= 30  # fresh ones are all but zero
        elif isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.normal_(module.bias, std=0.3)
    return network.eval()


def crops(size: int, count: int = 4) -> dict:
    image = torch.randint(0, 256, (count, 3, size, size), generator=torch.Generator().manual_seed(0))
    darker = torch.linspace(0.1, 1, count).view(-1, 1, 1, 1)  # noise alone makes all crops alike
    return {"image": (image * darker).to(torch.uint8)}


def assert_same(network: nn.Module, atol: float = 1e-4, keeps_norms: bool = False) -> None:
    batch = crops(network.input_size)
    with torch.no_grad():
        expected, found = network(batch), fold(network)(batch)
        folded = fold(network.double())
        exact = folded(batch).pose
        in_double = network.double()(batch).pose
    in_single = isinstance(network, Hopenet)  # decodes its bins in single precision whatever the rest is in
    assert expected.pose.std(dim=0).max() > 1e-3  # else a constant would do
    torch.testing.assert_close(exact.double(), in_double.double(), atol=1e-4 if in_single else 1e-9, rtol=0)
    torch.testing.assert_close(found.pose, expected.pose, atol=atol, rtol=0)
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules()) or keeps_norms
    if in_single:
        torch.testing.assert_close(found.spread, expected.spread, atol=1e-3, rtol=0)


@pytest.mark.parametrize("aggregation", AGGREGATIONS, ids=["capsule", "capsule of four rounds", "netvlad", "none"])
@pytest.mark.parametrize("scoring", SCORINGS)
def test_fsanet(scoring, aggregation) -> None:
    torch.manual_seed(0)
    assert_same(with_history(FSANet(scoring(), aggregation)))


def test_ssrnet() -> None:
    torch.manual_seed(0)
    assert_same(with_history(SSRNetMD()))


@pytest.mark.parametrize("name", TRUNKS)
def test_hopenet_on_any_trunk(name: str) -> None:
    torch.manual_seed(0)
    assert_same(
        with_history(Hopenet(TimmBackbone(name), AngleBins(), input_size=64)), 5e-4, name == "densenet121"
    )  # many layers round


def test_hopenet_on_alexnet_and_its_regression() -> None:
    torch.manual_seed(0)
    assert_same(with_history(HopenetRegression(AlexNetBackbone(), input_size=64)))


def test_fusion_of_different_networks() -> None:
    torch.manual_seed(0)
    members = [SSRNetMD(), FSANet(VarianceScoring(), CapsuleAggregation)]
    assert_same(with_history(LateFusion(members)))


@pytest.mark.parametrize(
    "name", ["fsanet_capsule_3_16_2_21_5", "fsanet_noS_metric_3_16_2_192_5", "fsanet_netvlad_3_16_2_21_5", "ssrnet_mt"]
)
def test_published_weights(official: Path, name: str) -> None:
    assert_same(load_published(official / f"{name}.h5")[0], atol=1e-3)


def test_network_itself_stays_as_it_is() -> None:
    network = FSANet(ConvScoring(), LinearAggregation)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    fold(network)
    assert network.training
    assert all(parameter.requires_grad for parameter in network.parameters())
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


class Own(PoseNetwork):
    """A network of one's own, with a normalisation after a linear layer."""

    input_size = 16

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8)
        self.linear, self.last = nn.Linear(8, 3), nn.BatchNorm1d(3)

    def forward(self, batch: dict) -> PoseOutput:
        x = self.conv(batch["image"].to(self.conv.weight.dtype) / 255)
        return PoseOutput(pose=self.last(self.linear(self.combine(x).relu().mean(dim=(2, 3)))))

    def combine(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x)


class ReadsTwice(Own):
    def combine(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x) + x


class InSingle(Own):
    def combine(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(x.float())  # fails in double precision


def test_network_of_ones_own() -> None:
    torch.manual_seed(0)
    assert_same(with_history(Own()))
    assert not any(isinstance(module, nn.BatchNorm1d) for module in fold(Own()).modules())


@pytest.mark.parametrize("kind", [ReadsTwice, InSingle])
def test_network_that_cannot_be_folded_stays_as_it_is(kind: type[Own], caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    network = with_history(kind())
    folded, batch = fold(network), crops(16)
    assert [type(module) for module in folded.modules()] == [type(module) for module in network.modules()]
    with torch.no_grad():
        torch.testing.assert_close(folded(batch).pose, network(batch).pose, atol=0, rtol=0)
    assert all(
        message.startswith(f"{kind.__name__} is used as it is, since it cannot be folded: ") for message in caplog.messages
    )
    assert len(caplog.messages) == 1


def test_network_without_parameters_stays_as_it_is() -> None:
    assert isinstance(fold(nn.Identity()), nn.Identity)
