"""A folder of one's own networks, losses, data sets and experiments, beside the project and without touching it.

`HEADPOSEKIT_EXTENSIONS` names it. Python files in it can be imported, its `conf/` and `experiments/` are searched like the
project's, and checkpoints may build the classes that its files define. docs/extending.md shows one.
"""

import importlib.util
import inspect
import os
import sys
from pathlib import Path
from typing import Any

from headposekit.errors import InputError
from headposekit.paths import ROOT

VARIABLE = "HEADPOSEKIT_EXTENSIONS"


def extensions_dir() -> Path | None:
    """The folder, absolute; None where none was named, InputError where it is not there."""
    named = os.environ.get(VARIABLE)
    if not named:
        return None
    folder = Path(named).resolve()
    if not folder.is_dir():
        raise InputError(f"{VARIABLE}={named}: no such folder; create it or unset the variable")
    return folder


def choices(group: str) -> list[str]:
    """Names of a group's files, in the project and its extensions; none where there is no such group."""
    roots = [root for root in (ROOT, extensions_dir()) if root]
    folders = [root / "experiments" if group == "experiments" else root / "conf" / group for root in roots]
    return sorted(
        {path.relative_to(folder).with_suffix("").as_posix() for folder in folders for path in folder.rglob("*.yaml")}
    )


def make_importable() -> None:
    """Let the folder's files be imported, after everything that is installed, so that none of them hides a package."""
    folder = extensions_dir()
    if folder is not None and str(folder) not in sys.path:
        sys.path.append(str(folder))


def is_extension(target: str) -> bool:
    """Whether a dotted name begins with a Python file (or package) of the folder; nothing is imported to find out.

    >>> is_extension("os.system")
    False
    """
    name = target.split(".", maxsplit=1)[0]
    if extensions_dir() is None or not name.isidentifier():
        return False
    make_importable()
    spec = importlib.util.find_spec(name)
    return spec is not None and spec.origin is not None and _is_below(spec.origin)


def defines(cls: type[Any]) -> bool:
    """Whether a class stands in a file of the folder, rather than having been imported there."""
    return _is_below(inspect.getfile(cls))


def _is_below(path: str) -> bool:
    folder = extensions_dir()
    return folder is not None and Path(path).resolve().is_relative_to(folder)
