"""Files that others made, read with every size checked before memory is taken for it; what cannot be read is one line.

`matlab.py` and `tensor_files.py` do the same for their formats.
"""

import contextlib
import io
import json
import math
import os
import re
import stat
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from headposekit.errors import InputError, refusing

MAX_BYTES = 2**30
MAX_JSON = MAX_TEXT = 2**24
MAX_NPZ = 2**28
MAX_HEADER = 4096
"""Characters of an .npy file's header."""
NOT_NPY = ("not a readable .npy file", "write it again")
ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")


def check_file(path: str | Path, limit: int = 2**62, what: str = "file") -> int:
    """The size in bytes of a regular file; nothing is opened, so that a pipe cannot block.

    Raises:
        InputError: a web address, no such file (called `what`), a folder, pipe or device, or more than `limit` bytes.
    """
    refuse_address(path)
    try:
        status = os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError) as error:  # ValueError: a name with a null byte
        raise InputError(f"{path}: no such {what}; check the path") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or device"
        raise InputError(f"{path}: {kind}, expected a file; check the path")
    if status.st_size > limit:
        raise InputError(f"{path}: {status.st_size:,} bytes, more than the {limit:,} that such a file may have; check the file")
    return status.st_size


def refuse_address(path: str | Path) -> None:
    """Raise InputError where a path is a web address: nothing is downloaded."""
    if ADDRESS.match(str(path)) and not os.path.exists(path):
        raise InputError(f"{path}: a web address; download the file and give its path")


@contextlib.contextmanager
def open_file(path: str | Path, limit: int = 2**62) -> Iterator[IO[bytes]]:
    """A regular file of at most `limit` bytes, to read from; raises InputError, see `check_file`."""
    check_file(path, limit)
    with refusing(path, "cannot be read", "check the file", OSError), open(path, "rb") as file:
        yield file


def read_file(path: str | Path, limit: int = MAX_BYTES) -> bytes:
    """All of a regular file of at most `limit` bytes; raises InputError, see `check_file`."""
    with open_file(path, limit) as file:
        return file.read(min(limit, os.fstat(file.fileno()).st_size))  # memory is taken for all that is asked for


def read_text(path: str | Path, limit: int = MAX_TEXT) -> str:
    """All of a text file in UTF-8, a byte order mark left out; raises InputError where it is none, see `check_file`."""
    try:
        return read_file(path, limit).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as text, it is not UTF-8; restore the file") from error


def read_json(path: str | Path, limit: int = MAX_JSON) -> Any:
    """What a JSON file holds; raises InputError where it is none."""
    return parse_json(read_file(path, limit), path)


def parse_json(text: str | bytes, path: str | Path) -> Any:
    """What JSON text holds; raises InputError naming `path` where it is none, or nested too deeply."""
    with refusing(path, "not readable JSON", "write it again", (ValueError, RecursionError)):
        return json.loads(text)


def read_npz(path: str | Path, limit: int = MAX_NPZ) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file by name, of numbers or text.

    Raises:
        InputError: the file cannot be read, is damaged, holds anything else, or would take more than `limit` bytes in memory.
    """
    content = read_file(path, limit)
    with refusing(path, "not a readable .npz file", "write it again"), zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > limit:
            raise ValueError(f"its arrays take more than {limit:,} bytes")
        return {member.filename.removesuffix(".npy"): _parse_npy(archive.read(member)) for member in members}


def read_npy(path: str | Path, limit: int = MAX_BYTES) -> NDArray[Any]:
    """The array of an .npy file; raises InputError, see `read_npz`."""
    content = read_file(path, limit)
    with refusing(path, *NOT_NPY):
        return _parse_npy(content)


def map_npy(path: str | Path) -> NDArray[Any]:
    """The array of an .npy file, mapped into memory, read-only; raises InputError, see `read_npz`."""
    size = check_file(path)
    with refusing(path, *NOT_NPY), open(path, "rb") as file:
        kind, shape, is_fortran, start = _read_header(file, size)
        return np.memmap(file, kind, "r", start, shape, "F" if is_fortran else "C") if size > start else np.empty(shape, kind)


def has_arrays(arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[str, tuple[int | None, ...]]]) -> bool:
    """Whether all expected arrays are there, with their kind (as `dtype.kind`; several letters allow each) and shape.

    Args:
        arrays: by name.
        expected: name to kinds and shape; a side of None may have any length.
    """
    return all(
        name in arrays
        and arrays[name].dtype.kind in kinds
        and arrays[name].ndim == len(shape)
        and all(side in (None, length) for side, length in zip(shape, arrays[name].shape, strict=True))
        for name, (kinds, shape) in expected.items()
    )


def _parse_npy(content: bytes) -> NDArray[Any]:
    kind, shape, is_fortran, start = _read_header(io.BytesIO(content), len(content))
    array = np.frombuffer(content, kind, offset=start) if len(content) > start else np.empty(0, kind)
    array = array.reshape(shape, order="F" if is_fortran else "C").astype(kind.newbyteorder("="))  # a copy, writable
    if kind.kind == "U" and array.size and np.frombuffer(array.tobytes(), np.uint32).max() > 0x10FFFF:
        raise ValueError("text with characters that do not exist")
    return array


def _read_header(file: Any, size: int) -> tuple[np.dtype[Any], tuple[int, ...], bool, int]:
    """Type, shape, whether the first side varies fastest, and where the numbers begin, of a file of `size` bytes."""
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(file)
    if version not in readers:
        raise ValueError(f"version {version} of the format")
    shape, is_fortran, kind = readers[version](file, max_header_size=MAX_HEADER)
    if kind.kind not in "?biufUS" or not kind.itemsize:
        raise ValueError(f"{str(kind)[:40]} where numbers or text are expected")
    if any(side < 0 for side in shape) or math.prod(shape) * kind.itemsize != size - file.tell():
        raise ValueError("another number of bytes than its shape says")
    return kind, shape, is_fortran, file.tell()
