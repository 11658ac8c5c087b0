"""What conf/ asks Python for: ids, folders and names of runs."""

import math
import os
import re
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from hydra._internal import defaults_list
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, ListConfig, OmegaConf, _utils

from headposekit.errors import InputError
from headposekit.extensions import choices
from headposekit.files import write_text
from headposekit.paths import ROOT, datasets_dir, output_dir, runs_dir, typed
from headposekit.sweeps.folders import SWEEP, RunFolders, folders_of, is_first_process, take_folder
from headposekit.training.identity import train_id
from headposekit.training.runs import read_results

TAGGED = ("model", "backbone", "aggregation", "scoring", "data", "protocol")
"""Groups whose choices are a run's tags."""
MAX_NODES, MAX_DEPTH = 10_000, 30
"""Keys and values that a file of options may have, its aliases expanded, and how deep they may stand."""


class LimitedLoader(_utils.get_yaml_loader()):  # type: ignore[misc]
    """What OmegaConf reads a file of options with; InputError where it would grow without end."""

    nodes = depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        """The next node of the file."""
        self.nodes, self.depth = self.nodes + 1, self.depth + 1
        self._check(self.nodes, self.depth)
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> yaml.Node | None:
        """All of the file, whose aliases are followed here once: OmegaConf copies what they stand for."""
        root: yaml.Node | None = super().get_single_node()
        left, seen = [(root, 1)], 0
        while left:
            node, depth = left.pop()
            seen += 1
            self._check(seen, depth)
            below = node.value if isinstance(node, yaml.CollectionNode) else []
            children = [part for pair in below for part in pair] if isinstance(node, yaml.MappingNode) else below
            left += [(child, depth + 1) for child in children]
        return root

    def _check(self, nodes: int, depth: int) -> None:
        if nodes > MAX_NODES or depth > MAX_DEPTH:
            limits = f"{MAX_NODES:,} keys and values (aliases expanded), {MAX_DEPTH} within each other"
            raise InputError(f"{self.name}: more than the {limits} that a file of options may have; shorten it")


_create_interpolation_map = defaults_list._create_interpolation_map


def _choices_that_are_read(overrides: Any, defaults: list[Any], self_added: bool) -> DictConfig:
    """All choices, for the `${...}` of a list of defaults; Hydra makes them for every file, a third of composing's time."""
    is_read = any(default.is_interpolation() for default in defaults)
    return _create_interpolation_map(overrides, defaults, self_added) if is_read else OmegaConf.create()


def register_resolvers() -> None:
    """Make known what conf/ uses: resolvers, the project's root, where experiments/ is found, and how large a file may be."""
    os.environ["HEADPOSEKIT_ROOT"] = str(ROOT)
    setattr(_utils, "get_yaml_loader", lambda: LimitedLoader)  # noqa: B010  # OmegaConf asks for it at each file
    setattr(defaults_list, "_create_interpolation_map", _choices_that_are_read)  # noqa: B010  # Hydra too
    resolvers: dict[str, Callable[..., Any]] = {
        "train_id": lambda *, _root_: train_id(_root_),
        "run_dir": _run_dir,
        "shared_dir": lambda path: str(take_folder(Path(path)) if RunFolders.current else path),
        "run_name": lambda: output_dir().name,
        "dataset_root": _dataset_root,
        "run_id": _run_id,
        "runs_dir": lambda: str(runs_dir()),
        "run_group": _run_group,
        "folder_name": _folder_name,
        "run_tags": _run_tags,
        "thirds": _thirds,
        "choices": lambda group: ", ".join(choices(group)),
        "typed": typed,
    }
    for name, resolver in resolvers.items():
        OmegaConf.register_new_resolver(name, resolver, replace=True)


def _thirds(epochs: Any) -> ListConfig:
    """One and two thirds of a number of epochs; of anything else nothing, `check_options` then says what is wrong."""
    return OmegaConf.create([math.ceil(epochs / 3), math.ceil(2 * epochs / 3)] if isinstance(epochs, int) else [])


def _folder_name(name: Any) -> str:
    """A name that makes one folder, in the place where it is asked for."""
    if not isinstance(name, str) or not re.fullmatch(r"[^/\\\0]+", name) or name.startswith("."):
        raise InputError(f"search.name={name} names no folder of its own; give one word, such as search.name=first")
    return name


def _run_dir(name: str, *, _root_: DictConfig) -> str:
    """Folder of a single run: a new one, or that of the training it resumes (so one training has one folder)."""
    folders = RunFolders.current  # None where configurations are only composed
    resume, resumed = _root_.get("resume"), None
    if resume == "auto":
        wanted = train_id(_root_)
        for folder in folders_of(wanted, runs_dir()):  # the newest comes last
            if folder.name != wanted and any(folder.glob("checkpoints/*.ckpt")) and read_results(folder) is None:
                resumed = folder
    elif resume is not None and Path(resume).is_file() and Path(resume).resolve().parent.name == "checkpoints":
        resumed = Path(resume).resolve().parent.parent
    if folders is None:
        return str(resumed or runs_dir() / name)
    return str(folders.take(resumed) if resumed else folders.new(runs_dir() / name))


def _run_id(*, _root_: DictConfig) -> str:
    """An id of this training for services that keep runs apart by id; a resumed training has its own again."""
    path = output_dir() / ".hydra" / "run_id"
    if not path.is_file() or (_root_.get("resume") is None and is_first_process()):
        write_text(path, secrets.token_hex(6))
    return path.read_text()


def _run_group() -> str | None:
    """The experiment, sweep or search that a run belongs to, for services that group runs."""
    return HydraConfig.get().runtime.choices.get("experiments") or os.environ.get(SWEEP) or None


def _run_tags(*, _root_: DictConfig) -> ListConfig:
    """What was chosen, as `group=choice`."""
    choices = HydraConfig.get().runtime.choices
    chosen = [(group, choices.get(group)) for group in TAGGED]
    tags = [f"{group}={choice}" for group, choice in chosen if choice and (group, choice) != ("protocol", "none")]
    tags += [f"test={name}" for name in _root_.test]
    return OmegaConf.create([tag[:64] for tag in tags])  # longer ones W&B refuses


def _dataset_root(folder: str, *, _parent_: DictConfig, _root_: DictConfig) -> str:
    """Where a dataset lies: as a test set, where the training set lies if it is the same dataset; else $HEADPOSEKIT_DATASETS.

    A tree that the configuration has written (see `headposekit.datasets.trees`) lies below `smoke/` there.
    """
    data = _root_.get("data") or {}
    for node in (data, *data.get("parts", {}).values()):
        if node is _parent_:
            break
        if node.get("_target_") == _parent_.get("_target_"):
            return str(node.root)
    datasets = datasets_dir()
    return str((datasets / "smoke" if folder in (_root_.get("trees") or {}) else datasets) / folder)
