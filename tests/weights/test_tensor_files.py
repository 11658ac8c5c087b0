"""Files of torch.save: what comes back, and what is refused before memory is taken for it."""

import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from headposekit.errors import InputError
from headposekit.weights.tensor_files import check_tensors, load_tensors

forms = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "old"])


def save(content: Any, path: Path, is_zip: bool) -> Path:
    torch.save(content, path, _use_new_zipfile_serialization=is_zip)
    return path


def repacked(path: Path, compression: int = zipfile.ZIP_STORED, **changed: bytes) -> None:
    """Write an archive anew, with other members in place of some."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, changed.get(name.rpartition("/")[2].replace(".", "_"), content))


@forms
def test_tensors_and_containers_come_back(tmp_path: Path, is_zip: bool) -> None:
    tensors = {
        "turned": torch.randn(5, 6).T,
        "part": torch.randn(10)[3:6],
        "half": torch.randn(3).half(),
        "brain": torch.randn(3).bfloat16(),
        "whole": torch.tensor([[1, -2]]),
        "yes": torch.tensor([True]),
        "none": torch.empty(0, 3),
        "scalar": torch.tensor(2.5),
        "parameter": nn.Parameter(torch.randn(2)),
    }
    others = {"list": [1, 2.5, "x", None, (True,)], "set": {1, 2}, "deep": {"a": {"b": torch.ones(2)}}, "n": Counter({3: 1})}
    network = nn.BatchNorm1d(3)
    found = load_tensors(save({**tensors, **others, "state": network.state_dict()}, tmp_path / "a.pth", is_zip))
    for key, tensor in tensors.items():
        assert found[key].dtype == tensor.dtype
        assert torch.equal(found[key], tensor)
    assert (found["list"], found["set"], found["n"]) == (others["list"], others["set"], others["n"])
    assert torch.equal(found["deep"]["a"]["b"], torch.ones(2))
    assert nn.BatchNorm1d(3).load_state_dict(found["state"])


@forms
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            nn.Linear(2, 2),
            r"holds pickled objects \(torch.nn.modules.linear.Linear\).*torch.save\(network.state_dict\(\), FILE\)",
        ),
        (Path("a"), r"holds pickled objects \(pathlib"),
        (torch.zeros(2, dtype=torch.complex64), "ComplexFloatStorage, expected plain tensors of real numbers"),
        (torch.eye(3).to_sparse(), "_rebuild_sparse_tensor, expected plain tensors"),
        (torch.zeros(10**12, device="meta"), "_rebuild_meta_tensor_no_storage, expected plain tensors"),
        (torch.zeros(1).expand(10**12), "larger than what is stored of it"),
        (bytearray(3), r"holds pickled objects \(.*bytearray\)"),
    ],
    ids=["network", "object", "complex", "sparse", "meta", "expanded", "bytes"],
)
def test_everything_else_is_refused(tmp_path: Path, is_zip: bool, content: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        load_tensors(save({"x": content}, tmp_path / "a.pth", is_zip))
    assert str(error.value).startswith(f"{tmp_path / 'a.pth'}: ")
    assert "\n" not in str(error.value)


@forms
def test_length_that_is_not_stored(tmp_path: Path, is_zip: bool) -> None:
    path = save({"x": torch.zeros(200)}, tmp_path / "a.pth", is_zip)
    for length in (201, 2**30):
        if is_zip:
            with zipfile.ZipFile(path) as archive:
                (described,) = (archive.read(name) for name in archive.namelist() if name.endswith("data.pkl"))
            repacked(path, data_pkl=described.replace(b"K\xc8", b"J" + struct.pack("<i", length)))
        else:
            path.write_bytes(path.read_bytes().replace(b"K\xc8", b"J" + struct.pack("<i", length)))
        with pytest.raises(InputError, match=r"another size|larger than"):
            load_tensors(path)


def test_compressed_archive(tmp_path: Path) -> None:
    path = save({"x": torch.zeros(10**6)}, tmp_path / "a.pth", True)
    repacked(path, zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"compressed, which torch.save never does"):
        load_tensors(path)


def test_other_archives_are_named(tmp_path: Path) -> None:
    for members, message in {
        ("config.json", "model.weights.h5"): r"a \.keras file",
        ("a/constants.pkl",): "TorchScript",
    }.items():
        with zipfile.ZipFile(tmp_path / "a.pkl", "w") as archive:
            for name in members:
                archive.writestr(name, "x")
        with pytest.raises(InputError, match=message):
            load_tensors(tmp_path / "a.pkl")


@forms
def test_cut_and_damaged_files(tmp_path: Path, is_zip: bool) -> None:
    whole = save({"x": torch.randn(20), "y": [1, "a"]}, tmp_path / "a.pth", is_zip).read_bytes()
    for end in range(0, len(whole), 37):
        (tmp_path / "cut.pth").write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"cut\.pth: (not a readable file of tensors|holds pickled objects)"):
            load_tensors(tmp_path / "cut.pth")


def test_instruction_that_takes_memory_for_a_size(tmp_path: Path) -> None:
    (tmp_path / "a.pth").write_bytes(b"\x80\x05" + pickle.BYTEARRAY8 + struct.pack("<Q", 2**40))
    with pytest.raises(InputError, match=r"not a readable file of tensors"):
        load_tensors(tmp_path / "a.pth")


class Pickled(dict[str, int]):
    """Comes out of a file as what it is given: a function's result, with a state."""

    def __init__(self, *reduced: Any) -> None:
        self.reduced = reduced

    def __reduce__(self) -> Any:
        return self.reduced


@forms
def test_attributes_of_containers_are_left_out(tmp_path: Path, is_zip: bool) -> None:
    state = Pickled(OrderedDict, ([("a", 1)],), {"items": "not callable"})
    found = load_tensors(save({"state": state}, tmp_path / "a.pth", is_zip))
    assert list(found["state"].items()) == [("a", 1)]


@forms
def test_tensor_that_is_given_a_state(tmp_path: Path, is_zip: bool) -> None:
    tensor = torch.zeros(2)
    state = Pickled(*tensor.__reduce_ex__(2)[:2], (torch.zeros(1), 0, (2**40,), (1,)))  # type: ignore[index]
    with pytest.raises(InputError, match=r"an object's description is damaged"):
        load_tensors(save({"x": state}, tmp_path / "a.pth", is_zip))


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ([], "not made of named tensors"),
        ({1: torch.zeros(1)}, "not made of named tensors"),
        ({"w": torch.zeros(2, dtype=torch.complex64)}, "w is a tensor of torch.complex64"),
        ({"w": torch.zeros(2, dtype=torch.float8_e4m3fn)}, "w is a tensor of torch.float8"),
        ({"w": torch.tensor([float("inf")])}, "w holds NaN or infinity"),
    ],
    ids=["list", "number", "complex", "eight bits", "infinite"],
)
def test_state_that_no_network_has(state: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_tensors("a.ckpt", state)
