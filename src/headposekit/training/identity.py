"""A training is identified by its content: `train_id`, a hash of all that its numbers depend on, and of nothing else."""

import functools
import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from headposekit.errors import InputError
from headposekit.extensions import make_importable
from headposekit.synthesis import sampler

IDENTITY_VERSION = 3
"""Raised when the code changes so that the same configuration gives other numbers."""

PARTS = ("model", "loss", "optimizer", "scheduler", "crop", "seed")
MODULE_PARTS = ("model", "loss", "optimizer", "scheduler")
"""Options of a module that stand beside it as well."""
TRAINER_UNCOUNTED = (
    *("_target_", "accelerator", "devices", "num_nodes", "strategy", "plugins", "sync_batchnorm", "use_distributed_sampler"),
    *("default_root_dir", "log_every_n_steps", "num_sanity_val_steps", "enable_model_summary", "enable_progress_bar"),
)
"""Options of Lightning's trainer that change no number."""


class Declared(NamedTuple):
    """What a class says of its options; any class may say so, none has to."""

    files: tuple[str, ...] = ()  # they name files (or folders of files like `files_in_folders`), which count by content
    files_in_folders: str = ""
    uncounted: tuple[str, ...] = ()  # they change no number
    training_only: tuple[str, ...] = ()  # they count in the identity of a training only, not of a test
    test_only: tuple[str, ...] = ()
    neutral: Mapping[str, Any] = MappingProxyType({})  # values that change nothing


def short_hash(content: Any) -> str:
    """First 12 hex digits of the SHA-256 of plain containers, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


def learns(config: DictConfig) -> bool:
    """Whether there is anything to train: a module without an optimiser is a baseline, whatever the data."""
    return "optimizer" in config.module


def identity(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration that counts, as plain containers; of a model that learns nothing, only it and the seed.

    Where data lie, loggers, callbacks, test sets, workers and device do not count.
    """
    if not learns(config):
        return {"model": _counted(_plain(config.model)), "seed": config.seed, "format": IDENTITY_VERSION}
    if "optimizer" not in config:
        raise InputError("this model has no recipe of that name, or none for these data; choose recipe=, see conf/recipe/")
    parts: dict[str, Any] = {part: _counted(_plain(config[part])) for part in (*PARTS, "data")}
    parts["module"] = _counted({key: _plain(config.module[key]) for key in config.module if key not in MODULE_PARTS})
    parts["trainer"] = _counted({key: _plain(config.trainer[key]) for key in config.trainer if key not in TRAINER_UNCOUNTED})
    parts |= _rendered(config, config.data)
    return {**parts, "init_weights": _content(config.init_weights), "format": IDENTITY_VERSION}


def _counted(node: Any, *, is_test: bool = False) -> Any:
    """What counts of a plain configuration, by what the class behind each `_target_` declares; None where nothing does.

    A text that is the path of a file counts by the file's content, declared or not. Options that are declared
    as of the other, of trainings or of tests, do not.
    """
    if isinstance(node, list):
        return [_counted(item, is_test=is_test) for item in node]
    if not isinstance(node, dict):
        return _content(node) if isinstance(node, str) else node
    declared, words = _declared(_class_of(node))
    left_out = (*declared.uncounted, *(declared.training_only if is_test else declared.test_only))
    counted = {}
    for key, value in node.items():
        if key in declared.files:
            paths = [_content(path, declared.files_in_folders, is_file=True) for path in _listed(value)]
            counted[key] = paths if isinstance(value, list) else paths[0]
        elif key in declared.neutral and value == declared.neutral[key]:
            continue
        elif value in words.get(key, ()):
            counted[key] = value
        elif key not in left_out or (isinstance(value, str) and os.path.isfile(value)):  # a root that is a table
            counted[key] = _counted(value, is_test=is_test)
    return {key: value for key, value in counted.items() if value is not None} or None


def _class_of(node: Any) -> Any:
    """The class or function behind a node's `_target_`; None where there is none, or it is not installed here."""
    target = node.get("_target_")
    if not isinstance(target, str):
        return None
    try:
        make_importable()
        return get_object(target)
    except Exception:  # whatever its import raises; who makes it says so
        return None


@functools.cache
def _declared(cls: Any) -> tuple[Declared, dict[str, list[Any]]]:
    """What a class declares, and the words that may be given for each of its options that takes one of a few."""
    found = {key: getattr(cls, key, None) for key in Declared._fields}
    declared: dict[str, Any] = {key: value for key, value in found.items() if isinstance(value, tuple | str | Mapping)}
    try:
        parameters = list(inspect.signature(cls).parameters.values())
    except (TypeError, ValueError):  # None, or not written in Python
        parameters = []
    kinds = {p.name: (p.annotation, *get_args(p.annotation)) for p in parameters}
    return Declared(**declared), {
        name: [word for kind in of_option if get_origin(kind) is Literal for word in get_args(kind)]
        for name, of_option in kinds.items()
    }


def _rendered(config: DictConfig, data: DictConfig) -> dict[str, Any]:
    """What stands for the pictures of a data set that the program draws itself: other heads make another training."""
    root = Path(data.get("root") or "")
    tree = (config.get("trees") or {}).get(root.name) if root.parent.name == "smoke" else None
    written = {"tree": _plain(tree)} if tree else {}
    return {**written, "generator": sampler.GENERATOR_VERSION} if written or "heads" in data else {}


def absent_files(data: DictConfig) -> list[str]:
    """Files beside a data set that are not here: without them, what had them cannot be known again."""
    named = [path for key in _declared(_class_of(data))[0].files for path in _listed(_plain(data.get(key)))]
    return [str(path) for path in named if path is not None and not Path(path).exists()]


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def id_of_test(config: DictConfig, name: str) -> str:
    """Hash of a test set's configuration, but for where it lies and how it is read."""
    test = config.test[name]
    counted = _counted(_plain(test), is_test=True) | _rendered(config, test)
    perturb = counted.get("perturb", {})
    if perturb.get("seed") == config.get("seed") or not set(perturb) - {"low_resolution", "seed"}:
        perturb.pop("seed", None)  # the training's own, which its `train_id` has, or of nothing random
    counted = {key: value for key, value in counted.items() if key != "perturb" or value}
    if config.get("protocol"):  # results.json must say so of the test
        counted["protocol"] = _plain(config.protocol)
    return short_hash(counted)


def train_id(config: DictConfig) -> str:
    """Hash of `identity`."""
    return short_hash(identity(config))


def differences(ours: Any, theirs: Any, key: str = "") -> list[str]:
    """Where two identities differ, as `key: ours here, theirs there`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted(set(ours) | set(theirs))
        return [line for k in keys for line in differences(ours.get(k), theirs.get(k), f"{key}.{k}".strip("."))]
    return [] if ours == theirs else [f"{key}: {ours} here, {theirs} there"]


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _content(path: str | None, pattern: str = "", is_file: bool = False) -> str | None:
    """Hash of the content of a file, or of the files in a folder that fit a pattern; other texts as they are.

    Of what is meant as a file (`is_file`), a folder without a pattern counts as nothing: it is a data set's own.
    """
    if path is None or (is_file and not pattern and os.path.isdir(path)):
        return None
    if pattern and os.path.isdir(path):
        return short_hash([(str(file.relative_to(path)), _content(str(file))) for file in sorted(Path(path).rglob(pattern))])
    if not os.path.isfile(path):  # one that is not there is refused later, by whoever opens it
        return path
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()[:12]
