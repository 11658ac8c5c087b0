"""Draw docs/conventions.jpg, the signs of the angles, and docs/crops.jpg, the crop rules on one face; heads are synthetic."""

import cv2
import numpy as np
from numpy.typing import NDArray

from face_scenes import plain_heads
from headposekit.files import write_picture
from headposekit.geometry.crops import FSANetCrop, HopenetCrop, MarginCrop
from headposekit.geometry.drawing import draw_axes
from headposekit.paths import ROOT
from headposekit.synthesis.sampler import HeadSampler
from headposekit.types import Image

PERSON = 18
POSES = {
    "yaw +30": (30, 0, 0), "pitch +30": (0, 30, 0), "roll +30": (0, 0, 30),
    "yaw -30": (-30, 0, 0), "pitch -30": (0, -30, 0), "roll -30": (0, 0, -30),
}  # fmt: skip
RULES: dict[str, tuple[FSANetCrop | HopenetCrop | MarginCrop, tuple[int, int, int]]] = {
    "fsanet": (FSANetCrop(120), (230, 60, 50)),
    "hopenet": (HopenetCrop(120), (60, 200, 80)),
    "margin": (MarginCrop(120), (70, 130, 255)),
}
SIDE, GAP, LINE = 220, 10, 30


def main() -> None:
    """Write both pictures."""
    heads = plain_heads(0, poses_per_identity=2, hat=0.0, glasses=0.0, beard=0.0, expression=0.0)
    write_picture(ROOT / "docs" / "conventions.jpg", signs(heads))
    write_picture(ROOT / "docs" / "crops.jpg", crops(heads))


def signs(heads: HeadSampler) -> Image:
    """Two rows of three heads: positive angles above, negative ones below, with their axes."""
    cells = []
    for label, pose in POSES.items():
        head = heads.render(2 * PERSON, SIDE, pose)
        cell = np.full((SIDE + LINE, SIDE, 3), 255, dtype=np.uint8)
        cell[:SIDE] = head.image
        x, y = head.landmarks[30, :2]  # the tip of the nose
        draw_axes(cell[:SIDE], pose, (float(x), float(y)), 0.36 * SIDE, thickness=3)
        _write(cell, label, SIDE // 2, SIDE + 21)
        cells.append(cell)
    rows = [np.concatenate(_spaced(cells[start : start + 3]), axis=1) for start in (0, 3)]
    return np.concatenate(rows)


def crops(heads: HeadSampler) -> Image:
    """A face near the upper edge of its picture with its tight box and each rule's region; the crops beside it."""
    head = heads.render(2 * PERSON, 380, (20, -5, 0))
    first = int(head.box[1]) - 40  # row of the rendered picture with which the shown one begins
    picture, box = head.image[first : first + 290], head.box - np.array([0, first, 0, first])
    above, left = 40, 10
    page = np.full((360, 700, 3), 255, dtype=np.uint8)
    page[above : above + len(picture), left : left + picture.shape[1]] = picture
    for number, (name, (rule, color)) in enumerate(RULES.items()):
        rule = rule.for_dataset("300w_lp")
        _frame(page, rule.regions(box[None], picture.shape[1], len(picture)).shown[0], color, left, above)
        x, y = ((420, 0), (570, 0), (420, 180))[number]
        page[y + 8 : y + 136, x : x + 128] = color
        page[y + 12 : y + 132, x + 4 : x + 124] = rule(picture, box)
        _write(page, name, x + 64, y + 158)
    _frame(page, box, (255, 255, 255), left, above)
    _write(page, "white: tight box", 634, 250)
    return page


def _frame(page: Image, box: NDArray[np.floating], color: tuple[int, int, int], left: int, above: int) -> None:
    x0, y0, x1, y1 = (round(float(value)) for value in box)
    cv2.rectangle(page, (x0 + left, y0 + above), (x1 + left, y1 + above), color, 3, cv2.LINE_AA)


def _spaced(cells: list[Image]) -> list[Image]:
    gap = np.full((len(cells[0]), GAP, 3), 255, dtype=np.uint8)
    return [part for cell in cells for part in (cell, gap)][:-1]


def _write(image: Image, text: str, middle: int, line: int) -> None:
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.6, 1)
    cv2.putText(image, text, (middle - width // 2, line), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (30, 30, 30), 1, cv2.LINE_AA)


if __name__ == "__main__":
    main()
