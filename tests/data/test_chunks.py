import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headposekit.data.chunks import PictureStore


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[np.ndarray, PictureStore]:
    """Eleven pictures in chunks of 4, 4 and 3."""
    folder = tmp_path_factory.mktemp("chunks")
    every = np.random.default_rng(0).integers(0, 256, (11, 6, 6, 3), dtype=np.uint8)
    for number, chunk in enumerate(np.split(every, [4, 8])):
        np.save(folder / f"chunk_{number:05d}.npy", chunk)
    return every, PictureStore(folder, 3)


def test_store_is_one_row_of_pictures(pictures: tuple[np.ndarray, PictureStore]) -> None:
    every, store = pictures
    assert (len(store), store.size) == (11, 6)
    for number in range(11):
        np.testing.assert_array_equal(store.gather(np.array([number]))[0], every[number])
    store.gather(np.array([3]))[:] = 0  # a copy, which anybody may change
    np.testing.assert_array_equal(store.gather(np.array([3]))[0], every[3])


@given(st.lists(st.integers(0, 10), max_size=20))
def test_gathered_pictures_are_in_the_order_asked_for(pictures: tuple[np.ndarray, PictureStore], numbers: list[int]) -> None:
    every, store = pictures
    wanted = np.array(numbers, dtype=np.int64)
    np.testing.assert_array_equal(store.gather(wanted), every[wanted])


@pytest.mark.parametrize("number", [-1, 11])
def test_no_such_picture(pictures: tuple[np.ndarray, PictureStore], number: int) -> None:
    with pytest.raises(IndexError, match="not all among 11"):
        pictures[1].gather(np.array([number]))


def test_a_worker_process_is_sent_paths_and_no_pictures(pictures: tuple[np.ndarray, PictureStore]) -> None:
    every, store = pictures
    sent = pickle.dumps(store)
    assert len(sent) < every.nbytes
    np.testing.assert_array_equal(pickle.loads(sent).gather(np.arange(11)), every)
