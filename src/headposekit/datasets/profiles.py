"""300W-LP made anew from photographs with 68 points: each face as it is, and turned further away."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch

from headposekit.data.dataset import BadFiles
from headposekit.datasets.points68 import LEVEL, Points68
from headposekit.errors import InputError
from headposekit.geometry.rotations import matrix_to_pose, pose_to_matrix
from headposekit.landmarks.labels import INNER, fit_faces
from headposekit.synthesis.head import face_modes_68, head_model
from headposekit.synthesis.profiling import PhotographedHead, corrected
from headposekit.synthesis.writers import SIZE, SUBSETS, LayoutWriter, common_mat, matlab_points

BOX_SHARE = 0.4
"""Of a picture's side, the longer side of the face's box."""
WIDEST = 90.0
"""Degrees of yaw up to which a face is turned."""


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
        name = self.faces.names[number]
        x0, y0, x1, y1 = self.faces.box[number]
        scale = BOX_SHARE * SIZE / max(x1 - x0, y1 - y0)
        window = np.array([[scale, 0, SIZE / 2 - scale * (x0 + x1) / 2], [0, scale, SIZE / 2 - scale * (y0 + y1) / 2]])
        # Pixel centres are at .5, for OpenCV at whole numbers.
        shift = window[:, 2] + (scale - 1) / 2
        image = cv2.warpAffine(
            self.faces.image(number), np.column_stack([window[:, :2], shift]), (SIZE, SIZE), flags=cv2.INTER_LINEAR
        )
        points = (self.faces.landmarks[number].astype(np.float64) - 0.5) @ window[:, :2].T + window[:, 2]
        fits, _ = fit_faces(points[None], "modes_inner")
        rotation, scale, place = fits.rotation[0], fits.scale[0], fits.place[0]

        model = head_model()
        surface = model.deform(np.einsum("k,kpc->pc", fits.codes[0], face_modes_68())).astype(np.float64)
        seen = scale * (model.landmarks(surface) @ rotation.T)[:, :2] + place
        off = np.column_stack([points * [1, -1] - seen, np.zeros(68)]) / scale @ rotation
        surface = corrected(model, surface, off, INNER)
        head = PhotographedHead(np.asarray(image, dtype=np.uint8), surface, rotation, scale, place)

        subset = next((subset for subset in SUBSETS if subset.lower() in name.lower()), "HELEN")
        stem = f"{subset}/{subset}_{name.replace('/', '_')}"
        names = []
        rng = np.random.default_rng([self.seed, number])
        for view, turned in enumerate([rotation, *self._turns(rotation, rng)]):
            picture, place = (head.image, fits.place[0]) if view == 0 else head.turned(turned)
            landmarks = scale * (model.landmarks(surface) @ turned.T)[:, :2] + place
            pose = matrix_to_pose(torch.from_numpy(turned @ self._level)).numpy()
            yaw, pitch, roll = np.radians(pose)
            para = [pitch, yaw, roll, place[0] + 0.5, place[1] + SIZE + 0.5, 0.0, scale]
            pixels = landmarks * [1, -1]
            mat = {**common_mat(para, pixels), "pt2d": matlab_points(pixels)}
            names.append(self.write_pair(f"{stem}_{view}", picture, mat))
        return names

    def _turns(self, rotation: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
        """Rotations of the turned views: yaw spread evenly between the face's own and 90 degrees, to the side it looks to."""
        yaw = float(matrix_to_pose(torch.from_numpy(rotation))[0])
        side = rng.choice([-1.0, 1.0]) if abs(yaw) < 10 else np.sign(yaw)
        start = side * yaw
        shares = (np.arange(self.num_views) + rng.random(self.num_views)) / max(self.num_views, 1)
        steps = np.column_stack(
            [side * shares * max(WIDEST - start, 0), rng.normal(0, self.nod, self.num_views), np.zeros(self.num_views)]
        )
        turn, nod = steps * [1, 0, 0], steps * [0, 1, 0]
        own = pose_to_matrix(torch.from_numpy(turn)) @ pose_to_matrix(torch.from_numpy(nod))
        return [rotation @ matrix for matrix in own.numpy()]
