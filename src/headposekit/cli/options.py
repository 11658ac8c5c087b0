"""Refusal of options before anything is computed: unknown choices, values of another type, numbers out of range."""

import functools
import inspect
import math
import os
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf

from headposekit.cli.command_line import in_quotes
from headposekit.errors import InputError

OPTIONAL_GROUPS = ("experiments", "budget")
"""Groups whose unknown choices Hydra leaves out without a word."""
Paths = str | list[str] | None
MANY, SOME = 10**9, 10**4
OPTIONS: dict[str, tuple[Any, float, float]] = {
    **dict.fromkeys(("seed", "data.seed", "data.split_seed", "data.part_seed", "protocol.seed"), (int, 0, 2**32 - 1)),
    **dict.fromkeys(("data.batch_size", "search.num_trials", "num_heads", "num_units", "num_faces"), (int, 1, MANY)),
    **dict.fromkeys(("num_steps", "num_blocks"), (int, 1, MANY)),
    **dict.fromkeys(("epochs", "batch_size"), (int, 1, 10**6)),
    **dict.fromkeys(("max_megabytes", "max_megapixels"), (int, 1, SOME)),
    **dict.fromkeys(("data.num_train", "data.num_val"), (int | None, 1, MANY)),
    **dict.fromkeys(("batch_sizes", "scaling"), (list[int], 1, 10**6)),
    **dict.fromkeys(("init_weights", "resume", "compile", "search.wandb_sweep", "wandb.entity"), (str | None, 0, 0)),
    **dict.fromkeys(("output", "device", "annotations"), (str | None, 0, 0)),
    **dict.fromkeys(("search.name", "search.metric", "wandb.project", "root", "host", "baseline"), (str, 0, 0)),
    **dict.fromkeys(("wandb.upload", "recursive", "int8", "browser"), (bool, 0, 0)),
    **dict.fromkeys(("checkpoint", "weights"), (Paths, 0, 0)),
    "input": (str | int | list[str | int], 0, SOME),
    "stages": (list[str], 0, 0),
    "growth": (list[int], 1, SOME),
    "loader_workers": (list[int], 0, SOME),
    "data.num_workers": (int, 0, SOME),
    "num_workers": (int | None, 0, SOME),
    "num_threads": (int | None, 1, SOME),
    "port": (int, 0, 2**16 - 1),
    "pool.patience": (float, 1e-3, MANY),
    "box_lag": (float, 0, SOME),
    "field_of_view": (float | None, 0, 360),
    "calibrate": (float | str | None, 1e-3, 3600),
}
"""Options that no constructor takes, or not all of whose numbers it may have: type, and range of the numbers."""
NEEDED = ("input", "stages", "growth", "loader_workers", "batch_sizes", "scaling")
"""Lists that hold something."""
OPEN = ("search.space", "trees")
"""Options that hold names of the user's own."""
IN_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a text", Path: "a path", NoneType: "null"}


def check_options(config: DictConfig) -> None:
    """Refuse what Hydra lets through: unknown experiments, budgets that do not know the data, `+` of what nothing reads."""
    chosen = HydraConfig.get()
    if chosen.job.chdir:
        raise InputError("hydra.job.chdir=true: paths count from where the command was typed; leave it out")
    choices = chosen.runtime.choices
    for group in OPTIONAL_GROUPS:
        name = choices.get(group)
        if name is not None and name not in (names := _files_of(group)):
            raise InputError(f"{group}={name} is unknown; choose {', '.join(names)}")
    budget, data = choices.get("budget"), choices.get("data")
    known = [name.removeprefix(f"{budget}_") for name in _files_of("budget_data") if name.startswith(f"{budget}_")]
    if data and known and data not in known:
        raise InputError(
            f"budget={budget} says nothing of data={data}, only of {', '.join(known)}; "
            "leave it out and give epochs= and data.num_train="
        )
    for option in chosen.overrides.task:
        key = option.lstrip("+").split("=")[0].split("@")[0]
        if option.startswith("+") and not _files_of(key) and not _is_read(config, key):
            raise InputError(f"no such option: {key}; see docs/config.md, or leave it out")


def _is_read(config: DictConfig, key: str) -> bool:
    """Whether something reads an option that `+` adds: it stands below a part that takes options, or in one of `OPEN`."""
    parts = key.split(".")
    above = [".".join(parts[:end]) for end in range(1, len(parts) + 1)]
    nodes = [OmegaConf.select(config, name) for name in above]
    is_of_part = any(isinstance(node, DictConfig) and "_target_" in node for node in nodes)
    return key in OPTIONS or is_of_part or not set(OPEN).isdisjoint(above)


def check_values(config: DictConfig) -> None:
    """Refuse values of another type than the constructor that is given them, or `OPTIONS`, says; and numbers out of range."""
    for key, (kind, least, most) in OPTIONS.items():
        above, _, name = key.rpartition(".")
        parent = OmegaConf.select(config, above) if above else config
        if not isinstance(parent, DictConfig) or name not in parent or _is_elsewhere(parent, name):
            continue
        value = _plain(parent, name)
        numbers = [n for n in (value if isinstance(value, list) else [value]) if isinstance(n, int | float)]
        if not fits(kind, value) or (least < most and not all(least <= number <= most for number in numbers)):
            limits = f" from {least:g} to {most}" if least < most else _written("", kind, value)
            raise InputError(f"{key}={_shown(value)} is not {in_words(kind)}{limits}")
        if key in NEEDED and value == []:
            raise InputError(f"{key}=[] is empty; name at least one")
    for key, value, kind in _arguments(config, ""):
        if not fits(kind, value):
            if get_origin(kind) is Literal:
                raise InputError(f"{key}={_shown(value)} is unknown; choose {', '.join(map(str, get_args(kind)))}")
            raise InputError(f"{key}={_shown(value)} is not {in_words(kind)}{_written(key, kind, value)}")


def fits(kind: Any, value: Any) -> bool:
    """Whether a plain value can be given where an annotation stands.

    >>> fits(int | None, 5), fits(int, 5.0), fits(tuple[float, float], [1, 2]), fits(bool, 1), fits(Any, [1, 2])
    (True, False, True, False, True)
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return True
    if origin in (Union, UnionType):
        return any(fits(part, value) for part in parts)
    if origin is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if isinstance(value, dict):  # a part of its own, made of its `_target_`
        return kind not in IN_WORDS and origin not in (list, tuple)
    if isinstance(value, list):
        if origin is tuple and Ellipsis not in parts:
            return len(value) == len(parts) and all(map(fits, parts, value))
        if isinstance(origin, type) and (origin is tuple or issubclass(list, origin)):
            return all(fits(parts[0], item) for item in value)
        return not isinstance(origin or kind, type) or issubclass(list, origin or kind) or kind is tuple
    if isinstance(value, str):
        return kind in (str, Path, os.PathLike) or not isinstance(origin or kind, type)
    if isinstance(value, float) and not math.isfinite(value):
        return False
    allowed = {NoneType: (NoneType, None), bool: (bool,), int: (int, float), float: (float,)}.get(type(value), ())
    return kind in allowed or isinstance(kind, TypeVar)


def in_words(kind: Any) -> str:
    """An annotation for people.

    >>> in_words(int | None), in_words(list[str | int])
    ('a whole number or null', 'a list of a text or a whole number')
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        if {str, Path} <= set(parts):
            parts = tuple(part for part in parts if part is not str)
        return " or ".join(dict.fromkeys(in_words(part) for part in parts))
    if origin is Literal:
        return " or ".join(map(str, parts))
    if origin is tuple and Ellipsis not in parts:
        return f"[{', '.join(in_words(part) for part in parts)}]"
    if isinstance(origin, type) and parts and issubclass(list, origin):
        return f"a list of {in_words(parts[0])}"
    return IN_WORDS.get(kind, f"a {getattr(kind, '__name__', str(kind))} of its own options")


def _written(key: str, kind: Any, value: Any) -> str:
    """How the value that was probably meant is written."""
    if isinstance(value, float) and value.is_integer() and fits(kind, int(value)):
        return f"; write {int(value)}"
    if key and isinstance(value, int | float) and (fits(kind, "")):
        return f"; as text it is written {shlex.quote(f'{key}={in_quotes(_shown(value))}')}"
    return ""


def _arguments(node: Any, key: str) -> Iterator[tuple[str, Any, Any]]:
    """Key, plain value and annotation of all arguments of constructors in a configuration; unknown ones are refused."""
    if isinstance(node, ListConfig):
        for number in range(len(node)):
            if not _is_elsewhere(node, number):
                yield from _arguments(node[number], f"{key}[{number}]")
    if not isinstance(node, DictConfig):
        return
    target = node.get("_target_")
    kinds, is_open = _annotations(target) if isinstance(target, str) else ({}, True)
    for name in map(str, node):
        below = f"{key}.{name}".strip(".")
        if name.startswith("_") or name not in node or _is_elsewhere(node, name):
            continue
        if name in kinds:
            yield below, _plain(node, name), kinds[name]
        elif not is_open:
            raise InputError(f"no such option: {below}; choose from {', '.join(kinds)}")
        yield from _arguments(node[name], below)


@functools.cache
def _annotations(target: str) -> tuple[dict[str, Any], bool]:
    """Annotation of each argument of a class or function, and whether there may be others; what cannot be known is `Any`."""
    try:
        made: Any = get_object(target)
        parameters = inspect.signature(made).parameters
    except Exception:  # that it cannot be imported is said, with the remedy, where it is made
        return {}, True
    classes = reversed(inspect.getmro(made)) if inspect.isclass(made) else ()
    takers: list[Callable[..., Any]] = [vars(cls)["__init__"] for cls in classes if "__init__" in vars(cls)] or [made]
    hints: dict[str, Any] = {}
    for taker in takers:
        try:
            hints |= get_type_hints(taker)
        except Exception:  # other people's annotations may name what only their type checker sees
            continue
    kinds: dict[str, Any] = {}
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        said = parameter.annotation  # of a DataModule, also what its reader's arguments say
        kind = hints.get(name, Any if said is parameter.empty or isinstance(said, str) else said)
        kinds[name] = kind | None if parameter.default is None and kind is not Any else kind
    is_open = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    return (hints | kinds if is_open else kinds), is_open


def _is_elsewhere(node: Any, name: Any) -> bool:
    """Whether a value is not given, or stands in another place, where it is checked."""
    return OmegaConf.is_missing(node, name) or OmegaConf.is_interpolation(node, name)


def _plain(node: DictConfig, name: Any) -> Any:
    value = node[name]
    return OmegaConf.to_container(value, resolve=OmegaConf.is_list(value)) if OmegaConf.is_config(value) else value


def _shown(value: Any) -> str:
    """A value as the command line has it."""
    words = {True: "true", False: "false", None: "null"}
    return words[value] if value is None or isinstance(value, bool) else re.sub(r"\s+", " ", str(value))[:80]


def _files_of(group: str) -> list[str]:
    """Names of a group's files, in the project and its extensions: wherever Hydra looks."""
    sources = HydraConfig.get().runtime.config_sources
    places = [Path(source.path) / group for source in sources if source.schema == "file"]
    return sorted(path.relative_to(place).with_suffix("").as_posix() for place in places for path in place.rglob("*.yaml"))
