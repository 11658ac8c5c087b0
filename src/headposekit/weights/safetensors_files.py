"""A network as a pair of plain files: tensors in NAME.safetensors, what they are in NAME.json, as a checkpoint says it."""

from pathlib import Path

import safetensors.torch
from torch import nn

from headposekit.errors import InputError
from headposekit.safe_files import check_file, read_file, read_json
from headposekit.weights.checkpoint import LoadedNetwork, check_format, rebuild
from headposekit.weights.tensor_files import check_tensors

MAX_WEIGHTS = 2**32
"""Bytes of a .safetensors file, all of which is read."""


def safetensors_bytes(network: nn.Module) -> bytes:
    """The content of a .safetensors file: every tensor of a network's state, named as in a checkpoint."""
    # Copies: tensors that share memory are refused.
    state = {f"model.{key}": value.detach().cpu().contiguous().clone() for key, value in network.state_dict().items()}
    return bytes(safetensors.torch.save(state))


def load_safetensors(path: str | Path) -> LoadedNetwork:
    """Rebuild a network from a .safetensors file and the .json beside it, in eval mode.

    Raises:
        InputError: one of them is missing, cut short, or of something else; or see `rebuild`.
    """
    path = Path(path)
    description = path.with_suffix(".json")
    for file in (path, description):
        check_file(file)
    card = read_json(description)
    if not isinstance(card, dict):
        raise InputError(f"{description}: does not describe a network; export it again")
    try:
        state = safetensors.torch.load(read_file(path, MAX_WEIGHTS))
    except Exception as error:  # what a stranger's file may hold has no end
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: not readable as tensors, or cut short; export it again") from error
    check_format(path, card)
    return rebuild(path, card, check_tensors(path, state))
