import albumentations as A
import numpy as np
import pytest
import torch

from headposekit.data import batch_opencv, batch_torch
from headposekit.data.augmentation import (
    Augmentation,
    FourWayCrop,
    LowResolution,
    PILBlur,
    RandomZoom,
    mirror_sample,
    rotate_pose,
    rotate_sample,
)
from headposekit.data.draws import Draws, integers
from headposekit.data.plan import Labels, Planner, obstacle_to_plans, plan_four_way, plan_zoom
from headposekit.errors import InputError
from headposekit.geometry.crops import FSANetCrop, HopenetCrop, MarginCrop, ReadyCrop
from headposekit.types import Sample

N, SIDE = 24, 80


def smooth(n: int = N, side: int = SIDE) -> np.ndarray:
    """Pictures without sharp edges, on which interpolations differ little."""
    rng = np.random.default_rng(0)
    coarse = torch.from_numpy(rng.uniform(0, 255, (n, 3, 8, 8)))
    fine = torch.nn.functional.interpolate(coarse, size=(side, side), mode="bicubic")
    return fine.clamp(0, 255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def labels(n: int = N) -> Labels:
    rng = np.random.default_rng(1)
    corner, extent = rng.uniform(20, 30, (n, 2)), rng.uniform(24, 34, (n, 2))
    return Labels(
        rng.uniform(-60, 60, (n, 3)).astype(np.float32),
        np.concatenate([corner, corner + extent], axis=1).astype(np.float32),
        rng.uniform(20, 60, (n, 68, 2)).astype(np.float32),
    )


def sample(pictures: np.ndarray, known: Labels, i: int) -> Sample:
    return {
        "image": pictures[i], "pose": known.pose[i], "box": known.box[i], "landmarks": known.landmarks[i], "name": str(i),
    }  # fmt: skip


def plan(crop, augmentation, epoch=0, pictures=None, indices=None):
    pictures = smooth() if pictures is None else pictures
    n = len(pictures)
    extent = np.tile(pictures.shape[1:3], (n, 1))
    indices = np.arange(n) if indices is None else indices
    return pictures, *Planner(crop, augmentation)(labels(n), extent, (0, epoch), indices)


def both(drawn, pictures) -> tuple[np.ndarray, np.ndarray]:
    by_torch = batch_torch.carry_out(drawn, torch.from_numpy(pictures.copy())).numpy()
    return batch_opencv.carry_out(drawn, pictures.copy()), by_torch


def apart(a: np.ndarray, b: np.ndarray) -> tuple[float, int]:
    difference = np.abs(a.astype(int) - b.astype(int))
    return float(difference.mean()), int(difference.max())


def test_numbers_belong_to_their_face_alone() -> None:
    all_faces = Draws((3, 5), np.arange(1000))(2, 4)
    np.testing.assert_array_equal(Draws((3, 5), np.array([7, 999]))(2, 4), all_faces[[7, 999]])
    for other in (Draws((4, 5), np.arange(1000))(2, 4), Draws((3, 6), np.arange(1000))(2, 4)):
        assert not (other == all_faces).any()
    assert not (Draws((3, 5), np.arange(1000))(3, 4) == all_faces).any()


def test_numbers_are_uniform_and_independent() -> None:
    numbers = Draws((0, 0), np.arange(50_000))(1, 3)
    assert numbers.min() >= 0
    assert numbers.max() < 1
    counts = np.stack([np.bincount(integers(column, 20), minlength=20) for column in numbers.T])
    assert (np.abs(counts - 2500) < 5 * 2500**0.5).all()
    next_epoch = Draws((0, 1), np.arange(50_000))(1, 1)
    columns = np.concatenate([numbers, next_epoch, np.roll(numbers[:, :1], 1, axis=0)], axis=1)
    correlation = np.corrcoef(columns.T) - np.eye(5)
    assert np.abs(correlation).max() < 0.02


@pytest.mark.parametrize("crop", [FSANetCrop(64), MarginCrop(64), MarginCrop(64, margin=0.9)])
def test_without_augmentation_a_square_is_the_crop_rules(crop) -> None:
    pictures, drawn, known = plan(crop, Augmentation())
    expected = np.stack([crop(picture, box) for picture, box in zip(pictures, known.box, strict=True)])
    for squares in both(drawn, pictures):
        assert apart(squares, expected)[0] < 0.6


@pytest.mark.parametrize("dataset", ["300w_lp", "aflw2000"])
def test_hopenet_regions_are_what_the_rule_shows(dataset: str) -> None:
    crop, known = HopenetCrop(64).for_dataset(dataset), labels()
    ramp = np.stack([*np.meshgrid(np.arange(160), np.arange(160)), np.zeros((160, 160))], axis=-1).astype(np.uint8)
    regions = crop.regions(known.box + 30, 160, 160)
    for box, (x0, y0, x1, y1) in zip(known.box + 30, regions.shown, strict=True):
        square = crop(ramp, box)  # of a picture whose colours are its coordinates
        half = (x1 - x0) / 128, (y1 - y0) / 128
        np.testing.assert_allclose(square[32, [0, -1], 0], [x0 + half[0] - 0.5, x1 - half[0] - 0.5], atol=1.1)
        np.testing.assert_allclose(square[[0, -1], 32, 1], [y0 + half[1] - 0.5, y1 - half[1] - 0.5], atol=1.1)
    drawn = crop.regions(known.box, 80, 80, np.random.default_rng(0).random((N, 3)))
    inside = (drawn.shown[:, :2] >= drawn.cut[:, :2] - 1e-6) & (drawn.shown[:, 2:] <= drawn.cut[:, 2:] + 1e-6)
    assert inside.all()


def test_fsanet_squares_are_bit_identical_without_rotation() -> None:
    pictures, drawn, known = plan(FSANetCrop(64), Augmentation())
    expected = np.stack([FSANetCrop(64)(picture, box) for picture, box in zip(pictures, known.box, strict=True)])
    np.testing.assert_array_equal(batch_opencv.carry_out(drawn, pictures.copy()), expected)


@pytest.mark.parametrize("crop", [FSANetCrop(64), MarginCrop(64)])
def test_mirrored_faces_are_those_of_the_slow_way(crop) -> None:
    pictures, drawn, known = plan(crop, Augmentation(mirror=1.0))
    before = labels()
    mirrored = [mirror_sample(sample(pictures, before, i)) for i in range(N)]
    for name in ("pose", "box", "landmarks"):
        np.testing.assert_allclose(getattr(known, name), np.stack([face[name] for face in mirrored]), atol=1e-4)
    expected = np.stack([crop(face["image"], face["box"]) for face in mirrored])
    for squares in both(drawn, pictures):
        assert apart(squares, expected)[0] < 0.6


def test_turned_faces_are_those_of_the_slow_way() -> None:
    augmentation, crop = Augmentation(mirror=0.5, rotation=15), MarginCrop(64, margin=0.3)
    pictures, drawn, known = plan(crop, augmentation)
    before = labels()
    assert drawn.rotated.all()
    assert 0 < drawn.mirrored.sum() < N
    for i in range(N):
        face = sample(pictures, before, i)
        face = mirror_sample(face) if drawn.mirrored[i] else face
        # The angle again, from the landmarks' own turn.
        a, b = (points[0] - points[40] for points in (face["landmarks"], known.landmarks[i]))
        angle = -np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b))
        turned = rotate_sample(face, angle)
        np.testing.assert_allclose(known.pose[i], rotate_pose(face["pose"], angle), atol=1e-3)
        np.testing.assert_allclose(known.landmarks[i], turned["landmarks"], atol=1e-3)
        expected = crop(turned["image"], turned["box"])
        for squares in both(drawn, pictures):
            assert apart(squares[i], expected)[0] < 1.5


def test_turned_poses_stay_within_the_limit_and_have_the_spread_asked_for() -> None:
    pictures = np.zeros((2000, 8, 8, 3), np.uint8)
    n = len(pictures)
    before = labels(n)
    before.pose[:] = [0, 0, 60]
    drawn, known = Planner(FSANetCrop(8), Augmentation(rotation=30))(before, np.full((n, 2), 80), (0, 0), np.arange(n))
    assert np.abs(known.pose).max() <= 99.001
    turned = 60 - known.pose[:, 2]  # counter-clockwise, against the roll
    assert drawn.rotated.all()
    assert turned.std() == pytest.approx(24, abs=3)  # a normal of 30 cut off at -39 has a spread of 24.4


@pytest.mark.parametrize("rotation", [0.0, 20.0])
@pytest.mark.parametrize("crop", [FSANetCrop(64), MarginCrop(64, margin=0.6), HopenetCrop(64)])
def test_both_ways_agree(crop, rotation: float) -> None:
    pictures, drawn, _ = plan(crop, Augmentation(mirror=0.5, rotation=rotation), epoch=3)
    mean, largest = apart(*both(drawn, pictures))
    assert mean < 0.3
    assert largest <= (8 if isinstance(crop, FSANetCrop) else 130)  # at most where a picture ends


def test_pipeline_of_whole_pixels_is_the_transforms_own_arithmetic() -> None:
    four_way, zoom = FourWayCrop(max_shift=15), RandomZoom((0.8, 1.2), p=1.0)
    pictures = smooth(side=64)
    draws, always = Draws((0, 0), np.arange(N))(9, 7), np.ones(N, bool)
    patch, pixels = plan_four_way(four_way, draws, always, 64)
    (zoomed,) = plan_zoom(zoom, draws, always, 64)
    augmentation = Augmentation(pipeline=A.Compose([four_way, zoom]))
    _, drawn, _ = plan(ReadyCrop(FSANetCrop(64)), augmentation, pictures=pictures)
    assert len(drawn.after) == 2  # the patch, and both tables in one
    by_opencv, by_torch = both(drawn, pictures)
    assert apart(by_opencv, by_torch)[1] <= 1
    ways = set()
    for i in range(N):
        shrink = 1 + int(draws[i, 1] * 15)
        source, target = (tuple(int(draws[i, k + j] * shrink) for j in range(2)) for k in (2, 4))
        way = int(draws[i, 0] * 4)
        ways.add(way)
        expected = four_way.apply(pictures[i], way=way, shrink=shrink, source=source, target=target)
        found = pictures[i].copy()
        for step in (patch, pixels):
            found = batch_opencv._do(step, i, found) if step.chosen[i] else found
        np.testing.assert_array_equal(found, expected)
        factors = tuple(0.8 + 0.4 * draws[i, :2])
        np.testing.assert_array_equal(batch_opencv._do(zoomed, i, pictures[i]), zoom.apply(pictures[i], zoom=factors))
    assert ways == {0, 1, 2, 3}


def test_pipelines_have_the_distribution_of_the_slow_way() -> None:
    augmentation = Augmentation(pipeline=A.Compose([FourWayCrop(15, p=1.0), RandomZoom((0.8, 1.2), p=0.7)]))
    n = 3000
    pictures = np.repeat(smooth(1, 64), n, axis=0)
    _, drawn, _ = plan(ReadyCrop(FSANetCrop(64)), augmentation, pictures=pictures)
    fast = batch_opencv.carry_out(drawn, pictures.copy()).reshape(n, -1).astype(float)
    slow = np.stack([augmentation.after_crop(pictures[0], 0, 0, i) for i in range(n)]).reshape(n, -1).astype(float)
    error = 5 * slow.std(axis=0) * (2 / n) ** 0.5 + 0.5
    assert (np.abs(fast.mean(axis=0) - slow.mean(axis=0)) < error).all()
    assert fast.std(axis=0).mean() == pytest.approx(slow.std(axis=0).mean(), rel=0.03)


@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_low_resolution_and_blur_of_cuts(mirror: float) -> None:
    crop = FSANetCrop(64)
    augmentation = Augmentation(mirror=mirror, cut=A.Compose([LowResolution((5,)), PILBlur(p=1.0)]))
    pictures, drawn, known = plan(crop, augmentation)
    by_opencv, by_torch = both(drawn, pictures)
    for i in range(N):
        face = sample(pictures, labels(), i)
        face = mirror_sample(face) if mirror else face
        cut = augmentation.on_cut(crop.cut(face["image"], face["box"]), 0, 0, i)
        expected = crop.fit(cut)[6:-6, 6:-6]  # the blur goes round the cut's edges, and ends before a picture's
        assert apart(by_opencv[i][6:-6, 6:-6], expected)[1] <= 1
        assert apart(by_torch[i][6:-6, 6:-6], expected)[1] <= 3
    assert known.pose.shape == (N, 3)


def test_a_picture_that_fills_only_a_part_of_its_place() -> None:
    pictures = smooth()
    pictures[:, 60:], pictures[:, :, 70:] = 0, 0
    before, extent = labels(), np.tile([60, 70], (N, 1))
    for augmentation in (Augmentation(mirror=1.0), Augmentation(mirror=0.5, rotation=10)):
        drawn, _ = Planner(FSANetCrop(64), augmentation)(before, extent, (0, 0), np.arange(N))
        mean, largest = apart(*both(drawn, pictures))
        assert mean < 0.3
        assert largest <= 8
        if not augmentation.rotation:
            faces = [mirror_sample(sample(pictures[:, :60, :70], before, i)) for i in range(N)]
            expected = np.stack([FSANetCrop(64)(face["image"], face["box"]) for face in faces])
            assert apart(batch_opencv.carry_out(drawn, pictures.copy()), expected)[0] < 0.3


def test_what_has_no_form_for_batches_is_named() -> None:
    assert obstacle_to_plans(Augmentation(mirror=0.5, rotation=10)) is None
    blur = Augmentation(pipeline=A.Compose([A.GaussianBlur()]))
    assert "GaussianBlur" in str(obstacle_to_plans(blur))
    with pytest.raises(InputError, match=r"set data\.feed=workers"):
        Planner(FSANetCrop(64), blur)
    assert "rotation" in str(obstacle_to_plans(Augmentation(rotation=5, cut=A.Compose([PILBlur()]))))
