"""Hydra's sweeper for experiments: the rows of a table, and a list of how each of its cells ended."""

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from omegaconf import OmegaConf

BUSY_SECONDS = 5.0


class GridSweeper(BasicSweeper):
    """The cells of the rows of the configuration's `table:`, each multiplied by what the command line sweeps over.

    What the command line gives for an option of a cell wins. Equal cells run once. Without a table it is Hydra's basic
    sweeper. No cell stops another; at the end a list says which finished, failed or are missing.
    """

    def sweep(self, arguments: list[str]) -> Any:
        """Run all cells.

        Raises:
            InputError: a cell did not finish.
        """
        from headpose.errors import InputError  # Hydra imports all plugins at every start
        from headpose.reporting.console import print_sweep
        from headpose.running.entry import SWEEP, SWEEPER
        from headpose.running.pool import CellState

        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        cells = self.cells(arguments)
        swept = [o for o in OverridesParser.create().parse_overrides(arguments) if o.is_sweep_override()]
        os.environ[SWEEP] = " ".join(str(override.input_line) for override in swept)[:128]  # the cells' processes inherit it
        os.environ[SWEEPER] = str(os.getpid())
        self.validate_batch_is_legal(cells)
        reasons: dict[int, str] = {}
        returns: list[JobReturn] = []
        waiting = list(range(len(cells)))
        while waiting:
            outcome = self._launch([cells[number] for number in waiting], waiting[0])
            returns += outcome
            busy = []
            for number, job in zip(waiting, outcome, strict=False):
                if job.status is JobStatus.FAILED:
                    reasons[number] = str(job._return_value)
                elif isinstance(job.return_value, CellState) and job.return_value.state == "busy":
                    busy.append(number)
            waiting = busy
            if waiting:  # another sweep is at them; theirs is ours when they end
                time.sleep(BUSY_SECONDS)
        shared = set.intersection(*(set(cell) for cell in cells)) if len(cells) > 1 else set()
        rows = [self._row(cell, shared, reasons.get(number)) for number, cell in enumerate(cells)]
        print_sweep(rows)
        if unfinished := sum(row["state"] != "finished" for row in rows):
            raise InputError(f"{unfinished} of {len(rows)} cells did not finish; the same command goes on with them")
        return returns

    def cells(self, arguments: Sequence[str]) -> list[list[str]]:
        """Overrides of every cell, without repetition."""
        from headpose.running.cells import cell_overrides, cells_of

        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        table: Any = OmegaConf.to_container(self.config.table) if self.config.get("table") else None
        out: dict[tuple[str, ...], list[str]] = {}
        for cell in cells_of(table):
            options = [*self._parse_config(), *cell_overrides(cell), *arguments]
            (combinations,) = self.split_arguments(parser.parse_overrides(options), None)
            out |= {tuple(sorted(options)): list(options) for options in combinations}
        return list(out.values())

    def _launch(self, cells: list[list[str]], first: int) -> Sequence[JobReturn]:
        assert self.launcher is not None
        try:
            return self.launcher.launch(cells, initial_job_idx=first)
        except Exception as error:  # a worker of the launcher was killed: what the others did lies in their folders
            print(f"the launcher broke off: {type(error).__name__}: {error}".splitlines()[0])
            return []

    def _row(self, cell: list[str], shared: set[str], reason: str | None) -> dict[str, str]:
        from headpose.running.pool import cell_state
        from headpose.running.protocols import settle_tests

        assert self.config is not None
        assert self.hydra_context is not None
        config = self.hydra_context.config_loader.load_sweep_config(self.config, cell)
        settle_tests(config)
        folder = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
        state = cell_state(config, folder)
        return {
            "cell": " ".join(part for part in cell if part not in shared),
            "folder": folder.name,
            "state": "failed" if reason and state.state != "finished" else state.state,
            "reason": state.reason or reason or "",
        }


@dataclass
class GridSweeperConf:
    """Options of the sweeper, as Hydra's basic one."""

    _target_: str = "hydra_plugins.grid_sweeper.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="headpose")
