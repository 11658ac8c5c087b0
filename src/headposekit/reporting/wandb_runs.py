"""Runs on Weights & Biases: Lightning's logger, with what a test leaves behind."""

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import wandb
from pytorch_lightning.loggers import WandbLogger

from headposekit.console import result_rows
from headposekit.errors import InputError
from headposekit.geometry.conventions import ANGLES
from headposekit.geometry.drawing import draw_face
from headposekit.reporting.figures import ERROR, binned
from headposekit.training.module import Prediction
from headposekit.types import Image

log = logging.getLogger(__name__)


class WandbRun(WandbLogger):
    """Curves, and at the end errors, tables of predictions with their faces, and errors over the range of each angle.

    Args:
        project, name, id, resume, group, job_type, tags: of the run, as `wandb.init` has them.
        save_dir: where its files go.
        offline: write files only; `wandb sync` uploads them.
        log_model: upload checkpoints.
        num_pictures: faces of each test set in its table, half of them the worst, half evenly drawn.

    Raises:
        InputError: W&B does not start.
    """

    def __init__(
        self,
        project: str,
        name: str,
        id: str,
        resume: str,
        group: str | None,
        job_type: str,
        tags: Sequence[str],
        save_dir: str | Path,
        offline: bool = False,
        log_model: bool = False,
        num_pictures: int = 32,
    ) -> None:
        super().__init__(
            name=name, save_dir=save_dir, offline=offline, id=id, project=project, log_model=log_model,
            resume=resume, group=group, job_type=job_type, tags=list(tags),
        )  # fmt: skip
        self.num_pictures = num_pictures
        if offline:  # what tables hold waits for `wandb sync` too: in the run folder, not in the home directory
            os.environ.setdefault("WANDB_DATA_DIR", str(save_dir))
        try:
            _ = self.experiment  # starts the run
        except wandb.errors.Error as error:
            reason = str(error).splitlines()[0]
            raise InputError(
                f"W&B did not start ({reason}); run `wandb login`, or set logger.wandb.offline=true and `wandb sync` later"
            ) from error

    def log_test(self, test_set: str, rows: Sequence[Prediction], crops_of: Callable[[list[str]], list[Image]]) -> None:
        """Log the predictions of a test set; `crops_of` gives the RGB crops of faces by their names.

        A service that fails now does not make the run a failure.
        """
        try:
            self.experiment.log({f"predictions/{test_set}": self._table(rows, crops_of)})
            pairs = {str(row["name"]): (np.array(row["true"]), np.array(row["predicted"])) for row in rows}
            for name, points in zip(ANGLES, binned([pairs]), strict=True):
                columns: list[Any] = [f"true {name} (degrees)", ERROR, "faces"]
                bins = wandb.Table(columns, [list(map(float, point)) for point in zip(*points, strict=True)])
                chart = wandb.plot.line(bins, columns[0], columns[1], title=f"{test_set}: error against {name}")
                self.experiment.log({f"error_by_angle/{test_set}/{name}": chart})
        except Exception as error:
            log.warning("W&B did not take the predictions of %s: %s", test_set, error)

    def log_results(self, results: dict[str, Any], pictures: Sequence[Path]) -> None:
        """Log results.json's errors as a table and, each, in the run's summary; and pictures that lie in the run folder."""
        columns, rows = result_rows(results)
        self.log_table("results", columns=columns, data=rows)
        for picture in pictures:
            self.log_image(picture.stem, [str(picture)])
        summary = {
            f"test/{test_set}/{weights}/{column}": value
            for test_set, weights, *values in rows
            for column, value in zip(columns[2:], values, strict=True)
        }
        for test_set, entry in results["test"].items():  # faces that the errors leave out
            summary |= {f"test/{test_set}/{key}": entry.get(key, 0) for key in ("skipped", "without_pose")}
        self.experiment.summary.update(summary)

    def close(self, is_finished: bool) -> None:
        """End the run; Lightning's own end comes after each fit and test."""
        self.experiment.finish(exit_code=0 if is_finished else 1)

    def _table(self, rows: Sequence[Prediction], crops_of: Callable[[list[str]], list[Image]]) -> "wandb.Table":
        by_error = sorted(rows, key=lambda row: -np.nan_to_num(row["geodesic"], nan=np.inf))  # no pose at all is the worst
        worst = by_error[: self.num_pictures // 2]
        others = [row for row in rows if row not in worst]
        places = np.linspace(0, len(others) - 1, min(self.num_pictures - len(worst), len(others))).astype(int)
        shown = [*(("worst", row) for row in worst), *(("evenly drawn", others[place]) for place in places)]
        table = wandb.Table(
            ["face", "why", "name", *(f"{kind} {angle}" for kind in ("true", "predicted") for angle in ANGLES), "geodesic"]
        )
        for crop, (why, row) in zip(crops_of([row["name"] for _, row in shown]), shown, strict=True):
            face = wandb.Image(draw_face(crop, row["true"], row["predicted"]))
            table.add_data(face, why, row["name"], *row["true"], *row["predicted"], row["geodesic"])
        return table
