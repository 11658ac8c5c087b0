"""Loggers of a run: opened together, given the results, and closed whatever happens."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
from hydra.utils import instantiate
from pytorch_lightning.loggers import Logger, TensorBoardLogger

from headposekit.console import result_rows
from headposekit.paths import output_dir
from headposekit.training.module import Prediction
from headposekit.types import Image

log = logging.getLogger(__name__)


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
    """Open the configured loggers; at the end give them table and pictures, on success and on failure close them.

    Args:
        config: name to logger configuration.
        results: content of results.json; its `config` is logged at the start, its `test` at the end.
    """
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
        lines = [
            "|".join(columns),
            "|".join("-" for _ in columns),
            *("|".join(str(cell) for cell in row) for row in rows),
        ]
        logger.experiment.add_text("results", "\n".join(lines))
        for picture in pictures:
            image = cv2.imread(str(picture), cv2.IMREAD_COLOR_RGB)
            logger.experiment.add_image(picture.stem, image, dataformats="HWC")
