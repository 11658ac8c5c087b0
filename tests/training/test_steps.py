"""What a training step asks of a GPU, found without one: the launches by count, and waits for the device."""

from collections import Counter
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from numpy.typing import NDArray
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from configs import train_config
from headposekit.data.augmentation import Augmentation
from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.datasets.mixed import MixedDataModule
from headposekit.datasets.synthetic import SyntheticDataModule
from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.geometry.crops import FSANetCrop
from headposekit.losses import MultiBinLoss
from headposekit.synthesis.sampler import HeadSampler
from headposekit.training import HeadPoseModule, muon

FREE = {"aten::detach", "aten::_unsafe_view", "aten::empty_like", "aten::empty"}
WAITS = {"aten::_local_scalar_dense", "aten::nonzero", "aten::equal", "aten::masked_select", "aten::_unique2", "aten::item"}


class Launches(TorchDispatchMode):
    """Counts operations that compute something: a list of tensors at once if each has the same layout everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func._schema.name
        if name.startswith("aten::_foreach"):
            lists = [value for value in args if isinstance(value, list) and isinstance(value[0], Tensor)]
            is_one = all(len({tensor.stride() for tensor in tensors}) == 1 for tensors in zip(*lists, strict=True))
            self.count += 1 if is_one else len(lists[0])
        elif name.startswith("aten::") and not func.is_view and name not in FREE:
            self.count += 1
        return func(*args, **(kwargs or {}))


class Waits(TorchDispatchMode):
    """Names operations that wait for a device: numbers read from it, copies between it and the host."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Counter[str]()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        devices = {leaf.device.type for leaf in tree_leaves((args, kwargs, out)) if isinstance(leaf, Tensor)}
        if func._schema.name in WAITS or ("copy" in func._schema.name and len(devices) > 1):
            self.found[func._schema.name] += 1
        return out


def training(*options: str) -> HeadPoseModule:
    module: HeadPoseModule = instantiate(train_config(*options).module, _convert_="all")
    return module.train()


def batch(size: int) -> Any:
    return {"image": torch.zeros(2, 3, size, size, dtype=torch.uint8), "pose": torch.zeros(2, 3)}


@pytest.fixture
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    orthogonalise_all = muon.orthogonalise_all
    monkeypatch.setattr(muon, "orthogonalise_all", lambda matrices, padded: orthogonalise_all(matrices, padded=True))
    muon._slots.cache_clear()
    yield
    muon._slots.cache_clear()


def test_launches_of_a_step(as_on_a_gpu: None) -> None:
    module = training()
    optimizer, faces, counts = module.optimizer(module.parameters()), batch(64), {}
    for _ in range(2):
        with Launches() as forward:
            module.model(faces)
        with Launches() as step:
            loss = module.training_step(faces, 0)
        with Launches() as backward:
            loss.backward()
        with Launches() as update:
            optimizer.step()
            optimizer.zero_grad()
        counts = {
            "forward": forward.count,
            "loss and metrics": step.count - forward.count,
            "backward": backward.count,
            "optimiser": update.count,
        }
    # Before: 171, 84, 245, 326; what the network itself computes stays.
    assert counts == {"forward": 171, "loss and metrics": 5, "backward": 245, "optimiser": 49}


@pytest.mark.parametrize("options", [(), ("model=ssrnet",)], ids=str)
def test_a_step_never_waits_for_the_device(options: tuple[str, ...], as_on_a_gpu: None) -> None:
    with FakeTensorMode(), torch.device("cuda"):
        module = training(*options)
        optimizer, faces = module.optimizer(module.parameters()), batch(module.model.input_size)
        for _ in range(2):  # the first makes what the others go on with
            for parameter in module.parameters():
                parameter.grad = torch.zeros_like(parameter)
            with Waits() as waits:
                module.training_step(faces, 0)
                optimizer.step()
    assert not waits.found


def test_hopenets_loss_does_not_wait_either() -> None:
    with FakeTensorMode(), torch.device("cuda"), Waits() as waits:
        output = SimpleNamespace(pose=torch.zeros(2, 3), logits=torch.zeros(2, 3, 66))
        MultiBinLoss(AngleBins())(output, {"pose": torch.zeros(2, 3)})  # type: ignore[typeddict-item]
    assert not waits.found


def test_what_waits_is_found() -> None:
    with FakeTensorMode(), Waits() as waits:
        torch.as_tensor(16, device="cuda")
        torch.zeros(3, device="cuda").cpu()
    assert waits.found["aten::_to_copy"] == 2


@pytest.mark.parametrize("side", ["train", "val"])
def test_labels_without_a_bin_are_refused_before_the_first_step(side: str) -> None:
    module, pose = training(), np.array([[0, 120, 0], [0, 0, 0]], dtype=np.float32)
    split = SimpleNamespace(train=[1], val=[1])
    module.loss = MultiBinLoss(AngleBins())
    module.trainer = SimpleNamespace(datamodule=faces(pose, split))  # type: ignore[assignment]
    module.on_fit_start()
    setattr(split, side, [0])
    with pytest.raises(InputError, match="120 degrees lies in no bin"):
        module.on_fit_start()


def faces(pose: NDArray[np.float32], split: SimpleNamespace, rotation: float = 0.0) -> SyntheticDataModule:
    """A data module that has read faces with these poses."""
    data = SyntheticDataModule("", FSANetCrop(), HeadSampler(), 2, augmentation=Augmentation(rotation=rotation))
    data.__dict__.update(dataset=SimpleNamespace(pose=pose), split=split)
    return data


@pytest.mark.parametrize("is_mixed", [False, True], ids=["alone", "mixed"])
@pytest.mark.parametrize(
    ("limit", "rotation", "fits"), [(60, 5, False), (60, 45, False), (60, 2, True), (60, 0, True), (99, 45, True)]
)
def test_labels_that_augmentation_may_turn_out_of_the_bins_are_refused_before_the_first_step(
    limit: float, rotation: float, fits: bool, is_mixed: bool
) -> None:
    module, pose = training(), np.array([[0, 0, 40], [30, 10, 0], [70, 0, 0]], dtype=np.float32)
    split = SimpleNamespace(train=[0, 1], val=[])
    module.loss = MultiBinLoss(AngleBins(limit=limit))
    data: HeadPoseDataModule = faces(pose, split, rotation)
    if is_mixed:
        data = MixedDataModule({"a": faces(pose, split), "b": data}, FSANetCrop())
        data.__dict__.update(dataset=SimpleNamespace(pose=pose), split=split)
    module.trainer = SimpleNamespace(datamodule=data)  # type: ignore[assignment]
    if fits:
        module.on_fit_start()
        return
    with pytest.raises(
        InputError, match=rf"augmentation\.rotation={rotation} may turn a label .* model\.bins\.limit; lower it"
    ) as refusal:
        module.on_fit_start()
    assert "\n" not in str(refusal.value)
