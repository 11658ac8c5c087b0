"""The command line as a shell user types it, put into Hydra's grammar: paths of any letters, groups without a choice, `-m`."""

import functools
import os
import shlex
from collections.abc import Sequence
from typing import Any

import yaml
from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from hydra.errors import HydraException

from headposekit.errors import InputError
from headposekit.extensions import choices
from headposekit.paths import CONF

PATHS = {
    "annotations", "boxes", "checkpoint", "checkpoint_path", "dir", "dirpath", "face_model", "faces", "frames", "init_weights",
    "input", "labels", "output", "path", "real", "resume", "root", "save_dir", "wandb_sweep", "weights", "whitening",
}  # fmt: skip
"""Options that name files and folders, by the last part of their key."""
LISTS = ("checkpoint", "input", "weights")
"""Those that take several: commas between paths may be meant so, and Hydra says how that is written."""
GRAMMAR = set("[]{}()'\"\\,=$")
"""Characters that mean something to Hydra: a value without them that it cannot read is plain text."""


def hydra_arguments(arguments: Sequence[str], program: str) -> list[str]:
    """What Hydra is to be given for what a user typed to a program of conf/; InputError where that cannot be read."""
    overrides: list[str] = get_args_parser().parse_known_intermixed_args(list(arguments))[0].overrides
    left, flags = list(overrides), []
    for argument in arguments:  # Hydra takes no options after a flag that stands between them
        if argument in left:
            left.remove(argument)
        else:
            flags.append(argument)
    is_sweep = not {"-m", "--multirun"}.isdisjoint(flags)
    settled = [settle_group(quote(override, is_sweep), program) for override in overrides]
    return [*(override for override in settled if override is not None), *flags]


def quote(argument: str, is_sweep: bool = False) -> str:
    """`key=value` with the value quoted for Hydra where it is a path, or plain text, that Hydra would read otherwise.

    A file or folder of the literal name comes first; in a sweep, values with commas between them do. InputError where Hydra
    cannot read it, and it is no path.

    >>> quote("output=heads (1)")
    'output="heads (1)"'
    """
    key, equals, value = argument.partition("=")
    if not equals or not value:
        return argument
    is_path = key.lstrip("+").split("@")[0].rsplit(".", maxsplit=1)[-1] in PATHS
    if is_path and value.startswith("~") and not os.path.lexists(value):  # shells leave it after a key with a point
        value = os.path.expanduser(value)
        argument = f"{key}={value}"
    parsed, reason = parse(argument)
    if parsed is None:
        if is_path and value[0] == "[" and value[-1] == "]" and not os.path.lexists(value):
            listed = f"{key}=[{','.join(quote(f'path={part.strip()}')[5:] for part in value[1:-1].split(','))}]"
            if parse(listed)[0] is not None:
                return listed
        if is_path or GRAMMAR.isdisjoint(value):
            return f"{key}={in_quotes(value)}"
        written = shlex.quote(f"{key}={in_quotes(value)}")
        raise InputError(f"{argument}: cannot be read ({reason}); as plain text it is written {written}")
    if not is_path or (is_sweep and parsed.is_sweep_override()):
        return argument
    if parsed.is_sweep_override() and (key not in LISTS or os.path.lexists(value)):
        return f"{key}={in_quotes(value)}"
    meant = parsed.value()
    is_meant = meant == value and "${" not in value
    if is_meant or not os.path.lexists(value) or (isinstance(meant, str) and meant != value and os.path.lexists(meant)):
        return argument
    return f"{key}={in_quotes(value)}"


def in_quotes(text: str) -> str:
    """A text as a quoted string of Hydra's grammar; it is taken letter by letter, interpolations too."""
    quoted: str = QuotedString(text=text.replace("${", "\\${"), quote=Quote.double).with_quotes()
    return quoted


def settle_group(argument: str, program: str) -> str | None:
    """A group given null, false or nothing: the argument that stands for it, None where that is the default, or InputError."""
    key, _, written = argument.partition("=")
    parsed, _ = parse(argument)
    if parsed is None or parsed.is_delete() or not (names := choices(parsed.key_or_group)):
        return argument
    group, value = parsed.key_or_group, parsed.value()
    if isinstance(value, ChoiceSweep):
        settled = [settle_group(f"{key}={part}", program) for part in parsed.sweep_string_iterator()]
        return f"{key}={','.join(part.partition('=')[2] for part in settled if part is not None)}"
    defaults = _defaults(program)
    takes_list = group == "logger" or isinstance(defaults.get(group), list)
    if value is None or value is False or value in ("", []):
        if takes_list and group != "logger":
            return f"{key}=[]"
        if "none" in names:
            return f"{key}=none"
        if group in defaults and defaults[group] is None:
            return None
        raise InputError(f"{argument}: {group} needs a choice; choose {', '.join(names)}")
    if not isinstance(value, str | list) or (isinstance(value, list) and not takes_list):
        raise InputError(f"{group}={written} is unknown; choose {', '.join(names)}")
    return argument


@functools.cache
def parse(argument: str) -> tuple[Override | None, str]:
    """An argument as Hydra reads it, or why it cannot."""
    try:
        return OverridesParser.create().parse_override(argument), ""
    except HydraException as error:
        return None, " ".join(str(error).split(";")[0].splitlines()[0].split())


@functools.cache
def _defaults(program: str) -> dict[str, Any]:
    """What a program chooses of each group where nothing is given."""
    chosen: dict[str, Any] = {}
    for entry in yaml.safe_load((CONF / f"{program}.yaml").read_text(encoding="utf-8")).get("defaults", []):
        if isinstance(entry, dict):
            ((group, choice),) = entry.items()
            chosen[group.removeprefix("optional ")] = choice
        elif entry != "_self_":
            chosen |= _defaults(entry)
    return chosen
