"""Pictures from files, and from whatever else a caller has in hand: always (H, W, 3) uint8 RGB, upright."""

import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageOps

from headpose.errors import InputError
from headpose.types import Image

UNREADABLE = (OSError, SyntaxError, EOFError, ValueError, RuntimeError, AssertionError, struct.error)
"""What Pillow raises at broken files and closed ones."""


def read_image(path: Path) -> Image:
    """A whole picture, (H, W, 3) RGB; raises InputError where it is missing, cut short or no picture.

    Grey becomes RGB, 16 bits become 8, transparency is left out, and what EXIF says of its rotation is done.
    """
    raw = read_whole(path)
    image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR_RGB) if raw else None
    if image is None:
        raise InputError(f"{path}: not a readable picture{'' if raw else ' (an empty file)'}; fetch it again or remove it")
    return np.asarray(image, dtype=np.uint8)


def as_picture(source: Any) -> Image:
    """A picture given as a path, as an array or as PIL has it.

    Args:
        source: a path; or (H, W), (H, W, 1), (H, W, 3) or (H, W, 4) uint8 or uint16, colours as RGB; or a PIL image.

    Returns:
        (H, W, 3) uint8 RGB; the array itself where it is so already.

    Raises:
        InputError: none of these, or an unreadable file (a PIL image reads its own only now).
    """
    if isinstance(source, str | Path):
        return read_image(Path(source))
    if isinstance(source, PIL.Image.Image):
        try:
            source = PIL.ImageOps.exif_transpose(source)
            # Of more than 8 bits `convert` would cut off, not scale.
            source = np.asarray(source if source.mode[0] in "IF" else source.convert("RGB"))
        except UNREADABLE as error:
            name = f"{path}: " if (path := getattr(source, "filename", "")) else ""
            raise InputError(f"{name}not a readable picture; give a whole JPEG, PNG, WebP or the like") from error
    if not isinstance(source, np.ndarray):
        raise InputError(f"a picture is a path, an RGB array or a PIL image, not {type(source).__name__}")
    if source.ndim not in (2, 3) or (source.ndim == 3 and source.shape[2] not in (1, 3, 4)) or source.size == 0:
        raise InputError(f"a picture of shape {source.shape}; give (H, W, 3) RGB, (H, W, 4) or (H, W)")
    if source.dtype == np.uint16:
        source = (source >> 8).astype(np.uint8)
    if source.dtype != np.uint8:
        raise InputError(f"a picture of {source.dtype}; give uint8 from 0 to 255, as files and cameras do")
    if source.ndim == 2 or source.shape[2] == 1:
        source = np.repeat(source.reshape(*source.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(source[..., :3])


def read_whole(path: Path) -> bytes:
    """A picture's bytes; InputError where it is missing or cut short.

    OpenCV fills the missing part of a truncated JPEG with grey and only warns, so the end marker is looked for: it must come
    after the last start of scan (a thumbnail inside has an end of its own).
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); restore the file") from error
    if raw.startswith(b"\xff\xd8") and raw.rfind(b"\xff\xd9") < raw.rfind(b"\xff\xda"):
        raise InputError(f"{path}: cut short; fetch it again or remove it")
    return raw
