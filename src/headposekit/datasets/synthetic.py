"""Synthetic heads as a dataset: rendered once, in parallel, into a pack of pictures, then read from there."""

import hashlib
import json
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from torch.utils.data import Dataset

from headposekit.data.chunks import PictureStore, StoredFaces, index_path, make_chunks, picture_path
from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.errors import InputError
from headposekit.files import replacing
from headposekit.geometry.crops import CropRule
from headposekit.safe_files import has_arrays, read_npz
from headposekit.synthesis.sampler import GENERATOR_VERSION, HeadSampler

CHUNK = 128
RENDER_SCALE = 1.25
"""Side of a rendered picture over that of the network's square: its crop then keeps its resolution, and room to spare."""
TEST_SEED = 1_000_003
"""Added to the seed of a test set, so that nobody in it stands in a training set of the same seed."""


class SyntheticHeads(StoredFaces):
    """Heads of a `HeadSampler`; number i is the same for ever, so n heads are the first n of any larger set.

    The pack, a folder below `root` named after everything that decides its pictures, holds chunks of 128 heads:
    `chunk_NNNNN.npy`, memory-mapped (128, size, size, 3) uint8, and `chunk_NNNNN.npz` with poses, boxes and landmarks. A
    chunk appears whole or not at all; what is missing is rendered, in as many processes as there are cores. Other options,
    another size or another version of the generator make another pack.

    Args:
        root: folder of packs.
        heads: the sampler.
        num_heads: how many.
        size: side of a picture in pixels; the face's box takes two fifths of it.
        side: `train`, or `test` for other people.
        max_angle: keep a face if all three |angles| are at most this many degrees; null keeps all.
        num_workers: processes that render; null for one a core.

    Raises:
        InputError: a number of heads or a size below 1, a root that cannot be written, or no head within `max_angle`.
    """

    title: ClassVar[str] = "synthetic heads"

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
        self.poses_per_identity = heads.poses_per_identity
        content = {"options": options, "size": size, "version": GENERATOR_VERSION}
        key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:10]
        self.folder = Path(root) / f"{side}_{size}px_{key}"
        numbers = range(-(-num_heads // CHUNK))
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / ".lock"):
                missing = [number for number in numbers if not index_path(self.folder, number).is_file()]
                make_chunks(
                    _ChunkRenderer(self.folder, options, size), missing, f"rendering {len(missing) * CHUNK} heads", num_workers
                )
        except OSError as error:
            reason = error.strerror or error
            raise InputError(f"{self.folder}: cannot be written ({reason}); set data.root to a folder with room") from error
        indices = [_read_labels(index_path(self.folder, number)) for number in numbers]
        self.store = PictureStore([picture_path(self.folder, number) for number in numbers])
        labels = {name: np.concatenate([index[name] for index in indices])[:num_heads] for name in ("pose", "box", "landmarks")}
        keep = np.abs(labels["pose"]).max(axis=1) <= (np.inf if max_angle is None else max_angle)
        if not keep.any():
            raise InputError(f"no synthetic head stands within max_angle={max_angle} degrees; raise it")
        self.numbers = np.flatnonzero(keep)
        self.pose, self.box, self.landmarks = (labels[name][keep] for name in ("pose", "box", "landmarks"))
        self.sizes = np.full((len(self.numbers), 2), size)
        self.names = [f"{side}_{number:06d}" for number in self.numbers]
        self.num_filtered, self.skipped = num_heads - len(self.names), {}

    def photo_of(self, name: str) -> str:
        """The person."""
        side, number = name.split("_")
        return f"{side}_{int(number) // self.poses_per_identity:06d}"


def _read_labels(path: Path) -> dict[str, NDArray[Any]]:
    """Poses, boxes and landmarks of a chunk; raises InputError where the file is damaged."""
    arrays, n = read_npz(path), CHUNK
    if not has_arrays(arrays, {"pose": ("f", (n, 3)), "box": ("f", (n, 4)), "landmarks": ("f", (n, 68, 2))}):
        raise InputError(f"{path}: not the labels of {n} heads; remove the file, they are rendered again")
    return arrays


class _ChunkRenderer(Dataset[int]):
    """Renders a chunk where a DataLoader's worker asks for it."""

    def __init__(self, folder: Path, options: dict[str, Any], size: int) -> None:
        self.folder, self.options, self.size = folder, options, size
        self.sampler: HeadSampler | None = None

    def __getitem__(self, number: int) -> int:
        if self.sampler is None:  # once a process: its textures are kept
            self.sampler = HeadSampler(**self.options)
        heads = [self.sampler.render(index, self.size) for index in range(number * CHUNK, (number + 1) * CHUNK)]
        with replacing(picture_path(self.folder, number)) as partial, partial.open("wb") as file:
            np.save(file, np.stack([head.image for head in heads]))
        index = {
            "pose": np.stack([head.pose for head in heads]).astype(np.float32),
            "box": np.stack([head.box for head in heads]).astype(np.float32),
            "landmarks": np.stack([head.landmarks[:, :2] for head in heads]).astype(np.float32),
        }
        # The index goes last: where it is, the pictures are.
        with replacing(index_path(self.folder, number)) as partial, partial.open("wb") as file:
            np.savez(file, allow_pickle=False, **index)
        return number


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
