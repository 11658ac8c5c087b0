import functools

import pytest
import torch
from torch import nn

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.losses import MeanSquaredError, MultiBinLoss
from headposekit.models.backbones import AlexNetBackbone, TimmBackbone
from headposekit.models.hopenet import Hopenet, HopenetRegression
from headposekit.training import HopenetModule, HopenetRegressionModule
from headposekit.training.muon import Muon

ADAM = functools.partial(torch.optim.Adam, lr=0.001)
SCHEDULE = functools.partial(torch.optim.lr_scheduler.ConstantLR, factor=1.0)


def module(backbone: nn.Module | None = None, optimizer=ADAM, **options) -> HopenetModule:
    bins = AngleBins()
    model = Hopenet(backbone or TimmBackbone("resnet18.tv_in1k"), bins, input_size=64)
    return HopenetModule(model, MultiBinLoss(bins), optimizer, SCHEDULE, **options)


def rates(trained: HopenetModule) -> dict[str, float]:
    """Learning rate of each parameter, as the optimiser itself has it."""
    names = {parameter: name for name, parameter in trained.model.named_parameters()}
    optimizer = trained.optimizer(trained.parameter_groups())
    listed = [names[parameter] for group in optimizer.param_groups for parameter in group["params"]]
    assert len(listed) == len(set(listed))
    return {names[parameter]: group["lr"] for group in optimizer.param_groups for parameter in group["params"]}


def test_neutral_recipe_trains_all_at_one_rate() -> None:
    trained = module()
    assert set(rates(trained).values()) == {0.001}
    assert set(rates(trained)) == {name for name, _ in trained.model.named_parameters()}


def test_published_recipe_on_the_optimiser_itself() -> None:
    trained = module(stem_lr=0, trunk_lr=3, heads_lr=5)
    found = rates(trained)
    stem = {"backbone.trunk.conv1.weight", "backbone.trunk.bn1.weight", "backbone.trunk.bn1.bias"}
    assert set(found) == {name for name, _ in trained.model.named_parameters()} - stem
    assert found["backbone.trunk.layer1.0.conv1.weight"] == pytest.approx(0.003)
    assert found["backbone.trunk.layer4.1.bn2.bias"] == pytest.approx(0.003)
    assert found["fc_roll.weight"] == pytest.approx(0.005)
    batch = {"image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8), "pose": torch.zeros(2, 3)}
    trained.loss(trained.model(batch), batch).backward()
    assert trained.model.backbone.trunk.conv1.weight.grad is None


def test_alexnets_stem_is_its_first_convolution() -> None:
    found = rates(module(AlexNetBackbone(), stem_lr=0, heads_lr=5))
    assert "backbone.features.0.weight" not in found
    assert found["backbone.features.3.weight"] == pytest.approx(0.001)
    assert found["fc_yaw.bias"] == pytest.approx(0.005)


@pytest.mark.parametrize(("which", "still"), [("none", 0), ("official", 16), ("all", 20)])
def test_frozen_batch_normalisations_keep_their_statistics(which: str, still: int, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = module(frozen_batchnorm=which)
    monkeypatch.setattr("headposekit.training.module.HeadPoseModule.on_train_epoch_start", lambda self: None)
    trained.train()
    trained.on_train_epoch_start()
    before = {name: buffer.clone() for name, buffer in trained.model.named_buffers() if name.endswith("running_mean")}
    trained.model({"image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)})
    same = {name for name, value in before.items() if torch.equal(value, trained.model.get_buffer(name))}
    assert len(same) == still
    if which == "official":
        assert not [name for name in same if "downsample" in name or name.startswith("backbone.trunk.bn1")]


def test_options_that_cannot_be() -> None:
    with pytest.raises(InputError, match=r"module\.trunk_lr=-1"):
        module(trunk_lr=-1)
    with pytest.raises(InputError, match="choose none, official, all"):
        module(frozen_batchnorm="some")
    with pytest.raises(InputError, match="choose optimizer=adam or adamw"):
        module(optimizer=functools.partial(Muon, lr=0.02, adamw_lr=0.004), heads_lr=5).parameter_groups()
    with pytest.raises(InputError, match="trains HopenetRegression, not Hopenet"):
        HopenetRegressionModule(module().model, MeanSquaredError(), ADAM, SCHEDULE)


def test_baseline_has_no_distribution_to_show() -> None:
    model = HopenetRegression(TimmBackbone("resnet18.tv_in1k"), input_size=64)
    trained = HopenetRegressionModule(model, MeanSquaredError(), ADAM, SCHEDULE, heads_lr=5)
    assert rates(trained)["fc_angles.bias"] == pytest.approx(0.005)
    assert trained.model.diagnostics(None) == {}
    output = module().model({"image": torch.zeros(2, 3, 64, 64)})
    assert 0 < float(module().model.diagnostics(output)["std"]) < 60
