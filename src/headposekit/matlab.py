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

from headposekit.errors import InputError
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


class MatlabError(ValueError):
    """The bytes are not those of a file that can be read here."""


class Element(NamedTuple):
    """A tagged piece of a file, and where the next one begins."""

    kind: int
    content: memoryview
    end: int


def read_matlab(path: Path, names: Collection[str]) -> dict[str, NDArray[Any]]:
    """The named arrays of a MATLAB v5 file, as `scipy.io.loadmat` returns them.

    Args:
        path: the file.
        names: of the arrays; other variables are passed over by their size.

    Returns:
        name to array, of those that are there; their type is the one they are stored in.

    Raises:
        InputError: the file cannot be read, is cut short, damaged or of another version, or a named variable is not an array of
            real numbers.
    """
    content = read_file(path, MAX_FILE)
    try:
        return _read_variables(content, set(names))
    except (MatlabError, zlib.error, struct.error) as error:
        raise InputError(f"{path}: not a readable MATLAB v5 file ({error}); restore it") from error


def _read_variables(content: bytes, names: set[str]) -> dict[str, NDArray[Any]]:
    order = _byte_order(content)
    found: dict[str, NDArray[Any]] = {}
    data, offset = memoryview(content), HEADER
    while offset < len(data) and len(found) < len(names):
        element = _element(data, offset, order, is_top=True)
        offset, variable = element.end, element.content
        if element.kind == COMPRESSED:
            variable = memoryview(zlib.decompressobj().decompress(element.content, MAX_PREFIX))
            kind, size = struct.unpack_from(f"{order}II", variable)
            variable = variable[8:]
        else:
            kind, size = element.kind, len(variable)
        if kind != MATRIX or not size:
            continue
        prefix = _Prefix.read(variable, order)
        if prefix is None or prefix.name not in names or prefix.name in found:
            continue
        if element.kind == COMPRESSED:
            variable = _unpack(element.content, size)
        found[prefix.name] = prefix.array(variable, order)
    return found


def _byte_order(content: bytes) -> str:
    """`<` or `>`, from the file's header."""
    if content[:8] == b"\x89HDF\r\n\x1a\n" or content[:10] == b"MATLAB 7.3" or content[512:520] == b"\x89HDF\r\n\x1a\n":
        raise MatlabError("it is of version 7.3, which is HDF5; save it with -v7 in MATLAB")
    if len(content) < HEADER:
        raise MatlabError("it is cut short")
    order = {b"IM": "<", b"MI": ">"}.get(content[126:128])
    if order is None or 0 in content[:4] or struct.unpack_from(f"{order}H", content, 124)[0] >> 8 != 1:
        raise MatlabError("its header is of another version or damaged")
    return order


def _element(data: memoryview, offset: int, order: str, is_top: bool = False) -> Element:
    if offset + 8 > len(data):
        raise MatlabError("it is cut short")
    kind, size = struct.unpack_from(f"{order}II", data, offset)
    if kind >> 16 and not is_top:  # up to four bytes lie inside the tag
        kind, size = kind & 0xFFFF, kind >> 16
        if size > 4:
            raise MatlabError("a size in it is damaged")
        return Element(kind, data[offset + 4 : offset + 4 + size], offset + 8)
    start = offset + 8
    if size > len(data) - start:
        raise MatlabError("it is cut short")
    end = start + size if is_top else start + -(-size // 8) * 8
    return Element(kind, data[start : start + size], end)


def _unpack(packed: memoryview, size: int) -> memoryview:
    """A compressed variable without its tag; its checksum is verified."""
    if size > MAX_VARIABLE:
        raise MatlabError(f"a variable of more than {MAX_VARIABLE:,} bytes")
    stream = zlib.decompressobj()
    variable = stream.decompress(packed, size + 9)
    if len(variable) != size + 8 or not stream.eof:
        raise MatlabError("a variable has another size than it says")
    return memoryview(variable)[8:]


class _Prefix(NamedTuple):
    """What stands before a variable's numbers."""

    name: str
    number: int
    flags: int
    shape: tuple[int, ...]
    end: int

    @classmethod
    def read(cls, variable: memoryview, order: str) -> "_Prefix | None":
        """Of one variable; None of an opaque one, which has another form."""
        flags = _element(variable, 0, order)
        if flags.kind != UINT32 or len(flags.content) != 8:
            raise MatlabError("the description of a variable is damaged")
        (bits,) = struct.unpack_from(f"{order}I", flags.content)
        if bits & 0xFF == OPAQUE:
            return None
        shape = _element(variable, flags.end, order)
        name = _element(variable, shape.end, order)
        if shape.kind not in (INT32, UINT32) or name.kind not in (INT8, UTF8):
            raise MatlabError("the description of a variable is damaged")
        sides = tuple(np.frombuffer(shape.content, f"{order}i4").tolist()) if len(shape.content) % 4 == 0 else ()
        if not 2 <= len(sides) <= 32 or min(sides) < 0:
            raise MatlabError("the shape of a variable is damaged")
        return cls(bytes(name.content).decode("latin1"), bits & 0xFF, bits & 0xFF00, sides, name.end)

    def array(self, variable: memoryview, order: str) -> NDArray[Any]:
        """The numbers that follow, in the shape given here."""
        if self.number not in NUMERIC_CLASSES or self.flags & (COMPLEX | LOGICAL):
            what = CLASSES.get(self.number, "complex or logical array")
            raise MatlabError(f"{self.name} is a {what}, expected an array of numbers")
        numbers = _element(variable, self.end, order)
        if numbers.kind not in NUMBERS:
            raise MatlabError(f"{self.name} is stored as something else than numbers")
        kind = np.dtype(order + NUMBERS[numbers.kind])
        if math.prod(self.shape) * kind.itemsize != len(numbers.content):
            raise MatlabError(f"{self.name} has another number of values than its shape says")
        return np.frombuffer(numbers.content, kind).reshape(self.shape, order="F").astype(kind.newbyteorder("="))
