import random

import albumentations as A
import cv2
import hypothesis
import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from headposekit.data.augmentation import (
    Augmentation,
    FourWayCrop,
    LowResolution,
    PILBlur,
    RandomZoom,
    lower_resolution,
    mirror_sample,
    reseed,
    rotate_pose,
    rotate_sample,
)
from headposekit.errors import InputError
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.synthesis.sampler import HeadSampler
from headposekit.types import Sample

IMAGE = np.random.default_rng(0).integers(1, 255, size=(64, 64, 3), dtype=np.uint8)


def pipeline() -> A.Compose:
    return A.Compose([FourWayCrop(max_shift=15), RandomZoom(zoom_range=(0.8, 1.2), p=0.7)])


def draws(transform, n: int = 4000) -> list[dict]:
    generator = np.random.default_rng(1)
    transform.set_random_state(generator, random.Random(1))
    return [transform.get_params() for _ in range(n)]


def test_four_ways_are_equally_likely_and_cuts_uniform() -> None:
    params = draws(FourWayCrop())
    ways = np.bincount([p["way"] for p in params], minlength=4) / len(params)
    np.testing.assert_allclose(ways, 0.25, atol=0.03)
    shrink = np.bincount([p["shrink"] for p in params], minlength=16)
    assert shrink[0] == 0
    np.testing.assert_allclose(shrink[1:] / len(params), 1 / 15, atol=0.02)
    for key in ("source", "target"):
        positions = np.array([p[key] for p in params if p["shrink"] == 15])
        assert positions.min() == 0
        assert positions.max() == 14
    assert all(max(*p["source"], *p["target"]) < p["shrink"] for p in params)


@pytest.mark.parametrize(("way", "fill"), [(1, 0), (2, 255)], ids=["black", "white"])
def test_shifted_patch_by_hand(way: int, fill: int) -> None:
    out = FourWayCrop().apply(IMAGE, way=way, shrink=10, source=(3, 4), target=(7, 0))
    np.testing.assert_array_equal(out[7:61, 0:54], IMAGE[3:57, 4:58])
    outside = np.ones((64, 64), bool)
    outside[7:61, 0:54] = False
    assert (out[outside] == fill).all()


def test_zoomed_patch_is_opencvs_bicubic() -> None:
    out = FourWayCrop().apply(IMAGE, way=0, shrink=10, source=(3, 4), target=(0, 0))
    np.testing.assert_array_equal(out, cv2.resize(IMAGE[3:57, 4:58], (64, 64), interpolation=cv2.INTER_CUBIC))


def test_fourth_way_leaves_the_picture() -> None:
    np.testing.assert_array_equal(FourWayCrop().apply(IMAGE, way=3, shrink=10, source=(3, 4), target=(0, 0)), IMAGE)


@pytest.mark.parametrize("zoom", [(0.8013, 1.1987), (1.1971, 0.8309), (1.0, 1.0), (0.9131, 1.1173)])
def test_zoom_is_scipys_affine_transform(zoom: tuple[float, float]) -> None:
    """Keras' random_zoom with nearest interpolation and edge fill, about the centre."""
    center = np.array([31.5, 31.5])
    offset = center - np.array(zoom) * center
    expected = [scipy.ndimage.affine_transform(IMAGE[..., c], np.diag(zoom), offset, order=0, mode="nearest") for c in range(3)]
    np.testing.assert_array_equal(RandomZoom().apply(IMAGE, zoom=zoom), np.stack(expected, axis=-1))


def test_zoom_is_about_the_middle_of_the_picture() -> None:
    """By hand: 1.5 + (0, 1, 2, 3 - 1.5) / 2 rounds to 1, 1, 2, 2; about Keras' 2.5 it would be 1, 2, 2, 3."""
    rows = np.arange(4, dtype=np.uint8)[:, None, None].repeat(4, axis=1).repeat(3, axis=2)
    assert RandomZoom().apply(rows, zoom=(0.5, 1.0))[:, 0, 0].tolist() == [1, 1, 2, 2]


def test_mirror_counts_from_the_edge_of_the_first_pixel() -> None:
    """A lit pixel's centre stays on it; counted from 1, as MATLAB does, it comes out a pixel too far left."""
    image, column = np.zeros((4, 10, 3), np.uint8), 3
    image[:, column] = 255
    for centre, too_far_left in ((column + 0.5, 0), (column + 1, 1)):
        first_centre = centre - column
        landmarks = np.full((68, 2), [centre, 2], np.float32)
        box = np.array([centre - 1, 0, centre + 1, 4], np.float32)
        mirrored = mirror_sample(
            {"image": image, "pose": np.zeros(3, np.float32), "box": box, "landmarks": landmarks, "name": "a"}
        )
        lit = int(mirrored["image"][0, :, 0].argmax()) + first_centre
        assert (mirrored["landmarks"][:, 0] == lit - too_far_left).all()
        assert mirrored["box"][[0, 2]].mean() == lit - too_far_left


def test_zoom_factors_are_uniform_and_independent() -> None:
    zooms = np.array([p["zoom"] for p in draws(RandomZoom())])
    assert zooms.min() >= 0.8
    assert zooms.max() <= 1.2
    np.testing.assert_allclose(zooms.mean(axis=0), 1.0, atol=0.01)
    np.testing.assert_allclose(zooms.std(axis=0), 0.4 / np.sqrt(12), rtol=0.05)
    assert abs(np.corrcoef(zooms.T)[0, 1]) < 0.05


def test_zoom_happens_in_seven_of_ten() -> None:
    zoom = A.Compose([RandomZoom()])
    same = 0
    for index in range(2000):
        reseed(zoom, 0, 0, index)
        same += np.array_equal(zoom(image=IMAGE)["image"], IMAGE)
    assert same / 2000 == pytest.approx(0.3, abs=0.04)


def test_key_decides_and_nothing_else() -> None:
    augment = pipeline()
    reseed(augment, 1, 2, 3)
    first = augment(image=IMAGE)["image"]
    augment(image=IMAGE)
    reseed(augment, 1, 2, 3)
    np.testing.assert_array_equal(augment(image=IMAGE)["image"], first)
    others = []
    for key in ((2, 2, 3), (1, 3, 3), (1, 2, 4), (1, 2, 5)):
        reseed(augment, *key)
        others.append(augment(image=IMAGE)["image"])
    assert sum(np.array_equal(other, first) for other in others) <= 1


def test_transforms_draw_from_streams_of_their_own() -> None:
    """With one stream for all, the first transform's first draw would decide the second's."""
    augment = A.Compose([RandomZoom(p=1.0), RandomZoom(p=1.0)])
    pairs = []
    for index in range(500):
        reseed(augment, 0, 0, index)
        pairs.append([transform.get_params()["zoom"][0] for transform in augment.transforms])
    assert abs(np.corrcoef(np.array(pairs).T)[0, 1]) < 0.15


def face(pose: tuple[float, float, float]) -> Sample:
    """A head without body, seen by a distant camera, lit from the front: its mirror image is the mirrored pose."""
    plain = HeadSampler(
        identity=0, expression=0, hair=False, body=False, beard=0, glasses=0, hat=0, occluder=0, skin_texture=False,
        light_variation=False, shadows=0, backgrounds=False, borders=0, photo=0, box_jitter=0, visible21=0, perspective=None,
    )  # fmt: skip
    head = plain.render(3, 128, pose)
    box, landmarks = head.box.astype(np.float32), head.landmarks[:, :2].astype(np.float32)
    return {"image": head.image, "pose": np.float32(pose), "box": box, "landmarks": landmarks, "name": "a"}


@pytest.mark.parametrize("pose", [(35.0, 10.0, -12.0), (-70.0, 20.0, 15.0), (0.0, -30.0, 25.0)], ids=str)
def test_mirrored_face_is_the_face_at_the_mirrored_pose(pose: tuple[float, float, float]) -> None:
    sample, turned = face(pose), face((-pose[0], pose[1], -pose[2]))
    mirrored = mirror_sample(sample)
    np.testing.assert_allclose(mirrored["pose"], turned["pose"], atol=1e-4)
    np.testing.assert_allclose(mirrored["landmarks"], turned["landmarks"], atol=1e-3)
    np.testing.assert_allclose(mirrored["box"], turned["box"], atol=1e-3)
    # Gaze and eyelids are the only sides that a style tells apart.
    difference = np.abs(mirrored["image"].astype(float) - turned["image"]).mean()
    assert difference < 2
    assert np.abs(sample["image"].astype(float) - turned["image"]).mean() > 3 * difference + 2  # the mirror made it small


def test_mirror_is_an_involution_and_comes_as_often_as_asked() -> None:
    sample = face((20, 5, -9))
    twice = mirror_sample(mirror_sample(sample))
    for key in ("image", "pose", "box", "landmarks"):
        np.testing.assert_allclose(twice[key], sample[key], atol=1e-4)  # type: ignore[literal-required]
    half = Augmentation(mirror=0.5)
    flipped = [half.before_crop(sample, 0, epoch, 7)["pose"][0] < 0 for epoch in range(400)]
    assert 160 < sum(flipped) < 240
    assert flipped == [half.before_crop(sample, 0, epoch, 7)["pose"][0] < 0 for epoch in range(400)]
    assert Augmentation().before_crop(sample, 0, 0, 0) is sample


@pytest.mark.parametrize("mirror", [-0.1, 1.5, "often", float("nan")])
def test_a_wrong_probability_is_refused(mirror) -> None:
    with pytest.raises(InputError, match="mirror"):
        Augmentation(mirror=mirror)


def test_rotated_face_is_the_face_at_the_rotated_pose() -> None:
    sample = face((35, -12, 18))
    rotated = rotate_sample(sample, 25.0)
    drawn = face(tuple(rotated["pose"].tolist()))
    ours, theirs = (points - points.mean(axis=0) for points in (rotated["landmarks"], drawn["landmarks"]))
    ours *= np.linalg.norm(theirs) / np.linalg.norm(ours)  # the renderer frames each face anew
    np.testing.assert_allclose(ours, theirs, atol=0.1)
    at_landmarks = rotated["landmarks"].astype(int)
    before = sample["landmarks"].astype(int)
    difference = rotated["image"][at_landmarks[:, 1], at_landmarks[:, 0]].astype(int)
    difference -= sample["image"][before[:, 1], before[:, 0]]
    assert np.abs(difference).mean() < 20  # nearly the same skin under the same landmark


@hypothesis.given(st.tuples(*[st.floats(-89, 89)] * 3), st.floats(-180, 180))
def test_rotating_a_pose_is_the_product_of_matrices(pose: tuple[float, float, float], angle: float) -> None:
    turn = pose_to_matrix(torch.tensor([0.0, 0.0, -angle], dtype=torch.float64))
    expected = turn @ pose_to_matrix(torch.tensor(pose, dtype=torch.float64))
    rotated = torch.from_numpy(rotate_pose(pose, angle)).double()
    torch.testing.assert_close(pose_to_matrix(rotated), expected, atol=1e-5, rtol=0)


@hypothesis.given(st.tuples(*[st.floats(-80, 80)] * 3), st.floats(-60, 60))
def test_rotating_back_restores_the_pose(pose: tuple[float, float, float], angle: float) -> None:
    np.testing.assert_allclose(rotate_pose(rotate_pose(pose, angle), -angle), pose, atol=1e-3)


def test_a_frontal_face_only_rolls_and_no_pose_leaves_the_limit() -> None:
    np.testing.assert_allclose(rotate_pose((0, 0, 5), 20), (0, 0, -15), atol=1e-4)
    sample, turned = face((85, 10, 5)), Augmentation(rotation=40)
    poses = np.array([turned.before_crop(sample, 0, epoch, 1)["pose"] for epoch in range(60)])
    assert np.abs(poses).max() <= 99
    assert len(np.unique(poses[:, 2])) == 60


@pytest.mark.parametrize("rotation", [-1, 200, "much", float("nan")])
def test_a_wrong_rotation_is_refused(rotation) -> None:
    with pytest.raises(InputError, match="rotation"):
        Augmentation(rotation=rotation)


@pytest.mark.parametrize("factor", [1, 3, 10, 500])
def test_low_resolution_repeats_pixels(factor: int) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    low = lower_resolution(picture, factor)
    assert low.shape == picture.shape
    assert len(np.unique(low.reshape(-1, 3), axis=0)) <= max(60 // factor, 1) * max(90 // factor, 1)
    if factor == 1:
        np.testing.assert_array_equal(low, picture)
    if factor == 3:
        np.testing.assert_array_equal(low[::3, ::3], low[2::3, 2::3])
        np.testing.assert_array_equal(low[::3, ::3], picture[1::3, 1::3])


def test_low_resolution_draws_every_factor() -> None:
    transform = LowResolution()
    drawn = [params["factor"] for params in draws(transform, 200)]
    counts = [drawn.count(factor) for factor in (1, 6, 11, 16)]
    assert sum(counts) == 200
    assert min(counts) > 30
    with pytest.raises(InputError, match="whole numbers of 1 or more"):
        LowResolution(factors=[0, 3])


def test_what_is_cut_is_changed_before_it_is_resized() -> None:
    cut = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    augmentation = Augmentation(cut=A.Compose([LowResolution([10]), PILBlur(p=1.0)]))
    expected = np.asarray(Image.fromarray(lower_resolution(cut, 10)).filter(ImageFilter.BLUR))
    np.testing.assert_array_equal(augmentation.on_cut(cut, 0, 0, 0), expected)
    np.testing.assert_array_equal(Augmentation().on_cut(cut, 0, 0, 0), cut)
    np.testing.assert_array_equal(augmentation.after_crop(cut, 0, 0, 0), cut)
