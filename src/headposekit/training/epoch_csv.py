"""metrics.csv of the run folder: one row an epoch, and it survives a resume."""

import csv
import logging
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger

from headposekit.files import replacing

log = logging.getLogger(__name__)


class EpochCSVLogger(Logger):
    """Writes what is logged during an epoch as one row; Lightning's own starts a new file on each resume.

    Args:
        save_dir: folder of metrics.csv; rows of an earlier session found there are kept, up to the resumed epoch.
    """

    def __init__(self, save_dir: str | Path) -> None:
        super().__init__()
        self.path = Path(save_dir) / "metrics.csv"
        self.rows: dict[int, dict[str, Any]] = {}
        try:
            if self.path.is_file():
                with self.path.open(newline="", encoding="utf-8") as file:
                    self.rows = {int(row["epoch"]): dict(row) for row in csv.DictReader(file)}
        except (ValueError, KeyError, TypeError, csv.Error, OSError) as error:  # ValueError: not UTF-8, too
            log.warning("%s: damaged (%s); its earlier epochs are lost", self.path, type(error).__name__)

    @property
    def name(self) -> str:
        """Lightning's name of the logger."""
        return "csv"

    @property
    def version(self) -> str:
        """Unused: the run folder is the version."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> None:
        """There is no object behind this logger."""

    @rank_zero_only
    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The configuration already stands in `.hydra/` and results.json."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Add numbers to the row of `metrics["epoch"]`; later rows are of an abandoned session and go."""
        if "epoch" not in metrics:
            return
        epoch = int(metrics["epoch"])
        self.rows = {key: row for key, row in self.rows.items() if key <= epoch}
        self.rows.setdefault(epoch, {"epoch": epoch}).update({key: value for key, value in metrics.items() if key != "epoch"})
        columns = ["epoch", *sorted({key for row in self.rows.values() for key in row} - {"epoch"})]
        with replacing(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows[key] for key in sorted(self.rows))
