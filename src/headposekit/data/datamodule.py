"""What all DataModules share: reading once, splitting, cropping, augmenting, batching."""

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytorch_lightning as pl
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from headposekit.data.augmentation import Augmentation
from headposekit.data.dataset import FolderDataset, HeadPoseDataset
from headposekit.data.packing import FacesOnDisk, NoPack, Pack
from headposekit.data.perturbation import Perturbation
from headposekit.data.plan import Labels, Planner, turn_far
from headposekit.data.sampling import BatchKey, EvaluationSampler, Split, TrainSampler, split_faces
from headposekit.errors import InputError
from headposekit.geometry.conventions import EulerOrder
from headposekit.geometry.crops import CropRule
from headposekit.process import start_worker
from headposekit.types import Batch


class FaceBatches(Dataset[Batch]):
    """The faces `indices` of a dataset as cropped, augmented batches; a `BatchKey` says which.

    With `with_pictures`, batches hold the whole pictures as well; `for_training`, only what a training step reads, image and
    pose. Other options: see `HeadPoseDataModule`.
    """

    def __init__(
        self,
        dataset: HeadPoseDataset,
        indices: Sequence[int],
        crop: CropRule,
        augmentation: Augmentation | None = None,
        seed: int = 0,
        perturb: Perturbation | None = None,
        with_pictures: bool = False,
        for_training: bool = False,
    ) -> None:
        self.dataset, self.indices, self.seed = dataset, np.asarray(indices, dtype=np.int64), seed
        self.perturb, self.with_pictures, self.for_training = perturb, with_pictures, for_training
        self.planner = Planner(crop, augmentation, perturb.on_cut if perturb else ())

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, key: BatchKey) -> Batch:
        indices = self.indices[key.indices]
        dataset = self.dataset.at(key.epoch) if self.for_training else self.dataset
        labels = Labels(dataset.pose[indices], dataset.box[indices], dataset.landmarks[indices])
        pictures, names = dataset.pictures(indices), [dataset.names[index] for index in indices]
        if self.perturb:
            pictures, labels = self.perturb.on_faces(pictures, labels, names)
            labels = self.perturb.on_labels(labels, indices)
        extent = np.array([picture.shape[:2] for picture in pictures]).reshape(-1, 2)
        plan, labels = self.planner(labels, extent, (self.seed, key.epoch), indices)
        batch: Batch = {
            "image": torch.from_numpy(plan.carry_out(pictures, names)).permute(0, 3, 1, 2),  # channels last in memory
            "pose": torch.from_numpy(labels.pose),
        }
        if not self.for_training:
            batch |= {"box": torch.from_numpy(labels.box), "landmarks": torch.from_numpy(labels.landmarks), "name": names}
        if self.with_pictures:
            batch["picture"] = pictures
        return batch


class HeadPoseDataModule(pl.LightningDataModule):
    """Loaders of one dataset: for training (train and validation side of a split) and as a test set (all faces).

    Args:
        root: folder of the dataset.
        crop: the crop rule, shared by training, validation and test.
        augmentation: of training faces; null for none.
        batch_size: faces per step, over all processes.
        num_workers: worker processes of each loader.
        split: `photo` or `random`, see `split_faces`.
        val_fraction: share held out for validation.
        split_seed: of the division and of the order that `num_*` cut.
        seed: of the batches' order and the augmentation.
        num_train, num_val, num_test: use only the first n of the seeded order; null uses all.
        perturb: of the test set's faces; null leaves them as they are.
    """

    dataset_name: ClassVar[str]  # of the dataset, as in results.json and conf/
    with_pictures: bool = False  # whether the batches of a test hold the whole pictures; what is tested says so
    euler_order: EulerOrder = "ypr"  # of the angles in which a test measures errors
    files: ClassVar[tuple[str, ...]] = ()
    """Options that name files; in an identity they count by content. A reader's are added."""
    neutral: ClassVar[dict[str, Any]] = {}  # values of options that change nothing
    uncounted: ClassVar[tuple[str, ...]] = ("root", "num_workers")  # options that do not count in an identity
    training_only: ClassVar[tuple[str, ...]] = ("batch_size",)
    """Options that count in the identity of a training, but not of a test."""
    test_only: ClassVar[tuple[str, ...]] = ("num_test", "perturb", "euler_order")
    """Options that count in the identity of a test, but not of a training."""
    reader: ClassVar[type[FolderDataset] | None] = None  # class of the dataset, whose options are this class's as well
    pack: Pack | None = None  # how faces are kept; None where there is no choice
    __signature__: ClassVar[inspect.Signature]

    def __init_subclass__(cls) -> None:
        """Make the class's signature list all its options: its own, and those that it passes on to base and reader."""
        super().__init_subclass__()
        takers: list[Any] = [vars(base)["__init__"] for base in cls.__mro__ if "__init__" in vars(base)]
        takers = takers[: takers.index(HeadPoseDataModule.__init__) + 1]
        if cls.reader is not None:
            takers.insert(-1, cls.reader)
            cls.files, cls.neutral = (*cls.files, *cls.reader.files), {**cls.neutral, **cls.reader.neutral}
        found: dict[str, inspect.Parameter] = {}
        for taker in takers:
            for name, parameter in inspect.signature(taker).parameters.items():
                if name != "self" and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                    found.setdefault(name, parameter.replace(kind=parameter.KEYWORD_ONLY))
        cls.__signature__ = inspect.Signature(list(found.values()))

    def __init__(
        self,
        root: str | Path,
        crop: CropRule,
        augmentation: Augmentation | None = None,
        batch_size: int = 64,
        num_workers: int = 0,
        split: Literal["photo", "random"] = "photo",
        val_fraction: float = 0.0,
        split_seed: int = 0,
        seed: int = 0,
        num_train: int | None = None,
        num_val: int | None = None,
        num_test: int | None = None,
        perturb: Perturbation | None = None,
    ) -> None:
        super().__init__()
        for key, value in {"num_train": num_train, "num_val": num_val, "num_test": num_test}.items():
            if value is not None and value < 1:
                raise InputError(f"{key}={value} leaves no face; give 1 or more, or null for all")
        self.root, self.crop, self.augmentation = Path(root), crop.for_dataset(self.dataset_name), augmentation
        self.batch_size, self.num_workers = batch_size, num_workers
        self.split_rule, self.val_fraction, self.split_seed, self.seed = split, val_fraction, split_seed, seed
        self.num_train, self.num_val, self.num_test = num_train, num_val, num_test
        self.perturb = perturb

    @abstractmethod
    def read_dataset(self) -> HeadPoseDataset:
        """Index the dataset; called once."""

    @cached_property
    def dataset(self) -> HeadPoseDataset:
        """The indexed dataset, read at first use."""
        return self.read_dataset()

    @cached_property
    def split(self) -> Split:
        """The two sides of training, made at first use."""
        names, limits = self.dataset.names, (self.num_train, self.num_val)
        photos = [self.dataset.photo_of(name) for name in names]
        rule = self.split_rule, self.val_fraction, self.split_seed
        return split_faces(names, photos, *rule, *limits, self.dataset.left_out())

    def turned_poses(self) -> Iterator[tuple[float, NDArray[np.float32]]]:
        """The augmentation's rotation and training labels (n, 3) turned as far as it turns any; nothing where it turns none."""
        if (turns := self.augmentation) is not None and turns.rotation:
            yield from ((turns.rotation, turned) for turned in turn_far(self.dataset.pose[self.split.train], turns))

    @property
    def test_indices(self) -> list[int]:
        """Faces of the test set: all in order, or the first `num_test` of the seeded order."""
        n = len(self.dataset)
        if self.num_test is None or self.num_test >= n:
            return list(range(n))
        return sorted(np.random.default_rng(self.split_seed).permutation(n)[: self.num_test].tolist())

    @property
    def rules(self) -> dict[str, Any]:
        """Which faces and labels count and how they are cut out, for results.json; see `training.rules` for words."""
        perturb = self.perturb.rules if self.perturb else {}
        return {"dataset": self.dataset.title, **({"perturb": perturb} if perturb else {})}

    def more_errors(self, true: NDArray[np.float64], predicted: NDArray[np.float64]) -> dict[str, float]:
        """What else results.json says of a test's poses (N, 3); nothing of most data sets."""
        return {}

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffled and augmented batches of the training side."""
        rank, world_size = self._process()
        indices = self.split.train
        sampler = TrainSampler(len(indices), self.batch_size, self.seed, rank, world_size, self.dataset.left_out())
        view = FaceBatches(self.dataset, indices, self.crop, self.augmentation, self.seed, for_training=True)
        return self._loader(view, sampler)

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """Plain batches of the validation side; an empty list where nothing is held out."""
        return self._evaluation_loader(self.split.val) if self.split.val else []

    def test_dataloader(self) -> DataLoader[Batch]:
        """Batches of the test set, perturbed as asked for."""
        return self._evaluation_loader(self.test_indices, perturb=self.perturb, with_pictures=self.with_pictures)

    def faces(self, indices: Sequence[int]) -> Batch:
        """One batch of chosen faces as the test sees them."""
        view = FaceBatches(self.dataset, indices, self.crop, perturb=self.perturb)
        return view[BatchKey(0, list(range(len(indices))))]

    def _evaluation_loader(self, indices: Sequence[int], **options: Any) -> DataLoader[Batch]:
        rank, world_size = self._process()
        if len(indices) < world_size:
            raise InputError(
                f"{self.dataset.title}: {len(indices)} faces cannot be shared by {world_size} processes; use fewer"
            )
        sampler = EvaluationSampler(len(indices), self.batch_size, rank, world_size)
        return self._loader(FaceBatches(self.dataset, indices, self.crop, **options), sampler)

    def _loader(self, view: Dataset[Batch], sampler: Sampler[BatchKey]) -> DataLoader[Batch]:
        return DataLoader(
            view,
            sampler=sampler,  # a key is a whole batch, so that one call fetches it
            batch_size=None,
            collate_fn=_unchanged,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            worker_init_fn=start_worker,
            pin_memory=self.trainer is not None and self.trainer.strategy.root_device.type == "cuda",
        )

    def _process(self) -> tuple[int, int]:
        return (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)


def _unchanged(batch: Any) -> Any:
    """Torch's own would make tensors of the pictures, and detectors take arrays."""
    return batch


class FolderDataModule(HeadPoseDataModule):
    """Loaders of a dataset that is a folder of annotated pictures, which `reader` reads.

    Args:
        root, crop, augmentation: see `HeadPoseDataModule`.
        max_angle: see `FolderDataset`.
        bad_files: see `FolderDataset`; `raise` or `skip`.
        pack: how faces are kept, see `headposekit.data.packing`; null reads them from their files.
        options: the reader's own, and the others of `HeadPoseDataModule`.
    """

    reader: ClassVar[type[FolderDataset]]
    pack: Pack

    def __init__(
        self,
        root: str | Path,
        crop: CropRule,
        augmentation: Augmentation | None = None,
        *,
        max_angle: float | None = 99.0,
        bad_files: Literal["raise", "skip"] = "raise",
        pack: Pack | None = None,
        **options: Any,
    ) -> None:
        own = inspect.signature(self.reader).parameters.values()
        defaults = {p.name: p.default for p in own if p.name not in ("root", "max_angle", "bad_files")}
        given = {name: options.pop(name) for name in defaults if name in options}
        super().__init__(root, crop, augmentation, **options)
        if bad_files not in ("raise", "skip"):
            raise InputError(f"bad_files={bad_files} is unknown; choose raise or skip")
        self.max_angle, self.bad_files, self.pack = max_angle, bad_files, pack or NoPack()
        self.reader_options = {**defaults, **given}
        for name, attribute in self.reader.of_crop.items():
            if given.get(name) is None:
                self.reader_options[name] = getattr(crop, attribute)

    def read_dataset(self) -> HeadPoseDataset:
        """Index the folder; where boxes are crops already, the crop rule adds nothing to them."""
        dataset, self.crop = self.pack.open(self.faces_on_disk(), self.max_angle, self.bad_files)
        return dataset

    def faces_on_disk(self) -> FacesOnDisk:
        """What a pack is made of."""
        return FacesOnDisk(self.reader, self.root, self.reader_options, self.crop, self.augmentation, self.perturb)

    def test_dataloader(self) -> DataLoader[Batch]:
        """As of every DataModule; a pack has no whole pictures."""
        if self.with_pictures and not isinstance(self.pack, NoPack):
            raise InputError(
                f"{self.dataset.title}: what is tested looks at whole pictures, and a pack has none; set pack=none"
            )
        return super().test_dataloader()

    @property
    def rules(self) -> dict[str, Any]:
        """Those of every data set, of filter and pack, and of the reader."""
        own = self.reader.rules(self.reader_options, self.dataset.has_boxes)
        return {**super().rules, "max_angle": self.max_angle, **self.pack.rules, **own}
