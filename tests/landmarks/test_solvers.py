from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

from headposekit.errors import InputError
from headposekit.geometry.conventions import FLIP_FRAME
from headposekit.geometry.face_model import mean_face_68
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.landmarks.solvers import Method, Perspective, Solution, WeakPerspective, nearest_rotation
from headposekit.synthesis.sampler import PIVOT, HeadSampler

METHODS = get_args(Method)
FACE = mean_face_68()
POSES = st.tuples(st.floats(-85, 85), st.floats(-80, 80), st.floats(-80, 80))


def solve_weak_perspective(points: np.ndarray, face: np.ndarray) -> Solution:
    return WeakPerspective()(points, face)


def solve_perspective(
    points: np.ndarray, face: np.ndarray, focal: float, center: Any, method: Method = "iterative_frontal"
) -> Solution:
    sizes = np.tile(2 * np.asarray(center, dtype=np.float64), (len(points), 1))
    return Perspective(method, focal / sizes.max())(points, face, sizes)


def matrix_of(pose: Any) -> np.ndarray:
    return pose_to_matrix(torch.tensor(pose, dtype=torch.float64)).numpy()


def parallel(pose: Any, scale: float = 60.0, center: float = 225.0) -> np.ndarray:
    return center + scale * (FACE @ matrix_of(pose).T)[:, :2] * [1, -1]


def pinhole(pose: Any, focal: float, distance: float, across: tuple[float, float] = (0.3, -0.2)) -> np.ndarray:
    """A face before a camera in frame B (y down, z away)."""
    head = FACE @ FLIP_FRAME @ (FLIP_FRAME @ matrix_of(pose) @ FLIP_FRAME).T + [*across, distance]
    return 225 + focal * head[:, :2] / head[:, 2:]


@given(POSES, st.floats(1e-2, 1e3), st.floats(-1e3, 1e3), st.sampled_from([4, 6, 20, 68]))
def test_weak_perspective_recovers_what_was_projected(pose: Any, scale: float, center: float, n: int) -> None:
    chosen = np.random.default_rng(n).permutation(68)[:n]
    solution = solve_weak_perspective(parallel(pose, scale, center)[None, chosen], FACE[chosen])
    np.testing.assert_allclose(solution.matrix[0], matrix_of(pose), atol=1e-6)


@given(POSES, st.floats(200, 2000), st.floats(12, 40), st.sampled_from(["iterative_frontal", "epnp", "sqpnp"]))
def test_perspective_recovers_what_was_projected(pose: Any, focal: float, distance: float, method: Method) -> None:
    points = pinhole(pose, focal, distance)
    solution = solve_perspective(points[None], FACE, focal, (225, 225), method)
    if np.abs(pose[0]) < 60:  # beyond, a start may lead elsewhere; never to a face behind the camera
        np.testing.assert_allclose(solution.matrix[0], matrix_of(pose), atol=1e-3)
    assert not solution.is_behind[0]


@pytest.mark.parametrize("method", METHODS)
def test_every_method_finds_an_easy_face(method: Method) -> None:
    points = pinhole((30, -20, 10), 450, 8)
    solution = solve_perspective(points[None], FACE, 450, (225, 225), method)
    np.testing.assert_allclose(solution.matrix[0], matrix_of((30, -20, 10)), atol=2e-3)


@given(POSES, st.lists(st.integers(0, 67), max_size=60, unique=True))
def test_unknown_points_are_left_out(pose: Any, unknown: list[int]) -> None:
    points = parallel(pose)
    points[unknown] = np.nan
    np.testing.assert_allclose(solve_weak_perspective(points[None], FACE).matrix[0], matrix_of(pose), atol=1e-6)


DEGENERATE = {
    "NaN": np.full((68, 2), np.nan),
    "infinity": np.full((68, 2), np.inf),
    "all equal": np.full((68, 2), 225.3),
    "on a line": np.linspace([10, 20], [200, 333], 68),
    "three known": np.where(np.arange(68)[:, None] < 3, parallel((10, 0, 0)), np.nan),
}


@pytest.mark.parametrize("name", DEGENERATE)
@pytest.mark.parametrize("method", ["weak", *METHODS])
def test_degenerate_faces_are_refused_and_others_are_not(method: Any, name: str) -> None:
    good = pinhole((20, 10, 5), 450, 30)
    points = np.stack([good, DEGENERATE[name], good])
    if method == "weak":
        matrix, behind = solve_weak_perspective(points, FACE)
    else:
        matrix, behind = solve_perspective(points, FACE, 450, (225, 225), method)
    assert np.isnan(matrix[1]).all()
    assert np.isfinite(matrix[[0, 2]]).all()
    np.testing.assert_allclose(matrix[0], matrix[2], atol=1e-12)  # BLAS may sum rows in different orders
    assert not behind[1]


@given(st.integers(0, 2**32 - 1), st.integers(4, 68))
def test_whatever_comes_in_rotations_or_nan_come_out(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(225, 10 ** rng.uniform(-3, 4), (3, n, 2))
    points[0, rng.random(n) < 0.5] = np.nan
    face = FACE[:n] + rng.normal(size=(n, 3))
    assume(n > 4 or np.linalg.svd(face - face.mean(axis=0), compute_uv=False)[2] > 0.1)  # four points may lie in a plane
    matrix = solve_weak_perspective(points, face).matrix
    found = matrix[np.isfinite(matrix).all(axis=(1, 2))]
    np.testing.assert_allclose(found @ found.swapaxes(-1, -2), np.broadcast_to(np.eye(3), found.shape), atol=1e-6)
    assert np.isnan(matrix[np.isnan(matrix).any(axis=(1, 2))]).all()


def test_too_few_points_for_a_start_of_its_own_are_refused() -> None:
    points, face = pinhole((20, 10, 5), 450, 30)[None, 17:68:12], FACE[17:68:12]
    assert points.shape[1] == 5
    assert np.isnan(solve_perspective(points, face, 450, (225, 225), "iterative").matrix).all()
    assert np.isfinite(solve_perspective(points, face, 450, (225, 225), "iterative_frontal").matrix).all()


def test_solutions_behind_the_camera_are_told() -> None:
    """Labels of weak perspective, noisy: the linear start cannot tell near from far."""
    rng = np.random.default_rng(0)
    poses = rng.uniform(-40, 40, (40, 3))
    points = np.stack([parallel(pose) for pose in poses]) + rng.uniform(-4, 4, (40, 68, 2))
    own, frontal = (solve_perspective(points, FACE, 450, (225, 225), method) for method in ("iterative", "iterative_frontal"))
    assert own.is_behind.sum() > 3
    assert not frontal.is_behind.any()
    error = (matrix_to_pose(torch.from_numpy(own.matrix)) - torch.from_numpy(poses)).abs().mean(dim=1).numpy()
    assert error[own.is_behind].mean() > 5 * error[~own.is_behind].mean()


@pytest.mark.parametrize(
    ("face", "message"),
    [
        (FACE * [1, 1, 0], "lie in a plane"),
        (FACE[:3], "lie in a plane"),
        (np.ones((68, 3)), "lie in a plane"),
        (FACE[:, :2], r"not \(68, 2\)"),
        (np.where(np.arange(68)[:, None] == 3, np.nan, FACE), "NaN"),
    ],
    ids=["flat", "three points", "one place", "two columns", "NaN"],
)
def test_face_models_that_give_no_pose_are_refused(face: np.ndarray, message: str) -> None:
    with pytest.raises(InputError, match=message):
        solve_weak_perspective(np.zeros((1, len(face), 2)), face)


def test_unknown_method_is_named() -> None:
    with pytest.raises(InputError, match="method=upnp is unknown; choose iterative"):
        solve_perspective(np.zeros((1, 68, 2)), FACE, 450, (225, 225), "upnp")  # type: ignore[arg-type]


def test_nearest_rotation_is_that_of_the_singular_values() -> None:
    maps = np.random.default_rng(1).normal(size=(50, 2, 3))
    rotation, flatness = nearest_rotation(maps)
    left, singular, right = np.linalg.svd(maps, full_matrices=False)
    np.testing.assert_allclose(rotation[:, :2], left @ right, atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(rotation), 1)
    np.testing.assert_allclose(flatness, 2 * singular.prod(axis=1) / (singular**2).sum(axis=1))


def test_real_labels_are_within_1_3_degrees(shared: Any) -> None:
    table = np.genfromtxt(shared / "aflw2000_labels_500.csv", delimiter=",", skip_header=1)[:, 1:]
    table = table[np.abs(table[:, :3]).max(axis=1) <= 99]
    pose, points = table[:, :3], table[:, 3:].reshape(-1, 68, 2)
    assert len(pose) == 494
    found = matrix_to_pose(torch.from_numpy(solve_weak_perspective(points, FACE).matrix)).numpy()
    assert np.abs(found - pose).mean() == pytest.approx(1.11, abs=0.01)
    found = matrix_to_pose(torch.from_numpy(solve_perspective(points, FACE, 450, (225, 225)).matrix)).numpy()
    assert np.abs(found - pose).mean() == pytest.approx(4.09, abs=0.02)


def test_rendered_heads_before_a_known_camera_are_within_a_tenth_of_a_degree() -> None:
    distance = 25.0
    sampler = HeadSampler(perspective=(distance, distance), texture_pool=2, hair=False, body=False)
    errors = []
    for index in range(6):
        head = sampler.render(index, 96)
        turned = (head.neutral - PIVOT) @ matrix_of(head.pose).T
        plane = turned[:, :2] / (distance - turned[:, 2:])
        # The camera looks at the pivot; its focal length is the scale from the plane before it to pixels.
        design = np.concatenate([plane * [1, -1], np.ones((68, 1))], axis=1)
        fit = np.linalg.lstsq(design, head.landmarks[:, :2], rcond=None)[0]
        focal, center = fit[0, 0], fit[2]
        np.testing.assert_allclose(fit[:2], focal * np.eye(2), atol=1e-6 * focal)
        solution = solve_perspective(head.landmarks[None, :, :2], head.neutral, focal, center)
        pose = matrix_to_pose(torch.from_numpy(solution.matrix))[0].numpy()
        errors.append(np.abs(pose - head.pose).max())
    assert max(errors) < 0.1
