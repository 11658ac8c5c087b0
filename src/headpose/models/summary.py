"""How large a network is."""

from torch import nn


def count_parameters(model: nn.Module) -> int:
    """Learned numbers of a network: parameters and the running statistics of batch normalisation, as the papers count."""
    exported = sum(getattr(module, "num_parameters", 0) for module in model.modules())  # of files that hold them elsewhere
    statistics = [buffer.numel() for name, buffer in model.named_buffers() if name.endswith(("running_mean", "running_var"))]
    return sum(parameter.numel() for parameter in model.parameters()) + sum(statistics) + exported
