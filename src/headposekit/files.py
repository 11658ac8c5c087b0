"""Files that appear whole or not at all, and say their own name where they cannot be written."""

import base64
import contextlib
import errno
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from io import RawIOBase
from pathlib import Path
from typing import Any

import cv2
from filelock import FileLock, Timeout

from headposekit.errors import InputError
from headposekit.types import Image

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.EINVAL)
"""What file systems say that know no locks."""
MOST_WRITERS = 100
"""Processes that write the same file at one time."""
LONGEST_NAME = 230
"""Bytes of a name that `.partial`, a number and `.lock` can be added to; file systems take 255."""
PATIENCE = 60.0
"""Seconds to wait for another process that adds to the same file."""


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file beside `path` to write into, which no other process writes into.

    At the end of the block it is on the disk and takes the place of `path`. Where the block fails it is removed, and what was
    at `path` before is still there. What a killed process left of its own is used again. InputError, naming `path`, where the
    file cannot be written, as on a full disk, or is a folder or a device.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{path}: is {'a folder' if path.is_dir() else 'no regular file'}; give the path of a file")
    partial = lock = path
    with contextlib.ExitStack() as stack:
        try:
            target = Path(os.path.realpath(path))  # what a link points to
            name = target.name if len(os.fsencode(target.name)) <= LONGEST_NAME else f"{target.stem[:20]}{target.suffix[:9]}"
            for number in range(1, MOST_WRITERS + 1):
                partial = target.with_name(f"{name}.partial{number if number > 1 else ''}")
                lock = partial.with_name(f"{partial.name}.lock")
                if stack.enter_context(locked(lock)):
                    break
            else:  # there are not that many: this file system lets nobody have a lock
                raise cannot_write(path)
            stack.callback(_remove, partial)
            partial.write_bytes(b"")
            yield partial
            _flush(partial)
            partial.replace(target)
            _flush_folder(target.parent)
        except OSError as error:
            if error.filename in (None, str(partial), partial, str(lock), lock):
                raise cannot_write(path, error) from error
            raise


@contextlib.contextmanager
def locked(path: Path, *, wait: bool = False, is_needed: bool = False) -> Iterator[bool]:
    """Whether a lock, which is a file of this name, is ours; it is removed at the end of the block.

    The system takes it from a process that dies, and a forked process does not have it. Where a file system knows no locks,
    everybody gets it, or InputError is raised where it `is_needed`. With `wait` the block begins when it is ours, or after
    `PATIENCE`.
    """
    if not path.parent.is_dir():  # filelock would make it
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
    lock = FileLock(path, timeout=PATIENCE if wait else 0, thread_local=False, poll_interval=0.005, fallback_to_soft=False)
    is_ours = True
    try:
        lock.acquire()
    except Timeout:
        is_ours = False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        if is_needed:
            raise InputError(
                f"{path.parent}: its file system has no file locks ({error.strerror}); mount it with them (Lustre: -o flock; "
                "NFS: without nolock), or set HEADPOSEKIT_RUNS to a folder on another one"
            ) from error
    try:
        yield is_ours
    finally:
        if is_ours:
            _remove(path)  # before it is let go, so that nobody else has got it then; Windows removes it afterwards
            lock.release()


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def check_writable(path: Path) -> None:
    """Raise InputError where a file could not be written, before its content is computed; what is there stays."""
    with contextlib.suppress(_GivenUp), replacing(path):
        raise _GivenUp


class _GivenUp(Exception):
    """Leaves a file that was to be replaced as it is."""


def cannot_write(path: Path, error: Exception | None = None) -> InputError:
    """The refusal of a path that cannot be written."""
    said = "" if error is None else getattr(error, "strerror", None) or str(error)
    reason = f" ({said.splitlines()[0]})" if said else ""
    return InputError(f"{path}: cannot be written{reason}; check the folder's permissions and the room left")


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Within it an OSError is the refusal of `path`."""
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error


def append_text(path: Path, content: str) -> None:
    """Add whole lines to the end of a file, which other processes may do at the same time.

    Half a line that a killed process left at the end is taken off. InputError where they cannot be written; the file is as
    before then.
    """
    with writing(path), locked(path.with_name(f"{path.name}.lock"), wait=True), path.open("a+b", buffering=0) as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
        append_bytes(file, content.encode(), flush=True)


def append_bytes(file: RawIOBase, content: bytes, *, flush: bool = False) -> None:
    """Add all of some bytes to the end of an unbuffered file, or none of them where that fails with an OSError."""
    end = file.seek(0, os.SEEK_END)
    left = memoryview(content)
    try:
        while left:
            left = left[file.write(left) or 0 :]
        if flush:
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.truncate(end)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a whole file; raises InputError naming it where that fails."""
    with replacing(path) as partial:
        partial.write_bytes(content)


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Write whole files that belong together, none of which takes its place before all are on the disk.

    Raises InputError naming the one that cannot be written; what was at all of the paths before is still there then.
    """
    with contextlib.ExitStack() as stack:
        partials = [(path, stack.enter_context(replacing(path)), content) for path, content in contents.items()]
        for path, partial, content in partials:
            with writing(path):
                partial.write_bytes(content)
                _flush(partial)


def write_text(path: Path, content: str) -> None:
    """Write a whole UTF-8 file; raises InputError naming it where that fails."""
    write_bytes(path, content.encode("utf-8", errors="backslashreplace"))


def encode_json(content: Any) -> bytes:
    """JSON that any reader understands: NaN and infinity are refused."""
    return f"{json.dumps(content, indent=2, allow_nan=False)}\n".encode()


def write_json(path: Path, content: Any) -> None:
    """Write a whole JSON file, see `encode_json`; raises InputError naming it where that fails."""
    write_bytes(path, encode_json(content))


def encode_picture(path: Path, image: Image, options: Sequence[int] = ()) -> bytes:
    """A picture (H, W, 3) RGB in the format of the path's suffix, with options of `cv2.imencode`; else InputError."""
    try:
        is_encoded, content = cv2.imencode(path.suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR), list(options))
    except cv2.error:
        is_encoded = False
    if not is_encoded:
        form = path.suffix or "a file without suffix"
        raise InputError(f"{path}: a picture of shape {image.shape} cannot be stored as {form}; check suffix and shape")
    return bytes(content.tobytes())


def data_url(picture: Image, quality: int = 90) -> str:
    """A picture (H, W, 3) RGB as a JPEG that stands in a page itself."""
    coded = encode_picture(Path("picture.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return "data:image/jpeg;base64," + base64.b64encode(coded).decode()


def write_picture(path: Path, image: Image, options: Sequence[int] = ()) -> None:
    """Write a picture (H, W, 3) uint8 RGB in the format of its suffix; raises InputError naming it where that fails."""
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
