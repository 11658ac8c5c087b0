import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from configs import CROP, FSANET, HOPENET, checkpoint_of
from headposekit.errors import InputError
from headposekit.models.fsanet import CapsuleAggregation, ConvScoring, FSANet, VarianceScoring
from headposekit.models.ssrnet import SSRNetMD
from headposekit.weights.checkpoint import build, load_checkpoint, read_card, read_weights_into
from headposekit.weights.load import load_initial_weights

LARGE = {"_target_": "headposekit.models.backbones.TimmBackbone", "model_name": "resnet101"}


def nested(depth: int) -> Any:
    content: Any = 1
    for _ in range(depth):
        content = [content]
    return content


@pytest.fixture
def network() -> FSANet:
    torch.manual_seed(3)
    return FSANet(ConvScoring(), CapsuleAggregation)


@pytest.fixture
def path(tmp_path: Path, network: FSANet) -> Path:
    torch.save(checkpoint_of(network), tmp_path / "net.ckpt")
    return tmp_path / "net.ckpt"


def test_network_and_crop_come_back_from_the_file_alone(path: Path, network: FSANet) -> None:
    loaded = load_checkpoint(path)
    batch = {"image": torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8)}
    assert torch.equal(loaded.model(batch).pose, network.eval()(batch).pose)
    assert loaded.crop_config == CROP
    assert not loaded.model.training


class Planted:
    """Would create a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return (Path.touch, (self.path,))


def test_pickled_code_is_refused_and_not_run(tmp_path: Path, network: FSANet) -> None:
    trap = tmp_path / "trap"
    torch.save(checkpoint_of(network, notes=Planted(trap)), tmp_path / "evil.ckpt")
    with pytest.raises(InputError, match=r"evil\.ckpt: holds pickled objects \(.*\).*refused") as error:
        load_checkpoint(tmp_path / "evil.ckpt")
    assert "\n" not in str(error.value)
    assert not trap.exists()


def test_omegaconf_objects_are_refused_by_name(tmp_path: Path, network: FSANet) -> None:
    torch.save(checkpoint_of(network, model=OmegaConf.create(FSANET)), tmp_path / "conf.ckpt")
    with pytest.raises(InputError, match=r"holds pickled objects \(omegaconf"):
        load_checkpoint(tmp_path / "conf.ckpt")


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "torch.load",
        "pathlib.Path.unlink",
        "headposekit.weights.published.Path.unlink",
        "headposekit.models.fsanet.torch.load",
        "headposekit.models.fsanet.math.sqrt",
        "headposekit.weights.published.load_published",
        "headposekit.models.fsanet.FSANet.forward",
        "headposekit.models.nowhere.Net",
        "hydra.utils.get_object",
        7,
    ],
)
def test_target_outside_the_allowed_ones_is_refused(tmp_path: Path, network: FSANet, target: Any) -> None:
    victim = tmp_path / "victim"
    victim.touch()
    torch.save(checkpoint_of(network, model={"_target_": target, "self": str(victim)}), tmp_path / "net.ckpt")
    with pytest.raises(InputError, match="is not one of this suite's networks or crop rules; refused"):
        load_checkpoint(tmp_path / "net.ckpt")
    assert victim.exists()


@pytest.mark.parametrize("key", ["_args_", "_recursive_", "_convert_"])
def test_other_options_of_hydra_are_refused(key: str) -> None:
    with pytest.raises(InputError, match=f"{key} is not allowed"):
        build({**FSANET, key: []})


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: None, "no such checkpoint"),
        (lambda path: path.write_bytes(b"PK\x03\x04 cut"), "not a readable checkpoint, or cut short"),
        (lambda path: path.write_bytes(b"\x08\x0a\x12 an ONNX file"), r"exported \.onnx files go with weights="),
        (lambda path: torch.save({"state_dict": {}}, path), "not a checkpoint of this suite"),
        (lambda path: torch.save([1], path), "not a checkpoint of this suite"),
        (
            lambda path: torch.save({"state_dict": {}, "headposekit": {"format": 99}}, path),
            "checkpoint format 99, this version reads 1",
        ),
        (lambda path: path.write_bytes(pickle.dumps({"a": Path("x")})), "x.ckpt"),
        (
            lambda path: torch.save({"state_dict": {}, "headposekit": {"format": 1, "crop": CROP}}, path),
            "configuration cannot be used",
        ),
        (
            lambda path: torch.save({"state_dict": {}, "headposekit": {"format": 1, "model": CROP, "crop": CROP}}, path),
            "does not describe",
        ),
    ],
    ids=["missing", "cut", "onnx", "foreign", "list", "version", "old pickle", "no model", "no network"],
)
def test_unusable_files_are_one_line(tmp_path: Path, write, message: str) -> None:
    path = tmp_path / "x.ckpt"
    write(path)
    with pytest.raises(InputError, match=message) as error:
        load_checkpoint(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_nan_in_a_checkpoint_is_refused(tmp_path: Path, network: FSANet) -> None:
    with torch.no_grad():
        network.aggregation.weight[0, 0, 0] = float("nan")
    torch.save(checkpoint_of(network), tmp_path / "nan.ckpt")
    with pytest.raises(InputError, match=r"model\.aggregation\.weight holds NaN or infinity"):
        load_checkpoint(tmp_path / "nan.ckpt")


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"model": {3: 4, "_target_": "headposekit.models.fsanet.FSANet"}}, "configuration cannot be used"),
        ({"model": {**FSANET, "aggregation": {**FSANET["aggregation"], "routing_iterations": 0}}}, "routing_iterations=0"),
        ({"crop": {**CROP, "margin": "x"}}, "crop.margin=x"),
        ({"crop": {**CROP, "aflw2000_box": "zz"}}, "crop.aflw2000_box=zz"),
        ({"crop": {**CROP, "size": 10**9}}, "size=1000000000 is beyond"),
        ({"crop": {**CROP, "size": 2000}}, "crop.size=2000 is beyond 1024"),
        ({"crop": {**CROP, "size": 80}}, "its crops have 80 pixels, but its network takes 64"),
        ({"crop": {**CROP, "margin": 1000.0}}, "crop.margin=1000.0 is beyond 4"),
        ({"crop": {**CROP, "margin": float("inf")}}, "margin=inf is beyond"),
        ({"model": {**FSANET, "aggregation": {**FSANET["aggregation"], "routing_iterations": 10**9}}}, "is beyond 4096"),
        ({"model": {"_target_": "headposekit.models.fusion.LateFusion", "members": [FSANET] * 3000}}, "3,000 entries"),
        (
            {"model": {"_target_": "headposekit.models.fusion.LateFusion", "members": [{**HOPENET, "backbone": LARGE}] * 60}},
            "a network that is larger than the file's tensors",
        ),
        ({"model": {**HOPENET, "bins": {**HOPENET["bins"], "limit": 4096, "width": 1e-3}}}, "larger than the file's tensors"),
        ({"model": {**HOPENET, "bins": {**HOPENET["bins"], "limit": 10**9, "width": 1e-3}}}, "limit=1000000000 is beyond"),
        ({"model": {**HOPENET, "backbone": {**LARGE, "model_name": "x" * 10**6}}}, "1,000,000 entries or letters"),
        ({"model": nested(40)}, "nested more than 16 deep"),
        ({"model": {**FSANET, "aggregation": {**FSANET["aggregation"], "routing_iterations": 4096}}}, "give 1 to 100"),
        ({"format": 10**30}, "checkpoint format 1000"),
        ({"format": [1]}, "checkpoint format list"),
        ({"training_data": {"dataset": torch.ones(1)}}, "what it says of itself is not made of numbers, texts and lists"),
    ],
    ids=[
        "integer key",
        "no routing",
        "margin",
        "box",
        "huge crop",
        "large crop",
        "other size",
        "wide",
        "endless",
        "routing",
        "members",
        "large members",
        "many bins",
        "beyond",
        "long name",
        "nested",
        "rounds",
        "format",
        "list",
        "tensor",
    ],
)
def test_options_that_cannot_be(tmp_path: Path, network: FSANet, card: dict, message: str) -> None:
    torch.save(
        {**checkpoint_of(network), "headposekit": {**checkpoint_of(network)["headposekit"], **card}}, tmp_path / "odd.ckpt"
    )
    with pytest.raises(InputError, match=message):
        load_checkpoint(tmp_path / "odd.ckpt")


@pytest.mark.parametrize("state", [[], {"a": 1}, {3: torch.zeros(1)}], ids=["list", "number", "integer key"])
def test_state_that_is_not_named_tensors(tmp_path: Path, network: FSANet, state: object) -> None:
    torch.save({**checkpoint_of(network), "state_dict": state}, tmp_path / "odd.ckpt")
    with pytest.raises(InputError, match="not made of named tensors"):
        load_checkpoint(tmp_path / "odd.ckpt")


def test_truncated_checkpoint(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50_000])
    with pytest.raises(InputError, match="not a readable checkpoint, or cut short"):
        read_card(path)


@pytest.mark.parametrize("other", [FSANet(VarianceScoring(), CapsuleAggregation), SSRNetMD()], ids=["variance", "ssrnet"])
def test_weights_of_another_network_are_refused(path: Path, other: torch.nn.Module) -> None:
    with pytest.raises(InputError, match=f"holds another network than {type(other).__name__} as configured"):
        read_weights_into(other, path)


def test_configuration_that_does_not_fit_its_weights(tmp_path: Path) -> None:
    torch.save(checkpoint_of(FSANet(VarianceScoring(), CapsuleAggregation)), tmp_path / "net.ckpt")
    with pytest.raises(InputError, match="they differ in scoring"):
        load_checkpoint(tmp_path / "net.ckpt")


def test_initial_weights_from_a_checkpoint_and_a_published_file(path: Path, network: FSANet, official: Path) -> None:
    fresh = FSANet(ConvScoring(), CapsuleAggregation)
    load_initial_weights(fresh, path)
    assert torch.equal(fresh.aggregation.weight, network.aggregation.weight)
    load_initial_weights(fresh, official / "fsanet_capsule_3_16_2_21_5.h5")
    assert not torch.equal(fresh.aggregation.weight, network.aggregation.weight)
    with pytest.raises(InputError, match="holds another network"):
        load_initial_weights(fresh, official / "ssrnet_mt.h5")
