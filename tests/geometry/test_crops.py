from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from headposekit.errors import InputError
from headposekit.geometry.crops import (
    HOPENET_SIDES,
    CropRule,
    FSANetCrop,
    HopenetCrop,
    MarginCrop,
    SixDRepNetCrop,
    ThreeDDFACrop,
    aflw2000_box,
    crop_with_black_border,
    drop_negative_points,
    fsanet_box,
    hopenet_box,
    landmarks_box,
    square_box,
)

RAMP = (np.arange(100 * 120 * 3) % 251).reshape(100, 120, 3).astype(np.uint8)


def test_hopenet_margins_depend_on_their_order() -> None:
    assert hopenet_box([100, 100, 200, 200], 0.3, HOPENET_SIDES["300w_lp"]).tolist() == [82, 40, 221, 228]
    assert hopenet_box([100, 100, 200, 200], 0.3, HOPENET_SIDES["300w_lp"], order_free=True).tolist() == [82, 40, 218, 218]


@pytest.mark.parametrize(
    ("dataset", "k", "net"),
    [("300w_lp", 0.3, (18, 60, 21, 29)), ("aflw2000", 0.2, (40, 40, 56, 17)), ("biwi", 0.35, (21, 35, 25, 28))],
)
def test_hopenet_net_enlargement(dataset: str, k: float, net: tuple[int, ...]) -> None:
    x0, y0, x1, y1 = hopenet_box([1000, 1000, 1100, 1100], k, HOPENET_SIDES[dataset])
    assert (1000 - x0, 1000 - y0, x1 - 1100, y1 - 1100) == pytest.approx(net, abs=1)


def test_hopenet_truncates_towards_zero() -> None:
    assert hopenet_box([-0.5, -0.5, 9.5, 9.5], 0.0, (1, 1, 1, 1)).tolist() == [0, 0, 9, 9]


def test_fsanet_box_clips_before_the_last_row_and_column() -> None:
    assert fsanet_box([10.9, 20.9, 60.9, 80.9], 0.6, 120, 100).tolist() == [0, 0, 90, 99]
    assert fsanet_box([50, 40, 60, 60], 0.6, 120, 100).tolist() == [44, 28, 66, 72]


def test_fsanet_crop_without_resize_is_the_slice() -> None:
    crop = FSANetCrop(size=22, margin=0.6)(RAMP, [50, 40, 60, 50])
    x0, y0, x1, y1 = fsanet_box([50, 40, 60, 50], 0.6, 120, 100)
    assert (x1 - x0, y1 - y0) == (22, 22)
    np.testing.assert_array_equal(crop, RAMP[y0:y1, x0:x1])


def test_fsanet_filter_uses_the_smaller_mask() -> None:
    points = np.array([[-1, 5], [3, 4], [2, -2], [6, -3.0]])
    np.testing.assert_array_equal(drop_negative_points(points), points[[0, 1]])  # y > 0 keeps two, x > 0 three
    np.testing.assert_array_equal(drop_negative_points(points[:2]), points[[1]])


def test_aflw2000_boxes_by_rule() -> None:
    points21 = np.array([[-1, 50], [30, 40], [60, 80.0]])
    points68 = np.array([[20, 10], [70, 90.0]])
    assert aflw2000_box(points21, points68, "official").tolist() == [-1, 40, 60, 80]
    assert aflw2000_box(points21, points68, "visible21").tolist() == [30, 40, 60, 80]
    assert aflw2000_box(points21, points68, "pt3d_68").tolist() == [20, 10, 70, 90]
    with pytest.raises(InputError, match="box=tight is unknown"):
        aflw2000_box(points21, points68, "tight")  # type: ignore[arg-type]


@given(st.tuples(*[st.integers(-50, 170)] * 2), st.tuples(*[st.integers(0, 90)] * 2))
def test_black_border_is_pils_crop(corner: tuple[int, int], extent: tuple[int, int]) -> None:
    box = (*corner, corner[0] + extent[0], corner[1] + extent[1])
    expected = np.asarray(Image.fromarray(RAMP).crop(box))
    ours = crop_with_black_border(RAMP, box)
    assert ours.shape == (extent[1], extent[0], 3)
    if 0 not in extent:
        np.testing.assert_array_equal(ours, expected)


@given(st.tuples(*[st.floats(0, 80)] * 4).filter(lambda b: b[2] > 1 and b[3] > 1), st.floats(0, 1))
def test_square_box_is_square_and_centred(numbers: tuple[float, ...], margin: float) -> None:
    x, y, width, height = numbers
    x0, y0, x1, y1 = square_box([x, y, x + width, y + height], margin)
    assert x1 - x0 == y1 - y0 == round((1 + 2 * margin) * max(width, height))
    assert (x0 + x1) / 2 == pytest.approx(x + width / 2, abs=1)
    assert (y0 + y1) / 2 == pytest.approx(y + height / 2, abs=1)


def test_margin_crop_keeps_the_shape_of_the_face() -> None:
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    image[40:60, 45:55] = 255  # twice as high as wide
    crop = MarginCrop(size=40, margin=0.5)(image, [45, 40, 55, 60]) > 127
    assert crop.any(axis=(1, 2)).sum() == 2 * crop.any(axis=(0, 2)).sum() == 20


def roi_of_3ddfa_v2(box: tuple[float, ...]) -> list[int]:
    """As its own code computes it, side by side."""
    left, top, right, bottom = box
    old = (right - left + bottom - top) / 2
    x, y, size = right - (right - left) / 2, bottom - (bottom - top) / 2 + old * 0.14, int(old * 1.58)
    return [round(side) for side in (x - size / 2, y - size / 2, x - size / 2 + size, y - size / 2 + size)]


def test_threeddfa_crop_is_a_lower_square_with_black_outside() -> None:
    assert ThreeDDFACrop().regions(np.array([[100.0, 50, 180, 170]]), 400, 400).cut.tolist() == [[61, 45, 219, 203]]
    crop = ThreeDDFACrop(158)(np.full((100, 120, 3), 255, np.uint8), [20, 0, 120, 100])
    np.testing.assert_array_equal(crop[:15], 0)
    np.testing.assert_array_equal(crop[15:115, 9:129], 255)
    np.testing.assert_array_equal(crop[115:], 0)


@given(st.tuples(*[st.floats(0, 80)] * 4).filter(lambda b: b[2] > 1 and b[3] > 1))
def test_threeddfa_crop_is_the_published_one_and_within_its_reach(numbers: tuple[float, ...]) -> None:
    x, y, width, height = numbers
    box, rule = (x, y, x + width, y + height), ThreeDDFACrop()
    cut = rule.regions(np.array([box]), 100, 100).cut[0]
    np.testing.assert_allclose(cut, roi_of_3ddfa_v2(box), atol=1)  # a side may lie on a half pixel
    half = (0.5 + rule.reach) * max(width, height) + 1
    center = np.array([x + width / 2, y + height / 2] * 2)
    assert np.abs(cut - center).max() <= half


@pytest.mark.parametrize("rule", [FSANetCrop(), MarginCrop()], ids=["fsanet", "margin"])
def test_box_without_area_is_refused(rule) -> None:
    with pytest.raises(InputError, match="has no area"):
        rule(RAMP, [500, 500, 500, 500])


@pytest.mark.parametrize(
    ("option", "value"), [("size", 0), ("size", 6.5), ("margin", -0.1), ("margin", "wide"), ("aflw2000_box", "zz")]
)
def test_wrong_options_are_named(option: str, value: object) -> None:
    with pytest.raises(InputError, match=rf"crop\.{option}={value}"):
        FSANetCrop(**{option: value})


def test_landmarks_box() -> None:
    assert landmarks_box([[3, 9], [1, 4], [2, 5]]).tolist() == [1, 4, 3, 9]


def test_real_crops_are_the_authors_pixels(shared: Path, expected: dict[str, np.ndarray]) -> None:
    from headposekit.datasets import AFLW2000

    crop = FSANetCrop()
    for sample, bgr in zip(AFLW2000(shared / "aflw2000_sample"), expected["aflw2000_crops_bgr"], strict=True):
        np.testing.assert_array_equal(crop(sample["image"], sample["box"]), bgr[..., ::-1])


@pytest.mark.parametrize(("rule", "side"), [(HopenetCrop(28), 28), (SixDRepNetCrop(28), 32)], ids=["hopenet", "sixdrepnet"])
def test_hopenet_crop_is_the_published_test_transform(rule: HopenetCrop, side: int) -> None:
    box = [40, 30, 80, 80]
    x0, y0, x1, y1 = hopenet_box(box, 0.2, HOPENET_SIDES["aflw2000"])
    picture = Image.fromarray(RAMP).crop((x0, y0, x1, y1))
    width, height = picture.size
    assert side < min(width, height)
    picture = picture.resize((side, int(side * height / width)) if width <= height else (int(side * width / height), side), 2)
    left, top = round((picture.width - 28) / 2), round((picture.height - 28) / 2)
    expected = np.asarray(picture.crop((left, top, left + 28, top + 28)))
    np.testing.assert_array_equal(rule.for_dataset("aflw2000")(RAMP, box), expected)


def test_hopenet_crop_varies_in_training_alone() -> None:
    rule = HopenetCrop(24).for_dataset("300w_lp")
    box = [40, 30, 80, 80]

    draws, size = np.random.default_rng(0).random((40, 3)), RAMP.shape[0]
    cuts = rule.regions(np.tile(np.float64(box), (40, 1)), size, size, draws).cut

    def trained(i: int) -> np.ndarray:
        return rule.fit(crop_with_black_border(RAMP, cuts[i]), draws[i, 1:])

    np.testing.assert_array_equal(rule(RAMP, box), rule(RAMP, box))
    assert not np.array_equal(trained(1), trained(2))
    assert trained(1).shape == (24, 24, 3)
    sizes = set((cuts[:, 2] - cuts[:, 0]).tolist())
    smallest, largest = (hopenet_box(box, k, HOPENET_SIDES["300w_lp"]) for k in (0.2, 0.4))
    assert min(sizes) >= smallest[2] - smallest[0]
    assert max(sizes) <= largest[2] - largest[0]
    assert len(sizes) > 5


def test_hopenet_crop_of_nothing() -> None:
    with pytest.raises(InputError, match="outside its picture or has no area"):
        HopenetCrop(24)(RAMP, [50, 50, 50, 50])


def test_each_dataset_has_its_form_of_a_rule() -> None:
    box = [40, 30, 80, 80]
    crops = [HopenetCrop(24).for_dataset(name)(RAMP, box) for name in ("300w_lp", "aflw2000", "biwi", "synthetic")]
    assert not np.array_equal(crops[0], crops[1])
    assert not np.array_equal(crops[0], crops[2])
    np.testing.assert_array_equal(crops[0], crops[3])
    assert not np.array_equal(HopenetCrop(24)(RAMP, box), HopenetCrop(24, order_free=True)(RAMP, box))
    fsanet = FSANetCrop(24)
    np.testing.assert_array_equal(fsanet.for_dataset("aflw2000")(RAMP, box), fsanet(RAMP, box))
    assert not np.array_equal(fsanet.for_dataset("biwi")(RAMP, box), fsanet(RAMP, box))
    np.testing.assert_array_equal(fsanet.for_dataset("biwi").for_dataset("aflw2000")(RAMP, box), fsanet(RAMP, box))


@pytest.mark.parametrize(
    "rule", [FSANetCrop(20), HopenetCrop(20), MarginCrop(20), SixDRepNetCrop(20), ThreeDDFACrop(20)], ids=lambda rule: rule.name
)
def test_boxes_that_are_crops_already_are_cut_as_they_are(rule) -> None:
    np.testing.assert_array_equal(rule.for_dataset("crops")(RAMP, [30, 40, 50, 60]), RAMP[40:60, 30:50])


@pytest.mark.parametrize("rule", [MarginCrop(8), HopenetCrop(8), ThreeDDFACrop(8)], ids=lambda rule: rule.name)
def test_a_crop_never_fills_the_memory(rule: CropRule) -> None:
    with pytest.raises(InputError, match=r"a crop of \d+×\d+ pixels is too large"):
        rule(RAMP, [-100_000, -100_000, 100_000, 100_000])


def test_a_crop_as_thin_as_a_hair_never_fills_the_memory() -> None:
    with pytest.raises(InputError, match="pixels is too large"):
        HopenetCrop(224).fit(np.zeros((3000, 1, 3), np.uint8))
    assert HopenetCrop(8).fit(np.zeros((3000, 1, 3), np.uint8)).shape == (8, 8, 3)
