"""What networks are measured on."""

import torch

from headposekit.types import Batch


def random_batch(batch_size: int, size: int, device: torch.device | None = None) -> Batch:
    """Noise in the shape of faces, as the data sets lay it out in memory."""
    batch: Batch = {
        "image": torch.randint(0, 256, (batch_size, size, size, 3), dtype=torch.uint8, device=device).permute(0, 3, 1, 2),
        "pose": torch.rand(batch_size, 3, device=device) * 120 - 60,
        "box": torch.zeros(batch_size, 4, device=device),
        "landmarks": torch.zeros(batch_size, 68, 2, device=device),
        "name": ["random"] * batch_size,
    }
    return batch
