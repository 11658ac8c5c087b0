"""Fit a network, then test it: `python src/train.py [hydra overrides]`, see conf/train.yaml."""

from typing import Any

import pytorch_lightning as pl
from hydra.utils import instantiate
from omegaconf import DictConfig

from headpose.modules.callbacks import SelfDescription
from headpose.modules.checkpoint import load_initial_weights, read_weights_into
from headpose.reporting.console import print_results
from headpose.reporting.files import write_json
from headpose.running.entry import entry_point, output_dir
from headpose.running.logging import logging_to
from headpose.running.memory import keep_freed_memory
from headpose.running.results import find_resume, model_card, new_results, summarise_training
from headpose.running.testing import check_sets, run_tests


@entry_point("train")
def train(config: DictConfig) -> None:
    """Compose, seed, instantiate, fit, test, write results.json."""
    folder = output_dir()
    keep_freed_memory()
    pl.seed_everything(config.seed, workers=True, verbose=False)
    module = instantiate(config.module, _convert_="all")
    datamodule = instantiate(config.data, _convert_="all")
    test_sets: dict[str, Any] = {name: instantiate(test, _convert_="all") for name, test in config.test.items()}
    check_sets(module, {"data": datamodule, **{f"test.{name}": test for name, test in test_sets.items()}})
    resume = find_resume(config, folder)
    if config.init_weights:
        load_initial_weights(module.model, config.init_weights)
    results = new_results(config, module.model)

    callbacks = {name: instantiate(callback) for name, callback in config.callbacks.items()}
    if not datamodule.split.val:
        callbacks.pop("best", None)
    callbacks["self_description"] = SelfDescription(model_card(config, module.model, datamodule))
    with logging_to(config.logger, results) as loggers:
        trainer = instantiate(config.trainer, callbacks=list(callbacks.values()), logger=loggers)
        if config.init_weights:
            run_tests(trainer, module, test_sets, results, "initial")
        trainer.fit(module, datamodule=datamodule, ckpt_path=resume, weights_only=True)
        results["train"] = summarise_training(config, datamodule, callbacks)
        run_tests(trainer, module, test_sets, results, "last", folder)
        if "best" in callbacks:
            read_weights_into(module.model, callbacks["best"].best_model_path)
            run_tests(trainer, module, test_sets, results, "best")

        results["status"] = "finished"
        if trainer.is_global_zero:
            (folder / "failed.json").unlink(missing_ok=True)
            write_json(folder / "results.json", results)
            print_results(results)


if __name__ == "__main__":
    train()
