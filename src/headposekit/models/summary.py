"""How large a network is, and its input."""

from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Learned numbers of a network: parameters and the running statistics of batch normalisation, as the papers count."""
    exported = sum(getattr(module, "num_parameters", 0) for module in model.modules())  # of files that hold them elsewhere
    statistics = [buffer.numel() for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    return sum(parameter.numel() for parameter in model.parameters()) + sum(statistics) + exported


def input_size_of(network: nn.Module) -> int:
    """Side in pixels of the square crops that a network takes."""
    return int(network.input_size)  # type: ignore[arg-type]  # nn.Module hides attribute types
