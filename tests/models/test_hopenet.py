from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.models.backbones import AlexNetBackbone, TimmBackbone
from headposekit.models.hopenet import IMAGENET_MEAN, IMAGENET_STD, Hopenet, HopenetRegression
from headposekit.models.network import count_parameters
from headposekit.weights.published import load_published


def faces(size: int, n: int = 2) -> dict:
    generator = torch.Generator().manual_seed(0)
    return {"image": torch.randint(0, 256, (n, 3, size, size), generator=generator, dtype=torch.uint8)}


def hopenet(**options) -> Hopenet:
    return Hopenet(TimmBackbone("resnet18.tv_in1k"), AngleBins(), **options)


class Official(nn.Module):
    """The published network, written from its description: a torchvision trunk and three linear layers to bins."""

    def __init__(self, trunk: nn.Module, features: int) -> None:
        super().__init__()
        self.trunk = trunk
        self.fc_yaw, self.fc_pitch, self.fc_roll = (nn.Linear(features, 66) for _ in range(3))
        self.fc_finetune = nn.Linear(features + 3, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = image.float() / 255
        x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
        x = self.trunk(x)
        heads = (self.fc_yaw, self.fc_pitch, self.fc_roll)
        return torch.stack([(head(x).softmax(1) * torch.arange(66)).sum(1) * 3 - 99 for head in heads], dim=1)

    def state(self) -> dict[str, torch.Tensor]:
        state = {key.removeprefix("trunk."): value for key, value in self.state_dict().items()}
        return {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}  # as in 2017


def official_resnet50() -> Official:
    torch.manual_seed(0)
    trunk = torchvision.models.resnet50()
    trunk.fc = nn.Identity()
    for module in trunk.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    return Official(trunk, 2048).eval()


def official_alexnet() -> Official:
    torch.manual_seed(0)
    trunk = torchvision.models.alexnet()
    trunk.classifier = trunk.classifier[:-1]
    return Official(trunk, 4096).eval()


@pytest.mark.parametrize("make", [official_resnet50, official_alexnet])
@pytest.mark.parametrize("old_format", [False, True])
def test_published_state_dicts_give_the_published_angles(tmp_path: Path, make, old_format: bool) -> None:
    theirs = make()
    path = tmp_path / "hopenet.pkl"
    torch.save(theirs.state(), path, _use_new_zipfile_serialization=not old_format)
    ours, config = load_published(path)
    with torch.no_grad():
        expected = theirs(faces(224)["image"])
        output = ours(faces(224))
    assert expected.abs().max() > 1e-3
    torch.testing.assert_close(output.pose, expected, atol=2e-3, rtol=0)
    assert config["bins"]["decoding"] == "left"


def test_published_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "file.pkl"
    torch.save(torchvision.models.resnet18().state_dict(), path)
    with pytest.raises(InputError, match="a state dict, but neither of Hopenet"):
        load_published(path)
    state = official_alexnet().state()
    del state["classifier.1.bias"]
    torch.save(state, path)
    with pytest.raises(InputError, match=r"not a complete published Hopenet \(backbone\.classifier\.1\.bias"):
        load_published(path)
    state["fc_yaw.weight"][0, 0] = float("nan")
    torch.save(state, path)
    with pytest.raises(InputError, match=r"fc_yaw\.weight holds NaN"):
        load_published(path)
    torch.save({"net": nn.Linear(2, 2)}, path)
    with pytest.raises(InputError, match=r"file\.pkl: holds pickled objects \(torch\.nn\.modules\.linear\.Linear\)"):
        load_published(path)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(InputError, match="cut short"):
        load_published(path)
    for odd in ({0: torch.zeros(2)}, {"a": torch.zeros(2, dtype=torch.bfloat16)}, {"a": nn.Parameter(torch.zeros(2))}):
        torch.save(odd, path)
        with pytest.raises(InputError, match=r"state.dict"):
            load_published(path)
    path.write_bytes(b"\x80\x02.")
    with pytest.raises(InputError, match="not a readable file of tensors"):
        load_published(path)


def test_half_precision_keeps_the_angles_whole() -> None:
    for model in (hopenet(), HopenetRegression(TimmBackbone("resnet18.tv_in1k"))):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model(faces(64)).pose.dtype == torch.float32


def test_sizes_of_the_paper() -> None:
    model = Hopenet(TimmBackbone("resnet50.tv_in1k"), AngleBins())
    assert sum(p.numel() for p in model.parameters()) == 23_913_734
    assert count_parameters(model) == 23_913_734 + 2 * 26_560  # means and variances of batch normalisation


def test_output_and_gradient() -> None:
    model = hopenet(input_size=64)
    output = model(faces(64))
    assert output.pose.shape == output.spread.shape == (2, 3)
    assert output.logits.shape == (2, 3, 66)
    assert output.spread.min() > 0
    output.pose.sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.backbone.trunk.conv1.weight.grad.abs().sum() > 0
    assert HopenetRegression(TimmBackbone("resnet18.tv_in1k"))(faces(64)).pose.shape == (2, 3)


def test_input_is_normalised_as_for_imagenet() -> None:
    model = hopenet()
    torch.testing.assert_close(torch.tensor(IMAGENET_MEAN) / 255, torch.tensor([0.485, 0.456, 0.406]))
    torch.testing.assert_close(torch.tensor(IMAGENET_STD) / 255, torch.tensor([0.229, 0.224, 0.225]))
    image = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1).expand(1, 3, 8, 8)
    assert model.preprocess(image).abs().max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    ["resnet34.tv_in1k", "resnet50.tv_in1k", "vgg16.tv_in1k", "mobilenetv4_conv_small.e2400_r224_in1k"]
    + ["convnext_atto.d2_in1k", "efficientnet_b0.ra_in1k", "vit_tiny_patch16_224.augreg_in21k_ft_in1k"],
)
def test_curated_trunks_take_two_steps_at_224_pixels(name: str) -> None:
    torch.manual_seed(0)
    trunk = TimmBackbone(name)
    assert trunk.stem
    model = Hopenet(trunk, AngleBins())
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5)
    for _ in range(2):
        optimizer.zero_grad()
        loss = model(faces(224)).pose.square().mean()
        loss.backward()
        optimizer.step()
    assert torch.isfinite(model(faces(224)).pose).all()


def test_unknown_trunks_are_answered_with_their_neighbours() -> None:
    with pytest.raises(InputError, match=r"backbone resnet51 is unknown to timm; nearest: .*resnet50"):
        TimmBackbone("resnet51")
    for address in ("hf-hub:someone/something", "local-dir:/tmp"):
        with pytest.raises(InputError, match="is unknown to timm"):
            TimmBackbone(address)


@pytest.mark.parametrize(
    "make", [lambda: TimmBackbone("resnet18.tv_in1k", pretrained=True), lambda: AlexNetBackbone(pretrained=True)]
)
def test_offline_one_line_says_how_to_go_on(make, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("timm.models._builder.load_pretrained", fail)
    monkeypatch.setattr("torch.hub.load_state_dict_from_url", fail)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fail)
    with pytest.raises(InputError, match=r"cannot be fetched \(no route to host\); give model\.backbone\.checkpoint_path=FILE"):
        make()


@pytest.mark.parametrize("suffix", ["pth", "safetensors"])
def test_imagenet_weights_from_a_file(tmp_path: Path, suffix: str) -> None:
    from safetensors.torch import save_file

    theirs = torchvision.models.resnet18().state_dict()
    path = tmp_path / f"resnet18.{suffix}"
    save_file(theirs, path) if suffix == "safetensors" else torch.save(theirs, path)
    ours = TimmBackbone("resnet18.tv_in1k", checkpoint_path=path)
    assert torch.equal(ours.trunk.layer4[1].conv2.weight, theirs["layer4.1.conv2.weight"])
    alexnet = torchvision.models.alexnet().state_dict()
    torch.save(alexnet, tmp_path / "alexnet.pth")
    ours = AlexNetBackbone(checkpoint_path=tmp_path / "alexnet.pth")
    assert torch.equal(ours.classifier[4].weight, alexnet["classifier.4.weight"])
    for other in ("resnet34.tv_in1k", "resnet26.bt_in1k"):
        with pytest.raises(InputError, match="weights of another network"):
            TimmBackbone(other, checkpoint_path=path)
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match="not a readable file of weights"):
        TimmBackbone("resnet18.tv_in1k", checkpoint_path=path)
    with pytest.raises(InputError, match="no such file"):
        TimmBackbone("resnet18.tv_in1k", checkpoint_path=tmp_path / "none.pth")
