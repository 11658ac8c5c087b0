"""The space of a search as a sweep file of Weights & Biases, whose agents then run `train.py`."""

import os
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution

from headposekit.errors import InputError
from headposekit.files import write_text
from headposekit.paths import IS_INSTALLED, ROOT
from headposekit.sweeps.search import search_space, trial_overrides


def write_sweep(config: DictConfig, path: Path) -> Path:
    """Write a search's space, metric and options as a sweep file; no test set is looked at.

    Args:
        config: of `search.py`.
        path: of the file.

    Raises:
        InputError: a space that cannot be searched, or a file that cannot be written.
    """
    sweep = {
        "name": str(config.search.name),
        "method": "bayes",
        "metric": {"name": str(config.search.metric), "goal": "minimize"},
        "run_cap": int(config.search.num_trials),
        "parameters": {key: _parameter(values) for key, values in search_space(config).items()},
        # No shell reads these: each is one argument.
        "command": [
            "${env}",
            "${interpreter}",
            *(["-m", "headposekit", "train"] if IS_INSTALLED else ["${program}"]),
            "logger=wandb",
            *trial_overrides(),
            "test=[]",
            "${args_no_hyphens}",
        ],
    }
    if not IS_INSTALLED:
        sweep["program"] = os.path.relpath(ROOT / "src" / "train.py")  # agents are started from this folder
    if not path.parent.is_dir():
        raise InputError(f"search.wandb_sweep={path}: No such file or directory; give a file in a folder that is there")
    write_text(path, yaml.safe_dump(sweep, sort_keys=False, allow_unicode=True))
    return path


def _parameter(values: BaseDistribution) -> dict[str, Any]:
    """In W&B's words.

    >>> _parameter(CategoricalDistribution(["16", "conv"]))
    {'values': [16, 'conv']}
    """
    if isinstance(values, CategoricalDistribution):
        return {"values": [_number(str(choice)) for choice in values.choices]}
    assert isinstance(values, FloatDistribution | IntDistribution)
    kind = {
        (FloatDistribution, False): "uniform",
        (FloatDistribution, True): "log_uniform_values",
        (IntDistribution, False): "int_uniform",
        (IntDistribution, True): "q_log_uniform_values",  # in steps of one, its default
    }[type(values), values.log]
    return {"distribution": kind, "min": values.low, "max": values.high}


def _number(text: str) -> int | str:
    """A whole number as one; all else as it is written, which is how it comes back on the command line."""
    return int(text) if text.isdecimal() and str(int(text)) == text else text
