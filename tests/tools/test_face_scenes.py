import numpy as np
import pytest

from face_scenes import BACKS, CANVAS, CutOut, SceneSampler, cut_out, plain_heads


@pytest.fixture(scope="module")
def cut_outs() -> list[CutOut]:
    heads = plain_heads(3)
    return [cut_out(heads, index) for index in range(5)]


def dotted() -> CutOut:
    """A black square with 68 white dots for landmarks, four of them at its face's corners."""
    places = np.random.default_rng(0).integers(40, 81, (68, 2))
    places[:4] = [[40, 40], [40, 80], [80, 40], [80, 80]]
    rgba = np.zeros((120, 120, 4), np.uint8)
    rgba[..., 3] = 255
    rgba[places[:, 1], places[:, 0], :3] = 255
    return CutOut(rgba, places.astype(float), True)


def test_boxes_are_those_of_the_landmarks_as_they_are_drawn() -> None:
    black = np.zeros((100, 100, 3), np.uint8)
    sampler = SceneSampler([dotted()], size=256, face_sides=(40, 60), photo=0, occluder=0, backdrops=[black])
    sampler._distract = lambda image, rng: None  # type: ignore[method-assign]  # nothing else is white
    rng, seen = np.random.default_rng(1), 0
    for _ in range(30):
        scene = sampler.draw(rng)
        if len(scene.boxes) != 1 or len(scene.unclear) or (scene.boxes < 3).any() or (scene.boxes > 253).any():
            continue
        rows, columns = np.nonzero(scene.image.max(axis=2) > 60)
        drawn = [columns.min(), rows.min(), columns.max(), rows.max()]
        np.testing.assert_allclose(scene.boxes[0], drawn, atol=2)
        seen += 1
    assert seen > 3


def test_a_cut_out_is_a_head_alone_with_its_landmarks(cut_outs: list[CutOut]) -> None:
    for item in cut_outs:
        assert item.rgba[0, :, 3].max() <= 16 >= item.rgba[:, 0, 3].max()
        assert (item.rgba[..., :3] <= item.rgba[..., 3:].astype(int) + 1).all(), "colours are multiplied by alpha"
        x, y = np.round(item.landmarks.mean(axis=0)).astype(int)
        assert item.rgba[y, x, 3] == 255
        assert np.ptp(item.landmarks, axis=0).max() * CANVAS >= max(item.rgba.shape) - 4


def test_some_heads_are_seen_from_behind_and_are_no_faces() -> None:
    assert 0 < BACKS < 0.3
    sampler = SceneSampler([CutOut(dotted().rgba, dotted().landmarks, False)], size=128)
    assert all(len(sampler.draw(np.random.default_rng(seed)).boxes) == 0 for seed in range(5))


def test_scenes_are_the_same_for_ever(cut_outs: list[CutOut]) -> None:
    first, again = (SceneSampler(cut_outs, 7, size=96).draw(np.random.default_rng(2)) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.boxes, again.boxes)
    other = SceneSampler(cut_outs, 7, size=96).draw(np.random.default_rng(3))
    assert (first.image != other.image).any()
