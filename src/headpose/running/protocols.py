"""A protocol fixes which faces are trained on and tested with, and how they are cropped: `protocol=NAME`, conf/protocol/."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from headpose.datamodules import HeadPoseDataModule
from headpose.errors import InputError
from headpose.running.identity import spread_tests

log = logging.getLogger(__name__)


def settle_tests(config: DictConfig, given: Sequence[str] = ()) -> None:
    """Make `config.test` what will be tested: without what the protocol says of sets not chosen, lists spread; in place.

    Whatever composes a configuration calls this once.

    Args:
        config: of any entry point.
        given: names of the options on the command line.

    Raises:
        InputError: an option that the protocol fixes was given.
    """
    protocol = config.get("protocol")
    for key in given if protocol else ():
        # A group is fixed where its choice is (`data` by `data._target_`), or where all of it is (`crop`).
        if any(key == fixed or key.startswith(f"{fixed}.") or fixed == f"{key}._target_" for fixed in protocol.fixes):
            raise InputError(f"{key} is fixed by protocol={protocol.name}; leave one of the two out")
    if protocol:
        with open_dict(config):
            for name in [name for name in config.test if "_target_" not in config.test[name]]:
                del config.test[name]
    spread_tests(config)


def protocol_hash(config: DictConfig) -> str:
    """First 12 hex digits of the SHA-256 of all that the protocol fixes, and of the numbers of faces it should come to."""
    fixed: dict[str, Any] = {}
    for key in config.protocol.fixes:
        value = OmegaConf.select(config, key)
        fixed[key] = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    counted = {"name": config.protocol.name, "fixes": fixed, "counts": OmegaConf.to_container(config.protocol.counts)}
    return hashlib.sha256(json.dumps(counted, sort_keys=True).encode()).hexdigest()[:12]


def describe_protocol(
    config: DictConfig, data: HeadPoseDataModule, test_sets: Mapping[str, HeadPoseDataModule]
) -> dict[str, Any] | None:
    """The `protocol` entry of results.json: name, hash, and whether all its faces are there; None without a protocol."""
    if not config.protocol:
        return None
    faces = {"train": len(data.split.train), "val": len(data.split.val)}
    faces |= {name: len(test.test_indices) for name, test in test_sets.items()}
    missing = {name: n for name, n in config.protocol.counts.items() if n and faces.get(name, n) != n}
    for name, n in missing.items():
        log.warning("protocol %s has %d faces for %s, here are %d", config.protocol.name, n, name, faces[name])
    return {"name": config.protocol.name, "hash": protocol_hash(config), "complete": not missing}
