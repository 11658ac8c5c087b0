"""A plan carried out on a whole batch at once, with PyTorch on any device."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from headposekit.data.plan import Blur, Pixels, Plan, Step

CUBIC = -0.75
"""OpenCV's constant of bicubic interpolation, and PyTorch's."""
PIL_BLUR = torch.tensor([[1, 1, 1, 1, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 0, 0, 0, 1], [1, 1, 1, 1, 1]]) / 16


def carry_out(plan: Plan, pictures: Tensor) -> Tensor:
    """Pictures to squares; nothing here waits for the device.

    Args:
        plan: on the host.
        pictures: (B, P, P, 3) uint8.

    Returns:
        (B, S, S, 3) uint8, on the pictures' device.
    """
    if plan.before:
        mirror = _mirror(plan, pictures.shape[2])
        for step in [mirror, *plan.before, mirror]:
            pictures = _do(step, pictures)
    squares = pictures if plan.is_shown_whole else _show(plan, pictures)
    for step in plan.after:
        squares = _do(step, squares)
    return squares


def _show(plan: Plan, pictures: Tensor) -> Tensor:
    device = pictures.device
    matrix = _to(plan.matrix.astype(np.float32), device)
    position = torch.arange(plan.size, device=device, dtype=torch.float32)
    x = matrix[:, :, 0, None, None] * position + matrix[:, :, 1, None, None] * position[:, None] + matrix[:, :, 2, None, None]
    last = _to(plan.extent[:, ::-1].astype(np.float32) - 1, device)[:, :, None, None]  # (B, 2, 1, 1), of x and of y
    rotated = _to(plan.rotated, device)[:, None, None, None]
    x = torch.where(rotated, last - (x.remainder(2 * last) - last).abs(), x)  # reflected
    if plan.clips:
        shown, width = plan.shown, plan.extent[:, 1]
        left = np.where(plan.mirrored, width - shown[:, 2], shown[:, 0])
        right = np.where(plan.mirrored, width - shown[:, 0], shown[:, 2])
        low, high = np.stack([left, shown[:, 1]], axis=-1), np.stack([right, shown[:, 3]], axis=-1) - 1
        held = torch.maximum(x, _to(low.astype(np.float32), device)[:, :, None, None])
        held = torch.minimum(held, _to(high.astype(np.float32), device)[:, :, None, None])
        x = torch.where(rotated, x, held)
    grid = x.permute(0, 2, 3, 1) * (2 / (pictures.shape[1] - 1)) - 1
    out = functional.grid_sample(pictures.permute(0, 3, 1, 2).float(), grid, align_corners=True)
    if not plan.clips:  # what was turned within its own frame ends with it
        start, extent = _to(plan.shown.astype(np.float32), device).split(2, dim=1)
        centers = start[:, :, None] + (position + 0.5) * (extent - start)[:, :, None] / plan.size
        inside = (centers >= 0) & (centers < last.flatten(1)[:, :, None] + 1)
        out = out * (inside[:, 0, None, None, :] & inside[:, 1, None, :, None] | ~rotated)
    return _whole_numbers(out)


def _do(step: Step, pictures: Tensor) -> Tensor:
    device = pictures.device
    if isinstance(step, Pixels):
        face = torch.arange(len(pictures), device=device)[:, None, None]
        rows, columns = _to(step.rows, device).long()[:, :, None], _to(step.columns, device).long()[:, None, :]
        moved = pictures[face, rows.clamp(min=0), columns.clamp(min=0)]
        outside = (rows < 0) | (columns < 0)
        return torch.where(outside[..., None], _to(step.fill, device)[:, None, None, None], moved)
    if not step.chosen.any():  # the host knows
        return pictures
    chosen = _to(np.flatnonzero(step.chosen), device)
    done = _blur(pictures[chosen]) if isinstance(step, Blur) else _enlarge(pictures[chosen], step.part[step.chosen])
    return pictures.index_copy(0, chosen, done)


def _blur(pictures: Tensor) -> Tensor:
    """PIL's filter leaves the two outermost rows and columns alone."""
    planes = pictures.permute(0, 3, 1, 2).flatten(0, 1).unsqueeze(1).float()
    blurred = functional.conv2d(planes, PIL_BLUR.to(pictures.device)[None, None])
    planes = functional.pad(blurred, (2, 2, 2, 2))
    blurred = _whole_numbers(planes.squeeze(1).unflatten(0, (-1, 3)))
    out = pictures.clone()
    out[:, 2:-2, 2:-2] = blurred[:, 2:-2, 2:-2]
    return out


def _enlarge(pictures: Tensor, part: NDArray[np.int64]) -> Tensor:
    """Bicubic, one matrix product for the rows and one for the columns."""
    size, device = pictures.shape[1], pictures.device
    rows, columns = (_to(_resampling(part[:, axis], part[:, axis + 2], size), device) for axis in (1, 0))
    planes = pictures.permute(0, 3, 1, 2).float()
    return _whole_numbers(rows[:, None] @ planes @ columns[:, None].transpose(-1, -2))


def _resampling(start: NDArray[np.int64], end: NDArray[np.int64], size: int) -> NDArray[np.float32]:
    """(b, size, size) weights of the old pixels in the new ones."""
    position = (np.arange(size) + 0.5) * ((end - start) / size)[:, None] - 0.5 + start[:, None]
    first = np.floor(position)
    t = position - first
    near = [((CUBIC + 2) * u - (CUBIC + 3)) * u * u + 1 for u in (t, 1 - t)]
    far = [((CUBIC * u - 5 * CUBIC) * u + 8 * CUBIC) * u - 4 * CUBIC for u in (1 + t, 2 - t)]
    weights = np.zeros((len(start), size, size), dtype=np.float32)
    face, row = np.indices(position.shape)
    for offset, weight in zip((-1, 0, 1, 2), (far[0], *near, far[1]), strict=True):
        column = np.clip(first + offset, start[:, None], end[:, None] - 1).astype(np.int64)
        np.add.at(weights, (face, row, column), weight)
    return weights


def _mirror(plan: Plan, columns: int) -> Pixels:
    """The mirrored pictures of a plan, of which only so many columns count."""
    position, width = np.arange(columns), plan.extent[:, 1, None]
    flipped = plan.mirrored[:, None] & (position < width)
    rows = np.broadcast_to(position, (len(width), columns)).astype(np.int16)
    return Pixels(rows, np.where(flipped, width - 1 - position, position).astype(np.int16), np.zeros(len(width), np.uint8))


def _whole_numbers(planes: Tensor) -> Tensor:
    """(B, 3, S, S) to (B, S, S, 3) uint8."""
    return planes.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def _to(array: NDArray[Any], device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).to(device, non_blocking=True)
