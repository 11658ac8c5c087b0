"""The comparison that an exported file has to pass."""

import errno
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from headposekit.errors import InputError
from headposekit.models.fsanet import FSANet, LinearAggregation, VarianceScoring
from headposekit.weights import checkpoint as checkpoints
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


@pytest.mark.parametrize(("suffix", "beside"), [(".safetensors", "net.json"), (".onnx", "net_int8.onnx")])
def test_failed_export_leaves_earlier_files_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str, beside: str
) -> None:
    """A full disk at any of the files: none is replaced."""
    zeros = lambda *_, **__: lambda pictures: np.zeros((len(pictures), 3))  # noqa: E731
    monkeypatch.setitem(exports.FORMATS, suffix, (lambda network, card: b"new", zeros))
    for name, made in {"_estimate_network": zeros, "_estimate_onnx": zeros}.items():
        monkeypatch.setattr(exports, name, made)
    monkeypatch.setattr(exports, "int8_bytes", lambda *_: b"new")
    monkeypatch.setattr(exports, "with_card", lambda content, card: content)
    names = [f"net{suffix}", beside]
    network = FSANet(VarianceScoring(), LinearAggregation)
    write = Path.write_bytes
    for full in names:
        for name in names:
            (tmp_path / name).write_bytes(b"old")

        def fill(path: Path, content: bytes, full: str = full) -> int:
            if path.name == f"{full}.partial" and content:
                raise OSError(errno.ENOSPC, "No space left on device")  # of a write, which has no name
            return write(path, content)

        monkeypatch.setattr(Path, "write_bytes", fill)
        with pytest.raises(InputError, match=rf"/{full}: cannot be written \(No space left on device\)"):
            export_network(network, {}, tmp_path / names[0], PICTURES, int8=suffix == ".onnx")
        monkeypatch.setattr(Path, "write_bytes", write)
        assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(names, b"old")
    export_network(network, {}, tmp_path / names[0], PICTURES, int8=suffix == ".onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert all((tmp_path / name).read_bytes() != b"old" for name in names)


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


def test_halved_weights_are_kept_only_where_angles_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "SMALL", 0)
    torch.manual_seed(0)
    pictures = np.random.default_rng(0).integers(0, 256, PICTURES.shape, dtype=np.uint8)
    network = FSANet(VarianceScoring(), LinearAggregation).eval()
    config = {
        "_target_": "headposekit.models.fsanet.FSANet",
        "scoring": {"_target_": "headposekit.models.fsanet.VarianceScoring"},
        "aggregation": {"_target_": "headposekit.models.fsanet.LinearAggregation", "_partial_": True},
    }
    card = describe_export([LoadedNetwork("net.ckpt", network, config, FSANET_CROP, {})], network)
    sizes = {}
    for half in (False, True):
        monkeypatch.setattr(exports, "HALF_TOLERANCE", 1.0)
        path = tmp_path / f"{half}.safetensors"
        found = export_network(network, card, path, pictures, int8=False, half=half)
        sizes[half] = path.stat().st_size
    assert 0.45 < sizes[True] / sizes[False] < 0.6
    assert 0 < found["degrees_from_network"]["max"] < 1
    assert found["random"] == 0
    monkeypatch.setattr(exports, "HALF_TOLERANCE", 1e-9)
    with pytest.raises(InputError, match=r"degrees on 40 pictures \(allowed: 1e-09\)"):
        export_network(network, card, tmp_path / "no.safetensors", pictures, int8=False, half=True)
    assert not (tmp_path / "no.safetensors").exists()
