"""Data sets of synthetic heads in the real layouts; small ones where a configuration asks for them (`budget=smoke`)."""

from pathlib import Path
from typing import Any

from filelock import FileLock
from hydra.utils import instantiate
from omegaconf import DictConfig

from headposekit.data.chunks import in_parallel
from headposekit.datasets.contact_sheet import ContactSheet, CorruptionSheet
from headposekit.files import write_text
from headposekit.synthesis.sampler import GENERATOR_VERSION, HeadSampler
from headposekit.synthesis.writers import LayoutWriter


def write_trees(config: DictConfig) -> None:
    """Write each tree of `config.trees` that a data set of the configuration reads and that is not there in full."""
    data = config.get("data") or {}
    nodes = [data, *data.get("parts", {}).values(), *config.test.values()]
    roots = {Path(node.root) for node in nodes if "root" in node}
    for folder, writer in config.trees.items():
        for root in roots:
            if root.name == folder and root.parent.name == "smoke":
                write_tree(root, writer)


def write_tree(root: Path, writer: Any) -> None:
    """Write one tree, unless the same one stands there already; two processes at once write it once."""
    label = f"{dict(writer)} generator {GENERATOR_VERSION}\n"
    done = root / ".complete"
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root.parent / f".{root.name}.lock"):
        if done.is_file() and done.read_text() == label:
            return
        units = instantiate(writer, root=root, heads=HeadSampler(), _convert_="all")
        write_units(units)
        write_text(done, label)


def write_units(units: LayoutWriter | ContactSheet | CorruptionSheet, num_workers: int | None = None) -> int:
    """Have all units written, in parallel, with a progress bar; returns the number of pictures."""
    units.root.mkdir(parents=True, exist_ok=True)  # a folder that cannot be made is said here, not by a worker
    names = in_parallel(units, range(len(units)), f"writing {len(units)} {units.unit}s", num_workers)
    if isinstance(units, LayoutWriter):
        units.finish()
    return sum(map(len, names))
