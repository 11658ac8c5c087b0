"""The reference of all options, from conf/ itself: `python tools/config_page.py` writes docs/config.md anew.

What an option means is said by the comment beside it or, where there is none, by the docstring of the class that takes it.
"""

import inspect
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import get_object

from headposekit.files import write_text
from headposekit.paths import ROOT
from headposekit.training.runs import leaves

CONF = ROOT / "conf"
PAGE = ROOT / "docs" / "config.md"
IN_WORDS = ("budget", "budget_data", "budget_model", "recipe", "protocol", "experiments")
"""Groups whose files set options of others: listed, not tabulated."""
MODULES = "headposekit.data.datamodule"
TARGETS = {
    **{"loader": f"{MODULES}.HeadPoseDataModule", "dataset": f"{MODULES}.FolderDataModule"},
    **dict.fromkeys(("data", "test"), "headposekit.datasets.BIWIDataModule"),
}
"""Classes whose docstrings say what options mean, of groups whose files name none."""
PLACES = {"heads": "data.heads", "perturb": "test.NAME.perturb", "dataset": "data", "loader": "data"}
"""Where groups end up that say so neither themselves nor by their name."""
INTRODUCTION = """# Configuration

Every option can be given on the command line: `group=choice` takes a file of `conf/<group>/`, `key=value` sets what is in it,
and `-m` with several values (`a,b`) makes a sweep. Paths are typed as in any shell command, whatever letters they have; a group
that can be left out takes `null`. `python src/train.py --help` shows what a command line comes to.
This page is made from `conf/` by `python tools/config_page.py`; a test compares the two.
"""


@dataclass(frozen=True)
class Option:
    """A key of a file of conf/, where it ends up, and what it means."""

    key: str
    default: str
    meaning: str


def reference() -> str:
    """The page."""
    parts = [INTRODUCTION, "## Commands\n"]
    for path in sorted(CONF.glob("*.yaml")):
        said = _help(path) or _comment(path)
        if path.stem == "training":
            parts.append(f"### A training (`train.py`, `search.py`, `report.py`, `dashboard.py`)\n\n{said}\n")
        else:
            parts.append(f"### `{path.stem}.py`\n\n{said}\n")
        if groups := _groups(path):
            parts.append(f"Groups, and what is chosen of them: {groups}.\n")
        if options := list(_options(path, "")):
            parts.append(_table([(option.key, option.default, option.meaning) for option in options]))
    parts.append("## Groups\n")
    for folder in sorted(
        [*(path for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"), ROOT / "experiments"],
        key=lambda p: p.name,
    ):
        parts.append(f"### `{folder.name}`\n")
        parts.append(_in_words(folder) if folder.name in IN_WORDS else _group(folder))
    return "\n".join(parts)


def _group(folder: Path) -> str:
    files = sorted(folder.glob("*.yaml"))
    rows: dict[str, dict[str, Option]] = {}
    for path in files:
        for option in _options(path, PLACES.get(folder.name, folder.name)):
            rows.setdefault(option.key.replace(f"test.{path.stem}.", "test.NAME."), {})[path.stem] = option
    body = []
    for key, by_file in rows.items():
        defaults: dict[str, list[str]] = {}
        for name, option in by_file.items():
            defaults.setdefault(option.default, []).append(name)
        everywhere = len(by_file) == len(files) and len(defaults) == 1
        shown = "; ".join(value if everywhere else f"{value} ({', '.join(names)})" for value, names in defaults.items())
        body.append((key, shown, _meanings(by_file)))
    comments = {path.stem: _comment(path) for path in files}
    if any(comments.values()):
        choices = "\n".join(f"- `{name}`{f': {comment}' if comment else ''}" for name, comment in comments.items())
    else:
        choices = ", ".join(f"`{name}`" for name in comments)
    return f"{choices}\n" + (f"\n{_table(body)}" if body else "")


def _meanings(by_file: dict[str, Option]) -> str:
    """What an option means; files are named where it differs. A file that says nothing leaves it to the one that it changes."""
    meanings: dict[str, list[str]] = {}
    for name, option in by_file.items():
        meanings.setdefault(option.meaning, []).append(name)
    meanings.pop("", None)
    said = {text: names for text, names in meanings.items() if not text.startswith("of `")} or meanings
    return "<br>".join(text if len(meanings) == 1 else f"{text} ({', '.join(names)})" for text, names in said.items())


def _in_words(folder: Path) -> str:
    lines = []
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        sets = ""
        if folder.name in ("recipe", "budget_data", "budget_model"):
            content = yaml.safe_load(path.read_text()) or {}
            sets = " ".join([*_chosen(content.pop("defaults", [])), *(f"{k}={v}" for k, v in leaves(content))])
        lines.append(f"- `{name}`: {' '.join(filter(None, [_comment(path), f'`{sets}`' if sets else '']))}")
    return "\n".join(lines) + "\n"


def _chosen(defaults: list[Any]) -> Iterator[str]:
    for entry in defaults:
        if isinstance(entry, dict):
            ((group, choice),) = entry.items()
            yield f"{group.removeprefix('override ').split('@')[0].lstrip('/')}={choice}"
        elif entry != "_self_":
            yield f"recipe={entry}"  # one that it changes


def _groups(path: Path) -> str:
    """The defaults list of a command, in words; entries with a package (`group@package`) are its own affair."""
    shown = []
    for entry in (yaml.safe_load(path.read_text()) or {}).get("defaults", []):
        if isinstance(entry, dict):
            ((group, choice),) = entry.items()
            group = group.removeprefix("optional ").removeprefix("override ")
            if not group.startswith("hydra") and "@" not in group:
                text = ",".join(choice) if isinstance(choice, list) else choice
                shown.append(f"`{group}={'' if text is None else f'[{text}]' if isinstance(choice, list) else text}`")
        elif entry != "_self_":
            shown.append(f"all of `{entry}.yaml`")
    return ", ".join(shown)


def _options(path: Path, group: str) -> Iterator[Option]:
    """The leaves of a file, in its order."""
    text = path.read_text()
    package = re.match(r"# @package (\S+)", text)
    prefix = package[1] if package else group
    comments = {number: match[1] for number, line in enumerate(text.splitlines()) if (match := re.search(r"\s#\s+(.*)$", line))}
    root = yaml.compose(text)
    if isinstance(root, yaml.MappingNode):
        yield from _walk(root, "" if prefix in ("_global_", "") else f"{prefix}.", TARGETS.get(group, ""), comments)


def _walk(node: yaml.MappingNode, prefix: str, target: str, comments: dict[int, str]) -> Iterator[Option]:
    """Its leaves; a comment beside a mapping in braces is the mapping's."""
    children = {key.value: value for key, value in node.value}
    if "_target_" in children:
        target = children["_target_"].value
    for key, value in node.value:
        name = key.value
        if name in ("defaults", "hydra", "_target_", "_partial_", "<<") or (
            prefix == "module." and value.value == f"${{{name}}}"
        ):
            continue
        comment = comments.get(key.start_mark.line, "")
        if isinstance(value, yaml.MappingNode) and value.value:
            if comment:
                yield Option(f"{prefix}{name}", "", comment)
            inside = {line: text for line, text in comments.items() if line != key.start_mark.line}
            yield from _walk(value, f"{prefix}{name}.", target, inside)
        elif isinstance(value, yaml.SequenceNode) and any(isinstance(item, yaml.MappingNode) for item in value.value):
            yield Option(f"{prefix}{name}", "a list, see the file", comment or _argument(target, name))
        else:
            yield Option(f"{prefix}{name}", _default(value), comment or _argument(target, name))


def _default(node: yaml.Node) -> str:
    value = yaml.safe_load(yaml.serialize(node))
    if value == "???":
        return "to be given"
    if value is None or value == {} or value == [{}]:
        return "null" if value is None else "empty"
    return f"`{json.dumps(value) if value == '' or isinstance(value, bool) else value}`"


def _argument(target: str, name: str) -> str:
    """What the docstrings of a class (and of those it is made of) say of an argument."""
    if not target.startswith("headposekit."):
        return f"of `{target}`" if target else ""
    found = get_object(target)
    reader = getattr(found, "reader", None) or object  # of a DataModule, whose options it takes
    for cls in [*inspect.getmro(found), *inspect.getmro(reader)] if inspect.isclass(found) else [found]:
        if not cls.__module__.startswith("headposekit."):
            continue
        if text := _said(cls, name):
            return text
    return ""


def _said(thing: Any, name: str) -> str:
    """Of an argument in a docstring, or where that one says to see."""
    text = _of_docstring(thing, name)
    see = re.match(r"see `(\w+)`", text)
    other = getattr(inspect.getmodule(thing), see[1], None) if see else None
    return (_said(other, name) if other is not None else "") or text


def _of_docstring(thing: Any, name: str) -> str:
    doc = inspect.getdoc(thing) or ""
    section = re.search(r"^Args:\n(.*?)(?:\n\S|\Z)", doc, re.MULTILINE | re.DOTALL)
    for entry in re.split(r"\n(?= {4}\S)", section[1]) if section else []:
        names, _, text = entry.strip().partition(": ")
        if name in names.split(", "):
            return " ".join(text.split()).rstrip(".")
    return ""


def _help(path: Path) -> str:
    """What a program says of itself for --help."""
    header = yaml.safe_load(path.read_text()).get("hydra", {}).get("help", {}).get("header", "")
    return " ".join(header.split())


def _comment(path: Path) -> str:
    """What a file's first lines say of it."""
    lines = []
    for line in path.read_text().splitlines():
        if line.startswith("# @package"):
            continue
        if not line.startswith("#"):
            break
        lines.append(line.removeprefix("#").strip())
    return " ".join(lines)


def _table(rows: list[tuple[str, str, str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in (f"`{key}`", default, meaning)] for key, default, meaning in rows]
    lines = ["| " + " | ".join(row) + " |" for row in cells]
    return "\n".join(["| key | default | meaning |", "|---|---|---|", *lines]) + "\n"


if __name__ == "__main__":
    write_text(PAGE, reference())
