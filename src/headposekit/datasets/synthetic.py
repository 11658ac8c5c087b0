"""Synthetic heads as a dataset: rendered once, in parallel, into a pack of pictures, then read from there."""

import functools
import hashlib
import json
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
    ) -> None:
        if num_heads < 1 or size < 1:
            raise InputError(f"{num_heads} synthetic heads of {size} pixels cannot be made; give 1 or more of each")
        options = dict(heads.options)
        if side == "test":
            options["seed"] += TEST_SEED
        self.poses_per_identity, self.options = heads.poses_per_identity, options
        content = {"options": options, "size": size, "version": GENERATOR_VERSION}
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
        self.folder = Path(root) / f"{side}_{size}px_{key}"
        num_chunks = -(-num_heads // CHUNK)
        with reserved(self.folder, "data.root"):
            missing = [number for number in range(num_chunks) if not index_path(self.folder, number).is_file()]
            if missing:
                renderer = _ChunkRenderer(self.folder, options, size)
                in_parallel(renderer, missing, f"rendering {len(missing) * CHUNK} heads", num_workers)
        indices = [_read_labels(index_path(self.folder, number)) for number in range(num_chunks)]
        index = {key: np.concatenate([labels[key] for labels in indices])[:num_heads] for key in LABELS}
        numbers = np.flatnonzero(~is_beyond(index["pose"], max_angle))
        if not len(numbers):
            raise InputError(f"no synthetic head stands within max_angle={max_angle} degrees; raise it")
        super().__init__(PictureStore(self.folder, num_chunks), index | {"size": np.full((num_heads, 2), size)}, numbers)
        self.names = [f"{side}_{number:06d}" for number in numbers]
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


class _ChunkRenderer(Dataset[int]):
    """Renders a chunk where a DataLoader's worker asks for it."""

    def __init__(self, folder: Path, options: dict[str, Any], size: int) -> None:
        self.folder, self.options, self.size = folder, options, size
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
            head = sampler.render(number * CHUNK + row, self.size)
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
        loading: the other options of `HeadPoseDataModule`.
    """

    dataset_name: ClassVar[str] = "synthetic"

    def __init__(
        self,
        root: str | Path,
        crop: CropRule,
        heads: HeadSampler,
        num_heads: int,
        side: Literal["train", "test"] = "train",
        max_angle: float | None = None,
        **loading: Any,
    ) -> None:
        super().__init__(root, crop, **loading)
        self.heads, self.num_heads, self.side, self.max_angle = heads, num_heads, side, max_angle

    def read_dataset(self) -> SyntheticHeads:
        """Render what is missing, open the rest."""
        size = round(RENDER_SCALE * self.crop.size)
        return SyntheticHeads(self.root, self.heads, self.num_heads, size, self.side, self.max_angle)

    @property
    def rules(self) -> dict[str, Any]:
        """Those of every data set, whose heads, and filter."""
        people = "unseen" if self.side == "test" else "of training"
        return {**super().rules, "people": people, **({} if self.max_angle is None else {"max_angle": self.max_angle})}
