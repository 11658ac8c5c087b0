"""3DDFA_V2's small network (Guo et al., ECCV 2020), from pixels to angles.

A MobileNet (version 1) whose last layer gives the 62 parameters of a 3-D face; two rows of a matrix in them are the pose. It
is not 3DDFA's cascade of 2016, which the papers' rows are of.

Must agree with cleardusk/3DDFA_V2 (models/mobilenet_v1.py), whose `mb05_120x120.pth` `weights/published.py` loads.
"""

import torch
from torch import Tensor, nn

from headposekit.geometry.rotations import cross_product, matrix_to_pose
from headposekit.models.network import PoseNetwork
from headposekit.models.preprocess import Preprocess
from headposekit.types import Batch, PoseOutput

NUM_PARAMETERS = 62
BLOCKS = {
    "dw2_1": (64, 1), "dw2_2": (128, 2),
    "dw3_1": (128, 1), "dw3_2": (256, 2),
    "dw4_1": (256, 1), "dw4_2": (512, 2),
    "dw5_1": (512, 1), "dw5_2": (512, 1), "dw5_3": (512, 1), "dw5_4": (512, 1), "dw5_5": (512, 1), "dw5_6": (1024, 2),
    "dw6": (1024, 1),
}  # fmt: skip
"""Output channels at width 1, and stride."""


class DepthwiseSeparable(nn.Module):
    """A depthwise and a pointwise convolution, each with batch normalisation and ReLU."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(in_channels, in_channels, 3, stride, padding=1, groups=in_channels, bias=False)
        self.bn_dw = nn.BatchNorm2d(in_channels)
        self.conv_sep = nn.Conv2d(in_channels, out_channels, 1, bias=False)
        self.bn_sep = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, H / stride, W / stride)."""
        x = torch.relu(self.bn_dw(self.conv_dw(x)))
        return torch.relu(self.bn_sep(self.conv_sep(x)))


class ThreeDDFANet(PoseNetwork):
    """BGR squares of 120 pixels to poses.

    Args:
        width: multiple of MobileNet's channels; the published small network has 0.5.
        input_size: side of the square in pixels.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, width: float = 0.5, input_size: int = 120) -> None:
        super().__init__()
        self.input_size = input_size
        self.preprocess = Preprocess("BGR", (127.5,) * 3, (128.0,) * 3)
        channels = int(32 * width)
        self.conv1 = nn.Conv2d(3, channels, 3, 2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        blocks = {}
        for name, (full, stride) in BLOCKS.items():
            blocks[name] = DepthwiseSeparable(channels, int(full * width), stride)
            channels = int(full * width)
        self.blocks = nn.ModuleDict(blocks)
        self.fc = nn.Linear(channels, NUM_PARAMETERS)
        # By which the last layer's numbers become parameters; learned from the training set, so they belong to the weights.
        self.register_buffer("mean", torch.zeros(NUM_PARAMETERS))
        self.register_buffer("std", torch.ones(NUM_PARAMETERS))

    def parameters_of_faces(self, batch: Batch) -> Tensor:
        """A batch of B crops to (B, 62): a 3×4 matrix row by row, 40 numbers of shape, 10 of expression."""
        x = torch.relu(self.bn1(self.conv1(self.preprocess(batch["image"]))))
        for block in self.blocks.values():
            x = block(x)
        numbers: Tensor = self.fc(x.mean(dim=(2, 3))) * self.std + self.mean
        return numbers

    def forward(self, batch: Batch) -> PoseOutput:
        """A batch of B crops to their poses: of the first two rows of the matrix, each of length 1, and their cross product."""
        rows = self.parameters_of_faces(batch)[:, :8].unflatten(1, (2, 4))[:, :, :3]
        first, second = nn.functional.normalize(rows, dim=-1).unbind(1)
        return PoseOutput(matrix_to_pose(torch.stack([first, second, cross_product(first, second)], dim=1)))
