"""Mean absolute error per angle, their mean, and the geodesic error."""

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from headposekit.geometry.conventions import EulerOrder, pose_to_pyr
from headposekit.geometry.rotations import angular_error, geodesic_distance


class PoseError(Metric):
    """Errors of predicted poses, computed in float64 from all of them, so that batch size and number of processes play no part.

    Errors wrap at 360 degrees only: an error of 180 degrees counts as 180 (as 0 in 6DRepNet's evaluation).

    >>> error = PoseError()
    >>> error.update(torch.tensor([[10.0, 0.0, 179.0]]), torch.tensor([[13.0, 0.0, -178.0]]))
    >>> {key: round(value.item(), 3) for key, value in error.compute().items() if key != "geodesic"}
    {'yaw': 3.0, 'pitch': 0.0, 'roll': 3.0, 'mae': 2.0, 'n': 1}

    Args:
        euler_order: `pyr` measures the errors of the angles between headposeplus' other angles of the same rotations
            (`pose_to_pyr`), for comparison with its tables; poses are given in ours, and the geodesic error is the same.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    poses: list[Tensor]

    def __init__(self, euler_order: EulerOrder = "ypr") -> None:
        super().__init__()
        self.euler_order = euler_order
        self.add_state("poses", [], dist_reduce_fx="cat")

    def update(self, predicted: Tensor, true: Tensor) -> None:
        """Add B poses, each (B, 3) in degrees; a copy is all that happens, as each operation is a launch on a GPU."""
        self.poses.append(torch.stack([predicted.detach(), true], dim=1))

    def compute(self) -> dict[str, Tensor]:
        """Mean error in degrees of yaw, pitch and roll, their mean `mae`, `geodesic`, and the number of faces `n`."""
        poses = dim_zero_cat(self.poses).cpu().double() if len(self.poses) else torch.empty(0, 2, 3, dtype=torch.float64)
        predicted, true = poses.unbind(dim=1)
        yaw, pitch, roll = angles = angular_error(self._angles(predicted), self._angles(true)).mean(dim=0)
        return {
            "yaw": yaw,
            "pitch": pitch,
            "roll": roll,
            "mae": angles.mean(),
            "geodesic": geodesic_distance(predicted, true).mean(),
            "n": torch.tensor(len(poses)),
        }

    def _angles(self, pose: Tensor) -> Tensor:
        return torch.from_numpy(pose_to_pyr(pose.cpu().numpy())).to(pose) if self.euler_order == "pyr" else pose
