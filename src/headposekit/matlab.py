"""Numeric arrays of MATLAB v5 files (-v6, -v7), read with every size checked against the bytes at hand.

SciPy reads more kinds of arrays, but a damaged file can end its process. Reference: MAT-File Format, MathWorks, 2023.
"""

import math
import struct
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headposekit.errors import refusing
from headposekit.safe_files import read_file

HEADER = 128
MAX_FILE = 2**26
MAX_VARIABLE = 2**26
"""Bytes of a compressed variable once it is unpacked."""
MAX_PREFIX = 4096
"""Bytes of a variable that hold its class, shape and name."""
MATRIX, COMPRESSED, INT8, INT32, UINT32, UTF8 = 14, 15, 1, 5, 6, 16
NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
"""NumPy's type by the format's number of it."""
CLASSES = {1: "cell array", 2: "struct", 3: "object", 4: "text", 5: "sparse matrix", 16: "function"}
OPAQUE = 17
NUMERIC_CLASSES = range(6, 16)
COMPLEX, LOGICAL = 0x0800, 0x0200


class Element(NamedTuple):
    """A tagged piece of a file, and where the next one begins."""

    kind: int
    content: memoryview
    end: int


class Prefix(NamedTuple):
    """What stands before a variable's numbers, and where these begin."""

    name: str
    number: int
    flags: int
    shape: tuple[int, ...]
    end: int


def read_matlab(path: Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """The named arrays of a MATLAB v5 file that are there, as `scipy.io.loadmat` returns them, in the type they are stored in.

    Raises:
        InputError: the file cannot be read, is cut short, damaged or of another version, or a named variable is not an array of
            real numbers.
    """
    content = read_file(path, MAX_FILE)
    with refusing(path, "not a readable MATLAB v5 file", "restore it", (ValueError, zlib.error, struct.error)):
        return _read_variables(content, set(names))


def _read_variables(content: bytes, names: set[str]) -> dict[str, NDArray[Any]]:
    order = _byte_order(content)
    found: dict[str, NDArray[Any]] = {}
    data, offset = memoryview(content), HEADER
    while offset < len(data) and len(found) < len(names):
        element = _element(data, offset, order, is_top=True)
        offset, variable = element.end, element.content
        kind, size = element.kind, len(variable)
        if kind == COMPRESSED:
            variable = memoryview(zlib.decompressobj().decompress(variable, MAX_PREFIX))
            kind, size = struct.unpack_from(f"{order}II", variable)
            variable = variable[8:]
        prefix = _prefix(variable, order) if kind == MATRIX and size else None
        if prefix is not None and prefix.name in names and prefix.name not in found:
            if element.kind == COMPRESSED:
                variable = _unpack(element.content, size)
            found[prefix.name] = _array(prefix, variable, order)
    return found


def _byte_order(content: bytes) -> str:
    """`<` or `>`, from the file's header."""
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:10] == b"MATLAB 7.3" or content[512:520] == b"\x89HDF\r\n\x1a\n":
        raise ValueError("it is of version 7.3, which is HDF5; save it with -v7 in MATLAB")
    if len(content) < HEADER:
        raise ValueError("it is cut short")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or 0 in content[:4] or struct.unpack_from(f"{order}H", content, 124)[0] >> 8 != 1:
        raise ValueError("its header is of another version or damaged")
    return order


def _element(data: memoryview, offset: int, order: str, is_top: bool = False) -> Element:
    if offset + 8 > len(data):
        raise ValueError("it is cut short")
    kind, size = struct.unpack_from(f"{order}II", data, offset)
    start = offset + 8
    if kind >> 16 and not is_top:  # up to four bytes lie inside the tag
        kind, size, start, end = kind & 0xFFFF, kind >> 16, offset + 4, start
        if size > 4:
            raise ValueError("a size in it is damaged")
    else:
        end = start + size if is_top else start + -(-size // 8) * 8
    if size > len(data) - start:
        raise ValueError("it is cut short")
    return Element(kind, data[start : start + size], end)


def _unpack(packed: memoryview, size: int) -> memoryview:
    """A compressed variable without its tag; its checksum is verified."""
    if size > MAX_VARIABLE:
        raise ValueError(f"a variable of more than {MAX_VARIABLE:,} bytes")
    stream = zlib.decompressobj()
    variable = stream.decompress(packed, size + 9)
    if len(variable) != size + 8 or not stream.eof:
        raise ValueError("a variable has another size than it says")
    return memoryview(variable)[8:]


def _prefix(variable: memoryview, order: str) -> Prefix | None:
    """Of a variable; None of an opaque one, which has another form."""
    flags = _element(variable, 0, order)
    if flags.kind != UINT32 or len(flags.content) != 8:
        raise ValueError("the description of a variable is damaged")
    (bits,) = struct.unpack_from(f"{order}I", flags.content)
    if bits & 0xFF == OPAQUE:
        return None
    shape = _element(variable, flags.end, order)
    name = _element(variable, shape.end, order)
    if shape.kind not in (INT32, UINT32) or name.kind not in (INT8, UTF8):
        raise ValueError("the description of a variable is damaged")
    sides = tuple(np.frombuffer(shape.content, f"{order}i4").tolist()) if len(shape.content) % 4 == 0 else ()
    if not 2 <= len(sides) <= 32 or min(sides) < 0:
        raise ValueError("the shape of a variable is damaged")
    return Prefix(bytes(name.content).decode("latin1"), bits & 0xFF, bits & 0xFF00, sides, name.end)


def _array(prefix: Prefix, variable: memoryview, order: str) -> NDArray[Any]:
    """The numbers that follow a prefix, in its shape."""
    if prefix.number not in NUMERIC_CLASSES or prefix.flags & (COMPLEX | LOGICAL):
        what = CLASSES.get(prefix.number, "complex or logical array")
        raise ValueError(f"{prefix.name} is a {what}, expected an array of numbers")
    numbers = _element(variable, prefix.end, order)
    if numbers.kind not in NUMBERS:
        raise ValueError(f"{prefix.name} is stored as something else than numbers")
    kind = np.dtype(order + NUMBERS[numbers.kind])
    if math.prod(prefix.shape) * kind.itemsize != len(numbers.content):
        raise ValueError(f"{prefix.name} has another number of values than its shape says")
    return np.frombuffer(numbers.content, kind).reshape(prefix.shape, order="F").astype(kind.newbyteorder("="))
