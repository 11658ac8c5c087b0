"""300W-LP made anew from photographs with 68 points: each face as it is, and turned further away."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from headposekit.data.dataset import BadFiles
from headposekit.datasets.points68 import LEVEL, Points68
from headposekit.errors import InputError
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.landmarks.labels import INNER, fit_faces
from headposekit.synthesis.head import face_modes_68, head_model
from headposekit.synthesis.profiling import PhotographedHead, corrected
from headposekit.synthesis.writers import SIZE, SUBSETS, LayoutWriter, common_mat, matlab_points
from headposekit.types import Image

Array = NDArray[Any]

BOX_SHARE = 0.4
"""Of a picture's side, the longer side of the face's box."""
WIDEST = 90.0
"""Degrees of yaw up to which a face is turned."""
EITHER_SIDE = 10.0
"""Degrees of yaw up to which a face may be turned to either side."""


@dataclass(eq=False)
class WriteProfiles(LayoutWriter):
    """300W-LP's layout from photographs as `data=points68` reads them; labels are our own, by the rule `modes_inner`.

    As in 300W-LP each face is written as it stands, `<SUBSET>/<SUBSET>_NAME_0`, and turned further away about its own
    axis, up to 90 degrees of yaw; mirrors are left to the augmentation. A photograph whose path names none of the four
    subsets goes to HELEN. `pt2d` holds the landmarks on the head, also those that are turned away.

    Args:
        root: folder to write into.
        photographs: folder, at any depth, of `NAME.pts` with 68 points and `NAME.jpg`.
        num_views: turned views of each face besides its own.
        nod: standard deviation in degrees of a nod that turned views get besides; 0 as in 300W-LP.
        level, first_pixel, bad_files: see `Points68`.
        seed: of the views' angles.
    """

    unit = "photograph"
    photographs: str | Path
    num_views: int = 5
    nod: float = 8.0
    level: float = LEVEL
    first_pixel: int = 1
    bad_files: BadFiles = "raise"
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.num_views < 0 or not 0 <= self.nod <= 30:
            raise InputError(
                f"layout.num_views={self.num_views} layout.nod={self.nod}: give 0 or more views, and 0 to 30 degrees"
            )
        if self.root.resolve() == Path(self.photographs).resolve():
            raise InputError(f"root={self.root} is the folder of the photographs; write into another one")
        self.faces = Points68(Path(self.photographs), level=self.level, first_pixel=self.first_pixel, bad_files=self.bad_files)
        self._level = pose_to_matrix(torch.tensor([0.0, -self.level, 0.0], dtype=torch.float64)).numpy()

    def __len__(self) -> int:
        return len(self.faces)

    def __getitem__(self, number: int) -> list[str]:
        image, points = self._picture(number)
        head = self._head(image, points)
        name = self.faces.names[number]
        subset = next((subset for subset in SUBSETS if subset.lower() in name.lower()), "HELEN")
        stem = f"{subset}/{subset}_{name.replace('/', '_')}"
        names = [self._write(f"{stem}_0", image, head, head.rotation, head.place)]
        for view, rotation in enumerate(self._turns(head.rotation, np.random.default_rng([self.seed, number])), start=1):
            picture, place = head.turned(rotation)
            names.append(self._write(f"{stem}_{view}", picture, head, rotation, place))
        return names

    def _picture(self, number: int) -> tuple[Image, Array]:
        """One face in the middle of a square picture, and its points (68, 2), pixel centres at .5."""
        x0, y0, x1, y1 = self.faces.box[number] - 0.5
        scale = BOX_SHARE * SIZE / max(x1 - x0, y1 - y0)
        shift = SIZE / 2 - scale * np.array([x0 + x1, y0 + y1]) / 2
        points = scale * (self.faces.landmarks[number].astype(np.float64) - 0.5) + shift
        # For OpenCV the centres lie at whole numbers.
        window = np.column_stack([scale * np.eye(2), shift + (scale - 1) / 2])
        picture = cv2.warpAffine(self.faces.image(number), window, (SIZE, SIZE), flags=cv2.INTER_LINEAR)
        return np.asarray(picture, dtype=np.uint8), points

    def _head(self, image: Image, points: Array) -> PhotographedHead:
        """The head that explains the points."""
        fits, _ = fit_faces(points[None], "modes_inner")
        rotation, scale, place = fits.rotation[0], float(fits.scale[0]), fits.place[0]
        model = head_model()
        surface = model.deform(np.einsum("k,kpc->pc", fits.codes[0], face_modes_68())).astype(np.float64)
        seen = scale * (model.landmarks(surface) @ rotation.T)[:, :2] + place
        off = np.column_stack([points * [1, -1] - seen, np.zeros(68)]) / scale @ rotation
        return PhotographedHead(image, corrected(model, surface, off, INNER), rotation, scale, place)

    def _turns(self, rotation: Array, rng: np.random.Generator) -> Array:
        """Rotations of the turned views: yaw spread evenly between the face's own and 90 degrees, to the side it looks to."""
        yaw = float(matrix_to_pose(torch.from_numpy(rotation))[0])
        side = rng.choice([-1.0, 1.0]) if abs(yaw) < EITHER_SIDE else np.sign(yaw)
        shares = (np.arange(self.num_views) + rng.random(self.num_views)) / max(self.num_views, 1)
        none = np.zeros(self.num_views)
        turns = np.column_stack([side * shares * max(WIDEST - side * yaw, 0), none, none])
        nods = np.column_stack([none, rng.normal(0, self.nod, self.num_views), none])
        turned: Array = rotation @ (pose_to_matrix(torch.from_numpy(turns)) @ pose_to_matrix(torch.from_numpy(nods))).numpy()
        return turned

    def _write(self, name: str, picture: Image, head: PhotographedHead, rotation: Array, place: Array) -> str:
        """One picture and its label."""
        landmarks = head_model().landmarks(head.surface) @ rotation.T
        pixels = (head.scale * landmarks[:, :2] + place) * [1, -1]
        yaw, pitch, roll = np.radians(matrix_to_pose(torch.from_numpy(rotation @ self._level)).numpy())
        para = [pitch, yaw, roll, place[0] + 0.5, place[1] + SIZE + 0.5, 0.0, head.scale]
        return self.write_pair(name, picture, {**common_mat(para, pixels), "pt2d": matlab_points(pixels)})
