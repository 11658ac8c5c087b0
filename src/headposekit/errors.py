"""The one exception that is meant for the person at the keyboard, and how others become it."""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class InputError(ValueError):
    """Something given to the program (file, option, checkpoint) cannot be used.

    The message is one line: what was given, what was expected, what to do. Entry points print it without a traceback.
    """

    def __init__(self, message: str) -> None:
        # Names out of damaged files may hold line breaks and other control characters.
        super().__init__("".join(letter if letter >= " " else repr(letter)[1:-1] for letter in message))


@contextlib.contextmanager
def refusing(
    subject: str | Path, what: str, remedy: str, kinds: type[Exception] | tuple[type[Exception], ...] = Exception
) -> Iterator[None]:
    """Make an InputError `subject: what (why); remedy` of an exception in the block; an InputError only gets the subject.

    Args:
        subject: the file or option that the message begins with.
        what: is wrong with it.
        remedy: what to do.
        kinds: of exceptions that mean so; by default all, since what strangers' files make other packages raise has no end.
    """
    try:
        yield
    except InputError as error:
        if str(error).startswith(str(subject)):
            raise
        raise InputError(f"{subject}: {error}") from error
    except kinds as error:
        raise InputError(f"{subject}: {what} ({first_line(error)}); {remedy}") from error


def first_line(error: BaseException) -> str:
    """What an exception says, on one line of at most 160 characters; the name of its type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:160]


def import_optional(module: str, refusal: str) -> Any:
    """A module of a package that may be missing; InputError with this message where it is."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise InputError(refusal) from error
