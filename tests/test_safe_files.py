"""Files of others: what is read, and that everything else is one line before memory is taken for it."""

import io
import os
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from headposekit.errors import InputError
from headposekit.safe_files import check_file, has_arrays, map_npy, read_file, read_json, read_npy, read_npz

PICTURES = np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3)


def npy(header: str, numbers: bytes = b"") -> bytes:
    """An .npy file with this header, whatever follows."""
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + numbers


def header(kind: str = "'<f8'", shape: str = "(2,)") -> str:
    return f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n"


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed], ids=["stored", "compressed"])
def test_arrays_come_back(tmp_path: Path, save: Callable) -> None:
    arrays = {
        "numbers": np.arange(6.0).reshape(2, 3).T,
        "text": np.array(["a", "ü漢"]),
        "scalar": np.array(3),
        "nothing": np.zeros((0, 4), np.int32),
        "swapped": np.arange(3, dtype=">i4"),
    }
    save(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz")
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].flags.writeable


def test_npy_and_its_mapped_form(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PICTURES)
    np.testing.assert_array_equal(read_npy(tmp_path / "a.npy"), PICTURES)
    mapped = map_npy(tmp_path / "a.npy")
    np.testing.assert_array_equal(mapped, PICTURES)
    assert not mapped.flags.writeable


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        npy(header(shape="(1000000000000,)"), bytes(16)),
        npy(header(shape="(2, -1)"), bytes(16)),
        npy(header(shape="(" * 3000), bytes(16)),
        npy(header(kind="'|O'"), bytes(16)),
        npy(header(kind="'<c16'"), bytes(32)),
        npy(header(kind="[('a', '<f8')]"), bytes(16)),
        npy(header(kind="'<U0'", shape="(99999999,)")),
        npy(header(kind="'<U1'"), b"\xff" * 8),
        npy(header(), bytes(15)),
        npy("{'descr'"),
    ],
    ids=lambda content: content[10:60].decode("latin1").strip() or "empty",
)
def test_what_is_no_array_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    (tmp_path / "a.npz").write_bytes(zipped(a=content))
    for read, name in ((read_npy, "a.npy"), (read_npz, "a.npz")):
        with pytest.raises(InputError, match=r"not a readable \.np[yz] file") as error:
            read(tmp_path / name)
        assert str(error.value).startswith(f"{tmp_path / name}: ")
        assert "\n" not in str(error.value)
    if b"U1" not in content:  # text is not looked through where it is mapped
        with pytest.raises(InputError, match=r"not a readable \.npy file"):
            map_npy(tmp_path / "a.npy")


def test_archive_cut_anywhere(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", names=np.array(["a"]), landmarks=np.zeros((1, 68, 2)))
    whole = (tmp_path / "a.npz").read_bytes()
    for end in range(0, len(whole), 7):
        (tmp_path / "cut.npz").write_bytes(whole[:end])
        with pytest.raises(InputError, match=r"cut\.npz: not a readable \.npz file"):
            read_npz(tmp_path / "cut.npz")


def test_archive_that_unpacks_to_more_than_the_limit(tmp_path: Path) -> None:
    (tmp_path / "bomb.npz").write_bytes(zipped(a=npy(header("'|u1'", "(50000000,)"), bytes(50_000_000))))
    with pytest.raises(InputError, match=r"take more than 1,000,000 bytes"):
        read_npz(tmp_path / "bomb.npz", limit=1_000_000)


def test_what_is_no_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in {
        tmp_path / "pipe": "a pipe or device, expected a file",
        Path("/dev/zero"): "a pipe or device, expected a file",
        tmp_path: "a folder, expected a file",
        tmp_path / "gone": "no such file",
        "null\0byte": "no such file",
        "https://example.org/net.ckpt": "a web address; download the file and give its path",
    }.items():
        with pytest.raises(InputError, match=message):
            read_file(path)


def test_file_beyond_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(bytes(11))
    assert check_file(tmp_path / "a", 11) == 11
    with pytest.raises(InputError, match=r"11 bytes, more than the 10"):
        check_file(tmp_path / "a", 10)


@pytest.mark.parametrize(
    "text", ["", "{", "[" * 100_000, "1" * 5000, "\xff"], ids=["empty", "cut", "nested", "digits", "latin"]
)
def test_what_is_no_json(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_bytes(text.encode("latin1"))
    with pytest.raises(InputError, match=r"a\.json: not readable JSON"):
        read_json(tmp_path / "a.json")


def test_expected_arrays() -> None:
    arrays = {"a": np.zeros((3, 2)), "b": np.array(["x"])}
    assert has_arrays(arrays, {"a": ("f", (None, 2)), "b": ("U", (1,))})
    for other in ({"a": ("i", (3, 2))}, {"a": ("f", (3, 3))}, {"a": ("f", (3,))}, {"c": ("f", ())}):
        assert not has_arrays(arrays, other)


def test_a_small_file_takes_little_memory_whatever_the_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    tracemalloc.start()
    assert read_file(tmp_path / "a", 2**28) == b"abc"
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()
