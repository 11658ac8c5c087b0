"""Configurations of trainings and experiments, composed as an entry point composes them."""

import copy
import functools
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from hydra import compose, initialize_config_dir
from hydra._internal.config_repository import ConfigRepository
from hydra.core.global_hydra import GlobalHydra
from hydra.plugins.config_source import ConfigResult
from omegaconf import DictConfig, OmegaConf

from headposekit.paths import CONF, EXPERIMENTS
from headposekit.sweeps.cells import key_of
from headposekit.training.protocols import settle_tests


@functools.cache
def experiment_names() -> list[str]:
    """Names of all experiments, such as `fsanet/table4`."""
    return sorted(str(path.relative_to(EXPERIMENTS).with_suffix("")) for path in EXPERIMENTS.rglob("*.yaml"))


@functools.cache
def raw_experiment(name: str) -> dict[str, Any]:
    """An experiment's file as it stands, nothing composed."""
    raw: Any = OmegaConf.to_container(OmegaConf.load(EXPERIMENTS / f"{name}.yaml"))
    return dict(raw)


def compose_cell(cell: Mapping[str, Any], given: Sequence[str]) -> DictConfig:
    """The training that a row's cell means, under the options that the sweep was given."""
    keys = {key_of(option) for option in given}
    groups = [f"{key}={value}" for key, value in cell.items() if "." not in key]
    if "protocol" in cell:  # which fixes options of test sets
        config = copy.deepcopy(_composed((*groups, *given), "train"))
    else:
        counted = [option for option in given if not key_of(option).startswith(("test", "figures.", "table."))]
        config = copy.deepcopy(_composed((*groups, *map(_shared, counted)), "train"))
        config.test = _composed(tuple(given), "report").test  # OmegaConf copies it
    for key, value in cell.items():
        if "." in key and key not in keys:
            OmegaConf.update(config, key, value)
    settle_tests(config)
    return config


def _shared(option: str) -> str:
    """An option, the experiment replaced by the first one whose cells are the same trainings: composing takes long."""
    key, _, name = option.partition("=")
    if key != "experiments" or name not in experiment_names():
        return option
    return f"experiments={next(other for other in experiment_names() if _training_of(other) == _training_of(name))}"


def _training_of(name: str) -> dict[str, Any]:
    """An experiment's file without its table, figures and test sets."""
    raw = raw_experiment(name)
    defaults = [item for item in raw.get("defaults", []) if not (isinstance(item, dict) and "override /test" in item)]
    return {"defaults": defaults, **{key: raw[key] for key in raw if key not in ("defaults", "figures", "table", "test")}}


def compose_training(overrides: list[str], program: str = "train") -> DictConfig:
    """The configuration of `train.py`, or of another program that knows trainings, with these overrides."""
    config = copy.deepcopy(_composed(tuple(overrides), program))
    settle_tests(config)
    return config


@functools.lru_cache(maxsize=256)  # rows of a table often differ in single values only; composing takes an eighth of a second
def _composed(overrides: tuple[str, ...], program: str) -> DictConfig:
    return compose_files(program, overrides)


def compose_files(program: str, overrides: Sequence[str]) -> DictConfig:
    """What a program composes of conf/, the protocol not yet applied."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        loader: Any = GlobalHydra.instance().config_loader()
        loader.repository = _FilesReadOnce(loader.config_search_path)
        return compose(program, list(overrides))


class _FilesReadOnce(ConfigRepository):
    """Files of options as Hydra finds them, each read once by this process: that is a quarter of the time of composing."""

    read: ClassVar[dict[tuple[str, ...], ConfigResult | None]] = {}

    def load_config(self, config_path: str) -> ConfigResult | None:
        """A copy of a file's content, which composing changes."""
        key = (config_path, *(source.path for source in self.sources))
        if key not in self.read:
            self.read[key] = super().load_config(config_path)
        return copy.deepcopy(self.read[key])
