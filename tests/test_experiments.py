"""The files of experiments/: what a sweep trains is what the table shows."""

import functools
from typing import Any

import pytest
from omegaconf import OmegaConf

from configs import train_config
from headposekit.paths import PUBLISHED
from headposekit.reporting.published import find_published, read_published
from headposekit.sweeps.cells import cell_overrides, cells_of
from headposekit.sweeps.compose import experiment_names, raw_experiment
from headposekit.training.identity import train_id
from headposekit.training.protocols import settle_tests


@functools.cache  # composing takes a quarter of a second
def id_of_cell(name: str, *cell: str) -> str:
    return train_id(train_config(f"experiments={name}", *cell))


@functools.cache
def ids(name: str) -> set[str]:
    """What the sweep of an experiment trains."""
    return {id_of_cell(name, *cell_overrides(cell)) for cell in cells_of(raw_experiment(name)["table"])}


def detected() -> set[str]:
    """What landmarks_detected runs, whatever the protocol."""
    return ids("hopenet/landmarks_detected")


@pytest.mark.parametrize("name", experiment_names())
def test_every_row_is_trained_and_every_published_row_exists(name: str) -> None:
    config = train_config(f"experiments={name}")
    settle_tests(config)
    table: Any = OmegaConf.to_container(config.table)
    by_others = {id_of_cell(name, *cell_overrides(row["cell"])) for row in table["rows"] if not row.get("swept", True)}
    assert by_others <= detected() | ids("hopenet/table1")
    published = read_published(PUBLISHED)
    labels: list[str] = []
    for row in table["rows"]:
        assert set(row) <= {"label", "cell", "swept", "fuse", "mean", "test_set", "published", "line", "x", "note"}
        assert {*row.get("fuse", []), *row.get("mean", [])} <= set(labels)
        assert row.get("test_set", next(iter(table["test_sets"]))) in config.test, row["label"]
        assert {"cell", "fuse", "mean", "note"} & set(row), row["label"]  # it runs, or says why not
        labels.append(row["label"])
        for printed_name in table["test_sets"].values() if "published" in row else ():
            assert find_published(published, **{**table["published"], "test_set": printed_name, **row["published"]}), row
    assert len(set(labels)) == len(labels)


def test_tables_and_figures_share_their_trainings() -> None:
    protocol1, protocol2 = ids("fsanet/table4"), ids("fsanet/table5")
    assert (len(protocol1), len(protocol2)) == (7, 10)
    assert ids("fsanet/table1") - detected() == ids("fsanet/table2") < protocol1
    assert len(ids("fsanet/table1") & detected()) == 1  # the true landmarks
    assert ids("fsanet/figure5") < ids("fsanet/figure6a") == ids("fsanet/figure6b") < ids("fsanet/table1")
    assert ids("fsanet/figure6c") < ids("fsanet/table3") & protocol2
    assert len(ids("fsanet/table3") - protocol2) == 1  # Gu et al.'s VGG16
    assert not protocol1 & protocol2


def test_hopenets_tables_share_their_trainings_and_a_protocol_leaves_the_test_sets_of_the_table() -> None:
    table5, table2 = ids("hopenet/table5"), ids("hopenet/table2")
    assert ids("hopenet/table1") - detected() < table5
    assert ids("hopenet/table1") & detected() == ids("fsanet/table1") & detected()
    assert len(table2) == 3
    assert ids("hopenet/table4") == table2 - table5
    assert ids("hopenet/afw") == ids("hopenet/table4") | (table2 & ids("biwi_variants"))
    assert ids("biwi_variants") & ids("fsanet/table1") == ids("fsanet/figure6a")
    config = train_config("experiments=hopenet/table2", "protocol=hopenet_aflw")
    settle_tests(config)
    assert set(config.test) == {"biwi_dockerface"}
    assert config.data._target_.endswith("AFLWDataModule")
