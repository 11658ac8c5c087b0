"""A protocol fixes which faces are trained on and tested with, and how they are cropped: `protocol=NAME`, conf/protocol/."""

import logging
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from headposekit.data.datamodule import HeadPoseDataModule
from headposekit.errors import InputError
from headposekit.training.identity import id_of_test, short_hash
from headposekit.training.runs import leaves

log = logging.getLogger(__name__)

EXPANDED = {
    "perturb.low_resolution": "_x{}",
    "perturb.jitter": "_jitter{:g}",
    "perturb.jitter_pixels": "_jitter{:g}px",
    "perturb.shift": "_shift{:g}",
    "perturb.padding": "_padding{:g}",
    "perturb.corruption": "_{}",
    "perturb.strength": "_s{:g}",
    "perturb.seed": "_seed{}",
    "euler_order": "_{}",
}
"""Options of test sets that may be a list, and what ends the names of the test sets that this makes."""


def settle_tests(config: DictConfig) -> None:
    """Make `config.test` what will be tested: without what the protocol says of sets not chosen, lists expanded; in place.

    Whatever composes a configuration calls this once.

    Raises:
        InputError: a value is not the one that the protocol fixes.
    """
    with open_dict(config):
        for name in [name for name, test in (config.get("test") or {}).items() if "_target_" not in (test or {})]:
            del config.test[name]
    if protocol := config.get("protocol"):
        for key, fixed in leaves(OmegaConf.to_container(protocol.fixes, resolve=True)):
            group, name = key.split(".")[:2]
            value = OmegaConf.select(config, key)
            if value != fixed and (group != "test" or name in config.test):
                raise InputError(f"{key}={value}, but protocol={protocol.name} fixes it at {fixed}; leave one of the two out")
    for option, ending in EXPANDED.items():
        for name in list(config.get("test") or {}):
            values = OmegaConf.select(config.test[name], option)
            if not OmegaConf.is_list(values):
                continue
            values = list(values)
            if not values or len(set(values)) < len(values):
                raise InputError(f"test.{name}.{option}={values} names nothing, or something twice; give each once")
            with open_dict(config):
                test = config.test.pop(name)
                for value in values:
                    try:
                        new = name + ending.format(value)
                    except (TypeError, ValueError) as error:
                        raise InputError(f"test.{name}.{option}={value} is not a number; correct it") from error
                    config.test[new] = OmegaConf.to_container(test)  # `${crop}` stays: an evaluation sets it later
                    OmegaConf.update(config.test[new], option, value)
                    if value == "clean":  # which no strength makes worse
                        OmegaConf.update(config.test[new], "perturb.strength", 0)


def protocol_hash(config: DictConfig) -> str:
    """Hash of all that the protocol fixes, and of the numbers of faces it should come to."""
    return short_hash(OmegaConf.to_container(config.protocol, resolve=True))


def describe_protocol(config: DictConfig, faces: Mapping[str, int]) -> dict[str, Any]:
    """The `protocol` entry of a training or of a test set in results.json; empty without a protocol.

    Args:
        config: of the training.
        faces: how many there are: of `train` and `val`, or of a test set.

    Returns:
        name, hash of the rules, and whether as many faces are there as there should be; null where that is not known.
    """
    if not config.protocol:
        return {}
    expected = {name: config.protocol.counts.get(name) for name in faces}
    known = {name: n for name, n in expected.items() if n is not None}
    for name, n in known.items():
        if faces[name] != n:
            log.warning("protocol %s has %d faces for %s, here are %d", config.protocol.name, n, name, faces[name])
    complete = all(faces[name] == n for name, n in known.items()) if known else None
    return {"name": config.protocol.name, "hash": protocol_hash(config), "complete": complete}


def records_of_tests(config: DictConfig, test_sets: Mapping[str, HeadPoseDataModule]) -> dict[str, Any]:
    """What results.json says of each test set beside its errors: `test_id`, and the protocol it was part of."""
    records: dict[str, Any] = {}
    for name, test in test_sets.items():
        protocol = describe_protocol(config, {name: len(test.test_indices)})
        records[name] = {"test_id": id_of_test(config, name), **({"of_protocol": protocol} if protocol else {})}
    return records
