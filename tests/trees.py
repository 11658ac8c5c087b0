"""Tiny datasets in the real layouts of 300W-LP and AFLW2000, with faces drawn so that their pose can be learned."""

import csv
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import scipy.io
from numpy.typing import NDArray

from headposekit.geometry.conventions import project_pose_para

SIZE = 450


def face_points() -> NDArray[np.float64]:
    """68 points on the front of an ellipsoid, frame A, a spiral from the nose outwards."""
    k = np.arange(68)
    radius, angle = np.sqrt((k + 0.5) / 68), k * 2.39996
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    return np.stack([0.8 * x, 1.1 * y, 0.9 * np.sqrt(1 - radius**2)], axis=-1)


def pose_para(pose: NDArray[np.float64], scale: float = 100.0) -> NDArray[np.float32]:
    """`Pose_Para` of a centred face, pose in degrees (yaw, pitch, roll)."""
    yaw, pitch, roll = np.radians(pose)
    return np.array([[pitch, yaw, roll, SIZE / 2, SIZE / 2, 0, scale]], dtype=np.float32)


def draw_face(points: NDArray[np.float64], color: NDArray[np.int64]) -> NDArray[np.uint8]:
    """A face of a head's projected points (68, 3): a filled outline, nearer points brighter."""
    image = np.full((SIZE, SIZE, 3), 90, dtype=np.uint8)
    hull = cv2.convexHull(points[:, :2].astype(np.int32))
    cv2.fillConvexPoly(image, hull, tuple(int(c) for c in color), cv2.LINE_AA)
    for index in np.argsort(points[:, 2]):
        shade = (40, 40, 160) if index < 12 else (30, 30, 30) if index % 2 else (230, 230, 230)
        cv2.circle(image, tuple(round(v) for v in points[index, :2]), 9, shade, -1, cv2.LINE_AA)
    return image


def write_300w_lp(
    root: Path, photos: int = 4, poses: int = 3, seed: int = 0, subsets: tuple[str, ...] = ("AFW", "IBUG")
) -> int:
    """Write subsets and their `_Flip`; names of IBUG hold a space, as some real ones do. Returns the number of faces."""
    rng = np.random.default_rng(seed)
    count = 0
    for subset in subsets:
        for photo in range(photos):
            color = rng.integers(120, 220, size=3)
            for k in range(poses):
                pose = rng.uniform([-75, -45, -40], [75, 45, 40])
                stem = f"{subset}_image_{photo:03d} _01_{k}" if subset == "IBUG" else f"{subset}_{photo:03d}_1_{k}"
                for folder, sign in ((subset, 1.0), (f"{subset}_Flip", -1.0)):
                    para = pose_para(pose * np.array([sign, 1, sign]))
                    points = project_pose_para(face_points(), para, SIZE)
                    _write_pair(root / folder / stem, draw_face(points, color), {"Pose_Para": para, "pt2d": points[:, :2].T})
                    count += 1
    return count


def write_aflw2000(root: Path, n: int = 12, seed: int = 1, beyond: int = 0) -> None:
    """Write n faces, the last `beyond` of them with a yaw of more than 99 degrees."""
    rng = np.random.default_rng(seed)
    for index in range(n):
        pose = rng.uniform([-75, -45, -40], [75, 45, 40])
        if index >= n - beyond:
            pose[0] = 120.0
        para = pose_para(pose)
        points = project_pose_para(face_points(), para, SIZE)
        points21 = points[:21, :2].copy()
        points21[points[:21, 2] < np.median(points[:21, 2]), 0] = -1  # the farther half is not seen
        content = {"Pose_Para": para, "pt2d": points21.T, "pt3d_68": points.T.astype(np.float32)}
        _write_pair(root / f"image{index:05d}", draw_face(points, rng.integers(120, 220, size=3)), content)


def write_aflw2000_labels(root: Path, labels: Path) -> None:
    """Write the rows of a CSV file (name, yaw, pitch, roll, x0, y0, ..., x67, y67) as AFLW2000 with blank pictures."""
    root.mkdir(parents=True, exist_ok=True)
    _, blank = cv2.imencode(".jpg", np.full((SIZE, SIZE, 3), 127, dtype=np.uint8))
    with labels.open(newline="") as file:
        for row in list(csv.reader(file))[1:]:
            numbers = np.array(row[1:], dtype=np.float64)
            points = numbers[3:].reshape(68, 2).T
            content = {
                "Pose_Para": pose_para(numbers[:3]),
                "pt2d": points[:, :21],
                "pt3d_68": np.vstack([points, 0 * points[:1]]),
            }
            (root / f"{row[0]}.jpg").write_bytes(blank.tobytes())
            scipy.io.savemat(root / f"{row[0]}.mat", content)


def _write_pair(stem: Path, image: NDArray[np.uint8], content: dict[str, Any]) -> None:
    stem.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(f"{stem}.jpg", image)
    scipy.io.savemat(f"{stem}.mat", content)
