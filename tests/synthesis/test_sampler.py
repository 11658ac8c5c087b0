import pickle

import cv2
import numpy as np
import pytest
import roma
import torch

from headposekit.geometry.rotations import pose_to_matrix
from headposekit.synthesis import head, renderer
from headposekit.synthesis.sampler import HeadSampler

LOOKS = [name for name, value in HeadSampler.neutral.items() if value is not False]
"""Ingredients that make heads more like photographs; off by default."""
PLAIN = {
    "backgrounds": False,
    "borders": 0.0,
    "photo": 0.0,
    "occluder": 0.0,
    "box_jitter": 0.0,
    "visible21": 0.0,
    "perspective": None,
}


@pytest.fixture(scope="module")
def sampler() -> HeadSampler:
    return HeadSampler(seed=0, texture_pool=8)


def test_head_is_a_function_of_seed_and_index(sampler: HeadSampler) -> None:
    first = sampler.render(7, 64)
    sampler.render(8, 64)
    again = HeadSampler(seed=0, texture_pool=8).render(7, 64)
    np.testing.assert_array_equal(first.image, again.image)
    np.testing.assert_array_equal(first.landmarks, again.landmarks)
    assert not np.array_equal(first.image, HeadSampler(seed=1, texture_pool=8).render(7, 64).image)


def test_two_heads_in_a_row_are_one_person_in_two_poses(sampler: HeadSampler) -> None:
    a, b, c = (sampler.render(index, 48) for index in (6, 7, 8))
    assert a.identity == b.identity != c.identity
    assert np.abs(a.pose - b.pose).max() > 1


def test_landmarks_have_the_labelled_pose() -> None:
    """Under a parallel camera, landmarks of one person in two poses differ by exactly the two rotations."""
    sampler = HeadSampler(seed=3, expression=0.0, texture_pool=4, **PLAIN)
    rest = sampler.render(0, 96, pose=(0, 0, 0)).landmarks * [1, -1, 1]
    for pose in [(40, 0, 0), (0, 30, 0), (0, 0, 25), (-70, 20, -15)]:
        turned = sampler.render(0, 96, pose=pose).landmarks * [1, -1, 1]
        a, b = (torch.tensor(p - p.mean(axis=0)) for p in (rest, turned))
        rotation = roma.special_procrustes(b.T @ a)
        expected = pose_to_matrix(torch.tensor(pose, dtype=torch.float64))
        assert torch.rad2deg(roma.rotmat_geodesic_distance(rotation, expected)) < 0.01


@pytest.mark.parametrize("perspective", [None, (30.0, 30.0)], ids=["parallel", "near"])
def test_depth_is_the_distance_of_the_head_and_infinite_behind_it(perspective: tuple[float, float] | None) -> None:
    head = HeadSampler(texture_pool=4, **{**PLAIN, "body": False, "perspective": perspective}).render(3, 96, (0.0, 0.0, 0.0))
    drawn = np.isfinite(head.depth)
    assert 0.05 < drawn.mean() < 0.5
    assert not drawn[0].any()
    camera = 60 if perspective is None else 30
    x, y, _ = head.landmarks[30]
    # The tip of the nose, before the pivot at z = -1.6; the middle of a pixel is at .5.
    assert head.depth[int(y), int(x)] == pytest.approx(camera - 1.6 - head.neutral[30, 2], abs=0.1)
    assert (np.abs(head.depth[drawn] - camera) < 6).all()


@pytest.mark.parametrize(
    ("pose", "axis", "sign"),
    [((60, 0, 0), 0, -1), ((-60, 0, 0), 0, 1), ((0, 40, 0), 1, -1), ((0, -40, 0), 1, 1)],
    ids=["left", "right", "up", "down"],
)
def test_nose_points_where_the_label_says(sampler: HeadSampler, pose, axis: int, sign: int) -> None:
    landmarks = sampler.render(0, 96, pose=pose).landmarks
    bridge_to_tip = landmarks[30] - landmarks[[36, 45]].mean(axis=0)
    frontal = sampler.render(0, 96, pose=(0, 0, 0)).landmarks
    rest = frontal[30] - frontal[[36, 45]].mean(axis=0)
    assert sign * (bridge_to_tip[axis] - rest[axis]) > 3


def test_box_holds_the_landmarks_and_two_fifths_of_the_picture() -> None:
    sampler = HeadSampler(seed=5, texture_pool=4, **{**PLAIN, "perspective": (9.0, 40.0)})
    for index in range(6):
        rendered = sampler.render(index, 80)
        points = rendered.landmarks[:, :2]
        np.testing.assert_allclose(rendered.box, [*points.min(axis=0), *points.max(axis=0)], atol=1e-6)
        assert max(rendered.box[2:] - rendered.box[:2]) == pytest.approx(32)
        assert rendered.box[:2] + rendered.box[2:] == pytest.approx([80, 80])


@pytest.mark.parametrize("yaw", [-90, -45, 0, 45, 90])
def test_head_has_no_holes_and_no_floating_parts(yaw: int) -> None:
    sampler = HeadSampler(seed=2, texture_pool=4, glasses=0.0, hat=0.0, **PLAIN)
    for index in (0, 2, 4):
        mask = np.isfinite(sampler.render(index, 128, pose=(yaw, 0, 0)).depth).astype(np.uint8)
        _, labels = cv2.connectedComponents(mask)
        sizes = np.bincount(labels.ravel())[1:]
        assert sizes.max() / sizes.sum() > 0.995
        around = np.pad(1 - mask, 1, constant_values=1)
        cv2.floodFill(around, None, (0, 0), 2)
        assert (around == 1).sum() < 0.003 * mask.sum()  # background that the outside does not reach


def test_landmarks_lie_on_the_drawn_surface() -> None:
    """Depth at visible landmarks is the landmark's own."""
    sampler = HeadSampler(seed=4, texture_pool=4, glasses=0.0, hat=0.0, hair=False, **PLAIN)
    rendered = sampler.render(0, 256, pose=(10, 5, 0))
    inner = [30, 33, 36, 39, 42, 45, 48, 54, 57, 27]
    x, y = rendered.landmarks[inner, :2].astype(int).T
    drawn, own = -rendered.depth[y, x], rendered.landmarks[inner, 2]  # head units, and pixels
    slope, offset = np.polyfit(own, drawn, 1)
    assert np.abs(drawn - slope * own - offset).max() < 0.1  # head units: 4 mm
    pixels_per_unit = np.ptp(rendered.landmarks[[36, 45], 0]) / 2.44
    assert 1 / slope == pytest.approx(pixels_per_unit, rel=0.15)


@pytest.mark.parametrize("pose", [(0, 45, 0), (-20, 30, 35), (60, -20, -30)])
def test_drawn_mesh_carries_the_landmarks_however_the_shoulders_stand(pose, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, rasterize = [], renderer.rasterize
    monkeypatch.setattr(renderer, "rasterize", lambda *args: (drawn.append(args[2]), rasterize(*args))[1])
    rendered = HeadSampler(seed=4, texture_pool=4, **PLAIN).render(2, 160, pose)  # type: ignore[arg-type]
    surface = drawn[0][: head.ROWS * head.COLUMNS].reshape(head.ROWS, head.COLUMNS, 2)
    np.testing.assert_allclose(head.head_model().landmarks(surface) / 2, rendered.landmarks[:, :2], atol=0.02)


@pytest.mark.parametrize(
    "off",
    [
        {"identity": 0.0},
        {"expression": 0.0},
        {"wide_pitch": 0.0},
        {"skin_texture": False},
        {"hair": False},
        {"body": False},
        {"light_variation": False},
        {"backgrounds": False},
        {"photo": 0},
        {"perspective": None},
        {"beard": 1.0},
        {"glasses": 1.0},
        {"hat": 1.0},
        {"occluder": 1.0},
        {"shadows": 0.0},
        {"box_jitter": 0.0},
        {"visible21": 1.0},
        *({name: 1.0} for name in LOOKS),
    ],
    ids=lambda option: next(iter(option)),
)
def test_each_option_changes_the_picture_or_the_box(sampler: HeadSampler, off: dict) -> None:
    changed = HeadSampler(seed=0, texture_pool=8, **off)
    pairs = [(sampler.render(index, 48), changed.render(index, 48)) for index in range(12)]
    assert any(not np.array_equal(a.image, b.image) or not np.array_equal(a.box, b.box) for a, b in pairs)


def test_later_ingredients_leave_poses_and_people_as_they_are(sampler: HeadSampler) -> None:
    looks = {name: 1.0 for name in LOOKS if name != "child"}  # which has another face
    varied = HeadSampler(seed=0, texture_pool=8, **looks)
    for index in range(6):
        plain, changed = sampler.render(index, 48), varied.render(index, 48)
        np.testing.assert_array_equal(changed.pose, plain.pose)
        np.testing.assert_array_equal(changed.neutral, plain.neutral)
        np.testing.assert_allclose(changed.landmarks, plain.landmarks)


def test_a_child_has_larger_eyes_and_a_shorter_face(sampler: HeadSampler) -> None:
    child = HeadSampler(seed=0, texture_pool=8, child=1.0)
    for index in range(0, 6, 2):
        grown, young = sampler.render(index, 48).neutral, child.render(index, 48).neutral
        width = [np.ptp(face[36:42, 0]) for face in (grown, young)]
        length = [face[36:48, 1].mean() - face[8, 1] for face in (grown, young)]
        assert width[1] > width[0]
        assert length[1] < length[0]


def test_points21_of_the_averted_half_are_hidden(sampler: HeadSampler) -> None:
    assert np.isnan(sampler.render(0, 48, pose=(60, 0, 0)).points21[6, 0])
    assert not np.isnan(sampler.render(0, 48, pose=(60, 0, 0)).points21[11, 0])
    assert np.isnan(sampler.render(0, 48, pose=(-60, 0, 0)).points21[11, 0])
    assert not np.isnan(sampler.render(0, 48, pose=(5, 0, 0)).points21).any()


def test_sampler_reaches_worker_processes_of_any_kind() -> None:
    sampler = HeadSampler(seed=4, texture_pool=2)
    before = sampler.render(3, 48).image
    copy = pickle.loads(pickle.dumps(sampler))
    np.testing.assert_array_equal(copy.render(3, 48).image, before)


def test_in_the_full_range_heads_turn_all_the_way_round() -> None:
    sampler = HeadSampler(seed=2, texture_pool=2, full_range=True)
    poses = np.array([sampler._draw_pose(np.random.default_rng(index)) for index in range(600)])
    counts = np.histogram(poses[:, 0], bins=[-180, -120, -60, 0, 60, 120, 180])[0]
    assert (counts > 60).all()
    assert np.abs(poses[:, 1]).max() <= 90


@pytest.mark.parametrize("yaw", [0, 90, 180, -135])
def test_box_of_the_full_range_holds_the_whole_head_from_every_side(yaw: float) -> None:
    """Without a body only the head is drawn: the box is that of what is drawn, but for hair that hangs down."""
    options = {**PLAIN, "body": False, "glasses": 0.0, "hat": 0.0}
    for index, hair in ((0, False), (2, True), (4, True)):
        sampler = HeadSampler(seed=1, texture_pool=2, full_range=True, hair=hair, **options)
        head = sampler.render(index, 128, (yaw, 5.0, 10.0))
        rows, columns = np.nonzero(np.isfinite(head.depth))
        beyond = np.array([columns.min(), rows.min(), -columns.max() - 1, -rows.max() - 1]) - head.box * [1, 1, -1, -1]
        assert (beyond < 2.5).all()
        assert abs(beyond[1]) < 2.5
        assert hair or (beyond > -2.5).all()
        assert max(head.box[2:] - head.box[:2]) == pytest.approx(128 / 1.75)


def test_default_heads_do_not_know_of_the_full_range() -> None:
    """Packs and trainings are named after the options."""
    assert "full_range" not in HeadSampler().options
    assert HeadSampler(full_range=True).options["full_range"] is True
    again = pickle.loads(pickle.dumps(HeadSampler(full_range=True)))
    assert again.full_range


def test_shoulders_follow_a_head_that_looks_away() -> None:
    sampler = HeadSampler(full_range=True, texture_pool=2)
    rotation = pose_to_matrix(torch.tensor([180.0, 0.0, 0.0], dtype=torch.float64)).numpy()
    chests = np.array(
        [sampler._draw_body(np.random.default_rng(seed), np.random.default_rng(seed), rotation)[:, 2] for seed in range(50)]
    )
    assert (chests[:, 2] < 0).all()  # away from the camera, as the head


def test_hair_has_no_slit_at_the_back() -> None:
    values = np.random.default_rng(0).normal(size=(3, head.COLUMNS))
    closed = head.close_seam(values)
    np.testing.assert_allclose(closed[:, 0], closed[:, -1])
    np.testing.assert_array_equal(closed[:, : head.COLUMNS - 12], values[:, : head.COLUMNS - 12])


def test_attributes_are_those_of_what_is_rendered() -> None:
    heads = range(0, 40, 2)
    plain = [HeadSampler(glasses=0.0, hat=0.0, beard=0.0, hair=False).attributes(n) for n in heads]
    assert {(one["glasses"], one["hat"], one["beard"], one["hair"]) for one in plain} == {("none", "no", "none", "none")}
    worn = [HeadSampler(glasses=1.0, hat=1.0, beard=1.0).attributes(n) for n in heads]
    assert {one["glasses"] for one in worn} == {"clear", "dark"}
    assert {one["hat"] for one in worn} == {"yes"}
    assert {one["beard"] for one in worn} == {"beard"}
    sampler = HeadSampler()
    assert sampler.attributes(4) == sampler.attributes(5)  # one person
    skin = {n: np.mean(sampler._atlas(int(np.random.default_rng([0, 1, n // 2]).integers(400)))[0].skin) for n in heads}
    tones = {n: sampler.attributes(n)["skin"] for n in heads}
    assert max(skin[n] for n in heads if tones[n] == "dark") < min(skin[n] for n in heads if tones[n] == "light")
