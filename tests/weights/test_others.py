"""Other authors' networks: built here once more from their descriptions, weights at random, and compared."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import onnx
import pytest
import torch
import torchvision
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn import functional

from configs import checkpoint_of
from headposekit.errors import InputError
from headposekit.models.others import SixDRepNet
from headposekit.reporting.leaderboard import networks
from headposekit.training.runs import read_runs
from headposekit.weights.checkpoint import LoadedNetwork, load_checkpoint
from headposekit.weights.export import describe_export, export_network
from headposekit.weights.load import HOPENET_CROP, SIXDREPNET_CROP, load_member, refuse_other_crops
from headposekit.weights.onnx_files import in_onnx_runtime
from run_folders import results

State = dict[str, Tensor]
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def faces(size: int, n: int = 2) -> Tensor:
    return torch.randint(0, 256, (n, 3, size, size), generator=generator(), dtype=torch.uint8)


def imagenet(image: Tensor) -> Tensor:
    return (image / 255 - MEAN[:, None, None]) / STD[:, None, None]


class Weights:
    """Random tensors by name, made when they are asked for the first time."""

    def __init__(self) -> None:
        self.state: State = {}
        self.generator = generator()

    def conv(self, name: str, out: int, inner: int, kernel: int, bias: bool = False) -> None:
        gain = (2 / (inner * kernel**2)) ** 0.5
        self.state[f"{name}.weight"] = gain * torch.randn(out, inner, kernel, kernel, generator=self.generator)
        if bias:
            self.state[f"{name}.bias"] = 0.1 * torch.randn(out, generator=self.generator)

    def norm(self, name: str, out: int) -> None:
        for part in ("weight", "running_var"):
            self.state[f"{name}.{part}"] = 0.5 + torch.rand(out, generator=self.generator)
        for part in ("bias", "running_mean"):
            self.state[f"{name}.{part}"] = 0.3 * torch.randn(out, generator=self.generator)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    def linear(self, name: str, out: int, inner: int, gain: float = 3.0) -> None:
        self.state[f"{name}.weight"] = gain * torch.randn(out, inner, generator=self.generator) / inner**0.5
        self.state[f"{name}.bias"] = 0.1 * torch.randn(out, generator=self.generator)


def convolve(state: State, x: Tensor, name: str, **options: int) -> Tensor:
    return functional.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), **options)


def normed(state: State, x: Tensor, name: str, eps: float = 1e-5) -> Tensor:
    parts = (state[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
    return functional.batch_norm(x, *parts, eps=eps)


def linear(state: State, x: Tensor, name: str) -> Tensor:
    return functional.linear(x, state[f"{name}.weight"], state[f"{name}.bias"])


def expectation(logits: Tensor, first: float) -> Tensor:
    return (logits.softmax(dim=1) * (first + 3.0 * torch.arange(logits.shape[1]))).sum(dim=1)


def pose_of_six(six: Tensor) -> Tensor:
    """6DRepNet's angles: the numbers are two columns of Z(roll) Y(yaw) X(pitch)."""
    x = functional.normalize(six[:, :3])
    z = functional.normalize(torch.linalg.cross(x, six[:, 3:]))
    matrix = torch.stack([x, torch.linalg.cross(z, x), z], dim=2)
    pitch = torch.atan2(matrix[:, 2, 1], matrix[:, 2, 2])
    yaw = torch.atan2(-matrix[:, 2, 0], matrix[:, 0, 0].hypot(matrix[:, 1, 0]))
    return torch.stack([yaw, pitch, torch.atan2(matrix[:, 1, 0], matrix[:, 0, 0])], dim=1).rad2deg()


def sixdrepnet() -> tuple[State, Callable[[Tensor], Tensor]]:
    weights, layers, channels = Weights(), [], 3
    for stage, (blocks, out) in enumerate([(1, 64), (4, 128), (6, 256), (16, 512), (1, 2048)]):
        for block in range(blocks):
            name = f"layer{stage}.{block}.rbr_reparam" if stage else "layer0.rbr_reparam"
            groups = 2 if stage and len(layers) % 2 == 0 else 1
            weights.conv(name, out, channels // groups, 3, bias=True)
            layers.append((name, 2 if block == 0 else 1, groups))
            channels = out
    weights.linear("linear_reg", 6, 2048)

    def pose(image: Tensor) -> Tensor:
        x = imagenet(image)
        for name, stride, groups in layers:
            x = convolve(weights.state, x, name, stride=stride, padding=1, groups=groups).relu()
        return pose_of_six(linear(weights.state, x.mean(dim=(2, 3)), "linear_reg"))

    return weights.state, pose


def sixdrepnet360() -> tuple[State, Callable[[Tensor], Tensor]]:
    torch.manual_seed(0)
    network = torchvision.models.resnet50(num_classes=6).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2)
    state = {key.replace("fc.", "linear_reg."): value for key, value in network.state_dict().items()}
    return {"model_state_dict": state}, lambda image: pose_of_six(network(imagenet(image)))  # type: ignore[dict-item]


def hopenet_lite(old_names: bool) -> tuple[State, Callable[[Tensor], Tensor]]:
    weights, blocks = Weights(), []
    last, branch = ("conv_last", "banch") if old_names else ("conv5", "branch")

    def layer(name: str, number: int, out: int, inner: int, kernel: int) -> None:
        weights.conv(f"{name}.{number}", out, inner, kernel)
        weights.norm(f"{name}.{number + 1}", out)

    layer("conv1", 0, 24, 3, 3)
    channels, number = 24, 0
    for stage, (repeats, out) in enumerate([(4, 116), (8, 232), (4, 464)], start=2):
        for block in range(repeats):
            name, half = f"features.{number}" if old_names else f"stage{stage}.{block}", out // 2
            if block == 0:
                layer(f"{name}.{branch}1", 0, channels, 1, 3)
                layer(f"{name}.{branch}1", 2, half, channels, 1)
            layer(f"{name}.{branch}2", 0, half, channels if block == 0 else half, 1)
            layer(f"{name}.{branch}2", 3, half, 1, 3)
            layer(f"{name}.{branch}2", 5, half, half, 1)
            blocks.append((name, block == 0))
            channels, number = out, number + 1
    layer(last, 0, 1024, 464, 1)
    heads = [f"fc_{letter}{'.0' if old_names else ''}" for letter in "ypr"]
    for head in heads:
        weights.linear(head, 66, 1024, gain=1e-3)  # for the features are in the thousands
    state = weights.state

    def step(x: Tensor, name: str, number: int, **options: int) -> Tensor:
        return normed(state, convolve(state, x, f"{name}.{number}", **options), f"{name}.{number + 1}")

    def pose(image: Tensor) -> Tensor:
        x = functional.max_pool2d(step(imagenet(image), "conv1", 0, stride=2, padding=1).relu(), 3, 2, padding=1)
        for name, halves in blocks:
            kept, x = (x, x) if halves else x.chunk(2, dim=1)
            stride = 2 if halves else 1
            if halves:
                kept = step(kept, f"{name}.{branch}1", 0, stride=2, padding=1, groups=kept.shape[1])
                kept = step(kept, f"{name}.{branch}1", 2).relu()
            x = step(x, f"{name}.{branch}2", 0).relu()
            x = step(x, f"{name}.{branch}2", 3, stride=stride, padding=1, groups=x.shape[1])
            x = step(x, f"{name}.{branch}2", 5).relu()
            x = torch.stack([kept, x], dim=2).flatten(1, 2)  # one of each in turn
        x = step(x, last, 0).relu().mean(dim=(2, 3))
        return torch.stack([expectation(linear(state, x, head), -99) for head in heads], dim=1)

    return state, pose


def lightweight() -> tuple[State, Callable[[Tensor], Tensor]]:
    weights = Weights()
    widths = (16, 32, 64, 96, 96, 128, 128, 128)
    kernels, strides = (3, 3, 3, 5, 5, 5, 3), (2, 2, 1, 2, 1, 2, 1)
    weights.conv("features.0.0", 16, 3, 3)
    weights.norm("features.0.1", 16)
    for number, kernel in enumerate(kernels, start=1):
        before, after = widths[number - 1 : number + 1]
        for part, out, inner, size in (
            ("exp_conv", 2 * before, before // 4, 1), ("dw_conv", 2 * before, 1, kernel), ("pw_conv", after, 2 * before, 1),
        ):  # fmt: skip
            weights.conv(f"features.{number}.{part}.0", out, inner, size)
            weights.norm(f"features.{number}.{part}.1", out)
    for angle in ("yaw", "pitch", "roll"):
        weights.linear(f"fc_{angle}", 66, 128)
    state = weights.state

    def pose(image: Tensor) -> Tensor:
        x = normed(state, convolve(state, imagenet(image), "features.0.0", stride=2, padding=1), "features.0.1").relu()
        for number, (kernel, stride) in enumerate(zip(kernels, strides, strict=True), start=1):
            act = torch.relu if number < 4 else functional.hardswish
            wide = {"stride": stride, "padding": kernel // 2, "groups": 2 * x.shape[1]}
            for part, options in (("exp_conv", {"groups": 4}), ("dw_conv", wide), ("pw_conv", {})):
                name = f"features.{number}.{part}"
                x = act(normed(state, convolve(state, x, f"{name}.0", **options), f"{name}.1"))
        x = x.mean(dim=(2, 3)).relu()
        return torch.stack([expectation(linear(state, x, f"fc_{a}"), -97.5) for a in ("yaw", "pitch", "roll")], dim=1)

    return state, pose


def port(var: bool) -> tuple[State, Callable[[Tensor], Tensor]]:
    weights = Weights()
    blocks = {"conv0": (3, 16), "conv1_0": (16, 32), "conv1_1": (32, 32), "conv2_0": (32, 64), "conv2_1": (64, 64)}
    blocks |= {"conv3_0": (64, 128), "conv3_1": (128, 128)}
    for stream in ("s0", "s1"):
        for block, (inner, out) in blocks.items():
            weights.conv(f"msms.{stream}_{block}.conv.depthwise", inner, 1, 3, bias=True)
            weights.conv(f"msms.{stream}_{block}.conv.pointwise", out, inner, 1, bias=True)
            weights.norm(f"msms.{stream}_{block}.bn", out)
        for stage, inner in enumerate((32, 64, 128), start=1):
            weights.conv(f"msms.{stream}_conv{stage}_out.conv", 64, inner, 1, bias=True)
    if not var:
        weights.conv("fgsm.attention_maps.reduce_channel.conv", 1, 64, 1, bias=True)
    weights.linear("fgsm.fm", 5 * 192, 64)
    weights.linear("fgsm.fc", 7 * 5, 192)
    weights.state["caps_layer.affine_w"] = torch.randn(3, 21, 16, 64, generator=weights.generator) / 8
    for stage in (1, 2, 3):
        for name, out, inner in (("shift_fc", 3, 4), ("scale_fc", 3, 4), ("pred_fc", 9, 8)):
            weights.linear(f"esp_s{stage}.{name}", out, inner, gain=1.0)
    state = weights.state

    def block(x: Tensor, name: str, act: Callable[[Tensor], Tensor]) -> Tensor:
        x = convolve(state, x, f"{name}.conv.depthwise", padding=1, groups=x.shape[1])
        return act(normed(state, convolve(state, x, f"{name}.conv.pointwise"), f"{name}.bn"))

    def stream(x: Tensor, name: str) -> list[Tensor]:
        act, pool = (torch.relu, functional.avg_pool2d) if name == "s0" else (torch.tanh, functional.max_pool2d)
        x, stages = pool(block(x, f"msms.{name}_conv0", torch.relu), 2), []
        for stage in (1, 2, 3):
            x = block(block(x, f"msms.{name}_conv{stage}_0", act), f"msms.{name}_conv{stage}_1", act)
            x = pool(x, 2) if stage < 3 else x
            stages.append(act(convolve(state, x, f"msms.{name}_conv{stage}_out.conv")))
        return stages

    def score(u: Tensor) -> Tensor:
        if var:
            return u.var(dim=1, correction=0).flatten(1)
        return convolve(state, u, "fgsm.attention_maps.reduce_channel.conv").sigmoid().flatten(1)

    def squash(s: Tensor) -> Tensor:
        square = s.square().sum(dim=-1, keepdim=True)
        return square / (1 + square) * s / (square.sqrt() + 1e-8)

    def pose(image: Tensor) -> Tensor:
        x = (image.flip(1) - 127.5) / 128
        first, second, third = (a * b for a, b in zip(stream(x, "s0"), stream(x, "s1"), strict=True))
        features = (third, second, functional.avg_pool2d(first, 2))
        scores = [score(u) for u in features]
        c = linear(state, torch.cat(scores, dim=1), "fgsm.fc").sigmoid().view(-1, 7, 5)
        u = torch.cat([u.view(-1, 64, 64) for u in features], dim=1)
        means = []
        for stage in scores:
            s = c @ linear(state, stage, "fgsm.fm").sigmoid().view(-1, 5, 192)
            means.append(s @ u / s.sum(dim=-1, keepdim=True))
        votes = torch.einsum("bnf,ondf->bond", torch.cat(means, dim=1), state["caps_layer.affine_w"])
        logits = torch.zeros(votes.shape[:3])
        for _ in range(2):
            vectors = squash((logits.softmax(dim=1).unsqueeze(-1) * votes).sum(dim=2))
            logits = logits + (votes * vectors.unsqueeze(2)).sum(dim=-1)
        angle, width = torch.zeros(len(x), 3), torch.ones(len(x), 3)
        for stage, vector in enumerate(vectors.unbind(dim=1), start=1):
            shift = linear(state, vector[:, :4], f"esp_s{stage}.shift_fc").tanh()
            width = width * 3 * (1 + linear(state, vector[:, 4:8], f"esp_s{stage}.scale_fc").tanh())
            weight = linear(state, vector[:, 8:], f"esp_s{stage}.pred_fc").relu().view(-1, 3, 3)
            angle = angle + (weight * (torch.arange(3) - 1 + shift.unsqueeze(-1))).sum(dim=-1) / width
        return 99 * angle

    return {"best_states": {"model": state}, "epoch": 3}, pose  # type: ignore[dict-item]


# --------------------------------------------------------------------------------------------------------------------- WHENet

BLOCKS = [
    (1, 16, 3, 1, 1), (2, 24, 3, 2, 6), (2, 40, 5, 2, 6), (3, 80, 3, 2, 6),
    (3, 112, 5, 1, 6), (4, 192, 5, 2, 6), (1, 320, 3, 1, 6),
]  # fmt: skip
"""EfficientNet-B0: repeats, channels, kernel, stride and growth of each stage."""


def same(x: Tensor, weight: Tensor, stride: int, groups: int) -> Tensor:
    """A convolution with TensorFlow's padding: what is odd of it goes to the right and below."""
    kernel = weight.shape[-1]
    total = max((-(-x.shape[-1] // stride) - 1) * stride + kernel - x.shape[-1], 0)
    x = functional.pad(x, (total // 2, total - total // 2) * 2)
    return functional.conv2d(x, weight, stride=stride, groups=groups)


class Keras:
    """Layers as Keras counts and keeps them; called for pictures, it makes random weights on the way the first time."""

    def __init__(self) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.generator = np.random.default_rng(0)

    def get(self, name: str, shape: tuple[int, ...], gain: float, offset: float = 0.0) -> Tensor:
        if name not in self.arrays:
            self.arrays[name] = (offset + gain * self.generator.standard_normal(shape)).astype(np.float32)
        return torch.from_numpy(self.arrays[name])

    def pose(self, image: Tensor) -> Tensor:
        count = {"conv2d": 0, "depthwise_conv2d": 0, "batch_normalization": 0}

        def number(kind: str) -> str:
            count[kind] += 1
            return f"{kind}_{count[kind]}"

        def conv(x: Tensor, out: int, kernel: int = 1, stride: int = 1, bias: bool = False) -> Tensor:
            name, inner = number("conv2d"), x.shape[1]
            weight = self.get(f"{name}/kernel", (kernel, kernel, inner, out), (2 / (inner * kernel**2)) ** 0.5)
            x = same(x, weight.permute(3, 2, 0, 1), stride, 1)
            return x + self.get(f"{name}/bias", (out,), 0.1)[:, None, None] if bias else x

        def depthwise(x: Tensor, kernel: int, stride: int) -> Tensor:
            weight = self.get(f"{number('depthwise_conv2d')}/depthwise_kernel", (kernel, kernel, x.shape[1], 1), 1 / kernel)
            return same(x, weight.permute(2, 3, 0, 1), stride, x.shape[1])

        def norm(x: Tensor) -> Tensor:
            name, shape = number("batch_normalization"), (x.shape[1],)
            gamma, beta = self.get(f"{name}/gamma", shape, 0.1, 1.0), self.get(f"{name}/beta", shape, 0.1)
            if f"{name}/moving_mean" not in self.arrays:  # near those of the first pictures, as after a training
                near = (1.1 * x.mean(dim=(0, 2, 3)), 0.9 * x.var(dim=(0, 2, 3)))
                self.arrays |= {
                    f"{name}/{key}": value.numpy() for key, value in zip(("moving_mean", "moving_variance"), near, strict=True)
                }
            mean, variance = (torch.from_numpy(self.arrays[f"{name}/{key}"]) for key in ("moving_mean", "moving_variance"))
            return functional.batch_norm(x, mean, variance, gamma, beta, eps=1e-3)

        x = functional.silu(norm(conv(imagenet(image), 32, kernel=3, stride=2)))
        for repeats, out, kernel, first_stride, growth in BLOCKS:
            for block in range(repeats):
                before, stride = x, first_stride if block == 0 else 1
                x = x if growth == 1 else functional.silu(norm(conv(x, growth * before.shape[1])))
                x = functional.silu(norm(depthwise(x, kernel, stride)))
                squeezed = functional.silu(conv(x.mean(dim=(2, 3), keepdim=True), before.shape[1] // 4, bias=True))
                x = norm(conv(x * conv(squeezed, x.shape[1], bias=True).sigmoid(), out))
                x = x + before if stride == 1 and before.shape[1] == out else x
        x = functional.silu(norm(conv(x, 1280))).mean(dim=(2, 3))
        angles = []
        for angle, bins, first in (("yaw", 120, -180), ("pitch", 66, -99), ("roll", 66, -99)):
            kernel = self.get(f"{angle}_new/kernel", (1280, bins), 0.02)
            angles.append(expectation(x @ kernel + self.get(f"{angle}_new/bias", (bins,), 0.1), first))
        return torch.stack(angles, dim=1)


# ------------------------------------------------------------------------------------------------------------------ all of them


@dataclass
class Published:
    """A file, what it should give, and how faces are cut out for it."""

    path: Path
    pose: Callable[[Tensor], Tensor]
    size: int
    crop: str


def write(folder: Path, name: str) -> Published:
    if name == "whenet":
        keras = Keras()
        keras.pose(faces(96))
        with h5py.File(folder / "WHENet.h5", "w") as file:
            file.attrs["layer_names"] = sorted({key.split("/")[0] for key in keras.arrays})
            for key, value in keras.arrays.items():
                layer, weight = key.split("/")
                file[f"{layer}/{layer}/{weight}:0"] = value
        return Published(folder / "WHENet.h5", keras.pose, 96, "hopenet")
    makers: dict[str, tuple[Callable[[], tuple[State, Callable[[Tensor], Tensor]]], int, str]] = {
        "6drepnet": (sixdrepnet, 64, "sixdrepnet"),
        "6drepnet360": (sixdrepnet360, 96, "sixdrepnet"),
        "hopenet_lite": (lambda: hopenet_lite(old_names=True), 224, "hopenet"),
        "hopenet_lite_torchvision": (lambda: hopenet_lite(old_names=False), 96, "hopenet"),
        "lightweight": (lightweight, 224, "margin"),
        "port_conv": (lambda: port(var=False), 64, "fsanet"),
        "port_var": (lambda: port(var=True), 64, "fsanet"),
    }
    make, size, crop = makers[name]
    state, pose = make()
    torch.save(state, folder / f"{name}.pth")
    return Published(folder / f"{name}.pth", pose, size, crop)


ALL = [
    "6drepnet", "6drepnet360", "hopenet_lite", "hopenet_lite_torchvision", "lightweight", "port_conv", "port_var", "whenet",
]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_published_names_give_the_published_angles(tmp_path: Path, name: str) -> None:
    given = write(tmp_path, name)
    member = load_member(given.path)
    image = faces(given.size, 3)
    with torch.no_grad():
        found, expected = member.model({"image": image}).pose, given.pose(image)
    np.testing.assert_allclose(found, expected, atol=1e-3)
    assert found.abs().min() > 1e-3
    assert (found[0] - found[1]).abs().max() > 1e-2  # it looks at the picture
    assert (found - found.round()).abs().max() > 1e-3  # and is not sure of one bin
    assert not member.model.training
    assert given.crop in member.crop_config["_target_"].lower()


def port_onnx(path: Path, state: State, change: Callable[[onnx.ModelProto], None] = lambda model: None) -> Path:
    """A file with the port's weights and the exporter's numbered constants; its operators play no part."""
    tensors = [numpy_helper.from_array(value.numpy(), key) for key, value in state.items() if "num_batches" not in key]
    tensors.append(numpy_helper.from_array(np.array([64], np.int64), "595"))
    kinds = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 3]) for name in ("input", "output")]
    model = helper.make_model(
        helper.make_graph([helper.make_node("Tanh", ["input"], ["output"])], "g", kinds[:1], kinds[1:], tensors)
    )
    change(model)
    path.write_bytes(model.SerializeToString())
    return path


def test_the_port_comes_as_onnx_too(tmp_path: Path) -> None:
    content, pose = port(var=True)
    member = load_member(port_onnx(tmp_path / "fsanet-var.onnx", content["best_states"]["model"]))  # type: ignore[index]
    with torch.no_grad():
        np.testing.assert_allclose(member.model({"image": faces(64)}).pose, pose(faces(64)), atol=1e-3)
    assert member.crop_config["_target_"].endswith("FSANetCrop")


def outside(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_location = TensorProto.EXTERNAL


def short(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 10**9


def lost(model: onnx.ModelProto) -> None:
    del model.graph.initializer[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (outside, "weights in other files"),
        (short, "not a readable ONNX file"),
        (lost, "not a complete published port of FSA-Net"),
    ],
    ids=["outside", "short", "lost"],
)
def test_a_damaged_onnx_file_of_the_port_is_refused(tmp_path: Path, change, message: str) -> None:
    path = port_onnx(tmp_path / "net.onnx", port(var=True)[0]["best_states"]["model"], change)  # type: ignore[index]
    with pytest.raises(InputError, match=message) as error:
        load_member(path)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "change", "message"),
    [
        (lightweight, lambda state: state.pop("fc_roll.bias"), "not a complete published lightweight network .*fc_roll.bias"),
        (lightweight, lambda state: state.update({"fc_yaw.weight": torch.zeros(67, 128)}), "fc_yaw.weight does not fit"),
        (lightweight, lambda state: state.update(extra=torch.zeros(2)), "backbone.extra does not fit"),
        (lightweight, lambda state: state["fc_yaw.bias"].fill_(torch.nan), "holds NaN or infinity"),
        (
            lambda: hopenet_lite(True),
            lambda state: state.update({"features.99.x": torch.zeros(1)}),
            "not a complete published hope",
        ),
        (lightweight, lambda state: state.update({"layer1.0.rbr_dense.conv.weight": torch.zeros(1)}), "convert.py"),
    ],
    ids=["less", "bins", "more", "nan", "block", "training"],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, make, change, message: str) -> None:
    state = make()[0]
    change(state)
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(InputError, match=message) as error:
        load_member(tmp_path / "net.pth")
    assert str(error.value).startswith(str(tmp_path / "net.pth"))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("layer", "message"), [("conv2d_65", "is missing"), ("dense_1", "belongs to no published network")])
def test_a_whenet_of_another_kind_is_refused(tmp_path: Path, layer: str, message: str) -> None:
    path = write(tmp_path, "whenet").path
    with h5py.File(path, "r+") as file:
        if layer in file:
            del file[layer]
        else:
            file[f"{layer}/{layer}/kernel:0"] = np.zeros((2, 2), np.float32)
    with pytest.raises(InputError, match=message):
        load_member(path)


@pytest.mark.parametrize(
    ("name", "suffix"), [("port_conv", "onnx"), ("port_var", "safetensors"), ("lightweight", "ckpt"), ("hopenet_lite", "ckpt")]
)
def test_they_come_back_from_files_of_this_suite(tmp_path: Path, name: str, suffix: str) -> None:
    member = load_member(write(tmp_path, name).path)
    other = tmp_path / f"other.{suffix}"
    if suffix == "ckpt":
        torch.save(checkpoint_of(member.model, member.model_config, member.crop_config), other)
        again = load_checkpoint(other)
    else:
        export_network(member.model, describe_export([member], member.model), other, None, int8=False)
        again = load_member(other)
    image = faces(member.model.input_size)
    with torch.no_grad():
        np.testing.assert_allclose(again.model({"image": image}).pose, member.model({"image": image}).pose, atol=1e-3)
    assert (again.model_config, again.crop_config["_target_"]) == (member.model_config, member.crop_config["_target_"])


class Colours(nn.Module):
    """A trunk that sees nothing but the mean colour."""

    num_features, stem = 3, ()

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def test_six_numbers_run_in_onnx_runtime() -> None:
    network = SixDRepNet(Colours()).eval()
    assert in_onnx_runtime(network)({"image": faces(224)}).pose.shape == (2, 3)  # compared there


def test_networks_whose_crops_differ_in_their_rule_alone_do_not_fuse() -> None:
    crops = (HOPENET_CROP, SIXDREPNET_CROP)
    members = [LoadedNetwork(f"{number}.pth", SixDRepNet(Colours()), {}, crop, {}) for number, crop in enumerate(crops)]
    refuse_other_crops(members[:1] * 2)
    with pytest.raises(InputError, match=r"1\.pth: trained with another crop than 0\.pth \(crop: hopenet, sixdrepnet\)"):
        refuse_other_crops(members)


def test_it_is_evaluated_under_its_name(run, aflw2000_root: Path, tmp_path: Path) -> None:
    path = port_onnx(tmp_path / "port.onnx", port(var=True)[0]["best_states"]["model"])  # type: ignore[index]
    done = run("evaluate", f"weights={path}", f"test.aflw2000.root={aflw2000_root}", f"hydra.run.dir={tmp_path}/runs/port")
    assert done.returncode == 0, done.stderr
    content = results(tmp_path / "runs" / "port")
    assert (content["network"], content["test"]["aflw2000"]["crop"]) == ("FSANetPort", "fsanet")
    assert [network.label for network in networks(read_runs(tmp_path / "runs")[0])] == ["FSA-Net (PyTorch port)"]
