from typing import Any

import albumentations as A
import cv2
import numpy as np
import pytest
import scipy.ndimage
from PIL import Image, ImageFilter

from headposekit.data.augmentation import (
    CUT,
    PIPELINE,
    Augmentation,
    FourWayCrop,
    LowResolution,
    PILBlur,
    Pixels,
    RandomZoom,
    Transform,
    plan_transforms,
    reseed,
)
from headposekit.data.draws import Draws
from headposekit.errors import InputError
from papers import PaperFourWayCrop, PaperLowResolution, PaperZoom, lower_resolution

IMAGE = np.random.default_rng(0).integers(1, 255, size=(64, 64, 3), dtype=np.uint8)
N = 4000


def done(transforms: list[Any], picture: np.ndarray = IMAGE, n: int = 1, stream: int = PIPELINE, epoch: int = 0) -> np.ndarray:
    """What becomes of n faces of the same picture."""
    indices = np.arange(n)
    pictures = [picture] * n
    for step in plan_transforms(transforms, len(picture), Draws((0, epoch), indices), (0, epoch), indices, stream):
        for i in np.flatnonzero(step.chosen):
            pictures[i] = step.do(i, pictures[i])
    return np.stack(pictures)


def planned(transform: Transform, draws: Any, chosen: bool = True) -> np.ndarray:
    """The picture of a face for which these numbers are drawn."""
    picture = IMAGE
    for step in transform.plan(np.array([[*draws, *[0.0] * (7 - len(draws))]]), np.array([chosen]), 64):
        picture = step.do(0, picture) if step.chosen[0] else picture
    return picture


def numbers(n: int = N) -> np.ndarray:
    return np.random.default_rng(1).random((n, 7))


@pytest.mark.parametrize("way", [0, 1, 2, 3], ids=["enlarged", "on black", "on white", "alone"])
def test_four_ways_are_the_papers(way: int) -> None:
    """17 numbers of 10 pixels less than the square, taken and put at each of ten places."""
    for place in np.linspace(0.05, 0.95, 10):
        draws = [way / 4 + 0.1, 9 / 15 + 0.01, place, 1 - place, place / 2, 0.7]
        source, target = (int(10 * place), int(10 * (1 - place))), (int(5 * place), 7)
        expected = PaperFourWayCrop().apply(IMAGE, way=way, shrink=10, source=source, target=target)
        np.testing.assert_array_equal(planned(FourWayCrop(15), draws), expected)
    np.testing.assert_array_equal(planned(FourWayCrop(15), draws, chosen=False), IMAGE)


def test_four_ways_are_equally_likely_and_cuts_uniform() -> None:
    enlarged, pixels = FourWayCrop(15).plan(numbers(), np.ones(N, bool), 64)
    ways = [enlarged.chosen.mean()]
    assert isinstance(pixels, Pixels)
    ways += [(pixels.leaves & (pixels.fill == fill)).mean() for fill in (0, 255)]
    np.testing.assert_allclose(ways, 0.25, atol=0.03)
    shown = (pixels.rows >= 0).sum(axis=1)[pixels.leaves]
    shrink = np.bincount(64 - shown, minlength=16)
    assert shrink[0] == 0
    np.testing.assert_allclose(shrink[1:] / len(shown), 1 / 15, atol=0.02)
    starts = (pixels.rows >= 0).argmax(axis=1)[pixels.leaves][shown == 49]
    assert (starts.min(), starts.max()) == (0, 14)


@pytest.mark.parametrize("zoom", [(0.8013, 1.1987), (1.1971, 0.8309), (1.0, 1.0), (0.9131, 1.1173)])
def test_zoom_is_scipys_affine_transform(zoom: tuple[float, float]) -> None:
    """Keras' random_zoom with nearest interpolation and edge fill, about the centre."""
    center = np.array([31.5, 31.5])
    offset = center - np.array(zoom) * center
    expected = [scipy.ndimage.affine_transform(IMAGE[..., c], np.diag(zoom), offset, order=0, mode="nearest") for c in range(3)]
    np.testing.assert_array_equal(PaperZoom().apply(IMAGE, zoom=zoom), np.stack(expected, axis=-1))
    drawn = [(factor - 0.8) / 0.4 for factor in zoom]
    np.testing.assert_array_equal(planned(RandomZoom((0.8, 1.2), p=1.0), drawn), np.stack(expected, axis=-1))


def test_zoom_is_about_the_middle_of_the_picture() -> None:
    """By hand: 1.5 + (0, 1, 2, 3 - 1.5) / 2 rounds to 1, 1, 2, 2; about Keras' 2.5 it would be 1, 2, 2, 3."""
    (pixels,) = RandomZoom((0.5, 1.0), p=1.0).plan(np.zeros((1, 7)), np.ones(1, bool), 4)
    assert isinstance(pixels, Pixels)
    assert pixels.rows.tolist() == pixels.columns.tolist() == [[1, 1, 2, 2]]


def test_zoom_happens_in_seven_of_ten() -> None:
    same = (done([RandomZoom()], n=2000) == IMAGE).all(axis=(1, 2, 3))
    assert same.mean() == pytest.approx(0.3, abs=0.04)


def test_tables_of_pixels_are_merged_and_change_nothing() -> None:
    transforms = [FourWayCrop(), RandomZoom(p=1.0)]
    indices = np.arange(40)
    steps = plan_transforms(transforms, 64, Draws((0, 0), indices), (0, 0), indices, PIPELINE)
    assert len(steps) == 2  # what is enlarged, and both tables in one
    first = [done([FourWayCrop()], n=40)[i] for i in range(40)]
    zoomed = RandomZoom(p=1.0).plan(Draws((0, 0), indices)(PIPELINE + 1, 8)[:, 1:], np.ones(40, bool), 64)[0]
    np.testing.assert_array_equal(done(transforms, n=40), np.stack([zoomed.do(i, first[i]) for i in range(40)]))


@pytest.mark.parametrize(
    ("ours", "papers"),
    [
        ([FourWayCrop(15), RandomZoom((0.8, 1.2), p=0.7)], [PaperFourWayCrop(15), PaperZoom((0.8, 1.2), p=0.7)]),
        ([LowResolution((1, 6, 11, 16))], [PaperLowResolution((1, 6, 11, 16))]),
        ([LowResolution((5,), p=0.25)], [PaperLowResolution((5,), p=0.25)]),
    ],
    ids=["fsanet", "lowres", "now and then"],
)
def test_what_is_drawn_for_a_batch_has_the_papers_distribution(ours: list[Any], papers: list[Any]) -> None:
    n, smooth = 3000, cv2.GaussianBlur(IMAGE, (0, 0), 4)
    fast, slow = (done(transforms, smooth, n).reshape(n, -1).astype(float) for transforms in (ours, papers))
    error = 5 * slow.std(axis=0) * (2 / n) ** 0.5 + 0.5
    assert (np.abs(fast.mean(axis=0) - slow.mean(axis=0)) < error).all()
    assert fast.std(axis=0).mean() == pytest.approx(slow.std(axis=0).mean(), rel=0.04)


@pytest.mark.parametrize("factor", [1, 3, 10, 500])
def test_low_resolution_repeats_pixels(factor: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    low = done([LowResolution([factor])], picture, stream=CUT)[0]
    assert low.shape == picture.shape
    assert len(np.unique(low.reshape(-1, 3), axis=0)) <= max(60 // factor, 1) * max(90 // factor, 1)
    np.testing.assert_array_equal(low, lower_resolution(picture, factor))
    if factor == 3:
        np.testing.assert_array_equal(low[::3, ::3], low[2::3, 2::3])
        np.testing.assert_array_equal(low[::3, ::3], picture[1::3, 1::3])


def test_low_resolution_draws_every_factor_and_none_below_one() -> None:
    (step,) = LowResolution().plan(numbers(), np.ones(N, bool), 0)
    made = np.stack([step.do(i, IMAGE) for i in range(N)])
    drawn = {factor: (made == lower_resolution(IMAGE, factor)).all(axis=(1, 2, 3)) for factor in (1, 6, 11, 16)}
    np.testing.assert_allclose([is_drawn.mean() for is_drawn in drawn.values()], 0.25, atol=0.03)
    np.testing.assert_array_equal(step.chosen, ~drawn[1])
    with pytest.raises(InputError, match="whole numbers of 1 or more"):
        LowResolution(factors=[0, 3])


def test_blur_is_pils_and_comes_as_often_as_given() -> None:
    blurred = done([PILBlur(p=0.2)], n=2000)
    same = (blurred == IMAGE).all(axis=(1, 2, 3))
    assert same.mean() == pytest.approx(0.8, abs=0.03)
    np.testing.assert_array_equal(blurred[~same][0], np.asarray(Image.fromarray(IMAGE).filter(ImageFilter.BLUR)))


def test_albumentations_draw_from_seed_epoch_face_and_place() -> None:
    """Of the same faces the same, whatever was drawn before and wherever they stand in a batch."""
    transforms = [A.GaussNoise(p=1.0), A.OneOf([A.HorizontalFlip(p=1.0), A.VerticalFlip(p=1.0)], p=0.5)]
    first = done(transforms, n=6)
    np.testing.assert_array_equal(done(transforms, n=3), first[:3])
    assert not (done(transforms, n=6, epoch=1) == first).all(axis=(1, 2, 3)).any()
    assert not (done(transforms, n=6, stream=CUT) == first).all(axis=(1, 2, 3)).any()
    assert len(np.unique(first.reshape(6, -1), axis=0)) == 6


def test_transforms_within_a_pipeline_draw_from_streams_of_their_own() -> None:
    """With one stream for all, the first transform's first draw would decide the second's."""
    both = A.Compose([PaperZoom(p=1.0), PaperZoom(p=1.0)])
    pairs = []
    for index in range(500):
        reseed(both, 0, 0, index)
        pairs.append([transform.get_params()["zoom"][0] for transform in both.transforms])
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 0.15


def test_our_transforms_and_albumentations_go_in_the_order_given() -> None:
    inverted = done([A.InvertImg(p=1.0), FourWayCrop(), A.InvertImg(p=1.0)], n=40)
    direct = done([A.NoOp(), FourWayCrop()], n=40)  # the same stream
    assert not np.array_equal(inverted, direct)
    outside = (direct == 0).all(axis=-1)
    assert outside.any()
    assert (inverted[outside] == 255).all()


def test_a_picture_is_never_changed_in_place() -> None:
    picture = IMAGE.copy()
    picture.flags.writeable = False
    done([A.CoarseDropout(p=1.0), FourWayCrop(), LowResolution([4]), PILBlur(1.0)], picture, 4)
    np.testing.assert_array_equal(picture, IMAGE)


@pytest.mark.parametrize("transform", [A.ToFloat(), A.ToGray(num_output_channels=1)], ids=["float", "one channel"])
def test_what_is_no_picture_any_more_is_refused(transform: Any) -> None:
    with pytest.raises(InputError, match=r"To(Float|Gray) made (float32|uint8) of shape .* \(H, W, 3\) uint8 is needed"):
        done([transform])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        *(({"mirror": value}, "mirror") for value in (-0.1, 1.5, "often", float("nan"))),
        *(({"rotation": value}, "rotation") for value in (-1, 200, "much", float("nan"))),
        ({"pipeline": [3]}, r"augmentation\.pipeline: int is no transform"),
        ({"cut": ["blur"]}, r"augmentation\.cut: str is no transform"),
        ({"cut": [RandomZoom()]}, r"augmentation\.cut: RandomZoom takes finished squares only"),
    ],
)
def test_what_cannot_be_drawn_is_refused(options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Augmentation(**options)


def test_a_lone_pipeline_is_one_transform() -> None:
    pipeline = A.Compose([A.InvertImg(p=1.0)])
    assert Augmentation(pipeline=pipeline).pipeline == [pipeline]
    assert Augmentation().cut == Augmentation(cut=[]).cut == []
