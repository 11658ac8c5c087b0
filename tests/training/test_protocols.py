from types import SimpleNamespace
from typing import Any

import pytest
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from configs import train_config
from headposekit.errors import InputError
from headposekit.paths import ROOT
from headposekit.training.protocols import describe_protocol, protocol_hash, settle_tests

PROTOCOLS = sorted({path.stem for path in (ROOT / "conf" / "protocol").glob("*.yaml")} - {"none"})
VALUES: dict[str, dict[str, Any]] = {
    "fsanet1": {"data.split": "random", "data.val_fraction": 0.2, "test.aflw2000.box": "visible21", "crop.margin": 0.6},
    "fsanet1_photo": {"data.split": "photo", "data.val_fraction": 0.1, "test.biwi.box_rule": "fsanet_protocol1"},
    "fsanet2": {"data.part": "train", "data.part_by": "sequence", "test.biwi.part": "test", "crop.detector_margin": 0.4},
    "fsanet2_person": {"data.part_by": "person", "test.biwi.part_by": "person", "data.box_rule": "fsanet_protocol2"},
    "hopenet_300w_lp": {"data.val_fraction": 0.0, "test.aflw2000.box": "official", "test.biwi_dockerface.part": "all"},
    "hopenet_biwi": {"data.box_rule": "dockerface", "data.part": "train", "test.biwi_dockerface.part": "test"},
    "pointing04_known": {"data.series": 1, "test.pointing04.series": 2, "data.without_person": None},
    "pointing04_unknown": {"data.without_person": 1, "test.pointing04.people": [1], "data.series": None},
    "full": {
        "data.heads.full_range": True,
        "test.synthetic.heads.full_range": True,
        "augmentation.limit": None,
        "crop.margin": 0.15,
    },
    "hopenet_aflw": {"data.part": "train", "test.aflw.part": "test", "test.afw.max_angle": 99, "data.val_fraction": 0.0},
}


def settled(*overrides: str) -> DictConfig:
    config = train_config(*overrides)
    settle_tests(config)
    return config


@pytest.mark.parametrize("name", PROTOCOLS)
def test_protocols_are_the_papers_and_keep_to_what_they_fix(name: str) -> None:
    config = settled(f"protocol={name}", "data.root=anywhere", "epochs=1", "crop.size=80")
    assert config.protocol.name == name
    for key, value in VALUES[name].items():
        assert OmegaConf.select(config, key) == value, key
        assert OmegaConf.select(config.protocol.fixes, key) == value, key
    assert set(config.protocol.counts) <= {"train", "val", *config.test}
    test_set = next(iter(config.test))
    for given in ("data.max_angle=30", "data.val_fraction=0.5", f"test.{test_set}.max_angle=45"):
        with pytest.raises(InputError, match=rf"{given}(\.0)?, but protocol={name} fixes it at .*; leave one of the two out"):
            settled(f"protocol={name}", given)


def test_no_way_around_what_is_fixed() -> None:
    for given in (
        "test.aflw2000={max_angle: 45, box: official}",
        "data=synthetic",
        "crop=margin",
        "experiments=synthetic/networks",
    ):
        with pytest.raises(InputError, match="but protocol=fsanet1 fixes it"):
            settled("protocol=fsanet1", given)
    with pytest.raises(InputError, match=r"data\.faces=AFLW_train\.txt, but protocol=hopenet_aflw"):
        settled("protocol=hopenet_aflw", "data.faces=AFLW_train.txt")


def test_hash_is_of_the_rules_alone() -> None:
    plain = protocol_hash(settled("protocol=fsanet1"))
    assert protocol_hash(settled("protocol=fsanet1", "data.root=anywhere", "seed=3", "model=ssrnet", "epochs=1")) == plain
    for name in ("fsanet/table1", "fsanet/table2", "biwi_variants"):  # whichever test sets
        assert protocol_hash(settled(f"experiments={name}")) == plain
    different = [settled(f"protocol={name}") for name in PROTOCOLS] + [settled("protocol=fsanet2", "protocol.seed=1")]
    assert len({protocol_hash(config) for config in different}) == len(PROTOCOLS) + 1


def test_both_sides_of_biwi_are_of_one_split() -> None:
    config = settled("protocol=fsanet2_person", "protocol.seed=4")
    modules = instantiate(config.data), instantiate(config.test.biwi)
    train, test = (SimpleNamespace(**module.reader_options) for module in modules)
    assert (train.part, train.part_by, train.part_seed) == ("train", "person", 4)
    assert (test.part, test.part_by, test.part_seed) == ("test", "person", 4)
    assert train.box_rule == test.box_rule == "fsanet_protocol2"


def test_test_sets_that_were_not_chosen_are_left_out() -> None:
    assert set(settled("protocol=fsanet1", "test=[aflw2000]").test) == {"aflw2000"}
    assert set(settled("protocol=hopenet_aflw", "test=[synthetic]").test) == {"synthetic"}
    assert set(settled("test=[aflw2000,biwi]", "test.biwi=null").test) == {"aflw2000"}
    assert set(settled("test=[biwi]", "test.biwi.euler_order=[ypr,pyr]").test) == {"biwi_ypr", "biwi_pyr"}


def test_missing_faces_are_told(caplog: pytest.LogCaptureFixture) -> None:
    config = settled("protocol=fsanet1")
    entry = {"name": "fsanet1", "hash": protocol_hash(config)}
    assert describe_protocol(config, {"train": 97932, "val": 24483}) == {**entry, "complete": True}
    assert describe_protocol(config, {"synthetic": 5}) == {**entry, "complete": None}
    assert not caplog.messages
    assert describe_protocol(config, {"aflw2000": 63}) == {**entry, "complete": False}
    assert "protocol fsanet1 has 1969 faces for aflw2000, here are 63" in caplog.messages
    assert describe_protocol(settled(), {"train": 3}) == {}
