"""What only a GPU can show; `tools/gpu_day.sh` runs these there."""

import copy
from typing import Any

import pytest
import torch
from hydra.utils import instantiate

from configs import train_config
from headposekit.sweeps.gpus import visible_gpus
from headposekit.training import HeadPoseModule

pytestmark = pytest.mark.gpu
NETWORKS = [(), ("model=ssrnet",), ("model=hopenet", "backbone=resnet18", "model.backbone.pretrained=false")]


@pytest.fixture(autouse=True)
def full_precision(monkeypatch: pytest.MonkeyPatch) -> None:
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    for backend in (torch.backends.cudnn, torch.backends.cuda.matmul):
        monkeypatch.setattr(backend, "allow_tf32", False)


def training(*options: str) -> HeadPoseModule:
    torch.manual_seed(0)
    module: HeadPoseModule = instantiate(train_config(*options).module, _convert_="all")
    return module.cuda().train()


def faces(size: int, n: int = 16) -> Any:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (n, size, size, 3), dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2)
    return {"image": images.cuda(), "pose": (torch.rand(n, 3, generator=generator) * 120 - 60).cuda()}


def losses(module: HeadPoseModule, batch: Any, num_steps: int) -> list[float]:
    optimizer, found = module.optimizer(module.parameter_groups()), []
    for number in range(num_steps):
        optimizer.zero_grad()
        loss = module.training_step(batch, number)
        loss.backward()
        optimizer.step()
        found.append(loss.detach())
    return torch.stack(found).tolist()


@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_angles_are_those_of_the_cpu(options: tuple[str, ...]) -> None:
    model = training(*options).model.eval()
    batch = faces(model.input_size)
    with torch.no_grad():
        on_gpu = model(batch).pose.cpu()
        on_cpu = model.cpu()({key: value.cpu() for key, value in batch.items()}).pose
    torch.testing.assert_close(on_gpu, on_cpu, atol=1e-3, rtol=0)


@pytest.mark.parametrize("options", NETWORKS, ids=str)
def test_a_step_never_waits_for_the_gpu(options: tuple[str, ...]) -> None:
    module = training(*options)
    batch = faces(module.model.input_size)
    optimizer = module.optimizer(module.parameter_groups())
    module.training_step(batch, 0).backward()
    optimizer.step()  # the first one makes what the others go on with
    torch.cuda.set_sync_debug_mode("error")
    try:
        for number in range(3):
            optimizer.zero_grad()
            module.training_step(batch, number).backward()
            optimizer.step()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_muon_is_that_of_the_cpu() -> None:
    module = training()
    twin = copy.deepcopy(module).cpu()
    for one in (module, twin):
        optimizer = one.optimizer(one.parameters())
        for seed in range(3):
            generator = torch.Generator().manual_seed(seed)
            for parameter in one.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator).to(parameter.device)
            optimizer.step()
    for ours, theirs in zip(module.parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.cpu(), theirs, atol=1e-4, rtol=0)


@pytest.mark.slow
def test_compiled_losses_are_the_eager_ones() -> None:
    eager, compiled = training(), training()
    compiled.compiled = torch.compile(compiled.model.forward)
    batch = faces(eager.model.input_size)
    assert losses(compiled, batch, 20) == pytest.approx(losses(eager, batch, 20), rel=0.02)


def test_gpus_are_named_by_their_uuids() -> None:
    assert len(visible_gpus()) == torch.cuda.device_count()
    assert all(name.startswith(("GPU-", "MIG-")) for name in visible_gpus())
