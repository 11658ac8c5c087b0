from pathlib import Path

import numpy as np
import scipy.io
import torch

from headposekit.geometry.conventions import pose_from_pose_para
from headposekit.geometry.projection import project_pose_para
from headposekit.geometry.rotations import pose_to_matrix


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
            x, y, z = mat["pt3d_68"]
            camera = np.stack([x, 451 - y, z], axis=-1) - para[3:6]
            face = camera @ pose_to_matrix(torch.from_numpy(pose_from_pose_para(para))).numpy() / para[6]
            np.testing.assert_allclose(project_pose_para(face, para, 450), mat["pt3d_68"].T, atol=1e-6)
            faces.append(face - face.mean(axis=0))
        return float(np.std(faces, axis=0).mean())

    ours = spread(np.ones(3))
    for signs in ([-1, 1, 1], [1, -1, 1], [1, 1, -1], [-1, -1, -1]):
        assert spread(np.array(signs)) > 1.5 * ours
