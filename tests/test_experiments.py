"""The files of experiments/: what a sweep trains is what the table shows."""

import functools
from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from configs import train_config
from headpose.reporting.published import find_published, read_published
from headpose.running.entry import ROOT
from headpose.running.experiments import PUBLISHED
from headpose.running.identity import train_id
from headpose.running.protocols import settle_tests
from hydra_plugins.grid_sweeper import GridSweeper

EXPERIMENTS = sorted(path.relative_to(ROOT / "experiments").with_suffix("") for path in ROOT.glob("experiments/**/*.yaml"))


def cells_of_blocks(config: Any) -> set[str]:
    parser = OverridesParser.create()
    out = set()
    for block in OmegaConf.to_container(config.blocks):
        (cells,) = GridSweeper.split_arguments(parser.parse_overrides([f"{k}={v}" for k, v in block.items()]), None)
        out |= {" ".join(sorted(cell)) for cell in cells}
    return out


@functools.cache  # composing takes a quarter of a second
def id_of_cell(name: str, cell: str) -> str:
    return train_id(train_config(f"experiments={name}", *cell.split()))


@functools.cache
def detected() -> set[str]:
    """What landmarks_detected runs, whatever the protocol."""
    name = "hopenet/landmarks_detected"
    return {id_of_cell(name, cell) for cell in cells_of_blocks(train_config(f"experiments={name}"))}


@pytest.mark.parametrize("name", EXPERIMENTS, ids=str)
def test_table_shows_what_the_sweep_trains_and_every_published_row_exists(name: Path) -> None:
    config = train_config(f"experiments={name}")
    settle_tests(config)
    table: Any = OmegaConf.to_container(config.table)
    trained = {id_of_cell(str(name), cell) for cell in cells_of_blocks(config)}
    shown = {
        id_of_cell(str(name), " ".join(sorted(f"{k}={v}" for k, v in row["cell"].items())))
        for row in table["rows"]
        if "cell" in row
    }
    assert trained <= shown
    assert shown - trained <= detected()  # rows of tables that another sweep fills
    published = read_published(PUBLISHED)
    labels: list[str] = []
    for row in table["rows"]:
        assert set(row) <= {"label", "cell", "fuse", "mean", "test_set", "published", "line", "x"}
        assert {*row.get("fuse", []), *row.get("mean", [])} <= set(labels)
        assert row.get("test_set", next(iter(table["test_sets"]))) in config.test, row["label"]
        labels.append(row["label"])
        for printed_name in table["test_sets"].values() if "published" in row else ():
            assert find_published(published, **{**table["published"], "test_set": printed_name, **row["published"]}), row
    assert len(set(labels)) == len(labels)


def test_tables_and_figures_share_their_trainings() -> None:
    def ids(name: str) -> set[str]:
        config = train_config(f"experiments=fsanet/{name}")
        return {id_of_cell(f"fsanet/{name}", cell) for cell in cells_of_blocks(config)}

    protocol1, protocol2 = ids("table4"), ids("table5")
    assert (len(protocol1), len(protocol2)) == (7, 10)
    assert ids("table1") - detected() == ids("table2") < protocol1
    assert len(ids("table1") & detected()) == 1  # the true landmarks
    assert ids("figure5") < ids("figure6a") == ids("figure6b") < ids("table1")
    assert ids("figure6c") < ids("table3") < protocol2
    assert not protocol1 & protocol2


def test_hopenets_tables_share_their_trainings_and_a_protocol_leaves_the_test_sets_of_the_table() -> None:
    def ids(name: str) -> set[str]:
        config = train_config(f"experiments={name}")
        return {id_of_cell(name, cell) for cell in cells_of_blocks(config)}

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
