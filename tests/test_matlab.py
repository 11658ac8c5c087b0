"""MATLAB v5 files: the arrays SciPy reads, and one line where a file is damaged."""

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import scipy.io

from headposekit.errors import InputError
from headposekit.matlab import read_matlab

ARRAYS = {
    "Pose_Para": np.array([[0.1, -0.2, 0.3, 4, 5, 6, 7]]),
    "pt2d": np.arange(136, dtype=np.float32).reshape(2, 68) / 7,
    "whole": np.array([[1, -2]], np.int8),
    "large": np.array([[2**63]], np.uint64),
    "cube": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
    "nothing": np.zeros((0, 3)),
    "a_name_longer_than_a_tag": np.array([[9]], np.uint16),
}


def write(path: Path, is_compressed: bool = False) -> Path:
    others = {"story": "text", "deep": {"a": 1, "b": [1.0, 2.0]}, "cells": np.array([[1, "x"]], dtype=object)}
    scipy.io.savemat(path, {**others, **ARRAYS}, do_compression=is_compressed)
    return path


def big_endian() -> bytes:
    """A file of one array (1, 2), as a machine of the other byte order writes it."""
    flags, shape = struct.pack(">IIII", 6, 8, 6, 0), struct.pack(">IIii", 5, 8, 1, 2)
    name, numbers = struct.pack(">HH4s", 2, 1, b"ab"), struct.pack(">IIdd", 9, 16, 1.5, -2.5)
    content = flags + shape + name + numbers
    return b"MATLAB 5.0".ljust(124) + struct.pack(">H", 0x0100) + b"MI" + struct.pack(">II", 14, len(content)) + content


@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "compressed"])
def test_arrays_are_those_of_scipy(tmp_path: Path, is_compressed: bool) -> None:
    path = write(tmp_path / "a.mat", is_compressed)
    found, expected = read_matlab(path, list(ARRAYS)), scipy.io.loadmat(path)
    assert set(found) == set(ARRAYS)
    for name, array in found.items():
        assert (array.dtype, array.shape) == (expected[name].dtype, expected[name].shape)
        np.testing.assert_array_equal(array, expected[name])


def test_real_labels_are_those_of_scipy(shared: Path) -> None:
    paths = sorted(shared.rglob("*.mat"))
    assert paths
    for path in paths:
        expected = {name: value for name, value in scipy.io.loadmat(path).items() if not name.startswith("__")}
        numbers = {name: value for name, value in expected.items() if value.dtype.kind in "fiu"}
        found = read_matlab(path, list(numbers))
        assert {name: value.tobytes() for name, value in found.items()} == {k: v.tobytes() for k, v in numbers.items()}


def test_other_byte_order(tmp_path: Path) -> None:
    (tmp_path / "big.mat").write_bytes(big_endian())
    expected = scipy.io.loadmat(tmp_path / "big.mat")["ab"]
    np.testing.assert_array_equal(read_matlab(tmp_path / "big.mat", ["ab"])["ab"], expected)
    np.testing.assert_array_equal(expected, [[1.5, -2.5]])


def test_only_what_is_named_and_there(tmp_path: Path) -> None:
    assert set(read_matlab(write(tmp_path / "a.mat"), ["whole", "gone"])) == {"whole"}


@pytest.mark.parametrize(
    ("name", "what"), [("deep", "a struct"), ("story", "a text"), ("cells", "a cell array")], ids=["struct", "text", "cells"]
)
def test_what_is_no_array_of_numbers(tmp_path: Path, name: str, what: str) -> None:
    with pytest.raises(InputError, match=f"a.mat: not a readable MATLAB v5 file .{name} is {what}, expected"):
        read_matlab(write(tmp_path / "a.mat"), [name])


def test_version_7_3_is_said(tmp_path: Path) -> None:
    for content in (b"MATLAB 7.3 MAT-file".ljust(512) + b"\x89HDF\r\n\x1a\n", b"\x89HDF\r\n\x1a\n".ljust(600)):
        (tmp_path / "a.mat").write_bytes(content)
        with pytest.raises(InputError, match=r"version 7\.3, which is HDF5; save it with -v7"):
            read_matlab(tmp_path / "a.mat", ["x"])


def test_compressed_variable_that_unpacks_to_more_than_it_says(tmp_path: Path) -> None:
    content = big_endian()
    packed = zlib.compress(content[128:] + bytes(2**24))
    (tmp_path / "bomb.mat").write_bytes(content[:128] + struct.pack(">II", 15, len(packed)) + packed)
    with pytest.raises(InputError, match=r"another size than it says"):
        read_matlab(tmp_path / "bomb.mat", ["ab"])


@pytest.mark.parametrize("is_compressed", [False, True], ids=["plain", "compressed"])
def test_damaged_files_are_read_or_refused_in_one_line(tmp_path: Path, is_compressed: bool) -> None:
    whole, rng = bytearray(write(tmp_path / "a.mat", is_compressed).read_bytes()), np.random.default_rng(0)
    for _ in range(400):
        damaged = whole[: rng.integers(len(whole))] if rng.random() < 0.3 else bytearray(whole)
        for place in rng.integers(len(whole), size=3):
            damaged[place : place + 4] = rng.bytes(4)
        (tmp_path / "b.mat").write_bytes(damaged)
        with contextlib.suppress(InputError):  # anything else fails here
            read_matlab(tmp_path / "b.mat", list(ARRAYS))


def test_sizes_beyond_the_file(tmp_path: Path) -> None:
    content = bytearray(big_endian())
    for place in (128 + 4, 128 + 8 + 16 + 8, 128 + 8 + 16 + 16 + 8 + 4):  # of the variable, its shape, its numbers
        damaged = content.copy()
        struct.pack_into(">I", damaged, place, 2**31 - 8)
        (tmp_path / "b.mat").write_bytes(damaged)
        with pytest.raises(InputError, match=r"cut short|another number of values"):
            read_matlab(tmp_path / "b.mat", ["ab"])
