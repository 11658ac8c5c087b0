"""Loggers of a run: metrics.csv; all of them opened together, given the results, and closed whatever happens."""

import csv
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
from hydra.utils import instantiate
from lightning_fabric.loggers.logger import rank_zero_experiment
from lightning_utilities.core.rank_zero import rank_zero_only
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from headposekit.console import result_rows
from headposekit.files import replacing
from headposekit.paths import output_dir
from headposekit.training.module import Prediction
from headposekit.types import Image

log = logging.getLogger(__name__)


class EpochCSVLogger(Logger):
    """Writes what is logged during an epoch as one row of metrics.csv; Lightning's own starts a new file on each resume.

    Args:
        save_dir: folder of metrics.csv; rows of an earlier session found there are kept, up to the resumed epoch.
    """

    name = "csv"
    version = ""  # the run folder is the version

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
        self.rows[epoch] = {**self.rows.get(epoch, {}), **metrics, "epoch": epoch}
        columns = ["epoch", *sorted({key for row in self.rows.values() for key in row} - {"epoch"})]
        with replacing(self.path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, columns)
            writer.writeheader()
            writer.writerows(self.rows[key] for key in sorted(self.rows))


@runtime_checkable
class ResultLogger(Protocol):
    """A logger that takes more than curves."""

    def log_test(self, test_set: str, rows: Sequence[Prediction], crops_of: Callable[[list[str]], list[Image]]) -> None:
        """Take all predictions of a test set; `crops_of` gives the faces of the names it is given."""

    def log_results(self, results: dict[str, Any], pictures: Sequence[Path]) -> None:
        """Take the content of results.json, and pictures that lie in the run folder."""

    def close(self, is_finished: bool) -> None:
        """End the run, as one that finished or failed."""


@contextmanager
def logging_to(config: Mapping[str, Any], results: dict[str, Any]) -> Iterator[list[Logger]]:
    """Open the configured loggers and log the results' `config`; at the end give them `test` and pictures, and close them."""
    loggers: list[Logger] = [instantiate(logger) for logger in config.values() if logger]
    finished = False
    try:
        for logger in loggers:
            logger.log_hyperparams({key: results[key] for key in ("train_id", "params") if key in results} | results["config"])
        yield loggers
        finished = True
        for logger in loggers:
            try:
                _log_results(logger, results)
            except Exception as error:  # results.json is written; a service that fails now must not make a run a failure
                log.warning("%s did not take the results: %s", type(logger).__name__, error)
    finally:
        for logger in loggers:
            logger.finalize("success" if finished else "failed")
            if isinstance(logger, ResultLogger):
                logger.close(finished)


def _log_results(logger: Logger, results: dict[str, Any]) -> None:
    pictures = sorted(output_dir().glob("examples_*.png"))
    if isinstance(logger, ResultLogger):
        logger.log_results(results, pictures)
    elif isinstance(logger, TensorBoardLogger):
        columns, rows = result_rows(results)
        lines = ["|".join(map(str, row)) for row in (columns, ["-"] * len(columns), *rows)]
        logger.experiment.add_text("results", "\n".join(lines))
        for picture in pictures:
            image = cv2.imread(str(picture), cv2.IMREAD_COLOR_RGB)
            logger.experiment.add_image(picture.stem, image, dataformats="HWC")
