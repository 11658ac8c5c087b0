from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from torch import nn

from configs import checkpoint_of, train_config
from headposekit.datasets import AFLW2000
from headposekit.errors import InputError
from headposekit.geometry.crops import ThreeDDFACrop
from headposekit.geometry.rotations import matrix_to_pose
from headposekit.models.network import count_parameters
from headposekit.models.threeddfa import BLOCKS, ThreeDDFANet
from headposekit.reporting.leaderboard import networks
from headposekit.training.runs import read_runs
from headposekit.weights.checkpoint import load_checkpoint
from headposekit.weights.export import describe_export, export_network
from headposekit.weights.load import load_initial_weights, load_member
from headposekit.weights.published import load_published
from run_folders import results

WEIGHTS = "models/mb05_120x120.pth"


def faces(n: int = 2) -> dict:
    generator = torch.Generator().manual_seed(0)
    return {"image": torch.randint(0, 256, (n, 3, 120, 120), generator=generator, dtype=torch.uint8)}


def published_state(width: float, last: str) -> dict[str, torch.Tensor]:
    """A state dict with the published names, of a network of random weights."""
    torch.manual_seed(0)
    network = ThreeDDFANet(width)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    state = {
        f"module.{key.removeprefix('blocks.').replace('fc.', f'{last}.')}": value
        for key, value in network.state_dict().items()
        if key not in ("mean", "std")
    }
    return state | {"module.fc_lm.weight": torch.zeros(136, network.fc.in_features), "module.fc_lm.bias": torch.zeros(136)}


def published_pose(state: dict[str, torch.Tensor], image: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """The poses of the published network, from its description: layer by layer, by names."""

    def convolve(x: torch.Tensor, name: str, norm: str, **options: int) -> torch.Tensor:
        x = nn.functional.conv2d(x, state[f"module.{name}.weight"], **options)
        numbers = (state[f"module.{norm}.{key}"] for key in ("running_mean", "running_var", "weight", "bias"))
        return nn.functional.batch_norm(x, *numbers).relu()

    x = convolve((image.flip(1).float() - 127.5) / 128, "conv1", "bn1", stride=2, padding=1)
    for name, (_, stride) in BLOCKS.items():
        x = convolve(x, f"{name}.conv_dw", f"{name}.bn_dw", stride=stride, padding=1, groups=x.shape[1])
        x = convolve(x, f"{name}.conv_sep", f"{name}.bn_sep")
    last = "fc_param" if "module.fc_param.weight" in state else "fc"
    parameters = nn.functional.linear(x.mean(dim=(2, 3)), state[f"module.{last}.weight"], state[f"module.{last}.bias"])
    camera = (parameters * std + mean)[:, :12].reshape(-1, 3, 4)
    first, second = (camera[:, row, :3] / camera[:, row, :3].norm(dim=1, keepdim=True) for row in (0, 1))
    return matrix_to_pose(torch.stack([first, second, torch.linalg.cross(first, second)], dim=1))


def write_published(folder: Path, width: float = 0.5, last: str = "fc_param") -> tuple[Path, dict[str, torch.Tensor]]:
    state = published_state(width, last)
    torch.save({"epoch": 1, "state_dict": state}, folder / "net.pth")
    return folder / "net.pth", state


def write_mean_and_std(path: Path) -> tuple[torch.Tensor, torch.Tensor]:
    mean, std = torch.randn(2, 62, generator=torch.Generator().manual_seed(1)).double()
    std = std.abs() + 0.1
    if path.suffix == ".npz":
        np.savez(path, mean=mean.numpy(), std=std.numpy())
    else:
        rows = "\n".join(f"{a!r},{b!r}" for a, b in zip(mean.tolist(), std.tolist(), strict=True))
        path.write_text(f"mean,std\n{rows}\n")
    return mean.float(), std.float()


@pytest.mark.parametrize(
    ("width", "last", "beside"), [(0.25, "fc_param", "a_mean_std.csv"), (0.5, "fc", "mean_std.npz")], ids=["csv", "npz"]
)
def test_published_names_give_the_published_poses(tmp_path: Path, width: float, last: str, beside: str) -> None:
    path, state = write_published(tmp_path, width, last)
    mean, std = write_mean_and_std(tmp_path / beside)
    network, config = load_published(path)
    assert (config["width"], config["input_size"], network.training) == (width, 120, False)
    with torch.no_grad():
        poses = network(faces())
    np.testing.assert_allclose(poses.pose, published_pose(state, faces()["image"], mean, std), atol=1e-3)
    assert poses.pose.abs().min() > 0.1


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("other.txt", "", r"net\.pth: no \*mean_std\*\.csv or \*mean_std\*\.npz beside it.*numpy\.savez\('mean_std\.npz'"),
        ("mean_std.csv", "mean\n1\n", "no column std; name the columns mean,std"),
        ("mean_std.csv", "mean,std\n1,2\n", r"mean_std\.csv: expected 62 numbers each of mean and std"),
        ("mean_std.csv", "mean,std\n" + "1,0\n" * 62, "std finite and above 0"),
        ("mean_std.csv", "mean,std\n" + "nan,1\n" * 62, "line 2: mean is 'nan', not a finite number"),
        ("mean_std.npz", "no archive", r"not a readable \.npz file"),
    ],
    ids=["missing", "column", "rows", "zero", "nan", "npz"],
)
def test_mean_and_std_are_needed_beside_it(tmp_path: Path, name: str, text: str, message: str) -> None:
    path, _ = write_published(tmp_path)
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_published(path)
    assert "\n" not in str(error.value)


def test_one_of_several_files_of_mean_and_std_has_to_be_chosen(tmp_path: Path) -> None:
    path, _ = write_published(tmp_path)
    for name in ("mean_std.csv", "old_mean_std.npz"):
        write_mean_and_std(tmp_path / name)
    with pytest.raises(InputError, match=r"net\.pth: 2 files \*mean_std\* beside it.*leave the one that belongs to it"):
        load_published(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("module.dw6.bn_sep.bias"), "not a complete published 3DDFA_V2 .*bn_sep.bias does not fit"),
        (lambda state: state.update({"module.conv1.weight": torch.zeros(2**20, 1)}), "first layer has 1048576 channels"),
        (lambda state: state.pop("module.conv1.weight"), "first layer has 0 channels, expected 8, 16"),
        (lambda state: state["module.fc_param.bias"].fill_(torch.nan), "bias holds NaN or infinity"),
    ],
    ids=["less", "wide", "headless", "nan"],
)
def test_damaged_weights_are_refused(tmp_path: Path, change, message: str) -> None:
    state = published_state(0.5, "fc_param")
    change(state)
    torch.save({"state_dict": state}, tmp_path / "net.pth")
    write_mean_and_std(tmp_path / "mean_std.csv")
    with pytest.raises(InputError, match=message) as error:
        load_published(tmp_path / "net.pth")
    assert str(error.value).startswith(str(tmp_path / "net.pth"))


@pytest.mark.parametrize("suffix", ["onnx", "safetensors", "ckpt"])
def test_it_comes_back_from_files_of_this_suite(tmp_path: Path, suffix: str) -> None:
    path, _ = write_published(tmp_path, width=0.25)
    write_mean_and_std(tmp_path / "mean_std.csv")
    member = load_member(path)
    other = tmp_path / f"other.{suffix}"
    if suffix == "ckpt":
        torch.save(checkpoint_of(member.model, member.model_config, member.crop_config), other)
        again = load_checkpoint(other)
    else:
        export_network(member.model, describe_export([member], member.model), other, None, int8=False)
        again = load_member(other)
    with torch.no_grad():
        np.testing.assert_allclose(again.model(faces(3)).pose, member.model(faces(3)).pose, atol=1e-3)
    assert again.crop_config["_target_"] == "headposekit.geometry.crops.ThreeDDFACrop"
    assert (again.model_config, again.model.input_size) == (member.model_config, 120)


def test_it_is_evaluated_under_its_name_and_refused_under_another(run, refused, aflw2000_root: Path, tmp_path: Path) -> None:
    path, _ = write_published(tmp_path)
    write_mean_and_std(tmp_path / "mean_std.csv")
    test = f"test.aflw2000.root={aflw2000_root}"
    done = run("evaluate", "model=threeddfa", f"weights={path}", test, f"hydra.run.dir={tmp_path}/runs/out")
    assert done.returncode == 0, done.stderr
    content = results(tmp_path / "runs" / "out")
    assert (content["network"], content["params"]) == ("ThreeDDFANet", 861_342)
    assert (content["test"]["aflw2000"]["crop"], content["test"]["aflw2000"]["rules"]["box"]) == ("threeddfa", "pt3d_68")
    assert [network.label for network in networks(read_runs(tmp_path / "runs")[0])] == ["3DDFA_V2"]
    given = ("evaluate", "model=threeddfa", f"weights={path}", test)
    assert "not the model= that was given (width: 1.0 here, 0.5 there)" in refused(*given, "model.width=1.0")
    (tmp_path / "mean_std.csv").unlink()
    assert "net.pth: no *mean_std*.csv" in refused(*given)
    assert "no network given" in refused(*given[:2], test)


def test_it_can_be_fine_tuned(tmp_path: Path) -> None:
    path, state = write_published(tmp_path)
    mean, std = write_mean_and_std(tmp_path / "mean_std.csv")
    config = train_config("model=threeddfa")
    network = instantiate(config.model)
    load_initial_weights(network, path)
    with torch.no_grad():
        np.testing.assert_allclose(network.eval()(faces()).pose, published_pose(state, faces()["image"], mean, std), atol=1e-3)
    loss = instantiate(config.loss)(network.train()(faces()), {"pose": torch.zeros(2, 3)})
    loss.backward()
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters())
    assert network.fc.weight.grad[:8].abs().max() > 0
    assert (config.crop.size, config.model.input_size) == (120, 120)


def test_published_weights_on_photographs(shared: Path) -> None:
    network, _ = load_published(shared / WEIGHTS)
    assert sum(parameter.numel() for parameter in network.parameters()) == 850_398
    assert count_parameters(network) == 850_398 + 2 * sum(
        module.num_features for module in network.modules() if isinstance(module, nn.BatchNorm2d)
    )
    samples = list(AFLW2000(shared / "aflw2000_sample", box="pt3d_68"))
    crop = ThreeDDFACrop()
    images = np.stack([crop(sample["image"], sample["box"]) for sample in samples])
    with torch.no_grad():
        poses = network({"image": torch.from_numpy(images).permute(0, 3, 1, 2)}).pose.numpy()
    errors = np.abs(poses - np.stack([sample["pose"] for sample in samples])).mean(axis=0)
    np.testing.assert_allclose([*errors, errors.mean()], [3.77, 4.53, 2.29, 3.53], atol=0.01)
