"""What every network has, and what may be known of it."""

from typing import Any

from torch import Tensor, nn


class PoseNetwork(nn.Module):
    """Base of all networks: called with a batch, it returns a `PoseOutput`.

    Attributes:
        input_size: side in pixels of the square crops that it takes; None where it takes none.
        needs_picture: whether a batch must hold the whole pictures.
        num_parameters: learned numbers that are kept elsewhere than in its tensors.
    """

    input_size: Any = None
    needs_picture: bool = False
    num_parameters = 0

    def diagnostics(self, output: Any) -> dict[str, Tensor]:
        """Named scalars of an output that show whether the network is healthy; logged with every validation."""
        return {}

    def uncertainty(self, output: Any, true: Tensor) -> dict[str, Tensor]:
        """What `headposekit.metrics.uncertainty` scores, (B,) each, for true poses (B, 3); nothing where there are no spreads.

        `spread`, of the rotation in degrees; `nll`, negative log density at the true pose; `level`, probability of the region
        that reaches to it.
        """
        return {}

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Parameters by part, where parts may have learning rates of their own."""
        return {"network": list(self.parameters())}

    def fold_blocks(self) -> None:
        """Change the network in place for inference, beyond what `headposekit.models.fold` does by itself."""


def count_parameters(model: nn.Module) -> int:
    """Learned numbers of a network: parameters and the running statistics of batch normalisation, as the papers count."""
    elsewhere = sum(module.num_parameters for module in model.modules() if isinstance(module, PoseNetwork))
    statistics = [buffer.numel() for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    return sum(parameter.numel() for parameter in model.parameters()) + sum(statistics) + elsewhere
