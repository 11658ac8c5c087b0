"""Fit a network, if there is anything to fit, then test it: `python src/train.py [hydra overrides]`, see conf/train.yaml."""

from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from headposekit.cli.entry import entry_point, is_sweep
from headposekit.cli.networks import compile_network, without_imagenet
from headposekit.console import print_next_steps, print_results
from headposekit.datasets.trees import write_trees
from headposekit.errors import InputError
from headposekit.files import write_json
from headposekit.paths import output_dir, typed
from headposekit.process import keep_freed_memory
from headposekit.sweeps.cells import record_cell
from headposekit.sweeps.pool import find_resume, finished_results, run_cell, untested
from headposekit.training.callbacks import SelfDescription
from headposekit.training.identity import learns
from headposekit.training.loggers import logging_to
from headposekit.training.protocols import describe_protocol, records_of_tests
from headposekit.training.results import NO_TRAINING, model_card, new_results, summarise_training, write_model_card
from headposekit.training.testing import check_sets, run_tests
from headposekit.training.trainers import check_trainer, make_trainer, validates
from headposekit.weights.checkpoint import read_weights_into
from headposekit.weights.load import load_initial_weights


@entry_point("train")
def train(config: DictConfig) -> Any:
    """Compose, seed, instantiate, fit, test, write results.json; in a sweep, see to it that a process does."""
    if is_sweep():
        return run_cell(config)
    check_trainer(config)
    folder = output_dir()
    keep_freed_memory()
    write_trees(config)
    pl.seed_everything(config.seed, workers=True, verbose=False)
    before = finished_results(config, folder)
    wanted = list(config.test) if before is None else untested(config, before)
    test_sets: dict[str, Any] = {name: instantiate(config.test[name], _convert_="all") for name in wanted}
    if not learns(config) and (config.init_weights or config.resume):
        raise InputError("init_weights= and resume= are for training, and this model learns nothing; leave them out")
    resume = find_resume(config, folder) if before is None else None
    is_fresh = not (before or resume or config.init_weights)
    module = instantiate(config.module if is_fresh else without_imagenet(config.module), _convert_="all")
    compile_network(module, config.compile)
    callbacks = {name: instantiate(callback) for name, callback in config.callbacks.items() if callback}
    fits = before is None and learns(config)
    datamodule: Any = instantiate(config.data, _convert_="all") if fits else None
    sets = {f"test.{name}": test for name, test in test_sets.items()}
    check_sets(module, {"data": datamodule, **sets} if fits else sets)

    if before is not None:  # the training has finished in this folder: test on what is new
        results = before
        for name in wanted:
            results["test"].pop(name, None)
    elif not fits:
        results = {**new_results(config, module.model), "protocol": None, "train": dict(NO_TRAINING)}
    else:
        if config.init_weights:
            load_initial_weights(module.model, config.init_weights)
        results = new_results(config, module.model)
        faces = {"train": len(datamodule.split.train), "val": len(datamodule.split.val)}
        results["protocol"] = describe_protocol(config, faces) or None
        if not datamodule.split.val or not validates(config.trainer):
            callbacks.pop("best", None)
        callbacks["self_description"] = SelfDescription(model_card(config, module.model, datamodule))

    records = records_of_tests(config, test_sets)
    with logging_to(config.logger, results) as loggers:
        trainer = make_trainer(config, callbacks, loggers)
        if fits:
            if config.init_weights:
                run_tests(trainer, module, test_sets, results, "initial", records=records)
            trainer.fit(module, datamodule=datamodule, ckpt_path=resume, weights_only=True)
            results["train"] = summarise_training(trainer, datamodule, callbacks)
        elif learns(config):
            read_weights_into(module.model, folder / "checkpoints" / "last.ckpt")
        run_tests(trainer, module, test_sets, results, "last", folder, records)
        if results["train"]["best_epoch"] == results["train"]["epochs"] - 1:  # the very same weights
            for name in wanted:
                results["test"][name]["best"] = dict(results["test"][name]["last"])
        elif results["train"]["best_epoch"] is not None:
            read_weights_into(module.model, folder / "checkpoints" / "best.ckpt")
            run_tests(trainer, module, test_sets, results, "best", records=records)

        results["status"] = "finished"
        record_cell(results, config)
        if trainer.is_global_zero:
            (folder / "failed.json").unlink(missing_ok=True)
            write_model_card(folder, results)
            write_json(folder / "results.json", results)
            print_results(results)
            if learns(config):
                print_next_steps(folder, typed("predict"))
    return None
