"""Files of `torch.save`, zip archives and the older form: no code in them runs, and every size is checked first.

torch's own reader with `weights_only=True` takes the sizes in a file at their word: it can read beyond its memory, or ask for
terabytes.
"""

import io
import math
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from headposekit.errors import InputError, refusing
from headposekit.safe_files import check_file

MAGIC = 0x1950A86A20F9469CFC6C
"""The first value in a file of the older form."""
MAX_FILE = 2**32
MAX_PICKLE = 2**26
STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
KINDS = frozenset(STORAGES.values())
"""The types of tensors that networks here are made of."""
UNUSED = (pickle.BYTEARRAY8, pickle.NEXT_BUFFER, pickle.READONLY_BUFFER, pickle.EXT1, pickle.EXT2, pickle.EXT4, pickle.LONG4)
"""Instructions of pickles that files of tensors never have.

The first takes memory for a size before it looks for the bytes, the last makes whole numbers too long to be written out.
"""
SAVE_STATE = "save its tensors alone: torch.save(network.state_dict(), FILE)"


def load_tensors(path: str | Path) -> Any:
    """What a file of `torch.save`, of either form, holds: tensors on the CPU, in plain containers.

    InputError where it is damaged, or holds anything else than strided tensors of real numbers, numbers and text.
    """
    size = check_file(path, MAX_FILE)
    with refusing(path, "not a readable file of tensors, or cut short", "restore it"), open(path, "rb") as file:
        if zipfile.is_zipfile(file):
            return _load_archive(file, size)
        file.seek(0)
        return _load_old(io.BytesIO(file.read(size)), size)


def check_tensors(path: str | Path, state: Any) -> dict[str, Tensor]:
    """A state dict whose values are strided tensors of real numbers, all finite; InputError where it is something else."""
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise InputError(f"{path}: its state_dict is not made of named tensors; restore the file")
    for key, value in state.items():
        if value.dtype not in KINDS or value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
            raise InputError(f"{path}: {key[:80]} is a tensor of {value.dtype}, expected plain real numbers; {SAVE_STATE}")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(f"{path}: {key[:80]} holds NaN or infinity; use a checkpoint from before the training diverged")
    return state


def first_difference(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str | None:
    """The first name that only one of two state dicts has, or whose tensors have different shapes; None where they fit."""
    names = set(expected) | set(found)
    shapes = [{name: tensor.shape for name, tensor in state.items()} for state in (expected, found)]
    return min((name for name in names if shapes[0].get(name) != shapes[1].get(name)), default=None)


class _Unpickler(pickle._Unpickler):  # Python's own code: C's may take memory for sizes
    """Builds containers and tensors, and nothing else."""

    stack: list[Any]  # of `pickle._Unpickler`
    dispatch: ClassVar[dict[int, Any]] = {
        code: load for code, load in pickle._Unpickler.dispatch.items() if bytes([code]) not in UNUSED
    }

    def __init__(self, file: BinaryIO, storage: Callable[..., Tensor]) -> None:
        super().__init__(file, encoding="utf-8")
        self.storage = storage

    def persistent_load(self, pid: Any) -> Tensor:
        """The storage that a tensor lies in."""
        return self.storage(*_checked_storage(pid))

    def find_class(self, module: str, name: str) -> Any:
        """The few things that a file of tensors names."""
        if module in ("torch", "torch.storage") and name in STORAGES:
            return STORAGES[name]
        known = KNOWN.get((module, name))
        if known is None and module in ("torch", "torch.storage", "torch._utils"):
            raise InputError(f"it holds {module}.{name[:80]}, expected plain tensors of real numbers; {SAVE_STATE}")
        if known is None:
            raise InputError(
                f"holds pickled objects ({f'{module}.{name}'[:120]}), which could run code when opened; refused. "
                f"In the program that wrote it, {SAVE_STATE}"
            )
        return known

    def _build(self) -> None:
        """Leave out what a state dict says of itself beside its tensors; nothing else has attributes here."""
        self.stack.pop()
        if not isinstance(self.stack[-1], OrderedDict):
            raise ValueError("an object's description is damaged")

    dispatch[pickle.BUILD[0]] = _build


def _checked_storage(saved: Any) -> tuple[torch.dtype, str, int, Any]:
    """Type, key and length of a saved storage, and the part of it that is meant (of the older form)."""
    kind, dtype, key, _, length = saved[:5]
    if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(length, int) or length < 0:
        raise ValueError("a tensor's description is damaged")
    return dtype, str(key), length, saved[5] if len(saved) > 5 else None


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A part of a storage, refused where it is not inside, or is larger than all of it."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Tensor) or len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise ValueError("a tensor's description is damaged")
    end = offset + 1 + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if len(size) > 32 or math.prod(size) > len(storage) or (0 not in size and end > len(storage)):
        raise ValueError("a tensor is larger than what is stored of it")
    return storage.as_strided(size, stride, offset)


def _parameter(tensor: Any, *rest: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise ValueError("a tensor's description is damaged")
    return tensor


KNOWN: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): OrderedDict,
    ("collections", "Counter"): Counter,  # of torch's MultiStepLR
    ("builtins", "set"): set,
    ("__builtin__", "set"): set,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}


def _load_archive(file: BinaryIO, size: int) -> Any:
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        described = [name for name in names if name.endswith("/data.pkl")]
        if any(name.endswith("/constants.pkl") for name in names):
            raise InputError(f"it is a TorchScript program; {SAVE_STATE}")
        if {"config.json", "model.weights.h5"} & set(names):
            raise InputError("it is a .keras file; save its weights alone: model.save_weights('FILE.h5')")
        if len(described) != 1 or len(set(names)) != len(names):
            raise ValueError("a zip archive that torch.save did not write")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members) or sum(m.file_size for m in members) > size:
            raise ValueError("its parts are compressed, which torch.save never does")
        folder = described[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("it was written on a big-endian machine; convert it there")
        if archive.getinfo(described[0]).file_size > MAX_PICKLE:
            raise ValueError("its description is too large")
        read: dict[str, Tensor] = {}

        def storage(dtype: torch.dtype, key: str, length: int, part: Any) -> Tensor:
            if key not in read:
                member = archive.getinfo(f"{folder}data/{key}")
                content = bytearray(archive.read(member))
                read[key] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            if length * dtype.itemsize != len(read[key]):
                raise ValueError("a tensor has another size than what is stored of it")
            return read[key].view(dtype)

        return _Unpickler(io.BytesIO(archive.read(described[0])), storage).load()


def _load_old(file: BinaryIO, size: int) -> Any:
    storages: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, length: int, part: Any) -> Tensor:
        if key not in storages:
            if sum(stored.nbytes for stored in storages.values()) + length * dtype.itemsize > size:
                raise ValueError("its tensors are larger than the file; it is cut short or damaged")
            storages[key] = torch.zeros(length, dtype=dtype)
        if len(storages[key]) != length or storages[key].dtype != dtype:
            raise ValueError("a tensor has another size than what is stored of it")
        if part is None:
            return storages[key]
        _, offset, count = part
        return _tensor(storages[key], offset, (count,), (1,))

    def load() -> Any:
        return _Unpickler(file, storage).load()

    if load() != MAGIC:
        raise ValueError("it was not written by torch.save")
    _, system, content, keys = load(), load(), load(), load()
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise ValueError("it was written on a big-endian machine; convert it there")
    if not isinstance(keys, Collection) or set(keys) != set(storages):
        raise ValueError("its tensors and their descriptions differ")
    for key in keys:
        stored = storages[key]
        if file.read(8) != struct.pack("<q", len(stored)):
            raise ValueError("a tensor has another size than what is stored of it")
        numbers = bytearray(file.read(stored.nbytes))
        if len(numbers) != stored.nbytes:
            raise ValueError("it is cut short")
        if numbers:
            stored.copy_(torch.frombuffer(numbers, dtype=stored.dtype))
    return content
