"""Loggers of a run: opened together, given the results, and closed whatever happens."""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import cv2
from hydra.utils import instantiate
from pytorch_lightning.loggers import Logger, TensorBoardLogger, WandbLogger

from headpose.errors import InputError
from headpose.reporting.console import result_rows
from headpose.running.entry import output_dir

log = logging.getLogger(__name__)


@contextmanager
def logging_to(config: Mapping[str, Any], results: dict[str, Any]) -> Iterator[list[Logger]]:
    """Open the configured loggers; at the end give them table and pictures, on success and on failure close them.

    Args:
        config: name to logger configuration.
        results: content of results.json; its `config` is logged at the start, its `test` at the end.
    """
    loggers: list[Logger] = [_open(logger) for logger in config.values()]
    finished = False
    try:
        for logger in loggers:
            logger.log_hyperparams({"params": results["params"], **results["config"]})
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
            if isinstance(logger, WandbLogger):
                logger.experiment.finish(exit_code=0 if finished else 1)


def _open(config: Any) -> Logger:
    logger: Logger = instantiate(config)
    if isinstance(logger, WandbLogger):
        import wandb

        try:
            _ = logger.experiment  # starts the run
        except wandb.errors.Error as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"W&B did not start ({reason}); run `wandb login`, or set logger.wandb.offline=true and `wandb sync` later"
            ) from error
    return logger


def _log_results(logger: Logger, results: dict[str, Any]) -> None:
    columns, rows = result_rows(results)
    pictures = sorted(output_dir().glob("examples_*.png"))
    if isinstance(logger, WandbLogger):
        logger.log_table("results", columns=columns, data=rows)
        for picture in pictures:
            logger.log_image(picture.stem, [str(picture)])
        for test_set, weights, *errors in rows:
            logger.experiment.summary[f"test/{test_set}/{weights}/mae"] = errors[columns.index("mae") - 2]
    elif isinstance(logger, TensorBoardLogger):
        lines = [
            "|".join(columns),
            "|".join("-" for _ in columns),
            *("|".join(str(cell) for cell in row) for row in rows),
        ]
        logger.experiment.add_text("results", "\n".join(lines))
        for picture in pictures:
            image = cv2.imread(str(picture), cv2.IMREAD_COLOR_RGB)
            logger.experiment.add_image(picture.stem, image, dataformats="HWC")
