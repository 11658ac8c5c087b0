import copy
from pathlib import Path

import torch
import torch.multiprocessing
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from headposekit.training.callbacks import ShareBatchStatistics, SharedBatchNorm2d


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, eps=1e-3, momentum=0.1), nn.ReLU(), nn.Conv2d(5, 1, 3)).double()


def step(model: nn.Module, images: torch.Tensor) -> None:
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        model(images).square().mean().backward()
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
    assert isinstance(shared[1], SharedBatchNorm2d)
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(shared(images), plain(images))
    assert type(ShareBatchStatistics().revert(shared)[1]) is nn.BatchNorm2d
