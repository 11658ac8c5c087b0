import copy
from pathlib import Path

import pytest
import torch
import torch.multiprocessing
from hydra.utils import instantiate
from pytorch_lightning.plugins import LayerSync, TorchSyncBatchNorm
from timm.layers import BatchNormAct2d
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from configs import train_config
from headposekit.errors import InputError
from headposekit.paths import CONF
from headposekit.training.callbacks import ShareBatchStatistics, SharedBatchNorm

BACKBONES = sorted(path.stem for path in (CONF / "backbone").glob("*.yaml") if path.stem != "timm")


def network() -> nn.Module:
    torch.manual_seed(0)
    norms = (nn.BatchNorm2d(5, eps=1e-3), BatchNormAct2d(4, act_layer=nn.SiLU, drop_layer=Halve), nn.BatchNorm1d(3))
    layers = nn.Conv2d(3, 5, 3), norms[0], nn.ReLU(), nn.Conv2d(5, 4, 3), norms[1], nn.Flatten(), nn.Linear(100, 3), norms[2]
    return nn.Sequential(*layers).double()


class Halve(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / 2


def step(model: nn.Module, images: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        (model(images) - 1).abs().pow(3).mean().backward()
        optimizer.step()


def worker(rank: int, folder: str) -> None:
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    images = torch.load(f"{folder}/images.pt", weights_only=True)
    model = ShareBatchStatistics().apply(network())
    step(DistributedDataParallel(model), images[rank::2])
    if rank == 0:
        torch.save(model.state_dict(), f"{folder}/two.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_train_as_one(tmp_path: Path) -> None:
    images = torch.randn(8, 3, 9, 9, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) * 3 + 5
    torch.save(images, tmp_path / "images.pt")
    torch.multiprocessing.start_processes(worker, args=(str(tmp_path),), nprocs=2, start_method="forkserver")
    one, two = network(), torch.load(tmp_path / "two.pt", weights_only=True)
    step(one, images)
    for key, value in one.state_dict().items():
        torch.testing.assert_close(two[key], value, rtol=1e-9, atol=1e-9, msg=key)


def test_alone_it_is_torchs_own_and_leaves_the_network_as_it_was() -> None:
    plain = network()
    shared = ShareBatchStatistics().apply(copy.deepcopy(plain))
    assert [type(layer).__bases__[1] for layer in shared.modules() if isinstance(layer, SharedBatchNorm)] == [
        nn.BatchNorm2d, BatchNormAct2d, nn.BatchNorm1d,
    ]  # fmt: skip
    images = torch.randn(2, 3, 9, 9, dtype=torch.float64)
    torch.testing.assert_close(shared(images), plain(images))
    assert type(ShareBatchStatistics().revert(shared)[1]) is nn.BatchNorm2d


def layer_sync(trainer: str) -> LayerSync:
    switches = train_config(f"trainer={trainer}").trainer
    if switches.get("sync_batchnorm"):
        return TorchSyncBatchNorm()
    (plugin,) = (plugin for plugin in map(instantiate, switches.plugins) if isinstance(plugin, LayerSync))
    return plugin


def test_every_trainer_of_several_processes_shares_statistics_alike() -> None:
    assert type(layer_sync("ddp")) is type(layer_sync("ddp_cpu")) is ShareBatchStatistics


@pytest.mark.parametrize("backbone", BACKBONES)
def test_no_backbone_estimates_otherwise_when_its_statistics_are_shared(backbone: str, monkeypatch) -> None:
    for name in ("normal_", "trunc_normal_", "kaiming_normal_", "kaiming_uniform_"):  # many large tensors; these are faster
        monkeypatch.setattr(nn.init, name, lambda tensor, *_, **__: nn.init.uniform_(tensor, -0.05, 0.05))
    torch.manual_seed(0)
    options = [f"backbone={backbone}", *(["model.backbone.pretrained=false"] if backbone != "fsanet" else [])]
    model = instantiate(train_config("model=hopenet", *options).model.backbone)
    model.eval()
    kinds = {name: type(layer) for name, layer in model.named_modules()}
    faces, sync = torch.rand(1, 3, 64, 64), layer_sync("ddp")
    with torch.no_grad():
        before = model(faces)
        model = sync.apply(model)
        torch.testing.assert_close(model(faces), before, rtol=0, atol=0)
        assert all(isinstance(layer, SharedBatchNorm) for layer in model.modules() if isinstance(layer, _BatchNorm))
        model = sync.revert(model)
        torch.testing.assert_close(model(faces), before, rtol=0, atol=0)
    assert {name: type(layer) for name, layer in model.named_modules()} == kinds


def test_sums_are_taken_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where all processes hold the same faces."""
    monkeypatch.setattr(torch.distributed, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 2)
    monkeypatch.setattr("headposekit.training.callbacks.all_reduce", lambda tensor: 2 * tensor)
    features = (torch.randn(4, 2, 32, 32, generator=torch.Generator().manual_seed(0)) + 100).bfloat16()
    shared, plain = ShareBatchStatistics().apply(nn.BatchNorm2d(2)), nn.BatchNorm2d(2)
    output = shared(features)
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), plain(features.float()), rtol=0.01, atol=0.01)
    torch.testing.assert_close(shared.running_mean, plain.running_mean)


def test_a_normalisation_that_does_more_is_refused() -> None:
    class Doubling(nn.BatchNorm2d):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(input)

    with pytest.raises(InputError, match="Doubling cannot share its statistics"):
        ShareBatchStatistics().apply(nn.Sequential(Doubling(3)))
