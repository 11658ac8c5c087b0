"""Pictures from files, and from whatever else a caller has in hand: always (H, W, 3) uint8 RGB, upright."""

import contextlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np
import PIL.Image
import PIL.ImageFile
import PIL.ImageOps

from headposekit.errors import InputError
from headposekit.safe_files import open_file, read_file
from headposekit.types import Image

MAX_MEGAPIXELS = 120.0
"""Size of a picture from which it is refused, unless the caller gives another limit; phones take up to 108 megapixels."""
MAX_BYTES = 500 * 10**6
"""Size of a picture's file from which it is refused."""
FORMATS = ("JPEG", "PNG", "BMP", "WEBP", "TIFF", "GIF", "AVIF", "PPM", "SUN", "JPEG2000")
"""Of pictures, as Pillow calls them: those that OpenCV decodes. Others are rare, and some of them start programs."""
REFUSED_MODES = {"LAB": "Lab colours", "F": "floating-point numbers"}
"""Pillow's modes of pictures that OpenCV would show with other colours, and what they hold."""
EXIF_ORIENTATION = 0x0112
JPEG_END, JPEG_SCAN = 0xD9, 0xDA
JPEG_ALONE = (0x01, 0xD8)
"""JPEG markers without a length, besides the restart markers."""
JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]", re.DOTALL)
"""What ends the coded data of a JPEG: neither a stuffed nor a fill byte nor a restart marker."""


def read_image(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> Image:
    """A whole picture, (H, W, 3) RGB; raises InputError where it is missing, cut short, too large or no picture.

    Grey becomes RGB, 16 bits become 8, transparency is left out, and what EXIF says of its rotation is done.
    """
    return decode_image(read_file(path, MAX_BYTES), str(path), max_megapixels)


def decode_image(raw: bytes, name: str, max_megapixels: float = MAX_MEGAPIXELS) -> Image:
    """A picture's file in memory as (H, W, 3) RGB, like `read_image`; `name` stands in the message of the InputError."""
    _check_whole(raw, name)
    with _opened(io.BytesIO(raw), name, max_megapixels) as file:
        if file.mode in REFUSED_MODES:
            raise InputError(f"{_prefix(name)}a picture of {REFUSED_MODES[file.mode]}; store it as 8-bit RGB")
        if file.format == "AVIF":  # OpenCV does not turn it upright
            return as_picture(file)
        image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise _unreadable(name)
        return np.asarray(image, dtype=np.uint8)


def picture_size(path: Path, max_megapixels: float = MAX_MEGAPIXELS) -> tuple[int, int]:
    """Width and height of a picture as `read_image` shows it, from its header; InputError where that refuses it."""
    with open_file(path) as raw, _opened(raw, str(path), max_megapixels) as file:
        width, height = file.size
        # Pillow says the upright size of a TIFF, and the stored one of everything else.
        is_on_its_side = file.format != "TIFF" and file.getexif().get(EXIF_ORIENTATION) in (5, 6, 7, 8)
        return (height, width) if is_on_its_side else (width, height)


def has_picture_header(path: Path) -> bool:
    """Whether a file begins as a picture does; InputError where it cannot be read."""
    with open_file(path) as raw:
        return _plugin(raw.read(16)) is not None


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
        except Exception as error:  # Pillow raises anything from SyntaxError to struct.error at broken and closed files
            raise _unreadable(str(getattr(source, "filename", ""))) from error
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
    """A picture's bytes; InputError where it is missing, no regular file, empty, cut short or over `MAX_BYTES`."""
    raw = read_file(path, MAX_BYTES)
    _check_whole(raw, str(path))
    return raw


def is_whole_jpeg(raw: bytes, max_markers: int = 10**5, max_gap: int = 2**16) -> bool:
    """Whether a JPEG's segments lead from its first byte to its end marker.

    What stands behind the end, such as the video of a motion photo or a second picture, does not count, nor do markers inside
    a segment, such as those of a thumbnail. Files made to keep readers busy have more markers, or more bytes between segments.
    """
    place, is_scan = 2, False
    for _ in range(max_markers):
        found = JPEG_MARKER.search(raw, place)
        if found is None or (not is_scan and found.start() - place > max_gap):
            return False
        marker, place = raw[found.end() - 1], found.end()
        if marker == JPEG_END:
            return True
        if marker not in JPEG_ALONE:
            length = int.from_bytes(raw[place : place + 2], "big")
            if length < 2 or place + length > len(raw):
                return False
            place += length
        is_scan = marker == JPEG_SCAN
    return False


def _check_whole(raw: bytes, name: str) -> None:
    """Refuse an empty file and a JPEG cut short: OpenCV fills what is missing of some with grey, and only warns."""
    if not raw:
        raise _unreadable(name, " (an empty file)")
    if raw.startswith(b"\xff\xd8") and not is_whole_jpeg(raw):
        raise InputError(f"{_prefix(name)}cut short; fetch it again or remove it")


def check_size(name: str, width: float, height: float, max_megapixels: float) -> None:
    """Refuse a picture, or the frames of a video, of too many pixels; raises InputError."""
    if width * height > 1e6 * max_megapixels:
        size = f"{width:.0f}×{height:.0f} pixels"
        raise InputError(f"{_prefix(name)}{size} are more than max_megapixels={max_megapixels:g}; make it smaller")


@contextlib.contextmanager
def _opened(raw: IO[bytes], name: str, max_megapixels: float) -> Iterator[PIL.ImageFile.ImageFile]:
    """A picture whose header is read, and nothing more; whatever goes wrong with it is an InputError."""
    try:
        with warnings.catch_warnings(action="ignore"):  # Pillow's, of damaged headers: said by us, if it matters
            start = raw.read(16)
            raw.seek(0)
            plugin = _plugin(start)
            if plugin is None or (plugin == "PNG" and not _has_short_header(raw)):
                raise _unreadable(name)
            if plugin in ("PPM", "GIF"):  # whose headers Pillow reads byte by byte, however long a comment is
                raw = io.BytesIO(raw.read(2**16))
            with PIL.Image.OPEN[plugin][0](raw, name) as file:  # `PIL.Image.open` has a limit of its own
                check_size(name, *file.size, max_megapixels)
                yield file
    except InputError:
        raise
    except Exception as error:  # Pillow raises anything from SyntaxError to struct.error, OpenCV cv2.error
        raise _unreadable(name) from error


def _has_short_header(raw: IO[bytes], max_chunks: int = 1000) -> bool:
    """Whether a PNG's data begin within its first chunks; more are no picture, but made to keep Pillow busy."""
    raw.seek(8)
    for _ in range(max_chunks):
        start = raw.read(8)
        if len(start) < 8 or start[4:] == b"IDAT":
            raw.seek(0)
            return True
        raw.seek(int.from_bytes(start[:4], "big") + 4, io.SEEK_CUR)
    return False


def _plugin(start: bytes) -> str | None:
    """Pillow's name of the format of a file that begins so, or None."""
    PIL.Image.init()
    start = start.ljust(16, b"\0")
    for name in FORMATS:
        accept = PIL.Image.OPEN[name][1] if name in PIL.Image.OPEN else None
        if accept is not None and accept(start) is True:
            return name
    return None


def _unreadable(name: str, why: str = "") -> InputError:
    remedy = "fetch it again or remove it" if name else "give a whole JPEG, PNG, WebP or the like"
    return InputError(f"{_prefix(name)}not a readable picture{why}; {remedy}")


def _prefix(name: str) -> str:
    return f"{name}: " if name else ""
