"""Test checkpoints or published weights: `python src/evaluate.py weights=FILE 'test=[aflw2000]'`, see conf/evaluate.yaml."""

from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from headposekit.cli.entry import entry_point
from headposekit.cli.networks import load_given, load_networks
from headposekit.console import print_results
from headposekit.errors import InputError
from headposekit.files import write_json
from headposekit.paths import output_dir
from headposekit.training import PoseEvaluator
from headposekit.training.loggers import logging_to
from headposekit.training.results import new_results
from headposekit.training.testing import check_sets, run_tests
from headposekit.training.trainers import check_trainer, make_trainer


@entry_point("evaluate")
def evaluate(config: DictConfig) -> None:
    """Load, test, write results.json."""
    check_trainer(config)
    folder = output_dir()
    if not config.test and not config.stability:
        raise InputError("no test set given; choose some, such as test=[aflw2000]")
    model, config.crop = load_networks(config)
    module = PoseEvaluator(model)
    test_sets: dict[str, Any] = {name: instantiate(test, _convert_="all") for name, test in config.test.items()}
    check_sets(module, {f"test.{name}": test for name, test in test_sets.items()})
    results = new_results(config, model)
    if config.stability:
        results["stability"] = instantiate(config.stability, _convert_="all")(load_given(config))
    with logging_to(config.logger, results) as loggers:
        trainer = make_trainer(config, {}, loggers)
        run_tests(trainer, module, test_sets, results, "last", folder)
        results["status"] = "evaluated"
        if trainer.is_global_zero:
            write_json(folder / "results.json", results)
            print_results(results)
