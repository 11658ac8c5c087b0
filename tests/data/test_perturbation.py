from typing import Any

import numpy as np
import pytest

from headposekit.data.perturbation import Perturbation
from headposekit.data.plan import Labels
from headposekit.errors import InputError

RNG = np.random.default_rng(0)
POINTS = RNG.uniform([20, 10], [120, 210], (68, 2)).astype(np.float32)


def labels(n: int = 1, points: np.ndarray = POINTS) -> Labels:
    box = np.array([20, 10, 120, 210], np.float32)
    return Labels(np.zeros((n, 3), np.float32), np.tile(box, (n, 1)), np.tile(points, (n, 1, 1)))


def perturbed(n: int = 1, points: np.ndarray = POINTS, **options: Any) -> Labels:
    """Faces 0 to n - 1."""
    return Perturbation(**options).on_labels(labels(n, points), np.arange(n))


def test_nothing_asked_for_changes_nothing() -> None:
    given, neutral = labels(), Perturbation(seed=7)
    changed = neutral.on_labels(given, np.array([3]))
    assert changed.box is given.box
    assert changed.landmarks is given.landmarks
    assert neutral.on_cut == []
    assert neutral.rules == {}


@pytest.mark.parametrize("option", ["jitter", "jitter_pixels", "shift", "padding"])
def test_it_is_a_function_of_seed_and_face(option: str) -> None:
    def draw(seed: int, index: int) -> np.ndarray:
        given = labels(2)
        changed = Perturbation(**{option: 0.1}, seed=seed).on_labels(given, np.array([7, index]))  # type: ignore[arg-type]
        np.testing.assert_array_equal(given.landmarks[1], POINTS)  # the data set's own arrays stay
        np.testing.assert_array_equal(given.box[1], [20, 10, 120, 210])
        return np.concatenate([changed.landmarks[1].ravel(), changed.box[1]])

    first = draw(0, 1)
    np.testing.assert_array_equal(first, draw(0, 1))
    others = [np.array_equal(first, draw(*key)) for key in ((1, 1), (0, 2))]
    assert others == [option == "padding"] * 2


def test_noise_is_uniform_up_to_its_size_and_grows_with_it() -> None:
    known = np.prod(np.ptp(POINTS, axis=0)) ** 0.5
    for options, most in (({"jitter": 0.05}, 0.05 * known), ({"jitter_pixels": 4.0}, 4.0)):
        noise = perturbed(200, **options).landmarks - POINTS
        assert np.abs(noise).max() <= most * (1 + 1e-4)
        assert np.abs(noise).mean() == pytest.approx(most / 2, rel=0.02)
        assert abs(noise.mean()) < 0.02 * most
    half, whole = (perturbed(jitter=v).landmarks - POINTS for v in (0.05, 0.1))
    np.testing.assert_allclose(2 * half, whole, atol=1e-3)


def test_unknown_landmarks_stay_unknown() -> None:
    points = POINTS.copy()
    points[5] = np.nan
    changed = perturbed(points=points, jitter=0.1).landmarks[0]
    assert np.isnan(changed[5]).all()
    assert np.isfinite(np.delete(changed, 5, axis=0)).all()
    assert np.isnan(perturbed(points=np.full_like(points, np.nan), jitter=0.1, jitter_pixels=2).landmarks).all()


def test_boxes_move_by_a_share_of_their_size_in_every_direction() -> None:
    steps = perturbed(300, shift=0.2).box - labels(300).box
    np.testing.assert_allclose(steps[:, :2], steps[:, 2:], atol=1e-4)
    x, y = steps[:, 0] / 100, steps[:, 1] / 200
    np.testing.assert_allclose(np.hypot(x, y), 0.2, atol=1e-5)
    assert {(a > 0, b > 0) for a, b in zip(x, y, strict=True)} == {(a, b) for a in (True, False) for b in (True, False)}


def test_boxes_are_padded_on_each_side() -> None:
    np.testing.assert_allclose(perturbed(padding=0.1).box, [[10, -10, 130, 230]])


def test_coarse_pixels_are_those_of_the_augmentation() -> None:
    (transform,) = Perturbation(low_resolution=5).on_cut
    assert (transform.factors, transform.p) == ((5,), 1)
    assert Perturbation(low_resolution=5).rules == {"low_resolution": 5}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"low_resolution": 0}, r"perturb\.low_resolution=0 cannot enlarge pixels"),
        ({"jitter": -0.1}, r"perturb\.jitter=-0\.1 is no size of a perturbation"),
        ({"shift": "far"}, r"perturb\.shift=far is no size"),
        ({"padding": float("nan")}, r"perturb\.padding=nan is no size"),
        ({"seed": -1}, r"perturb\.seed=-1 is no seed"),
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Perturbation(**options)
