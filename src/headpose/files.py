"""Files that appear whole or not at all, and say their own name where they cannot be written."""

import contextlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2

from headpose.errors import InputError
from headpose.types import Image


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write into.

    At the end of the block it is on the disk and takes the place of `path`. Where the block fails it is removed, and what was
    at `path` before is still there.

    Raises:
        InputError: the file cannot be written, as on a full disk; names `path`.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        yield partial
        _flush(partial)
        partial.replace(path)
        _flush_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename in (None, str(partial), partial):
            raise cannot_write(path, error) from error
        raise


def cannot_write(path: Path, error: OSError | None = None) -> InputError:
    """The refusal of a path that cannot be written."""
    reason = "" if error is None else f" ({error.strerror or error})"
    return InputError(f"{path}: cannot be written{reason}; check the folder's permissions and the room left")


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file; raises InputError naming it where that fails."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file; raises InputError naming it where that fails."""
    write_bytes(path, content.encode("utf-8", errors="backslashreplace"))


def write_json(path: Path, content: Any) -> None:
    """Write JSON that any reader understands: NaN and infinity are refused."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def encode_picture(path: Path, image: Image, options: Sequence[int] = ()) -> bytes:
    """A picture (H, W, 3) RGB in the format of the path's suffix; raises InputError where OpenCV cannot encode it."""
    try:
        is_encoded, content = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), list(options))
    except cv2.error:
        is_encoded = False
    if not is_encoded:
        raise InputError(
            f"{path}: a picture of shape {image.shape} cannot be stored as {path.suffix or 'a file without suffix'}"
        )
    return bytes(content.tobytes())


def write_picture(path: Path, image: Image, options: Sequence[int] = ()) -> None:
    """Write a picture (H, W, 3) RGB in the format of its suffix; raises InputError naming it where that fails.

    Args:
        path: the file.
        image: (H, W, 3) uint8 RGB.
        options: of `cv2.imencode`.
    """
    write_bytes(path, encode_picture(path, image, options))


def _flush(path: Path) -> None:
    """See to it that what was written is on the disk before it gets its name."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    """See to it that a new name is on the disk; file systems that cannot do that for a folder are left alone."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
