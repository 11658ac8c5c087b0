from pathlib import Path

import pytest
from hydra.utils import instantiate

from headpose.datamodules import AFLW2000DataModule
from headpose.errors import InputError
from headpose.geometry.crops import FSANetCrop
from headpose.running.entry import ROOT
from headpose.running.protocols import describe_protocol, protocol_hash, settle_tests
from test_conf import train_config

PROTOCOLS = sorted(path.stem for path in (ROOT / "conf" / "protocol").glob("*.yaml"))


def settled(*overrides: str):  # type: ignore[no-untyped-def]
    config = train_config(*overrides)
    settle_tests(config, [override.split("=")[0] for override in overrides])
    return config


@pytest.mark.parametrize("name", PROTOCOLS)
def test_what_a_protocol_fixes_exists_and_cannot_be_given_otherwise(name: str) -> None:
    config = settled(f"protocol={name}", "data.root=anywhere", "epochs=1")
    assert config.protocol.name == name
    for key in config.protocol.fixes:
        part, _, end = key.rpartition(".")
        node = config
        for step in part.split(".") if part else ():
            node = node[step]
        assert end in node, key
        given = part if end == "_target_" else key
        with pytest.raises(InputError, match=f"{given} is fixed by protocol={name}; leave one of the two out"):
            settle_tests(config, [given])
    assert set(config.protocol.counts) <= {"train", "val", *config.test}


def test_hash_is_of_the_rules_alone() -> None:
    plain = protocol_hash(settled("protocol=fsanet1"))
    assert protocol_hash(settled("protocol=fsanet1", "data.root=anywhere", "seed=3", "model=ssrnet", "epochs=1")) == plain
    different = [settled(f"protocol={name}") for name in PROTOCOLS] + [settled("protocol=fsanet2", "protocol.seed=1")]
    assert len({protocol_hash(config) for config in different}) == len(PROTOCOLS) + 1


def test_both_sides_of_biwi_are_of_one_division() -> None:
    config = settled("protocol=fsanet2_person", "protocol.seed=4")
    train, test = instantiate(config.data), instantiate(config.test.biwi)
    assert (train.part, train.part_by, train.part_seed) == ("train", "person", 4)
    assert (test.part, test.part_by, test.part_seed) == ("test", "person", 4)
    assert train.box_rule == test.box_rule == "fsanet_protocol2"


def test_test_sets_that_were_not_chosen_are_left_out() -> None:
    assert set(settled("protocol=fsanet1", "test=[aflw2000]").test) == {"aflw2000"}
    assert set(settled("protocol=hopenet_aflw", "test=[synthetic]").test) == {"synthetic"}


def test_missing_faces_are_told(aflw2000_root: Path, caplog: pytest.LogCaptureFixture) -> None:
    config = settled("protocol=fsanet1", "test=[aflw2000]")
    data = AFLW2000DataModule(aflw2000_root, FSANetCrop())
    n = len(data.dataset)
    config.protocol.counts = {"train": n, "val": 0, "aflw2000": n, "biwi": 13219}
    assert describe_protocol(config, data, {"aflw2000": data}) == {
        "name": "fsanet1",
        "hash": protocol_hash(config),
        "complete": True,
    }
    assert not caplog.messages
    config.protocol.counts.aflw2000 = 1969
    assert describe_protocol(config, data, {"aflw2000": data})["complete"] is False  # type: ignore[index]
    assert f"protocol fsanet1 has 1969 faces for aflw2000, here are {n}" in caplog.messages
    assert describe_protocol(settled(), data, {}) is None
