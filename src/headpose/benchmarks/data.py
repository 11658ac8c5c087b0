"""The data path: what a training reads and augments, from files and from a pack, one way beside the other."""

import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headpose.benchmarks.measure import compare_times
from headpose.datamodules import W300LPDataModule
from headpose.datamodules.sampling import BatchKey
from headpose.datasets.augmentation import Augmentation
from headpose.datasets.packing import FixedPack, LoosePack
from headpose.geometry.crops import CropRule
from headpose.synthesis.sampler import HeadSampler
from headpose.synthesis.writers import Write300WLP


@dataclass
class _Written:
    """A data set of rendered heads in 300W-LP's layout."""

    root: Path
    packs: Path

    def loader(self, crop: CropRule, augmentation: Augmentation | None, kind: type[FixedPack | LoosePack], feed: Any) -> Any:
        """The view of a training's loader, asked with a `BatchKey`."""
        pack = kind(self.packs, num_workers=0)
        data = W300LPDataModule(self.root, crop, augmentation, batch_size=1, split="random", pack=pack, feed=feed)
        return data.train_dataloader().dataset


def benchmark_data(
    heads: HeadSampler,
    crop: CropRule,
    augmentations: Mapping[str, Augmentation],
    num_units: int,
    batch_size: int,
    num_blocks: int,
) -> dict[str, Any]:
    """Faces a second and core: read from .jpg and .mat, from packs face by face (albumentations), from packs by batch.

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
            written = _Written(Path(folder) / "300W_LP", Path(folder) / "packs")
            writer = Write300WLP(written.root, heads, num_units)
            for unit in range(len(writer)):
                writer[unit]
            data = W300LPDataModule(written.root, crop)
            reader: Any = data.dataset  # a FolderDataset
            paths, rule = reader.paths, data.crop
            start = time.process_time()
            fixed = {feed: written.loader(crop, augmentations["fsanet"], FixedPack, feed) for feed in ("workers", "device")}
            packed = len(paths) / (time.process_time() - start)
            loose = {feed: written.loader(crop, augmentations["rigid"], LoosePack, feed) for feed in ("workers", "device")}
            chosen = np.random.default_rng(0).integers(0, len(paths), batch_size).tolist()

            def from_files() -> object:
                """As a loader does that reads label and picture of each face anew."""
                return [rule(reader.image(i), reader.read_annotation(paths[i]).box) for i in chosen]

            key = BatchKey(0, chosen)
            ways = {
                "files": from_files,
                "fixed_pack_gathered": lambda: fixed["device"].store.gather(np.asarray(chosen)),
                "fixed_pack_albumentations": lambda: fixed["workers"][key],
                "fixed_pack_by_batch": lambda: fixed["device"][key],
                "loose_pack_face_by_face": lambda: loose["workers"][key],
                "loose_pack_by_batch": lambda: loose["device"][key],
            }
            times = compare_times(ways, num_blocks, calls=4, clock=time.process_time)
    finally:
        torch.set_num_threads(threads)
    rates = {f"{name}_faces_per_second": 1e3 * batch_size / value.median for name, value in times.items()}
    ratios = {f"{name}_times_files": 1 / value.ratio for name, value in times.items() if name != "files"}
    return {"batch_size": batch_size, "packing_faces_per_second": packed, **rates, **ratios}
