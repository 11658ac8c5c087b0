"""The data path: rendering, packing, and what a training reads and augments, one way beside the other."""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.measure import ProcessWatch, measure_rate, rate_of
from headposekit.data.augmentation import Augmentation
from headposekit.data.packing import FixedPack, LoosePack
from headposekit.data.sampling import BatchKey
from headposekit.datasets import W300LPDataModule
from headposekit.datasets.synthetic import SyntheticHeads
from headposekit.geometry.crops import CropRule
from headposekit.process import available_cores
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers import Write300WLP
from headposekit.timing import compare_times


@dataclass
class _Written:
    """A data set of rendered heads in 300W-LP's layout.

    Args:
        folder: for the data set and its packs.
        heads: the sampler.
        num_units: photos that are rendered, six files each.
    """

    folder: Path
    heads: HeadSampler
    num_units: int

    def __post_init__(self) -> None:
        self.root = self.folder / "300W_LP"
        writer = Write300WLP(self.root, self.heads, self.num_units)
        for unit in range(len(writer)):
            writer[unit]
        self._files = [path for path in self.root.rglob("*") if path.is_file()]

    def grow(self, times: int) -> None:
        """Have all files `times` times, under names of their own."""
        for path in self._files:
            for number in range(1, times):
                other = path.with_name(f"copy{number}_{path.name}")
                if not other.exists():
                    os.link(path, other)

    def data(
        self,
        crop: CropRule,
        augmentation: Augmentation | None,
        kind: type[FixedPack | LoosePack],
        batch_size: int = 1,
        num_workers: int = 0,
        packers: int = 0,
    ) -> W300LPDataModule:
        """As a training reads it."""
        pack = kind(self.folder / "packs", num_workers=packers)
        options: dict[str, Any] = {"batch_size": batch_size, "num_workers": num_workers, "split": "random", "pack": pack}
        return W300LPDataModule(self.root, crop, augmentation, **options)


def benchmark_render(heads: HeadSampler, num_heads: int, size: int, num_workers: int | None) -> dict[str, Any]:
    """Render heads into a pack as a training does.

    Args:
        heads: the sampler.
        num_heads: how many.
        size: side of a picture in pixels.
        num_workers: processes; null for one a core.

    Returns:
        seconds, heads a second, share of the cores in use, peak memory of the processes that render, growth of it.
    """
    workers = available_cores() if num_workers is None else num_workers
    with tempfile.TemporaryDirectory() as root, ProcessWatch() as watch:
        SyntheticHeads(root, heads, num_heads, size, num_workers=workers)
    return {
        "heads": num_heads,
        "threads": max(workers, 1),
        "seconds": watch.seconds,
        "heads_per_second": num_heads / watch.seconds,
        "core_use": watch.cpu_seconds / watch.seconds / max(workers, 1),
        "children_mib": watch.peak_mib,
        "memory_growth": watch.growth(),
    }


def benchmark_data(
    heads: HeadSampler,
    crop: CropRule,
    augmentations: Mapping[str, Augmentation],
    num_units: int,
    batch_size: int,
    num_blocks: int,
) -> dict[str, Any]:
    """Faces a second and core: read from .jpg and .mat, without and with augmentation, and from packs.

    Args:
        heads: the sampler of what is read.
        crop: the crop rule; its crops must be fixed.
        augmentations: `fsanet`, of finished crops, from a fixed pack; `rigid`, of whole pictures, from a loose pack.
        num_units: photos that are rendered, six files each.
        batch_size: faces in a batch.
        num_blocks: how often each way is measured, in turn.

    Returns:
        faces a second of the processor's time on one thread of each way, how many times as fast as from files (medians of the
        rounds); faces a second with which files are packed, in one process.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with tempfile.TemporaryDirectory() as folder:
            written = _Written(Path(folder), heads, num_units)
            data = W300LPDataModule(written.root, crop)
            reader: Any = data.dataset  # a FolderDataset
            paths, rule = reader.paths, data.crop
            start = time.process_time()
            fixed = _view(written.data(crop, augmentations["fsanet"], FixedPack))
            packed = len(paths) / (time.process_time() - start)
            loose = _view(written.data(crop, augmentations["rigid"], LoosePack))
            augmented = _view(W300LPDataModule(written.root, crop, augmentations["rigid"], batch_size=1, split="random"))
            chosen = np.random.default_rng(0).integers(0, len(paths), batch_size).tolist()

            def from_files() -> object:
                """As a loader does that reads label and picture of each face anew."""
                return [rule(reader.image(i), reader.read_annotation(paths[i]).box) for i in chosen]

            key = BatchKey(0, chosen)
            ways = {
                "files": from_files,
                "files_augmented": lambda: augmented[key],
                "fixed_pack_gathered": lambda: fixed.dataset.store.gather(fixed.dataset.numbers[chosen]),
                "fixed_pack": lambda: fixed[key],
                "loose_pack": lambda: loose[key],
            }
            times = compare_times(ways, num_blocks, calls=16, clock=time.process_time)
    finally:
        torch.set_num_threads(threads)
    rates = {f"{name}_faces_per_second": rate_of(value, batch_size) for name, value in times.items()}
    ratios = {f"{name}_times_files": 1 / value.ratio for name, value in times.items() if name != "files"}
    return {"batch_size": batch_size, "threads": 1, "packing_faces_per_second": packed, **rates, **ratios}


def benchmark_prepare(
    heads: HeadSampler, crop: CropRule, num_units: int, growth: Sequence[int], num_workers: int | None
) -> dict[str, Any]:
    """Check and pack a data set of .jpg and .mat, and more and more copies of it.

    Args:
        heads: the sampler of what is packed.
        crop: the crop rule; its crops must be fixed.
        num_units: photos that are rendered, six files each.
        growth: how many times as many files; rising.
        num_workers: processes that pack; null for one a core.

    Returns:
        for each size: faces, faces a second, peak memory of the packing processes, seconds to find a pack complete.
    """
    workers = available_cores() if num_workers is None else num_workers
    results: dict[str, Any] = {"threads": max(workers, 1)}
    with tempfile.TemporaryDirectory() as folder:
        written = _Written(Path(folder), heads, num_units)
        for times in growth:
            written.grow(times)
            pack = FixedPack(Path(folder) / f"packs_{times}", workers)
            source = W300LPDataModule(written.root, crop).faces_on_disk()
            with ProcessWatch() as watch:
                pack.prepare(source)
            faces = 6 * num_units * times
            start = time.perf_counter()
            pack.prepare(source)
            results |= {
                f"{times}x_faces": faces,
                f"{times}x_faces_per_second": faces / watch.seconds,
                f"{times}x_children_mib": watch.peak_mib,
                f"{times}x_seconds_to_find_it_complete": time.perf_counter() - start,
            }
    return results


def benchmark_loader(
    heads: HeadSampler,
    crop: CropRule,
    augmentation: Augmentation,
    num_units: int,
    growth: Sequence[int],
    batch_size: int,
    workers: Sequence[int],
    num_blocks: int,
) -> dict[str, Any]:
    """Epochs of a training's loader on a fixed pack, without a network: sizes of the data, worker processes.

    Args:
        heads, crop, num_units: see `benchmark_prepare`.
        augmentation: of finished crops.
        growth: how many times as many faces, without workers; the last one also with them.
        batch_size: faces in a batch.
        workers: numbers of worker processes.
        num_blocks: epochs of each, after one that is not measured.

    Returns:
        faces a second, by the clock on the wall.
    """
    results: dict[str, Any] = {"batch_size": batch_size, "threads": 1}

    def rate(num_workers: int) -> dict[str, float]:
        loader = written.data(crop, augmentation, FixedPack, batch_size, num_workers, available_cores()).train_dataloader()
        return asdict(measure_rate(len(loader) * batch_size, lambda: sum(1 for _ in loader), num_blocks))

    with tempfile.TemporaryDirectory() as folder:
        written = _Written(Path(folder), heads, num_units)
        for times in growth:
            written.grow(times)
            results[f"{times}x_faces_per_second"] = rate(0)
        results |= {f"{number}_workers_faces_per_second": rate(number) for number in workers}
    return results


def _view(data: W300LPDataModule) -> Any:
    """What a training's loader asks with a `BatchKey`."""
    return data.train_dataloader().dataset
