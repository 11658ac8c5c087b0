"""With which options the experiments in the pool were swept, as the runs recorded them."""

import functools
import re
from collections.abc import Iterable
from typing import Any

import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf

from headpose.reporting.runs import Run
from headpose.reporting.tables import Table
from headpose.running.experiments import PUBLISHED, experiment_names

IMMATERIAL = ("experiments", "seed", "data.seed", "trainer", "logger", "callbacks", "resume")
"""Options of a sweep that its table does not depend on: it takes all seeds together."""
FORBIDDEN = ("hydra", "figures", "table", "blocks")
"""Options that a run folder, which anybody may have written, has no say in."""


@functools.cache
def raw_experiment(name: str) -> dict[str, Any]:
    """An experiment's file as it stands, nothing composed."""
    raw: Any = OmegaConf.to_container(OmegaConf.load(PUBLISHED.parent / f"{name}.yaml"))
    return dict(raw)


def family(name: str) -> tuple[str, ...]:
    """What experiments that can share trainings have in common: protocol and data."""
    defaults = [item for item in raw_experiment(name)["defaults"] if isinstance(item, dict)]
    return tuple(str(item[key]) for key in ("override /protocol", "override /data") for item in defaults if key in item)


def recorded_options(runs: Iterable[Run]) -> dict[str | None, set[tuple[str, ...]]]:
    """With which options each experiment was swept, as its runs recorded them, but for those that make its cells.

    Sweeps of no experiment stand under None; their trainings may be cells of any.
    """
    found: dict[str | None, set[tuple[str, ...]]] = {}
    names = experiment_names()
    parser = OverridesParser.create()
    for run in runs:
        try:
            texts = yaml.safe_load((run.folder / ".hydra" / "overrides.yaml").read_text())
            parsed = {str(parser.parse_override(text).key_or_group): str(text) for text in texts}
        except (OSError, ValueError, TypeError, yaml.YAMLError, HydraException):
            parsed = {}
        name = parsed.get("experiments", "").partition("=")[2]
        left_out = {*IMMATERIAL, *_cell_options(name)}
        options = [text for key, text in parsed.items() if key not in left_out and _is_plain(key, text)]
        found.setdefault(name if name in names else None, set()).add(tuple(options))
    return found


def still_missing(name: str, given: Iterable[str], table: Table, runs: Iterable[Run]) -> list[str]:
    """What to tell whoever asked for a table that lacks rows; nothing where it lacks none.

    Args:
        name: of the experiment.
        given: the options that it was asked for with.
        table: of it.
        runs: in the pool.
    """
    if not table.missing:
        return []
    options = [option for option in given if not option.startswith("experiments=")]
    left_out = {*IMMATERIAL, *_cell_options(name)}
    own = {option for option in options if option.split("=")[0] not in left_out}
    recorded = recorded_options(runs).get(name, set())
    others = sorted(" ".join(map(_quoted, known)) or "no options" for known in recorded if set(known) != own)
    return [
        f"Missing: {'; '.join(table.missing)}; `{sweep_command(name, options)}` goes on with them",
        *(f"the pool has it with {known}" for known in others if known.isprintable()),  # anybody may have written it
    ]


def sweep_command(name: str, options: Iterable[str]) -> str:
    """What a user types to sweep an experiment with these options, or to go on with it."""
    return " ".join(["python src/train.py -m", f"experiments={name}", *map(_quoted, options)])


@functools.cache
def _cell_options(name: str) -> set[str]:
    """Options that make the cells of an experiment; of one that is not this project's none."""
    if name not in experiment_names():
        return set()
    raw = raw_experiment(name)
    return {key for block in [*raw["blocks"], *(row.get("cell", {}) for row in raw["table"]["rows"])] for key in block}


def _quoted(option: str) -> str:
    return option if re.fullmatch(r"[\w.=/@:+~-]+", option) else f"'{option}'"


def _is_plain(key: str, text: str) -> bool:
    """Whether an option that a folder recorded can make nothing but values: it names no class and reads no environment."""
    return key.split(".")[0] not in FORBIDDEN and "_target_" not in text and "${" not in text
