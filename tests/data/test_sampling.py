import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headposekit.data.sampling import EvaluationSampler, TrainSampler, split_faces
from headposekit.errors import InputError


@given(st.integers(1, 200), st.integers(1, 50), st.integers(0, 3))
def test_epoch_is_a_permutation_without_the_last_incomplete_batch(n: int, batch_size: int, epoch: int) -> None:
    if n < batch_size:
        with pytest.raises(InputError, match="do not fill one batch"):
            TrainSampler(n, batch_size, seed=0)
        return
    sampler = TrainSampler(n, batch_size, seed=0)
    sampler.set_epoch(epoch)
    keys = list(sampler)
    indices = [index for key in keys for index in key.indices]
    assert len(keys) == len(sampler) == n // batch_size
    assert all(key.epoch == epoch and len(key.indices) == batch_size for key in keys)
    assert len(set(indices)) == len(indices)
    assert set(indices) <= set(range(n))


def test_order_is_a_function_of_seed_and_epoch() -> None:
    def order(seed: int, epoch: int) -> list:
        sampler = TrainSampler(100, 10, seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert order(0, 1) == order(0, 1)
    assert order(0, 1) != order(0, 2)
    assert order(0, 1) != order(1, 1)


def test_processes_share_the_same_batches() -> None:
    one = list(TrainSampler(50, 12, seed=3))
    shares = [list(TrainSampler(50, 12, seed=3, rank=rank, world_size=3)) for rank in range(3)]
    for batch, *parts in zip(one, *shares, strict=True):
        assert batch.indices == [index for part in parts for index in part.indices]


def test_batch_that_cannot_be_shared() -> None:
    with pytest.raises(InputError, match="batch_size=10 cannot be shared equally by 3 processes"):
        TrainSampler(50, 10, seed=0, rank=0, world_size=3)


@given(st.integers(1, 100), st.integers(1, 20), st.integers(1, 4))
def test_evaluation_sees_each_face_once_over_all_processes(n: int, batch_size: int, world_size: int) -> None:
    samplers = [EvaluationSampler(n, batch_size, rank, world_size) for rank in range(world_size)]
    seen = [index for sampler in samplers for key in sampler for index in key.indices]
    assert sorted(seen) == list(range(n))
    assert all(len(list(sampler)) == len(sampler) for sampler in samplers)


NAMES = [f"face{i:03d}" for i in range(120)]
PHOTOS = [f"photo{i // 6}" for i in range(120)]


def test_photo_split_keeps_photos_whole() -> None:
    split = split_faces(NAMES, PHOTOS, "photo", 0.2, seed=0)
    train_photos, val_photos = ({PHOTOS[i] for i in side} for side in (split.train, split.val))
    assert not train_photos & val_photos
    assert (len(train_photos), len(val_photos)) == (16, 4)
    assert sorted(split.train + split.val) == list(range(120))


def test_random_split_is_by_face_and_leaks_photos() -> None:
    split = split_faces(NAMES, PHOTOS, "random", 0.2, seed=0)
    assert (len(split.train), len(split.val)) == (96, 24)
    assert {PHOTOS[i] for i in split.train} & {PHOTOS[i] for i in split.val}


def test_fsanet_protocol_counts() -> None:
    """Protocol 1: 80/20 of 122,415 by face."""
    names = [str(i) for i in range(122_415)]
    split = split_faces(names, names, "random", 0.2, seed=0)
    assert (len(split.train), len(split.val)) == (97_932, 24_483)
    assert len(TrainSampler(len(split.train), 16, 0)) == 6_120


def test_smaller_number_is_a_prefix() -> None:
    whole = split_faces(NAMES, PHOTOS, "photo", 0.2, seed=0)
    part = split_faces(NAMES, PHOTOS, "photo", 0.2, seed=0, num_train=10, num_val=5)
    assert part.train == whole.train[:10]
    assert part.val == whole.val[:5]
    assert part.hash != whole.hash


def test_hash_is_of_the_names_on_each_side() -> None:
    first = split_faces(NAMES, PHOTOS, "photo", 0.2, seed=0)
    assert first.hash == split_faces(NAMES, PHOTOS, "photo", 0.2, seed=0).hash
    assert first.hash != split_faces(NAMES, PHOTOS, "photo", 0.2, seed=1).hash
    assert first.hash != split_faces([f"x{n}" for n in NAMES], PHOTOS, "photo", 0.2, seed=0).hash


@pytest.mark.parametrize(
    ("rule", "fraction", "message"),
    [
        ("subject", 0.1, "split=subject is unknown"),
        ("photo", 1.0, "val_fraction=1.0 is outside"),
        ("photo", 0.99, "no training face"),
    ],
)
def test_wrong_options(rule: str, fraction: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        split_faces(NAMES, PHOTOS, rule, fraction, seed=0)  # type: ignore[arg-type]


def test_order_of_division_is_mixed() -> None:
    split = split_faces(NAMES, PHOTOS, "photo", 0.2, seed=0)
    assert np.corrcoef(np.arange(len(split.train)), split.train)[0, 1] < 0.5
