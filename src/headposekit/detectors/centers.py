"""The default detector: a small network, trained on synthetic heads alone, that marks the middle of every face.

A map of how likely a face's middle lies in each cell of 8 × 8 pixels, and for each cell the box of the face it belongs to, as
CenterNet's (Zhou, Wang and Krähenbühl, Objects as Points, 2019). `python tools/train_detector.py` makes `centers.npz`.
"""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.ops import nms

from headposekit.detectors.base import Detections, as_detections
from headposekit.errors import InputError, refusing
from headposekit.files import replacing
from headposekit.models.fold import fold_norms
from headposekit.safe_files import read_npz
from headposekit.types import Image

STRIDE = 8
WEIGHTS = Path(__file__).with_name("centers.npz")
DEEPEST = 64
"""Pixels in a cell of the coarsest layer; pictures are filled up to multiples of it."""
OVERLAP = 0.4
"""Intersection over union from which two boxes are of one face."""


class Convolution(nn.Module):
    """Convolution, batch normalisation, ReLU; the first two become one by `without_norms`."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, active: bool = True
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.act = nn.ReLU(inplace=True) if active else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y: Tensor = self.act(self.norm(self.conv(x)))
        return y


class Block(nn.Module):
    """5 × 5 depthwise and two 1 × 1 convolutions around a shortcut; with a stride or other width, without one."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.shortcut = stride == 1 and inputs == outputs
        self.layers = nn.Sequential(
            Convolution(inputs, inputs, 5, stride, groups=inputs, active=False),
            Convolution(inputs, 2 * outputs, 1),
            Convolution(2 * outputs, outputs, 1, active=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, inputs, H, W) to (B, outputs, H / stride, W / stride)."""
        y: Tensor = self.layers(x)
        return x + y if self.shortcut else y


class CenterNetwork(nn.Module):
    """Pixels to cells.

    Layers of 4, 8, 16, 32 and 64 pixels a cell; what the coarse ones see of a head and around it is added to the layer of 8.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(Convolution(3, 16, 3, 2), Convolution(16, 24, 3, 2), Convolution(24, 24))
        self.down8 = nn.Sequential(Convolution(24, 48, 3, 2), Block(48, 48), Block(48, 48))
        self.down16 = nn.Sequential(Block(48, 64, 2), Block(64, 64), Block(64, 64))
        self.down32 = nn.Sequential(Block(64, 80, 2), Block(80, 80), Block(80, 80))
        self.down64 = nn.Sequential(Block(80, 80, 2), Block(80, 80))
        self.up32, self.up16, self.up8 = Convolution(80, 80, 1), Convolution(80, 64, 1), Convolution(64, 48, 1)
        self.head = nn.Sequential(Block(48, 48), Convolution(48, 48))
        self.out = nn.Conv2d(48, 5, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Cells (B, 5, H / 8, W / 8) of pictures (B, 3, H, W), RGB, 0 to 255; H and W multiples of 64.

        Of a cell: logit of a middle; from the cell's middle to the face's, x and y, in cells; logarithms of the box's width and
        height in cells.
        """
        eighth = self.down8(self.stem(image / 128 - 1))
        sixteenth = self.down16(eighth)
        thirty_second = self.down32(sixteenth)
        context = thirty_second + _double(self.up32(self.down64(thirty_second)))
        context = sixteenth + _double(self.up16(context))
        cells: Tensor = self.out(self.head(eighth + _double(self.up8(context))))
        return cells


def _double(x: Tensor) -> Tensor:
    return functional.interpolate(x, scale_factor=2.0, mode="nearest")


def without_norms(network: CenterNetwork) -> CenterNetwork:
    """A network for use: its normalisations are folded into its convolutions, in place."""
    fold_norms(network.eval(), torch.zeros(1, 3, DEEPEST, DEEPEST))
    return network


def decode(cells: Tensor, threshold: float) -> tuple[Tensor, Tensor]:
    """Boxes (N, 4) in pixels and scores (N,) of one picture's cells (5, H, W), where a cell outshines its neighbours."""
    heat = cells[0].sigmoid()
    is_peak = (heat == functional.max_pool2d(heat[None], 3, 1, 1)[0]) & (heat >= threshold)
    row, column = is_peak.nonzero(as_tuple=True)
    x, y, width, height = cells[1:, row, column]
    center = torch.stack([column + 0.5 + x, row + 0.5 + y], dim=-1)
    half = torch.stack([width, height], dim=-1).clamp(max=6).exp() / 2
    return STRIDE * torch.cat([center - half, center + half], dim=-1), heat[row, column]


class CenterDetector:
    """Finds the tight boxes of faces with a network of our own.

    The picture is brought to a longer side of `size` pixels, where faces from 16 pixels on are found (a sixteenth of the side),
    and, for smaller ones in larger pictures, to twice and four times that.

    Args:
        threshold: score from which a face counts; the default was chosen on synthetic scenes, see docs/detectors.md.
        size: longer side of the smallest picture looked at, a multiple of 64.
        levels: how many pictures, each twice as large as the one before; null for as many as the picture is larger than twice
            `size`, at most three.
        path: weights; null for those of the package.

    Raises:
        InputError: options out of range, or a file that holds no weights of this network.
    """

    name = "centers"
    boxes_are_crops = False

    def __init__(
        self, threshold: float = 0.39, size: int = 256, levels: int | None = None, path: str | Path | None = None
    ) -> None:
        if not 0 < threshold < 1:
            raise InputError(f"detector.threshold={threshold} is not between 0 and 1")
        if size < DEEPEST or size % DEEPEST:
            raise InputError(f"detector.size={size} is not a multiple of {DEEPEST}")
        if levels is not None and not 1 <= levels <= 6:
            raise InputError(f"detector.levels={levels} is not from 1 to 6, or null")
        self.threshold, self.size, self.levels = threshold, size, levels
        self.network = load_network(WEIGHTS if path is None else Path(path))

    def __call__(self, image: Image, name: str = "") -> Detections:
        """Faces of all levels; of boxes that overlap the surest stays."""
        longest = max(image.shape[:2])
        levels = self.levels or int(np.clip(np.floor(np.log2(max(longest / self.size, 1))), 1, 3))
        small, found = image, []
        for level in reversed(range(levels)):  # each picture from the one before, not from one of 40 megapixels
            small = _resized(small, image.shape, self.size * 2**level / longest)
            ratio = torch.tensor([image.shape[1] / small.shape[1], image.shape[0] / small.shape[0]]).tile(2)
            boxes, scores = self._find(small)
            found.append((boxes * ratio, scores))
        boxes, scores = torch.cat([boxes for boxes, _ in found]), torch.cat([scores for _, scores in found])
        kept = nms(boxes, scores, OVERLAP)
        return as_detections(boxes[kept].numpy(), scores[kept].numpy())

    @torch.inference_mode()
    def _find(self, image: Image) -> tuple[Tensor, Tensor]:
        height, width = image.shape[:2]
        filled = np.zeros((-(-height // DEEPEST) * DEEPEST, -(-width // DEEPEST) * DEEPEST, 3), np.uint8)
        filled[:height, :width] = image
        cells = self.network(torch.from_numpy(filled).permute(2, 0, 1)[None].float())[0]
        return decode(cells, self.threshold)


def _resized(image: Image, shape: tuple[int, ...], scale: float) -> Image:
    """A picture at `scale` times the height and width of `shape`."""
    height, width = (max(1, round(scale * side)) for side in shape[:2])
    method = cv2.INTER_AREA if width < image.shape[1] else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)


def save_network(network: CenterNetwork, path: Path, story: dict[str, Any]) -> None:
    """A folded network's weights as float16, and how they came about as JSON."""
    arrays = {name: value.half().numpy() for name, value in network.state_dict().items()}
    with replacing(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, story=np.array(json.dumps(story)), **arrays)


def load_network(path: Path) -> CenterNetwork:
    """A folded network with the weights of a file; InputError where it holds others."""
    network = without_norms(CenterNetwork())
    arrays = read_npz(path)
    with refusing(path, "no weights of this detector", "choose another detector.path", (TypeError, RuntimeError)):
        network.load_state_dict({name: torch.from_numpy(array).float() for name, array in arrays.items() if name != "story"})
    return network.requires_grad_(False).to(memory_format=torch.channels_last)
