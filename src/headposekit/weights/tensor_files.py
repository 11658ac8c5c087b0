"""Files of `torch.save`, read without torch's own reader: no code in them runs, and every size is checked first.

torch's reader with `weights_only=True` runs no code either, but it takes the sizes in a file at their word: a damaged one can
read beyond its memory or ask for terabytes. Both forms of such files are read here, zip archives and those from before 2020.
"""

import io
import math
import pickle
import struct
import zipfile
from collections import Counter, OrderedDict
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from headposekit.errors import InputError
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


class TensorFileError(ValueError):
    """The bytes are not those of a file that can be read here."""


class ForeignObject(TensorFileError):
    """A file holds something else than tensors and plain containers; its text is the name of it."""


def load_tensors(path: str | Path) -> Any:
    """What a file of `torch.save` holds: tensors on the CPU, in plain containers.

    Args:
        path: a file of either form.

    Raises:
        InputError: the file cannot be read, is cut short or damaged, or holds anything else than strided tensors of real
            numbers, numbers, text and containers of these.
    """
    path, size = Path(path), check_file(path, MAX_FILE)
    try:
        with path.open("rb") as file:
            if zipfile.is_zipfile(file):
                return _load_archive(file, size)
            file.seek(0)
            return _load_old(io.BytesIO(file.read(size)), size)
    except ForeignObject as error:
        raise InputError(
            f"{path}: holds pickled objects ({error}), which could run code when opened; refused. "
            f"In the program that wrote it, {SAVE_STATE}"
        ) from error
    except TensorFileError as error:
        raise InputError(f"{path}: not a readable file of tensors ({error})") from error
    except Exception as error:  # a broken pickle or archive can raise anything
        raise InputError(f"{path}: not a readable file of tensors, or cut short; restore it") from error


def check_tensors(path: str | Path, state: Any) -> dict[str, Tensor]:
    """A state dict whose values are strided tensors of real numbers, all finite.

    Raises:
        InputError: it is something else.
    """
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        raise InputError(f"{path}: its state_dict is not made of named tensors; restore the file")
    for key, value in state.items():
        if value.dtype not in KINDS or value.layout != torch.strided or value.is_quantized or value.device.type == "meta":
            raise InputError(f"{path}: {key[:80]} is a tensor of {value.dtype}, expected plain real numbers; {SAVE_STATE}")
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise InputError(f"{path}: {key[:80]} holds NaN or infinity; use a checkpoint from before the training diverged")
    return state


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
            raise TensorFileError(f"it holds {module}.{name[:80]}, expected plain tensors of real numbers; {SAVE_STATE}")
        if known is None:
            raise ForeignObject(f"{module}.{name}"[:120])
        return known

    def _build(self) -> None:
        """Leave out what a state dict says of itself beside its tensors; nothing else has attributes here."""
        self.stack.pop()
        if not isinstance(self.stack[-1], OrderedDict):
            raise TensorFileError("an object's description is damaged")

    dispatch[pickle.BUILD[0]] = _build


def _checked_storage(saved: Any) -> tuple[torch.dtype, str, int, Any]:
    """Type, key and length of a saved storage, and the part of it that is meant (of the older form)."""
    kind, dtype, key, _, length = saved[:5]
    if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(length, int) or length < 0:
        raise TensorFileError("a tensor's description is damaged")
    return dtype, str(key), length, saved[5] if len(saved) > 5 else None


def _tensor(storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Tensor:
    """A part of a storage, refused where it is not inside, or is larger than all of it."""
    numbers = (offset, *size, *stride)
    if not isinstance(storage, Tensor) or len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise TensorFileError("a tensor's description is damaged")
    end = offset + 1 + sum((side - 1) * step for side, step in zip(size, stride, strict=True))
    if len(size) > 32 or math.prod(size) > len(storage) or (0 not in size and end > len(storage)):
        raise TensorFileError("a tensor is larger than what is stored of it")
    return storage.as_strided(size, stride, offset)


def _parameter(tensor: Any, *rest: Any) -> Tensor:
    if not isinstance(tensor, Tensor):
        raise TensorFileError("a tensor's description is damaged")
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
            raise TensorFileError(f"it is a TorchScript program; {SAVE_STATE}")
        if {"config.json", "model.weights.h5"} & set(names):
            raise TensorFileError("it is a .keras file; save its weights alone: model.save_weights('FILE.h5')")
        if len(described) != 1 or len(set(names)) != len(names):
            raise TensorFileError("a zip archive that torch.save did not write; check the file")
        if any(member.compress_type != zipfile.ZIP_STORED for member in members) or sum(m.file_size for m in members) > size:
            raise TensorFileError("its parts are compressed, which torch.save never does; restore it")
        folder = described[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise TensorFileError("it was written on a big-endian machine; convert it there")
        if archive.getinfo(described[0]).file_size > MAX_PICKLE:
            raise TensorFileError("its description is too large")
        read: dict[str, Tensor] = {}

        def storage(dtype: torch.dtype, key: str, length: int, part: Any) -> Tensor:
            if key not in read:
                member = archive.getinfo(f"{folder}data/{key}")
                content = bytearray(archive.read(member))
                read[key] = torch.frombuffer(content, dtype=torch.uint8) if content else torch.empty(0, dtype=torch.uint8)
            if length * dtype.itemsize != len(read[key]):
                raise TensorFileError("a tensor has another size than what is stored of it")
            return read[key].view(dtype)

        return _Unpickler(io.BytesIO(archive.read(described[0])), storage).load()


def _load_old(file: BinaryIO, size: int) -> Any:
    storages: dict[str, Tensor] = {}

    def storage(dtype: torch.dtype, key: str, length: int, part: Any) -> Tensor:
        if key not in storages:
            if sum(map(_num_bytes, storages.values())) + length * dtype.itemsize > size:
                raise TensorFileError("its tensors are larger than the file; it is cut short or damaged")
            storages[key] = torch.zeros(length, dtype=dtype)
        if len(storages[key]) != length or storages[key].dtype != dtype:
            raise TensorFileError("a tensor has another size than what is stored of it")
        if part is None:
            return storages[key]
        _, offset, count = part
        return _tensor(storages[key], offset, (count,), (1,))

    def load() -> Any:
        return _Unpickler(file, storage).load()

    first = load()
    if first != MAGIC:
        raise TensorFileError("it was not written by torch.save; check the file")
    _, system, content, keys = load(), load(), load(), load()
    if not isinstance(system, dict) or not system.get("little_endian", True):
        raise TensorFileError("it was written on a big-endian machine; convert it there")
    if not isinstance(keys, Collection) or set(keys) != set(storages):
        raise TensorFileError("its tensors and their descriptions differ")
    for key in keys:
        stored = storages[key]
        if file.read(8) != struct.pack("<q", len(stored)):
            raise TensorFileError("a tensor has another size than what is stored of it")
        numbers = bytearray(file.read(_num_bytes(stored)))
        if len(numbers) != _num_bytes(stored):
            raise TensorFileError("it is cut short")
        if numbers:
            stored.copy_(torch.frombuffer(numbers, dtype=stored.dtype))
    return content


def _num_bytes(tensor: Tensor) -> int:
    return len(tensor) * tensor.dtype.itemsize
