"""The plain form that faster ones are measured against."""

import pytest
import torch
from torch import nn

from benchmarks.plain import plain_form
from headposekit.models.fsanet import CapsuleAggregation, FSANet, NoScoring, VarianceScoring
from headposekit.models.ssrnet import SSRNetMD

NETWORKS = {
    "capsule": lambda: FSANet(VarianceScoring(), CapsuleAggregation),
    "no scoring": lambda: FSANet(NoScoring(), CapsuleAggregation),
    "ssrnet": SSRNetMD,
}


@pytest.mark.parametrize("make", NETWORKS.values(), ids=NETWORKS)
def test_plain_form_is_the_same_function_in_training_and_evaluation(make) -> None:
    torch.manual_seed(0)
    network = make().double()
    plain = plain_form(network)
    batch = {"image": torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)}
    for mode in (True, False):
        expected, found = network.train(mode)(batch).pose, plain.train(mode)(batch).pose
        torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


def test_plain_form_is_channels_first_and_pools_after_its_activation() -> None:
    network = FSANet(VarianceScoring(), CapsuleAggregation)
    plain = plain_form(network)
    x = plain.preprocess(torch.zeros(2, 8, 8, 3, dtype=torch.uint8).permute(0, 3, 1, 2))
    assert x.is_contiguous()
    assert [type(part) for part in plain.backbone.tanh_stream[0][0].tail] == [nn.Tanh, nn.MaxPool2d]
    assert [type(part) for part in network.backbone.tanh_stream[0][0].tail] == [nn.MaxPool2d, nn.Tanh]
