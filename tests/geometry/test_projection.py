from pathlib import Path

import numpy as np
import scipy.io
from hypothesis import given
from hypothesis import strategies as st

from headposekit.geometry.projection import project_pose_para, unproject_pose_para


@given(st.tuples(*[st.floats(-1.5, 1.5)] * 3), st.floats(0.001, 100))
def test_unproject_undoes_project(angles_rad: tuple[float, ...], scale: float) -> None:
    points = np.random.default_rng(0).normal(size=(5, 3))
    para = [*angles_rad, 200, 210, -30, scale]
    np.testing.assert_allclose(
        unproject_pose_para(project_pose_para(points, para, 450), para, 450), points, atol=1e-8 + 1e-10 / scale
    )


def test_frontal_face_is_upright() -> None:
    up, right = project_pose_para([[0, 1, 0], [1, 0, 0]], [0, 0, 0, 225, 225, 0, 10], 450)
    assert up.tolist() == [225, 216, 0]  # y up becomes y down, MATLAB counts from 1
    assert right.tolist() == [235, 226, 0]


def test_real_labels_undone_give_one_common_face(shared: Path) -> None:
    """Only the right order and signs bring eight heads back to the same neutral one."""

    def spread(signs: np.ndarray) -> float:
        faces = []
        for path in sorted((shared / "aflw2000_sample").glob("*.mat")):
            mat = scipy.io.loadmat(path)
            para = mat["Pose_Para"][0] * np.concatenate([signs, np.ones(4)])
            face = unproject_pose_para(mat["pt3d_68"].T, para, 450)
            faces.append(face - face.mean(axis=0))
        return float(np.std(faces, axis=0).mean())

    ours = spread(np.ones(3))
    for signs in ([-1, 1, 1], [1, -1, 1], [1, 1, -1], [-1, -1, -1]):
        assert spread(np.array(signs)) > 1.5 * ours
