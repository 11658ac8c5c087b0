"""Exported files: what they give, what they say, and what is refused."""

import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from headposekit.errors import InputError
from headposekit.geometry.bins import AngleBins
from headposekit.models.backbones import AlexNetBackbone, TimmBackbone
from headposekit.models.fold import fold
from headposekit.models.fsanet import (
    CapsuleAggregation,
    ConvScoring,
    FSANet,
    LinearAggregation,
    NetVLADAggregation,
    NoScoring,
    VarianceScoring,
)
from headposekit.models.fusion import LateFusion
from headposekit.models.hopenet import Hopenet, HopenetRegression
from headposekit.models.network import PoseNetwork, count_parameters
from headposekit.models.ssrnet import SSRNetMD
from headposekit.types import PoseOutput
from headposekit.weights.onnx_files import (
    EXTRA_FILE,
    OnnxNetwork,
    in_onnx_runtime,
    int8_bytes,
    load_onnx,
    onnx_bytes,
    torch_export_bytes,
    with_card,
)

CARD: dict[str, Any] = {
    "format": 1,
    "model": {"_target_": "headposekit.models.fsanet.FSANet"},
    "crop": {"_target_": "headposekit.geometry.crops.FSANetCrop", "size": 64},
    "input": {"size": 64},
    "params": 5,
}
PICTURES = np.random.default_rng(0).integers(0, 256, (5, 64, 64, 3), dtype=np.uint8)


def batch() -> dict:
    return {"image": torch.from_numpy(PICTURES).permute(0, 3, 1, 2)}


@pytest.fixture(scope="module")
def network() -> FSANet:
    torch.manual_seed(3)
    return FSANet(ConvScoring(), LinearAggregation).eval()


@pytest.fixture(scope="module")
def content(network: FSANet) -> bytes:
    return onnx_bytes(fold(network), CARD)


@pytest.fixture
def path(tmp_path: Path, content: bytes) -> Path:
    (tmp_path / "net.onnx").write_bytes(content)
    return tmp_path / "net.onnx"


def test_file_alone_gives_the_networks_angles_for_any_number_of_faces(path: Path, network: FSANet) -> None:
    exported, card = load_onnx(path)
    with torch.no_grad():
        expected = network(batch()).pose
    torch.testing.assert_close(exported(batch()).pose, expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(exported.estimate(PICTURES[:1])[0], expected[:1], atol=1e-4)
    assert card == CARD
    assert exported.input_size == 64
    assert count_parameters(exported) == 5


def test_order_of_the_channels_is_rgb(path: Path, network: FSANet) -> None:
    exported, _ = load_onnx(path)
    swapped = exported.estimate(np.ascontiguousarray(PICTURES[..., ::-1]))[0]
    assert np.abs(swapped - network(batch()).pose.detach().numpy()).max() > 1e-3


def test_graph_has_no_normalisations_and_reads_colours_side_by_side(content: bytes) -> None:
    graph = onnx.load_from_string(content).graph
    kinds = [node.op_type for node in graph.node]
    assert "BatchNormalization" not in kinds
    assert kinds.count("Conv") == 32  # 2 streams of 7 blocks, all but the first of two convolutions; 6 of the stages
    first = next(node for node in graph.node if node.op_type == "Conv")
    (strides,) = (attribute.ints for attribute in first.attribute if attribute.name == "strides")
    assert list(strides) == [1, 3]  # colours side by side


@pytest.mark.parametrize("scoring", [NoScoring, ConvScoring, VarianceScoring])
@pytest.mark.parametrize("aggregation", [CapsuleAggregation, NetVLADAggregation, LinearAggregation])
def test_any_network_in_onnx_runtime_for_this_process(scoring: type, aggregation: type) -> None:
    torch.manual_seed(3)
    network = FSANet(scoring(), aggregation).eval()
    with torch.no_grad():
        expected = network(batch()).pose
    torch.testing.assert_close(in_onnx_runtime(fold(network))(batch()).pose, expected, atol=1e-4, rtol=0)


class OtherWay(PoseNetwork):
    """A network whose way depends on how many pictures there are."""

    input_size = 64

    def forward(self, batch: dict) -> PoseOutput:
        mean = batch["image"].float().mean(dim=(2, 3))
        return PoseOutput(pose=mean if len(mean) == 2 else -mean)


def test_network_that_onnx_runtime_would_compute_otherwise_is_refused() -> None:
    with pytest.raises(InputError, match="OtherWay: other angles in ONNX Runtime, by"):
        in_onnx_runtime(OtherWay())


def test_network_of_very_many_operators_is_refused_before_onnx_runtime_prepares_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headposekit.weights.onnx_files.MAX_NODES", 40)
    with pytest.raises(InputError, match=r"FSANet: too many operators \(\d+\) for ONNX Runtime"):
        in_onnx_runtime(FSANet(NoScoring(), LinearAggregation).eval())


def test_network_that_cannot_be_translated_is_refused_in_silence(capfd: pytest.CaptureFixture[str]) -> None:
    network = Hopenet(AlexNetBackbone(pretrained=False), AngleBins(), input_size=64).eval()
    with pytest.raises(InputError, match="Hopenet: cannot run in ONNX Runtime"):
        in_onnx_runtime(network)
    assert capfd.readouterr() == ("", "")


def test_bins_spread_is_the_second_output(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Hopenet(TimmBackbone("resnet18"), AngleBins(), input_size=64).eval()
    (tmp_path / "hopenet.onnx").write_bytes(onnx_bytes(fold(network), CARD))
    exported, _ = load_onnx(tmp_path / "hopenet.onnx")
    with torch.no_grad():
        expected, found = network(batch()), exported(batch())
    torch.testing.assert_close(found.pose, expected.pose, atol=1e-3, rtol=0)
    torch.testing.assert_close(found.spread, expected.spread, atol=1e-3, rtol=0)
    assert [output.name for output in exported.session.get_outputs()] == ["pose", "spread", "rotation_spread"]
    torch.testing.assert_close(found.rotation_spread, expected.rotation_spread, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: FSANet(VarianceScoring(), NetVLADAggregation),
        lambda: FSANet(NoScoring(), CapsuleAggregation),
        lambda: LateFusion([SSRNetMD(), FSANet(ConvScoring(), LinearAggregation)]),
        lambda: HopenetRegression(TimmBackbone("convnext_atto"), 64),
        lambda: HopenetRegression(TimmBackbone("mobilenetv4_conv_small"), 64),
        lambda: Hopenet(AlexNetBackbone(), AngleBins(), 64),
    ],
    ids=["variance and netvlad", "capsules", "fusion of ssrnet", "convnext", "mobilenet", "alexnet"],
)
def test_every_kind_of_network_is_read_back(tmp_path: Path, make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(3)
    network = make().eval()
    content = onnx_bytes(fold(network), CARD)
    path = tmp_path / "net.onnx"
    path.write_bytes(content)
    with torch.no_grad():
        np.testing.assert_allclose(load_onnx(path)[0].estimate(PICTURES)[0], network(batch()).pose, atol=1e-2)
    path.write_bytes(int8_bytes(content, CARD, PICTURES[:2], tmp_path))
    assert load_onnx(path)[0].estimate(PICTURES)[0].shape == (5, 3)


def test_torch_export_file_comes_back_with_its_card(network: FSANet) -> None:
    extra = {EXTRA_FILE: ""}
    program = torch.export.load(io.BytesIO(torch_export_bytes(fold(network), CARD)), extra_files=extra).module()
    for count in (1, 5):
        (pose,) = program(torch.from_numpy(PICTURES[:count]))
        torch.testing.assert_close(pose, network(batch()).pose[:count], atol=1e-4, rtol=0)
    assert json.loads(extra[EXTRA_FILE]) == CARD


def test_eight_bits_are_near_and_leave_nothing_behind(tmp_path: Path, content: bytes) -> None:
    small = int8_bytes(content, CARD, PICTURES, tmp_path)
    assert list(tmp_path.iterdir()) == []
    exact, rounded = OnnxNetwork(content, "a.onnx").estimate(PICTURES)[0], OnnxNetwork(small, "b.onnx").estimate(PICTURES)[0]
    assert 0 < np.abs(exact - rounded).max() < 5
    assert any(tensor.data_type == TensorProto.INT8 for tensor in onnx.load_from_string(small).graph.initializer)


def test_quantiser_without_room_is_one_line(tmp_path: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """It does not look whether what it wrote into its files is in them."""

    def cut(before: Path, after: Path, *_: Any, **__: Any) -> None:
        after.write_bytes(before.read_bytes()[:1000])

    monkeypatch.setattr("onnxruntime.quantization.quantize_static", cut)
    with pytest.raises(InputError, match=rf"^{tmp_path}: the eight-bit form cannot be made there \(.*\); check the room left"):
        int8_bytes(content, CARD, PICTURES, tmp_path)
    assert list(tmp_path.iterdir()) == []


def relu_model(domain: str = "") -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("image", "pose")]
    node = helper.make_node("Relu", ["image"], ["pose"], domain=domain)
    graph = helper.make_graph([node], "g", values[:1], values[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid(name, 20) for name in {"", domain}], ir_version=10)


def with_weights_elsewhere() -> onnx.ModelProto:
    model = relu_model()
    tensor = model.graph.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../etc/passwd")
    return model


def picture_model(*nodes: onnx.NodeProto, shape: tuple = ("N", 3), kind: int = TensorProto.FLOAT) -> onnx.ModelProto:
    """A model that takes pictures; its nodes make `pose` of `image`."""
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["N", 64, 64, 3])
    pose = helper.make_tensor_value_info("pose", kind, shape)
    graph = helper.make_graph(list(nodes), "g", [image], [pose])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def to_float(output: str = "x") -> onnx.NodeProto:
    return helper.make_node("Cast", ["image"], [output], to=TensorProto.FLOAT)


def constant(name: str, values: list, kind: int = TensorProto.INT64) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=helper.make_tensor(name, kind, [len(values)], values))


def constant_elsewhere() -> onnx.ModelProto:
    node = constant("w", [1.0], TensorProto.FLOAT)
    tensor = node.attribute[0].t
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="pyproject.toml")
    return picture_model(to_float(), node, helper.make_node("Add", ["x", "w"], ["pose"]))


def branch_with_weights_elsewhere() -> onnx.ModelProto:
    inner = helper.make_graph([helper.make_node("Identity", ["w"], ["y"])], "b", [], [])
    tensor = inner.initializer.add(name="w", data_type=TensorProto.FLOAT, dims=[3], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="pyproject.toml")
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("yes", TensorProto.BOOL, [], [True]))
    return picture_model(yes, helper.make_node("If", ["yes"], ["pose"], then_branch=inner, else_branch=inner))


def graph_inside_an_allowed_operator() -> onnx.ModelProto:
    node = to_float("pose")
    node.attribute.append(helper.make_attribute("extra", helper.make_graph([], "b", [], [])))
    return picture_model(node)


def sparse() -> onnx.ModelProto:
    model = picture_model(to_float("pose"))
    model.graph.sparse_initializer.add()
    return model


def padded() -> onnx.ModelProto:
    widths = [0, 10**5, 10**5, 0] * 2
    return picture_model(to_float(), constant("p", widths), helper.make_node("Pad", ["x", "p"], ["pose"]), shape=("N",) * 4)


def product_of_large_matrices() -> onnx.ModelProto:
    """Eight products of a (3072, 4096) and a (4096, 3072) matrix, which few bytes describe."""
    nodes = [to_float(), constant("s", [1, 4096, 3]), helper.make_node("Reshape", ["x", "s"], ["c"])]
    nodes += [constant("many", [1, 1, 1024]), helper.make_node("Tile", ["c", "many"], ["d"])]
    nodes += [helper.make_node("Transpose", ["d"], ["e"], perm=[0, 2, 1])]
    nodes += [helper.make_node("MatMul", ["e", "d"], [name]) for name in [*"ghijklm", "pose"]]
    return picture_model(*nodes, shape=(1, 3072, 3072))


def shaped(*nodes: onnx.NodeProto, **options: Any) -> onnx.ModelProto:
    """`pose` of three mean colours, then these nodes."""
    axes = constant("axes", [1, 2])
    return picture_model(to_float(), axes, helper.make_node("ReduceMean", ["x", "axes"], ["m"], keepdims=0), *nodes, **options)


@pytest.mark.parametrize(
    ("model", "card", "message"),
    [
        (relu_model(), None, "an ONNX file, but not one of export.py"),
        (relu_model(), {**CARD, "format": 7}, "export format 7, this version reads 1; export it again"),
        (relu_model(), {**CARD, "crop": {"_target_": "os.system"}}, "target os.system is not one of this suite's"),
        (relu_model(), {**CARD, "input": {"size": 32}}, "its crop and its input have different sizes"),
        (relu_model("evil"), CARD, r"operators that are not ONNX's own \(evil\); refused"),
        (with_weights_elsewhere(), CARD, "keeps its weights in other files"),
        (relu_model(), CARD, "onnxruntime cannot run it"),
        (constant_elsewhere(), CARD, "keeps its weights in other files"),
        (branch_with_weights_elsewhere(), CARD, "uses the operator If, which is not among"),
        (picture_model(helper.make_node("Loop", ["", ""], ["pose"])), CARD, "uses the operator Loop"),
        (graph_inside_an_allowed_operator(), CARD, r"a graph or a sparse tensor inside an operator \(extra\)"),
        (sparse(), CARD, "training steps or sparse tensors"),
        (padded(), CARD, "its operator Pad gives .* values, more than"),
        (product_of_large_matrices(), CARD, "multiplications, more than"),
        (shaped(helper.make_node("Unsqueeze", ["m", "axes"], ["pose"])), CARD, r"outputs are not `pose` \(N, 3\)"),
        (
            shaped(helper.make_node("Cast", ["m"], ["pose"], to=TensorProto.DOUBLE), kind=TensorProto.DOUBLE),
            CARD,
            "not 32-bit floating-point",
        ),
        (relu_model(), {**CARD, "crop": {**CARD["crop"], "size": 10**9}, "input": {"size": 10**9}}, "is beyond"),
    ],
    ids=[
        "not ours",
        "format",
        "foreign target",
        "sizes",
        "foreign operator",
        "external weights",
        "other inputs",
        "external constant",
        "branch",
        "loop",
        "graph in an attribute",
        "sparse",
        "padding",
        "products",
        "shape",
        "doubles",
        "huge",
    ],
)
def test_refused_files(tmp_path: Path, model: onnx.ModelProto, card: dict | None, message: str) -> None:
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString() if card is None else with_card(model.SerializeToString(), card))
    with pytest.raises(InputError, match=message) as error:
        load_onnx(path)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)


def test_mean_colours_are_a_network_too(tmp_path: Path) -> None:
    content = with_card(shaped(helper.make_node("Identity", ["m"], ["pose"])).SerializeToString(), CARD)
    (tmp_path / "net.onnx").write_bytes(content)
    exported, _ = load_onnx(tmp_path / "net.onnx")
    np.testing.assert_allclose(exported.estimate(PICTURES)[0], PICTURES.mean(axis=(1, 2)), rtol=1e-5)


def test_missing_and_cut_short(tmp_path: Path, path: Path) -> None:
    with pytest.raises(InputError, match=r"no\.onnx: no such exported network"):
        load_onnx(tmp_path / "no.onnx")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"net\.onnx: not a readable ONNX file, or cut short"):
        load_onnx(path)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_missing_package(path: Path, monkeypatch: pytest.MonkeyPatch, package: str) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(InputError, match=f"{package} is not installed; pip install onnx onnxruntime onnxscript"):
        load_onnx(path)


def test_missing_exporter(network: FSANet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(InputError, match="onnxscript is not installed"):
        onnx_bytes(fold(network), CARD)


def test_network_that_cannot_be_translated(network: FSANet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **options: Any) -> None:
        raise RuntimeError("of many\nlines")

    monkeypatch.setattr(torch.onnx, "export", fail)
    monkeypatch.setattr(torch.export, "export", fail)
    with pytest.raises(InputError, match=r"format=onnx: cannot express this network \(of many\); give format=torch_export"):
        onnx_bytes(fold(network), CARD)
    with pytest.raises(InputError, match=r"format=torch_export: cannot follow this network \(of many\); give format=onnx"):
        torch_export_bytes(fold(network), CARD)
