from typing import Any

import albumentations as A
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from headposekit.data.augmentation import Augmentation, FourWayCrop, LowResolution, PILBlur, RandomZoom
from headposekit.data.draws import Draws, integers
from headposekit.data.plan import Labels, Plan, Planner, mirror_labels, rotate_poses
from headposekit.errors import InputError
from headposekit.geometry.crops import CropRule, FSANetCrop, HopenetCrop, MarginCrop, ReadyCrop, crop_with_black_border
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.synthesis.sampler import HeadSampler
from headposekit.types import Sample
from papers import blur, lower_resolution, mirror_sample, rotate_pose, rotate_sample

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


def plan(crop: CropRule, augmentation: Augmentation | None, epoch: int = 0, **given: Any) -> tuple[Plan, Labels, np.ndarray]:
    """The plan of N faces, what is known of them afterwards, their squares."""
    pictures = given.pop("pictures", smooth())
    n = len(pictures)
    extent = np.array([picture.shape[:2] for picture in pictures])
    drawn, known = Planner(crop, augmentation, **given)(labels(n), extent, (0, epoch), np.arange(n))
    return drawn, known, drawn.carry_out(pictures, [str(i) for i in range(n)])


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


CROPS = [FSANetCrop(64), MarginCrop(64), MarginCrop(64, margin=0.9), HopenetCrop(64)]


@pytest.mark.parametrize("crop", CROPS, ids=lambda crop: crop.name)
def test_without_augmentation_a_square_is_the_crop_rules_to_the_last_bit(crop: CropRule) -> None:
    _, known, squares = plan(crop, None)
    expected = [crop(picture, box) for picture, box in zip(smooth(), known.box, strict=True)]
    np.testing.assert_array_equal(squares, np.stack(expected))
    if not crop.varies:
        np.testing.assert_array_equal(plan(crop, Augmentation())[2], squares)


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


@pytest.mark.parametrize("crop", CROPS[:3], ids=lambda crop: crop.name)
def test_mirrored_faces_are_those_of_the_slow_way(crop: CropRule) -> None:
    _, known, squares = plan(crop, Augmentation(mirror=1.0))
    mirrored = [mirror_sample(sample(smooth(), labels(), i)) for i in range(N)]
    for name in ("pose", "box", "landmarks"):
        np.testing.assert_allclose(getattr(known, name), np.stack([face[name] for face in mirrored]), atol=1e-4)  # type: ignore[literal-required]
    np.testing.assert_array_equal(squares, np.stack([crop(face["image"], face["box"]) for face in mirrored]))


def angle_of(face: Sample, known: Labels, i: int) -> float:
    """By which a face was turned, from its landmarks."""
    a, b = (points[0] - points[40] for points in (face["landmarks"], known.landmarks[i]))
    return float(-np.degrees(np.arctan2(a[0] * b[1] - a[1] * b[0], a @ b)))


@pytest.mark.parametrize("crop", CROPS[:2], ids=lambda crop: crop.name)
def test_turned_faces_are_those_of_the_slow_way(crop: CropRule) -> None:
    drawn, known, squares = plan(crop, Augmentation(mirror=0.5, rotation=15))
    assert drawn.rotated.all()
    assert 0 < drawn.mirrored.sum() < N
    for i in range(N):
        face = sample(smooth(), labels(), i)
        face = mirror_sample(face) if drawn.mirrored[i] else face
        angle = angle_of(face, known, i)
        turned = rotate_sample(face, angle)
        np.testing.assert_allclose(known.pose[i], rotate_pose(face["pose"], angle), atol=1e-3)
        np.testing.assert_allclose(known.landmarks[i], turned["landmarks"], atol=1e-3)
        assert apart(squares[i], crop(turned["image"], turned["box"]))[0] < 1.5


def test_a_varied_crop_is_what_the_rule_makes_of_the_same_draws() -> None:
    crop = HopenetCrop(64)
    _, known, squares = plan(crop, Augmentation())
    draws = Draws((0, 0), np.arange(N))(3, 3)
    regions = crop.regions(known.box, SIDE, SIDE, draws)
    for i, picture in enumerate(smooth()):
        np.testing.assert_array_equal(squares[i], crop.fit(crop_with_black_border(picture, regions.cut[i]), draws[i, 1:]))
    turned = plan(crop, Augmentation(rotation=1e-3))[2]  # all in one map; so little is no rotation
    assert apart(turned[:, 8:-8, 8:-8], squares[:, 8:-8, 8:-8])[0] < 1.5
    assert not np.array_equal(plan(crop, Augmentation(), epoch=1)[2], squares)


def test_turned_poses_stay_within_the_limit_and_have_the_spread_given() -> None:
    n = 2000
    before = labels(n)
    before.pose[:] = [0, 0, 60]
    drawn, known = Planner(FSANetCrop(8), Augmentation(rotation=30))(before, np.full((n, 2), 80), (0, 0), np.arange(n))
    assert np.abs(known.pose).max() <= 99.001
    turned = 60 - known.pose[:, 2]  # counter-clockwise, against the roll
    assert drawn.rotated.all()
    assert turned.std() == pytest.approx(24, abs=3)  # a normal of 30 cut off at -39 has a spread of 24.4


def test_a_face_beyond_the_limit_is_left_as_it_is() -> None:
    before = labels()
    before.pose[:] = [0, 120, 0]
    drawn, known = Planner(FSANetCrop(8), Augmentation(rotation=5))(before, np.full((N, 2), 80), (0, 0), np.arange(N))
    assert not drawn.rotated.any()
    np.testing.assert_array_equal(known.pose, before.pose)


def test_in_the_full_range_heads_from_behind_are_turned_too() -> None:
    before = labels()
    before.pose[:] = [160, 10, 5]
    planner = Planner(FSANetCrop(8), Augmentation(rotation=20, limit=None))
    drawn, known = planner(before, np.full((N, 2), 80), (0, 0), np.arange(N))
    assert drawn.rotated.all()
    assert (np.abs(known.pose[:, 0]) > 90).all()
    assert np.abs(known.pose[:, 1]).max() < 90


@given(st.tuples(*[st.floats(-89, 89)] * 3), st.floats(-180, 180))
def test_rotating_a_pose_is_the_product_of_matrices(pose: tuple[float, float, float], angle: float) -> None:
    turn = pose_to_matrix(torch.tensor([0.0, 0.0, -angle], dtype=torch.float64))
    expected = turn @ pose_to_matrix(torch.tensor(pose, dtype=torch.float64))
    (rotated,) = rotate_poses(np.array([pose]), np.array([angle]))
    torch.testing.assert_close(pose_to_matrix(torch.from_numpy(rotated).double()), expected, atol=1e-5, rtol=0)


def test_a_frontal_face_only_rolls() -> None:
    np.testing.assert_allclose(rotate_poses(np.array([[0.0, 0, 5]]), np.array([20.0])), [[0, 0, -15]], atol=1e-4)


def test_mirror_counts_from_the_edge_of_the_first_pixel() -> None:
    """A lit pixel's centre stays on it; counted from 1, as MATLAB does, it comes out a pixel too far left."""
    image, column = np.zeros((4, 10, 3), np.uint8), 3
    image[:, column] = 255
    lit = int(image[0, ::-1, 0].argmax())
    for first_centre, too_far_left in ((0.5, 0), (1, 1)):
        centre = column + first_centre
        before = Labels(np.zeros((1, 3)), np.array([[centre - 1, 0, centre + 1, 4]]), np.full((1, 68, 2), [centre, 2]))
        after = mirror_labels(before, np.ones(1, bool), np.array([10]))
        expected = lit + first_centre - too_far_left
        assert (after.landmarks[..., 0] == expected).all()
        assert after.box[0, [0, 2]].mean() == expected


def face(pose: tuple[float, float, float]) -> Sample:
    """A head without body, seen by a distant camera, lit from the front: its mirror image is the mirrored pose."""
    plain = HeadSampler(
        identity=0, expression=0, hair=False, body=False, beard=0, glasses=0, hat=0, occluder=0, skin_texture=False,
        light_variation=False, shadows=0, backgrounds=False, borders=0, photo=0, box_jitter=0, visible21=0, perspective=None,
    )  # fmt: skip
    head = plain.render(3, 128, pose)
    box, landmarks = head.box.astype(np.float32), head.landmarks[:, :2].astype(np.float32)
    return {"image": head.image, "pose": np.float32(pose), "box": box, "landmarks": landmarks, "name": "a"}


def whole(known: Sample, augmentation: Augmentation) -> tuple[np.ndarray, Labels]:
    """A square of all of its picture."""
    before = Labels(known["pose"][None], known["box"][None], known["landmarks"][None])
    drawn, after = Planner(ReadyCrop(FSANetCrop(128)), augmentation)(before, np.array([[128, 128]]), (0, 0), np.arange(1))
    return drawn.carry_out([known["image"]], ["a"])[0], after


@pytest.mark.parametrize("pose", [(35.0, 10.0, -12.0), (-70.0, 20.0, 15.0), (0.0, -30.0, 25.0)], ids=str)
def test_mirrored_face_is_the_face_at_the_mirrored_pose(pose: tuple[float, float, float]) -> None:
    before, expected = face(pose), face((-pose[0], pose[1], -pose[2]))
    square, known = whole(before, Augmentation(mirror=1))
    np.testing.assert_allclose(known.pose[0], expected["pose"], atol=1e-4)
    np.testing.assert_allclose(known.landmarks[0], expected["landmarks"], atol=1e-3)
    np.testing.assert_allclose(known.box[0], expected["box"], atol=1e-3)
    # Gaze and eyelids are the only sides that a style tells apart.
    difference = np.abs(square.astype(float) - expected["image"]).mean()
    assert difference < 2
    assert np.abs(before["image"].astype(float) - expected["image"]).mean() > 3 * difference + 2  # the mirror made it small


def test_rotated_face_is_the_face_at_the_rotated_pose() -> None:
    before = face((35, -12, 18))
    square, known = whole(before, Augmentation(rotation=25))
    drawn = face(tuple(known.pose[0].tolist()))
    assert abs(known.pose[0, 2] - 18) > 5
    ours, theirs = (points - points.mean(axis=0) for points in (known.landmarks[0], drawn["landmarks"]))
    ours *= np.linalg.norm(theirs) / np.linalg.norm(ours)  # the renderer frames each face anew
    np.testing.assert_allclose(ours, theirs, atol=0.1)
    after, earlier = known.landmarks[0].astype(int), before["landmarks"].astype(int)
    difference = square[after[:, 1], after[:, 0]].astype(int) - before["image"][earlier[:, 1], earlier[:, 0]]
    assert np.abs(difference).mean() < 20  # nearly the same skin under the same landmark


@pytest.mark.parametrize("crop", CROPS[:2], ids=lambda crop: crop.name)
@pytest.mark.parametrize("mirror", [0.0, 1.0])
def test_transforms_of_the_cut_come_before_it_is_resized(crop: CropRule, mirror: float) -> None:
    known, squares = plan(crop, Augmentation(mirror=mirror, cut=[LowResolution((5,)), PILBlur(p=1.0)]))[1:]
    for i in range(N):
        before = sample(smooth(), labels(), i)
        before = mirror_sample(before) if mirror else before
        cut = crop_with_black_border(before["image"], crop.regions(known.box[i : i + 1], SIDE, SIDE).cut[0])
        np.testing.assert_array_equal(squares[i], crop.fit(blur(lower_resolution(cut, 5))))


def test_transforms_of_a_turned_cut_see_it_at_the_pictures_own_resolution() -> None:
    crop = MarginCrop(64, margin=0.9)
    drawn, known, squares = plan(crop, Augmentation(rotation=15, cut=[LowResolution((7,))]))
    for i in range(N):
        before = sample(smooth(), labels(), i)
        turned = rotate_sample(before, angle_of(before, known, i))
        cut = crop_with_black_border(turned["image"], drawn.cut[i])
        expected = crop.fit(lower_resolution(cut, 7))
        assert apart(squares[i], expected)[0] < 1.5


def test_transforms_of_the_square_come_last() -> None:
    augmentation = Augmentation(mirror=0.5, rotation=10, pipeline=[FourWayCrop(), RandomZoom(), A.InvertImg(p=1.0)])
    drawn, _, squares = plan(FSANetCrop(64), augmentation)
    expected = plan(FSANetCrop(64), Augmentation(mirror=0.5, rotation=10))[2]
    for step in drawn.on_square:
        for i in np.flatnonzero(step.chosen):
            expected[i] = step.do(i, expected[i])
    np.testing.assert_array_equal(squares, expected)
    resized = Augmentation(pipeline=[A.CenterCrop(32, 32)])
    with pytest.raises(InputError, match=r"augmentation\.pipeline: a transform made \(32, 32, 3\) of \(64, 64, 3\)"):
        plan(FSANetCrop(64), resized)


def test_coarse_pixels_of_a_test_are_made_of_the_cut() -> None:
    crop = HopenetCrop(64)
    _, known, squares = plan(crop, None, on_cut=[LowResolution([5])])
    for i, picture in enumerate(smooth()):
        cut = crop_with_black_border(picture, crop.regions(known.box[i : i + 1], SIDE, SIDE).cut[0])
        np.testing.assert_array_equal(squares[i], crop.fit(lower_resolution(cut, 5)))


EVERYTHING = Augmentation(
    mirror=0.5,
    rotation=10,
    cut=[LowResolution(), A.GaussianBlur(p=0.5)],
    pipeline=[FourWayCrop(), A.GaussNoise(p=1.0), RandomZoom()],
)


@pytest.mark.parametrize("augmentation", [Augmentation(mirror=0.5, rotation=10), EVERYTHING], ids=["rigid", "everything"])
@pytest.mark.parametrize("crop", CROPS, ids=lambda crop: crop.name)
def test_a_face_depends_on_nothing_beside_it(crop: CropRule, augmentation: Augmentation) -> None:
    """Pictures of many sizes, in batches of one and of all, whole or as the part of a larger square that a pack keeps."""
    pictures = [picture[: SIDE - i % 7, : SIDE - i % 5] for i, picture in enumerate(smooth())]
    squares = plan(crop, augmentation, pictures=pictures)[2]
    planner, every = Planner(crop, augmentation), labels()
    for i in (0, 7, 23):
        alone = Labels(every.pose[i : i + 1], every.box[i : i + 1], every.landmarks[i : i + 1])
        drawn, _ = planner(alone, np.array([pictures[i].shape[:2]]), (0, 0), np.array([i]))
        np.testing.assert_array_equal(drawn.carry_out([pictures[i].copy()], ["alone"])[0], squares[i])


@pytest.mark.parametrize("augmentation", [None, Augmentation(rotation=5), Augmentation(rotation=5, cut=[PILBlur()])])
def test_a_face_outside_its_picture_is_named(augmentation: Augmentation | None) -> None:
    planner = Planner(FSANetCrop(64), augmentation)
    before = Labels(np.zeros((2, 3)), np.array([[20.0, 20, 50, 50], [900, 900, 950, 950]]), np.zeros((2, 68, 2)))
    drawn, _ = planner(before, np.full((2, 2), SIDE), (0, 0), np.arange(2))
    with pytest.raises(InputError, match="second: the face box lies outside its picture or has no area"):
        drawn.carry_out(smooth(2), ["first", "second"])
