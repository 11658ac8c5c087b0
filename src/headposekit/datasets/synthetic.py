"""Synthetic heads as a dataset: rendered once, in parallel, into a pack of pictures, then read from there."""

import functools
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from torch.utils.data import Dataset

from headposekit.data.chunks import Index, PictureStore, StoredFaces, in_parallel, index_path, reserved, write_chunk
from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.data.dataset import is_beyond
from headposekit.errors import InputError
from headposekit.geometry.crops import CropRule
from headposekit.process import start_group
from headposekit.safe_files import has_arrays, read_npz
from headposekit.synthesis.sampler import GENERATOR_VERSION, HeadSampler
from headposekit.types import Image

CHUNK = 128
LABELS: dict[str, tuple[int, ...]] = {"pose": (3,), "box": (4,), "landmarks": (68, 2)}
"""Of each head, and their shapes; degrees and pixels."""
RENDER_SCALE = 1.25
"""Side of a rendered picture over that of the network's square: its crop then keeps its resolution, and room to spare."""
TEST_SEED = 1_000_003  # added to the seed of a test set, so that nobody in it stands in a training set of the same seed


class SyntheticHeads(StoredFaces):
    """Heads of a `HeadSampler`; number i is the same for ever, so n heads are the first n of any larger set.

    The pack, a folder below `root` named after everything that decides its pictures, holds chunks of 128 heads:
    `chunk_NNNNN.npy`, memory-mapped (128, size, size, 3) uint8, and `chunk_NNNNN.npz` with poses, boxes and landmarks. What is
    missing is rendered. Other options, another size or another version of the generator make another pack.

    Args:
        root: folder of packs.
        heads: the sampler.
        num_heads: how many.
        size: side of a picture in pixels; the face's box takes two fifths of it.
        side: `train`, or `test` for other people.
        max_angle: keep a face if all three |angles| are at most this many degrees; null keeps all.
        num_workers: processes that render; null for one a core.
        first: number of the first head; other heads than from 0 make another pack.
    """

    title = "synthetic heads"

    def __init__(
        self,
        root: str | Path,
        heads: HeadSampler,
        num_heads: int,
        size: int,
        side: Literal["train", "test"] = "train",
        max_angle: float | None = None,
        num_workers: int | None = None,
        first: int = 0,
    ) -> None:
        if num_heads < 1 or size < 1:
            raise InputError(f"{num_heads} synthetic heads of {size} pixels cannot be made; give 1 or more of each")
        options = dict(heads.options)
        if side == "test":
            options["seed"] += TEST_SEED
        self.poses_per_identity, self.options = heads.poses_per_identity, options
        content = {"options": options, "size": size, "version": GENERATOR_VERSION}
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
        self.folder = Path(root) / (f"{side}_{size}px_{key}" + (f"_from_{first}" if first else ""))
        num_chunks = -(-num_heads // CHUNK)
        with reserved(self.folder, "data.root"):
            missing = [number for number in range(num_chunks) if not index_path(self.folder, number).is_file()]
            if missing:
                renderer = _ChunkRenderer(self.folder, options, size, first)
                in_parallel(renderer, missing, f"rendering {len(missing) * CHUNK} heads", num_workers)
        indices = [_read_labels(index_path(self.folder, number)) for number in range(num_chunks)]
        index = {key: np.concatenate([labels[key] for labels in indices])[:num_heads] for key in LABELS}
        numbers = np.flatnonzero(~is_beyond(index["pose"], max_angle))
        if not len(numbers):
            raise InputError(f"no synthetic head stands within max_angle={max_angle} degrees; raise it")
        super().__init__(PictureStore(self.folder, num_chunks), index | {"size": np.full((num_heads, 2), size)}, numbers)
        self.names = [f"{side}_{first + number:06d}" for number in numbers]
        self.num_filtered, self.skipped = num_heads - len(self.names), {}

    def photo_of(self, name: str) -> str:
        """The person."""
        side, number = name.split("_")
        return f"{side}_{int(number) // self.poses_per_identity:06d}"

    def attributes_of(self, name: str) -> dict[str, str]:
        """Glasses, beard, hat and the like, see `HeadSampler.attributes`."""
        return _attributes(json.dumps(self.options), int(name.split("_")[1]))


@functools.cache
def _attributes(options: str, number: int) -> dict[str, str]:
    """Of a head; kept, as a test set is often tested in many perturbed forms."""
    return HeadSampler(**json.loads(options)).attributes(number)


def _read_labels(path: Path) -> Index:
    """Labels of a chunk; raises InputError where the file is damaged."""
    index = read_npz(path)
    if not has_arrays(index, {key: ("f", (CHUNK, *shape)) for key, shape in LABELS.items()}):
        raise InputError(f"{path}: not the labels of {CHUNK} heads; remove the file, they are rendered again")
    return index


class RenewedHeads(SyntheticHeads):
    """Heads that are replaced by as many others after every `renew` epochs, and the next ones rendered meanwhile.

    Which heads an epoch shows depends on nothing but its number, so a resumed training goes on as if it had never stopped. At
    most four packs are kept: the first, to which the validation side belongs, the last, the present and the next one.

    Args:
        renew: epochs.
        others: see `SyntheticHeads`.
    """

    def __init__(self, root: str | Path, heads: HeadSampler, num_heads: int, size: int, renew: int, **others: Any) -> None:
        if renew < 1:
            raise InputError(f"data.renew={renew} is no number of epochs; give 1 or more, or null to keep the heads")
        if others.get("max_angle") is not None:
            raise InputError("data.max_angle= would leave out other heads of each pack; with data.renew= leave it null")
        super().__init__(root, heads, num_heads, size, **others)
        self.renew, self._made_of = renew, (root, heads, num_heads, size)
        self._others = others
        self._now: tuple[int, SyntheticHeads] = (0, self)

    def at(self, epoch: int) -> SyntheticHeads:
        """The heads of an epoch; waits for those that are not rendered yet, and has the next ones rendered."""
        number = epoch // self.renew
        if number != self._now[0]:
            self._now = (
                number,
                self if number == 0 else SyntheticHeads(*self._made_of, **self._others, first=self._first(number)),
            )
            if number > 2:
                shutil.rmtree(self._folder(number - 2), ignore_errors=True)
        if epoch % self.renew == 0 and not index_path(self._folder(number + 1), self.store.num_chunks - 1).is_file():
            root, heads, num_heads, size = self._made_of
            wanted = {"root": str(root), "heads": heads.options, "num_heads": num_heads, "size": size, **self._others}
            wanted |= {"first": self._first(number + 1), "num_workers": 1}
            path = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
            command = f"from {__name__} import render_ahead; render_ahead({json.dumps(wanted)!r})"
            start_group([sys.executable, "-c", command], env={**os.environ, "PYTHONPATH": path}, stdout=subprocess.DEVNULL)
        return self._now[1]

    def _first(self, number: int) -> int:
        return number * self.store.num_chunks * CHUNK

    def _folder(self, number: int) -> Path:
        return self.folder.with_name(f"{self.folder.name}_from_{self._first(number)}")


def render_ahead(wanted: str) -> None:
    """Render the next heads of a `RenewedHeads`, in a process beside the training."""
    options = json.loads(wanted)
    SyntheticHeads(**{**options, "heads": HeadSampler(**options["heads"])})


class _ChunkRenderer(Dataset[int]):
    """Renders a chunk where a DataLoader's worker asks for it."""

    def __init__(self, folder: Path, options: dict[str, Any], size: int, first: int) -> None:
        self.folder, self.options, self.size, self.first = folder, options, size, first
        self.sampler: HeadSampler | None = None

    def __getitem__(self, number: int) -> int:
        if self.sampler is None:  # once a process: its textures are kept
            self.sampler = HeadSampler(**self.options)
        index = {key: np.zeros((CHUNK, *shape), dtype=np.float32) for key, shape in LABELS.items()}
        write_chunk(self.folder, number, (CHUNK, self.size), self._pictures(self.sampler, number, index), index)
        return number

    def _pictures(self, sampler: HeadSampler, number: int, index: Index) -> Iterator[Image]:
        """The pictures of a chunk; fills in the labels."""
        for row in range(CHUNK):
            head = sampler.render(self.first + number * CHUNK + row, self.size)
            index["pose"][row], index["box"][row], index["landmarks"][row] = head.pose, head.box, head.landmarks[:, :2]
            yield head.image


class SyntheticDataModule(HeadPoseDataModule):
    """Loaders of synthetic heads; validation holds out people, a test set (`side=test`) has people of its own.

    Args:
        root: folder of packs, see `SyntheticHeads`.
        crop: the crop rule.
        num_heads: how many are rendered, training and validation together.
        heads: the sampler, with all its options.
        side: `train` or `test`.
        max_angle: see `SyntheticHeads`.
        renew: epochs after which training heads are replaced by as many new ones, see `RenewedHeads`; null to keep them.
        loading: the other options of `HeadPoseDataModule`.
    """

    dataset_name: ClassVar[str] = "synthetic"
    neutral: ClassVar[dict[str, Any]] = {"renew": None}

    def __init__(
        self,
        root: str | Path,
        crop: CropRule,
        heads: HeadSampler,
        num_heads: int,
        side: Literal["train", "test"] = "train",
        max_angle: float | None = None,
        renew: int | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(root, crop, **loading)
        self.heads, self.num_heads, self.side, self.max_angle, self.renew = heads, num_heads, side, max_angle, renew

    def read_dataset(self) -> SyntheticHeads:
        """Render what is missing, open the rest."""
        size = round(RENDER_SCALE * self.crop.size)
        others: Any = {"side": self.side, "max_angle": self.max_angle}
        if self.renew is not None:
            return RenewedHeads(self.root, self.heads, self.num_heads, size, self.renew, **others)
        return SyntheticHeads(self.root, self.heads, self.num_heads, size, **others)

    @property
    def rules(self) -> dict[str, Any]:
        """Those of every data set, whose heads, and filter."""
        people = "unseen" if self.side == "test" else "of training"
        return {**super().rules, "people": people, **({} if self.max_angle is None else {"max_angle": self.max_angle})}
