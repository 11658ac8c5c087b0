from typing import Any

import numpy as np
import pytest

from configs import train_config
from headposekit.data.corruption import KINDS, LEVELS, STRENGTHS, Corruption, points_of_mean_face
from headposekit.data.perturbation import Perturbation
from headposekit.data.plan import Labels
from headposekit.errors import InputError
from headposekit.synthesis.sampler import HeadSampler
from headposekit.training.protocols import settle_tests

HEAD = HeadSampler(photo=0.0, occluder=0.0, borders=0.0).render(4, 128, (20, -5, 8))
POINTS = HEAD.landmarks[:, :2]


def corrupted(kind: str, strength: int = 3, name: str = "a", seed: int = 0, points: Any = POINTS) -> np.ndarray:
    return Corruption(kind, strength, seed).picture(HEAD.image, HEAD.pose, HEAD.box, points, name)


def test_there_are_twelve_of_five_strengths() -> None:
    assert len(KINDS) == 12
    assert {kind: len(levels) for kind, levels in LEVELS.items()} == dict.fromkeys(KINDS, 5)


@pytest.mark.parametrize("kind", KINDS[:-1])
def test_a_picture_is_changed_more_and_more_as_a_function_of_name_and_seed(kind: str) -> None:
    before = HEAD.image.copy()
    made = [corrupted(kind, strength) for strength in STRENGTHS]
    np.testing.assert_array_equal(HEAD.image, before)
    assert all((one.shape, one.dtype) == (before.shape, before.dtype) for one in made)
    x0, y0, x1, y1 = HEAD.box.round().astype(int)
    off = [np.abs(one.astype(int) - before)[y0:y1, x0:x1].mean() for one in made]
    assert off == sorted(off)
    assert off[0] > 0.2
    np.testing.assert_array_equal(corrupted(kind), made[2])
    is_drawn = kind not in ("defocus", "jpeg", "resolution", "backlight")  # which are the same for every face
    for others in ([corrupted(kind, name=f"{n}") for n in range(6)], [corrupted(kind, seed=n) for n in range(1, 7)]):
        assert any(not np.array_equal(other, made[2]) for other in others) == is_drawn


def test_boxes_move_and_change_their_size_by_the_stated_shares() -> None:
    box = np.array([10, 20, 110, 220], np.float32)
    for strength, (shift, zoom) in zip(STRENGTHS, LEVELS["box"], strict=True):
        moved = np.stack([Corruption("box", strength).box(box, f"{n}") for n in range(200)])
        size = moved[:, 2:] - moved[:, :2]
        grown = size[:, 0] / 100
        np.testing.assert_allclose(size[:, 1] / 200, grown, rtol=1e-4)
        np.testing.assert_allclose(np.unique(grown.round(3)), np.round([1 / (1 + zoom), 1 + zoom], 3), atol=2e-3)
        step = ((moved[:, :2] + moved[:, 2:]) / 2 - [60, 120]) / [100, 200]
        np.testing.assert_allclose(np.hypot(*step.T), shift, rtol=1e-3)
    assert Corruption("noise", 3).box(box, "a").tolist() == box.tolist()
    np.testing.assert_array_equal(corrupted("box", 5), HEAD.image)


def test_without_landmarks_things_lie_where_the_mean_face_has_its_own() -> None:
    guessed = points_of_mean_face(HEAD.pose, HEAD.box)
    tight = np.concatenate([POINTS.min(axis=0), POINTS.max(axis=0)])
    size = (tight[2:] - tight[:2]).mean()
    assert np.linalg.norm(points_of_mean_face(HEAD.pose, tight) - POINTS, axis=1).mean() < 0.08 * size
    np.testing.assert_allclose([guessed.min(axis=0), guessed.max(axis=0)], HEAD.box.reshape(2, 2), atol=1e-4)
    for kind in ("mask", "sunglasses", "hand"):
        with_points, without = (corrupted(kind, 4, points=p) != HEAD.image for p in (POINTS, np.full((68, 2), np.nan)))
        shared = (with_points & without).sum() / (with_points | without).sum()
        assert shared > 0.6, kind


def test_a_lens_that_the_nose_hides_is_not_drawn() -> None:
    def covered(yaw: float) -> int:
        head = HeadSampler(photo=0.0, occluder=0.0, borders=0.0).render(4, 128, (yaw, 0, 0))
        made = Corruption("sunglasses", 3).picture(head.image, head.pose, head.box, head.landmarks[:, :2], "a")
        return int((made != head.image).any(axis=-1).sum())

    assert covered(75) < 0.6 * covered(0)
    assert covered(-75) < 0.6 * covered(0)


def test_a_face_outside_its_picture_is_left_to_who_crops_it() -> None:
    box = np.array([500, 500, 600, 600], np.float32)
    assert Corruption("noise", 3).picture(HEAD.image, HEAD.pose, box, POINTS, "a") is HEAD.image


def test_perturbation_corrupts_pictures_or_boxes_and_says_so_in_its_rules() -> None:
    labels = Labels(*(np.asarray(part, np.float32)[None] for part in (HEAD.pose, HEAD.box, POINTS)))
    clean = Perturbation()
    assert clean.on_faces([HEAD.image], labels, ["a"])[1] is labels
    (dark,), same = Perturbation(corruption="dark", strength=2, seed=3).on_faces([HEAD.image], labels, ["a"])
    np.testing.assert_array_equal(dark, corrupted("dark", 2, seed=3))
    np.testing.assert_array_equal(same.box, labels.box)
    moved = Perturbation(corruption="box", strength=2)
    assert not np.array_equal(moved.on_faces([HEAD.image], labels, ["a"])[1].box, labels.box)
    assert (moved.rules, moved.changed) == ({"box": 2}, {"corruption": "box", "strength": 2})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"corruption": "dark"}, r"perturb\.strength=0: perturb\.corruption=dark needs a strength of 1 to 5"),
        ({"corruption": "dark", "strength": 6}, "needs a strength of 1 to 5"),
        ({"strength": 2}, r"perturb\.strength=2: perturb\.corruption=clean has no strength"),
    ],
)
def test_strengths_that_mean_nothing_are_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Perturbation(**options)


def test_head_pose_c_makes_61_test_sets_of_one() -> None:
    config = train_config("test=[aflw2000]", "perturb@test.aflw2000.perturb=head_pose_c")
    settle_tests(config)
    found = {name: (test.perturb.corruption, test.perturb.strength) for name, test in config.test.items()}
    expected = {f"aflw2000_{kind}_s{strength}": (kind, strength) for kind in KINDS for strength in STRENGTHS}
    assert found == {"aflw2000_clean": ("clean", 0), **expected}
