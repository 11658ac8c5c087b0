"""A training is identified by its content: `train_id`, a hash of all that its numbers depend on, and of nothing else."""

import hashlib
import json
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from headposekit.errors import InputError
from headposekit.synthesis import sampler

LISTS = ("boxes", "faces", "frames")
"""Options of data that name a file which says what faces count."""
MODEL_FILES = ("path", "face_model", "whitening")
"""Options of models that learn nothing which name files."""
UNPERTURBED = {"jitter": 0, "jitter_pixels": 0, "shift": 0, "padding": 0}
IDENTITY_VERSION = 3
"""Raised when the code changes so that the same configuration gives other numbers."""

PARTS = ("module", "model", "loss", "optimizer", "scheduler", "data", "trainer", "crop", "seed")
NOT_COUNTED = {
    "module": ("model", "loss", "optimizer", "scheduler"),  # they stand beside it
    "data": ("root", "num_workers", "num_test"),
    "trainer": (
        *(
            "_target_",
            "accelerator",
            "devices",
            "num_nodes",
            "strategy",
            "plugins",
            "sync_batchnorm",
            "use_distributed_sampler",
        ),
        *("default_root_dir", "log_every_n_steps", "num_sanity_val_steps", "enable_model_summary", "enable_progress_bar"),
    ),
}


def learns(config: DictConfig) -> bool:
    """Whether there is anything to train: a module without an optimiser is a baseline, whatever the data."""
    return "optimizer" in config.module


def identity(config: DictConfig) -> dict[str, Any]:
    """The resolved configuration that counts, as plain containers.

    Where data lie, loggers, callbacks, test sets, workers and device do not count; of a model that learns nothing, only the
    model and the seed do.
    """
    if not learns(config):
        return {"model": _with_files(_plain(config.model)), "seed": config.seed, "format": IDENTITY_VERSION}
    if "optimizer" not in config:
        raise InputError("this model has no recipe of that name, or none for these data; choose recipe=, see conf/recipe/")
    parts: dict[str, Any] = {part: _plain(config[part]) for part in PARTS if part not in NOT_COUNTED}
    for part, left_out in NOT_COUNTED.items():
        parts[part] = {key: _plain(config[part][key]) for key in config[part] if key not in left_out}
    parts |= _rendered(config, config.data)
    parts["data"] |= _files(config.data)
    parts["data"] |= _packed(parts["data"])
    if "checkpoint_path" in parts["model"].get("backbone", {}):
        parts["model"]["backbone"]["checkpoint_path"] = _file_hash(parts["model"]["backbone"]["checkpoint_path"])
    parts["init_weights"] = _file_hash(config.init_weights)
    parts["format"] = IDENTITY_VERSION
    return parts


def _with_files(model: Any) -> Any:
    """The configuration of a model that learns nothing, with the files it reads by their content."""
    if not isinstance(model, dict):
        return model
    return {key: _content_hash(value) if key in MODEL_FILES else _with_files(value) for key, value in model.items()}


def _rendered(config: DictConfig, data: DictConfig) -> dict[str, Any]:
    """What stands for the pictures of a data set that the program draws itself: other heads make another training."""
    root = Path(data.get("root") or "")
    tree = (config.get("trees") or {}).get(root.name) if root.parent.name == "smoke" else None
    written = {"tree": _plain(tree)} if tree else {}
    return {**written, "generator": sampler.GENERATOR_VERSION} if written or "heads" in data else {}


def _packed(counted: dict[str, Any]) -> dict[str, Any]:
    """What counts of a pack, which is taken out of `counted`: of one whose crops are those of the files, nothing."""
    pack = counted.pop("pack", None) or {}
    options = {key: value for key, value in pack.items() if key not in ("_target_", "root", "num_workers")}
    return {"pack": options} if options else {}


def _files(data: DictConfig) -> dict[str, Any]:
    """Files that say which faces count, by their content: boxes, lists of faces, and a root that is a file itself (CSV)."""
    files = {key: _file_hash(data[key]) for key in LISTS if key in data}
    return files | ({"table": _file_hash(data.root)} if Path(data.root).is_file() else {})


def absent_lists(data: DictConfig) -> list[str]:
    """Paths of `LISTS` that are not here: without them, what had them cannot be known again."""
    return [str(data[key]) for key in LISTS if data.get(key) is not None and not Path(data[key]).exists()]


def id_of_test(config: DictConfig, name: str) -> str:
    """First 12 hex digits of the SHA-256 of a test set's configuration, but for where it lies and how it is read."""
    test = config.test[name]
    counted = {key: _plain(test[key]) for key in test if key not in ("root", "num_workers", "batch_size")}
    counted |= _files(test) | _rendered(config, test) | _perturbed(counted.pop("perturb"), config.get("seed"))
    counted |= _packed(counted)
    if config.get("protocol"):  # results.json must say so of the test
        counted["protocol"] = _plain(config.protocol)
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:12]


def _perturbed(perturb: dict[str, Any] | None, seed: Any) -> dict[str, Any]:
    """What counts of a perturbation: nothing that it leaves alone, nor the training's own seed, which its `train_id` has."""
    if perturb is None:
        return {"low_resolution": 1}
    counted = {key: perturb[key] for key, neutral in UNPERTURBED.items() if perturb[key] != neutral}
    if counted and perturb["seed"] != seed:
        counted["seed"] = perturb["seed"]
    return {"low_resolution": perturb["low_resolution"], **({"perturb": counted} if counted else {})}


def train_id(config: DictConfig) -> str:
    """First 12 hex digits of the SHA-256 of `identity`."""
    return hashlib.sha256(json.dumps(identity(config), sort_keys=True).encode()).hexdigest()[:12]


def differences(ours: Any, theirs: Any, key: str = "") -> list[str]:
    """Where two identities differ, as `key: ours here, theirs there`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        keys = sorted(set(ours) | set(theirs))
        return [line for k in keys for line in differences(ours.get(k), theirs.get(k), f"{key}.{k}".strip("."))]
    return [] if ours == theirs else [f"{key}: {ours} here, {theirs} there"]


def _plain(node: Any) -> Any:
    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node


def _content_hash(path: str | None) -> str | None:
    """As `_file_hash`; a folder counts by the files in it."""
    if path is None or not Path(path).is_dir():
        return _file_hash(path)
    files = [(str(file.relative_to(path)), _file_hash(str(file))) for file in sorted(Path(path).rglob("*.pts"))]
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]


def _file_hash(path: str | None) -> str | None:
    """A file counts by its content; one that is not there is refused later, by whoever opens it."""
    if path is None or Path(path).is_dir():  # where files lie beside the pictures
        return None
    if not Path(path).is_file():
        return path
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()[:12]
