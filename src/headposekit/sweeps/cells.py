"""The cells of an experiment's sweep are the rows of its table; a training records of which cells it is."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from headposekit.paths import typed
from headposekit.training.runs import Run

IMMATERIAL = ("experiments", "seed", "data.seed", "trainer", "logger", "callbacks", "resume")
"""Options of a sweep that its table does not depend on: it takes all seeds together."""
FORBIDDEN = ("hydra", "figures", "table")
"""Options that a run folder, which anybody may have written, cannot set."""


def cells_of(table: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """What a sweep trains: the `cell` of each row, from option to value; without a table a single one without options.

    Rows that say `swept: false` show what the sweep of another experiment trains.
    """
    rows = [row for row in table["rows"] if "cell" in row and row.get("swept", True)] if table else [{"cell": {}}]
    return list({str(row["cell"]): row["cell"] for row in rows}.values())


def cell_overrides(cell: Mapping[str, Any]) -> list[str]:
    """A cell as on the command line."""
    return [f"{key}={'null' if value is None else value}" for key, value in cell.items()]


def split_options(options: Iterable[str], table: Mapping[str, Any] | None) -> tuple[list[str], list[str]]:
    """Options of a sweep: those that make the cells of its table, and the others that the table depends on."""
    keys = {key for row in (table["rows"] if table else ()) for key in row.get("cell", {})}
    named = [(key_of(option), option) for option in options]
    left_out = {*keys, *IMMATERIAL}
    others = [option for key, option in named if key not in left_out and not key.startswith(("hydra", "wandb."))]
    return [option for key, option in named if key in keys], others


def key_of(option: str) -> str:
    """The group or key that an option sets."""
    return option.lstrip("+~").partition("=")[0]


def record_cell(results: dict[str, Any], config: DictConfig) -> None:
    """Enter into the `cells` of results.json of which experiment and cell this run is, and the sweep's other options."""
    hydra = HydraConfig.get()
    table: Any = OmegaConf.to_container(config.table) if config.table else None
    cell, options = split_options(hydra.overrides.task, table)
    entry = {"experiment": hydra.runtime.choices.get("experiments"), "cell": cell, "options": options}
    if entry not in results.setdefault("cells", []):
        results["cells"].append(entry)


def recorded_cells(run: Run) -> Iterator[tuple[str | None, list[str], list[str]]]:
    """Experiment, cell and other options of each entry that `record_cell` made; nothing of an older version's run."""
    entries = run.results.get("cells")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict):
            name, cell, options = (entry.get(key) for key in ("experiment", "cell", "options"))
            if isinstance(name, str | None) and isinstance(cell, list) and isinstance(options, list):
                yield (
                    name,
                    [text for text in cell if isinstance(text, str)],
                    [text for text in options if isinstance(text, str)],
                )


def recorded_options(runs: Iterable[Run], names: Sequence[str]) -> dict[str | None, set[tuple[str, ...]]]:
    """With which options each experiment of these names was swept, as its runs recorded them, but for those of the cells.

    Sweeps of no experiment stand under None; their trainings may be cells of any.
    """
    found: dict[str | None, set[tuple[str, ...]]] = {}
    for run in runs:
        for name, _, options in list(recorded_cells(run)) or [(None, [], [])]:
            found.setdefault(name if name in names else None, set()).add(tuple(filter(_is_plain, options)))
    return found


def sweep_command(name: str, options: Iterable[str]) -> str:
    """What a user types to sweep an experiment with these options, or to go on with it."""
    return " ".join([f"{typed('train')} -m", f"experiments={name}", *map(quoted, options)])


def quoted(option: str) -> str:
    """An option as one types it into a shell."""
    return option if re.fullmatch(r"[\w.=/@:+~-]+", option) else f"'{option}'"


def _is_plain(option: str) -> bool:
    """Whether a recorded option can make nothing but values: it names no class and reads no environment."""
    return key_of(option).split(".")[0] not in FORBIDDEN and "_target_" not in option and "${" not in option
