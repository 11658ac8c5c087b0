"""A network as a pair of plain files: tensors in NAME.safetensors, what they are in NAME.json, as a checkpoint says it."""

import json
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
from torch import nn

from headpose.errors import InputError
from headpose.modules.checkpoint import LoadedNetwork, check_content, rebuild


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
        if not file.is_file():
            raise InputError(f"{file}: no such file; a network is NAME.safetensors with NAME.json beside it")
    try:
        card: dict[str, Any] = json.loads(description.read_text(encoding="utf-8"))
        state = safetensors.torch.load(path.read_bytes())
    except (ValueError, safetensors.SafetensorError) as error:
        raise InputError(f"{path}: not readable with its .json, or cut short; export it again") from error
    if not isinstance(card, dict):
        raise InputError(f"{description}: does not describe a network; export it again")
    check_content(path, card, state)
    return rebuild(path, card, state)
