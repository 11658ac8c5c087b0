"""Draw docs/perspective.png: one pose in the camera's frame, five places in the picture, five poses in the crops."""

import cv2
import numpy as np
import torch

from face_scenes import CANVAS, plain_heads
from headposekit.files import write_picture
from headposekit.geometry.perspective import camera_to_ray, focal_length, ray_rotation
from headposekit.geometry.rotations import pose_to_matrix
from headposekit.paths import ROOT
from headposekit.synthesis.sampler import PIVOT
from headposekit.types import Image

WIDTH, HEIGHT, FIELD_OF_VIEW, DISTANCE, SIZE = 800, 215, 75.0, 38.0, 800


def draw() -> Image:
    """The picture of all five heads above their crops."""
    focal = focal_length(FIELD_OF_VIEW, WIDTH)
    heads = plain_heads(1, perspective=(DISTANCE, DISTANCE), hat=0.0, glasses=0.0, beard=0.0, expression=0.0)
    picture, crops = np.full((HEIGHT, WIDTH, 3), 235, np.float64), []
    for x in np.linspace(0.1, 0.9, 5) * WIDTH:
        center = torch.tensor([x, 0.5 * HEIGHT], dtype=torch.float64)
        pose = camera_to_ray(torch.zeros(3, dtype=torch.float64), center, (WIDTH, HEIGHT), focal)
        head = heads.render(5, SIZE, tuple(pose.tolist()), supersample=1.0, canvas=CANVAS)
        mask = np.isfinite(head.depth).astype(np.float64)
        # Pixels of the head's own picture, whose camera looks at it, to rays; the rays turned to where it is; those to pixels.
        points = (head.neutral - PIVOT) @ pose_to_matrix(pose).numpy().T
        plane = np.column_stack([points[:, :2] / (DISTANCE - points[:, 2:]), np.ones(68)])
        to_pixels = np.vstack([np.linalg.lstsq(plane, head.landmarks[:, :2], rcond=None)[0].T, [0, 0, 1]])
        to_ray = np.diag([1, 1, -1]) @ np.linalg.inv(to_pixels)
        camera = np.array([[focal, 0, -WIDTH / 2], [0, -focal, -HEIGHT / 2], [0, 0, -1]])
        turn = camera @ ray_rotation(center, (WIDTH, HEIGHT), focal).numpy() @ to_ray
        layer = cv2.warpPerspective(
            np.dstack([head.image * mask[..., None], mask]), turn, (WIDTH, HEIGHT), flags=cv2.INTER_AREA
        )
        picture = picture * (1 - layer[..., 3:]) + layer[..., :3]
        side = 1.8 * (head.box[3] - head.box[1])
        x0, y0 = ((head.box[:2] + head.box[2:] - side) / 2).astype(int)
        cut = np.where(mask[..., None] > 0, head.image, 235)[y0 : y0 + int(side), x0 : x0 + int(side)]
        crop = np.asarray(cv2.resize(cut.astype(np.uint8), (160, 160), interpolation=cv2.INTER_AREA))
        crop = cv2.copyMakeBorder(crop, 0, 24, 0, 0, cv2.BORDER_CONSTANT, value=(235, 235, 235))
        cv2.putText(
            crop, f"yaw {round(pose[0].item()):+d}", (42, 178), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 2, cv2.LINE_AA
        )
        crops.append(crop)
    page = np.concatenate([picture.astype(np.uint8), np.concatenate(crops, axis=1)])
    cv2.putText(page, "all: yaw 0 in the camera's frame", (235, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (0, 0, 0), 2, cv2.LINE_AA)
    return page


if __name__ == "__main__":
    write_picture(ROOT / "docs" / "perspective.png", draw())
