"""The comparison that an exported file has to pass."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from headposekit.errors import InputError
from headposekit.models.fsanet import FSANet, LinearAggregation, VarianceScoring
from headposekit.weights import export as exports
from headposekit.weights.checkpoint import LoadedNetwork
from headposekit.weights.export import compare_poses, describe_export, export_network
from headposekit.weights.load import FSANET_CROP

PICTURES = np.zeros((40, 64, 64, 3), dtype=np.uint8)


def test_differences_are_of_all_pictures_and_the_first_is_alone() -> None:
    seen = []

    def found(pictures: np.ndarray) -> np.ndarray:
        seen.append(len(pictures))
        return np.full((len(pictures), 3), 0.5 if len(pictures) > 1 else 2.0)

    differences = compare_poses(lambda pictures: np.zeros((len(pictures), 3)), found, PICTURES)
    assert seen == [1, 32, 7]
    assert differences == {"mean": pytest.approx((2 + 39 * 0.5) / 40), "max": 2.0}


@pytest.mark.parametrize("wrong", [0.01, float("nan")])
def test_file_that_differs_is_refused_and_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float) -> None:
    monkeypatch.setitem(
        exports.FORMATS,
        ".onnx",
        (lambda network, card: b"file", lambda content, card, path: lambda pictures: np.full((len(pictures), 3), wrong)),
    )
    monkeypatch.setattr(exports, "_estimate_network", lambda network: lambda pictures: np.zeros((len(pictures), 3)))
    network = FSANet(VarianceScoring(), LinearAggregation)
    with pytest.raises(InputError, match=r"differs from the network by up to (0\.01|nan) degrees on 296 pictures.*refused"):
        export_network(network, {}, tmp_path / "net.onnx", PICTURES, int8=False)
    assert list(tmp_path.iterdir()) == []


def test_description_holds_every_option_of_the_crop() -> None:
    config = {"_target_": "headposekit.models.fsanet.FSANet"}
    crop = {"_target_": "headposekit.geometry.crops.FSANetCrop", "size": 64, "margin": 0.5}
    network = FSANet(VarianceScoring(), LinearAggregation)
    member = LoadedNetwork("/somewhere/net.ckpt", network, config, crop, {"train_id": "0123"})
    card = describe_export([member], network)
    assert card["crop"] == {**FSANET_CROP, "margin": 0.5}
    assert card["sources"][0]["train_id"] == "0123"
    assert card["sources"][0]["file"] == "net.ckpt"
    assert card["params"] == sum(p.numel() for p in network.parameters()) + _statistics(network)


def _statistics(network: nn.Module) -> int:
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    return sum(torch.numel(norm.running_mean) + torch.numel(norm.running_var) for norm in norms)
