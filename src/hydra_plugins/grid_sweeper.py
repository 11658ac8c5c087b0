"""Hydra's sweeper for experiments: the rows of a table, and a list of how each of its cells ended."""

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext
from omegaconf import DictConfig, OmegaConf

BUSY_SECONDS = 5.0


class GridSweeper(BasicSweeper):
    """The cells of the rows of the configuration's `table:`, each multiplied by what the command line sweeps over.

    What the command line gives for an option of a cell wins. Equal cells run once. Without a table it is Hydra's basic
    sweeper. No cell stops another; at the end a list says which finished, failed or are missing.
    """

    config: DictConfig  # these three Hydra sets before it calls `sweep`
    hydra_context: HydraContext
    launcher: Launcher

    def sweep(self, arguments: list[str]) -> Any:
        """Run all cells.

        Raises:
            InputError: a cell did not finish.
        """
        from headposekit.console import print_sweep
        from headposekit.errors import InputError  # Hydra imports all plugins at every start
        from headposekit.sweeps.folders import SWEEP, SWEEPER
        from headposekit.sweeps.pool import CellState, cell_state

        cells = self.cells(arguments)
        swept = [o for o in OverridesParser.create().parse_overrides(arguments) if o.is_sweep_override()]
        os.environ[SWEEP] = " ".join(str(override.input_line) for override in swept)[:128]  # the cells' processes inherit it
        os.environ[SWEEPER] = str(os.getpid())
        self.validate_batch_is_legal(cells)
        reasons: dict[int, str] = {}
        returns: list[JobReturn] = []
        waiting = list(range(len(cells)))
        while waiting:
            jobs: Sequence[JobReturn] = []
            try:
                with _lost_jobs_fail(self.launcher):
                    jobs = self.launcher.launch([cells[number] for number in waiting], initial_job_idx=waiting[0])
            except Exception as error:  # a worker of the launcher was killed: what the others did lies in their folders
                print(f"the launcher broke off: {type(error).__name__}: {error}".splitlines()[0])
            returns += jobs
            ended = dict(zip(waiting, jobs, strict=False))
            failed = {number: job for number, job in ended.items() if job.status is JobStatus.FAILED}
            reasons |= {number: str(job._return_value) for number, job in failed.items()}
            open_cells = {
                number: self._config_and_folder(cells[number])
                for number in waiting
                if number not in failed and (number not in ended or ended[number].return_value == CellState("busy"))
            }
            # Others are at some of them, or a launcher's workers after its end; what they finish counts here as well.
            while any(_is_held(folder) for _, folder in open_cells.values()):
                time.sleep(BUSY_SECONDS)
            missing = [number for number, cell in open_cells.items() if cell_state(*cell).state == "missing"]
            if not jobs and len(missing) == len(waiting):  # nothing came of it, and would not the next time
                break
            waiting = missing
        shared = set.intersection(*(set(cell) for cell in cells)) if len(cells) > 1 else set()
        rows = [self._row(cell, shared, reasons.get(number)) for number, cell in enumerate(cells)]
        print_sweep(rows)
        if unfinished := sum(row["state"] != "finished" for row in rows):
            raise InputError(f"{unfinished} of {len(rows)} cells did not finish; the same command goes on with them")
        return returns

    def cells(self, arguments: Sequence[str]) -> list[list[str]]:
        """Overrides of every cell, without repetition."""
        from headposekit.sweeps.cells import cell_overrides, cells_of

        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        table: Any = OmegaConf.to_container(self.config.table) if self.config.get("table") else None
        out: dict[tuple[str, ...], list[str]] = {}
        for cell in cells_of(table):
            options = [*self._parse_config(), *cell_overrides(cell), *arguments]
            (combinations,) = self.split_arguments(parser.parse_overrides(options), None)
            out |= {tuple(sorted(options)): list(options) for options in combinations}
        return list(out.values())

    def _row(self, cell: list[str], shared: set[str], reason: str | None) -> dict[str, str]:
        from headposekit.sweeps.pool import cell_state

        config, folder = self._config_and_folder(cell)
        state = cell_state(config, folder)
        return {
            "cell": " ".join(part for part in cell if part not in shared),
            "folder": folder.name,
            "state": "failed" if reason and state.state != "finished" else state.state,
            "reason": state.reason or reason or "",
        }

    def _config_and_folder(self, cell: list[str]) -> tuple[DictConfig, Path]:
        from headposekit.training.protocols import settle_tests

        config = self.hydra_context.config_loader.load_sweep_config(self.config, cell)
        settle_tests(config)
        return config, Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir


def _is_held(folder: Path) -> bool:
    """Whether a process is at work on a cell."""
    from headposekit.sweeps.folders import hold

    if not folder.is_dir():
        return False
    with hold(folder) as is_free:
        return not is_free


@contextlib.contextmanager
def _lost_jobs_fail(launcher: Launcher) -> Iterator[None]:
    """Within it a job of submitit that is lost counts as failed; else it would hide the results of all others."""
    if "submitit" not in type(launcher).__module__:
        yield
        return
    import submitit

    job_class: Any = submitit.Job
    collect = job_class.results

    def results(job: Any) -> list[Any]:
        try:
            return list(collect(job))
        except Exception as error:  # out of time or memory, or its node died
            return [JobReturn(status=JobStatus.FAILED, _return_value=f"{type(error).__name__}: {error}".splitlines()[0])]

    job_class.results = results
    try:
        yield
    finally:
        job_class.results = collect


@dataclass
class GridSweeperConf:
    """Options of the sweeper, as Hydra's basic one."""

    _target_: str = "hydra_plugins.grid_sweeper.GridSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = field(default_factory=dict)


ConfigStore.instance().store(group="hydra/sweeper", name="grid", node=GridSweeperConf, provider="headposekit")
