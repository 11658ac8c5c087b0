"""Testing on named test sets, and what each leaves in the run folder."""

import contextlib
import functools
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.precision import Precision
from torch import Tensor

from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.errors import InputError
from headposekit.files import write_picture
from headposekit.geometry.conventions import ERRORS
from headposekit.geometry.drawing import draw_examples
from headposekit.geometry.rotations import angular_error, geodesic_distance
from headposekit.metrics import aligned_errors, errors_by_view, errors_by_yaw
from headposekit.metrics.uncertainty import uncertainty_scores
from headposekit.training import PoseEvaluator
from headposekit.training.loggers import ResultLogger
from headposekit.training.module import Prediction
from headposekit.training.runs import write_predictions
from headposekit.types import Image

log = logging.getLogger(__name__)

NUM_EXAMPLES = 16


def check_sets(module: PoseEvaluator, datamodules: Mapping[str, HeadPoseDataModule]) -> None:
    """Read every dataset; InputError where one is unusable, or has crops of another size than the network takes."""
    for name, datamodule in datamodules.items():
        size = module.model.input_size  # of what takes no crops, None
        if size is not None and datamodule.crop.size != size:
            network = type(module.model).__name__
            raise InputError(
                f"{name}: crop.size={datamodule.crop.size}, but {network} takes {size} pixels; set crop.size={size}"
            )
        if name.startswith("test."):
            datamodule.dataset.verify(datamodule.test_indices)
        for face, reason in datamodule.dataset.skipped.items():
            log.warning("%s: %s left out: %s", name, face, reason)
        for doubt in datamodule.dataset.doubts:
            log.warning("%s: %s", name, doubt)


def run_tests(
    trainer: pl.Trainer,
    module: PoseEvaluator,
    test_sets: Mapping[str, HeadPoseDataModule],
    results: dict[str, Any],
    weights: str,
    folder: Path | None = None,
    records: Mapping[str, dict[str, Any]] | None = None,
) -> None:
    """Test on every set and enter the errors into `results["test"][set][weights]`.

    Args:
        trainer, module, test_sets: what tests, with the weights that are tested, on what, by name.
        results: content of results.json, filled in place.
        weights: `initial`, `last` or `best`.
        folder: where predictions_<set>.csv and examples_<set>.png go; None writes none.
        records: what else results.json says of each set.

    Raises:
        InputError: no face got a pose, or the network predicts NaN.
    """
    for name, datamodule in test_sets.items():
        datamodule.with_pictures = module.model.needs_picture
        with in_full_precision(trainer, module):
            trainer.test(module, datamodule=datamodule, verbose=False)
        errors, failures = dict(module.test_errors), dict(module.test_failures)
        if failures and not errors["n"]:
            raise InputError(
                f"{name}: none of {len(module.predictions)} faces got a pose ({failures['refused']} refused, "
                f"{failures['behind']} behind the camera); check that the set has landmarks, and the solver"
            )
        if not all(math.isfinite(value) for value in errors.values()):
            raise InputError(
                f"{name}: the network predicts NaN or infinity ({weights} weights); it has diverged, lower optimizer.lr"
            )
        entry = results["test"].setdefault(name, describe(datamodule))
        if records is not None:
            entry |= records[name]
        n = int(errors.pop("n")) + failures.get("without_pose", 0)
        limit = trainer.limit_test_batches
        if isinstance(limit, int) or limit < 1.0:  # the trainer's own switches (fast_dev_run too) leave faces out
            entry["n"] = n
        if n != entry["n"]:
            raise RuntimeError(f"{name}: {n} faces tested, {entry['n']} expected")
        true, predicted = poses_of(module.predictions)
        more = datamodule.more_errors(true.numpy(), predicted.numpy())
        aligned = aligned_errors(predicted, true) if datamodule.euler_order == "ypr" else {}
        entry[weights] = {**errors, **aligned, **{key: float(value) for key, value in more.items()}}
        entry.setdefault("by_yaw", {})[weights] = errors_by_yaw(predicted, true)
        if module.predictions and "nll" in module.predictions[0]:
            columns = ("geodesic", "spread", "nll", "level")
            values = (torch.tensor([row[key] for row in module.predictions], dtype=torch.float64) for key in columns)
            entry.setdefault("uncertainty", {})[weights] = uncertainty_scores(*values)
        entry.setdefault("by_view", {})[weights] = errors_by_view(predicted, true)
        if failures:
            entry |= {**failures, "skipped": entry["skipped"] + failures["refused"], "median": medians(module.predictions)}
        if folder is not None and trainer.is_global_zero:
            dataset = datamodule.dataset
            path = folder / f"predictions_{name}.csv"
            write_predictions(path, module.predictions, dataset.photo_of, dataset.attributes_of)
            write_picture(folder / f"examples_{name}.png", examples(module.predictions, datamodule))
            for logger in trainer.loggers:
                if isinstance(logger, ResultLogger):
                    logger.log_test(name, module.predictions, functools.partial(crops_of, datamodule))


@contextlib.contextmanager
def in_full_precision(trainer: pl.Trainer, module: pl.LightningModule) -> Iterator[None]:
    """Compute in float32, without TF32, whatever `trainer.precision` says: a test's numbers depend on weights and faces."""
    strategy, plugin = trainer.strategy, trainer.strategy.precision_plugin
    backends: tuple[Any, ...] = (torch.backends.cudnn, torch.backends.cuda.matmul)
    allowed = [backend.allow_tf32 for backend in backends]
    strategy.precision_plugin = Precision()
    for backend in backends:
        backend.allow_tf32 = False
    if any(parameter.dtype != torch.float32 for parameter in module.parameters()):
        module.float()  # for good: nothing is trained after a test
    try:
        yield
    finally:
        strategy.precision_plugin = plugin
        for backend, is_allowed in zip(backends, allowed, strict=True):
            backend.allow_tf32 = is_allowed


def describe(datamodule: HeadPoseDataModule) -> dict[str, Any]:
    """What a test set is, as results.json names it."""
    dataset = datamodule.dataset
    return {
        "rules": datamodule.rules,
        "crop": datamodule.crop.name,
        "n": len(datamodule.test_indices),
        "filtered": dataset.num_filtered,
        "skipped": len(dataset.skipped),
    }


def poses_of(predictions: Sequence[Prediction]) -> tuple[Tensor, Tensor]:
    """True and predicted poses, (N, 3) each in degrees, of the faces that have both."""
    rows = [row for row in predictions if math.isfinite(row["geodesic"])]
    true, predicted = (torch.tensor([row[key] for row in rows], dtype=torch.float64) for key in ("true", "predicted"))
    return true, predicted


def medians(predictions: Sequence[Prediction]) -> dict[str, float]:
    """Median errors over the faces that have a pose, in degrees, which a few failures do not move."""
    true, predicted = poses_of(predictions)
    angles = angular_error(predicted, true)
    values = [*angles.T, angles.mean(dim=-1), geodesic_distance(predicted, true)]
    return {key: value.quantile(0.5).item() for key, value in zip(ERRORS, values, strict=True)}


def crops_of(datamodule: HeadPoseDataModule, names: Sequence[str]) -> list[Image]:
    """Crops of faces of a test set, RGB, as the test saw them."""
    number = {datamodule.dataset.names[index]: index for index in datamodule.test_indices}
    return list(datamodule.faces([number[name] for name in names])["image"].permute(0, 2, 3, 1).numpy())


def examples(predictions: Sequence[Prediction], datamodule: HeadPoseDataModule) -> Image:
    """A sheet of faces evenly drawn from a test set, with their true and predicted poses."""
    rows = {row["name"]: row for row in predictions}
    names = [name for index in datamodule.test_indices if (name := datamodule.dataset.names[index]) in rows]
    names = [names[int(i)] for i in np.linspace(0, len(names) - 1, min(NUM_EXAMPLES, len(names)))]
    true, predicted = ([rows[name][key] for name in names] for key in ("true", "predicted"))
    return draw_examples(crops_of(datamodule, names), true, predicted)
