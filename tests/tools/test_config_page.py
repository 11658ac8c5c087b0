"""docs/config.md says what conf/ holds."""

from pathlib import Path

from config_page import CONF, PAGE, _argument, _group, _groups, _options, reference


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), "conf/ has changed: run python tools/config_page.py"


def test_every_file_is_on_the_page() -> None:
    page = PAGE.read_text()
    for path in CONF.glob("*/*.yaml"):
        section = page.split(f"\n### `{path.parent.name}`\n")[1].split("\n### ")[0]
        assert f"`{path.stem}`" in section, path


def test_options_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "part.yaml"
    path.write_text("""# @package model.part
# What it is.
_target_: headposekit.losses.MultiBinLoss
alpha: 1.0
name: a#b  # said here
off: false
inner: {deep: null}  # said of it
""")
    options = [(option.key, option.default, option.meaning) for option in _options(path, "group")]
    assert options == [
        ("model.part.alpha", "`1.0`", "weight of the squared error, per squared degree"),
        ("model.part.name", "`a#b`", "said here"),
        ("model.part.off", "`false`", ""),
        ("model.part.inner", "", "said of it"),
        ("model.part.inner.deep", "null", ""),
    ]


def test_files_are_named_where_an_option_means_different_things(tmp_path: Path) -> None:
    (tmp_path / "adam.yaml").write_text("_target_: torch.optim.Adam\nlr: 1  # of all\neps: 0\nbetas: 2  # two rates\n")
    (tmp_path / "muon.yaml").write_text("lr: 1  # of matrices\n")
    (tmp_path / "sgd.yaml").write_text("_target_: torch.optim.SGD\nbetas: 2\n")
    _, table = _group(tmp_path).split("|---|---|---|\n")
    assert [row.split(" | ")[2].removesuffix(" |") for row in table.splitlines()] == [
        "of all (adam)<br>of matrices (muon)",
        "of `torch.optim.Adam`",
        "two rates (adam)",
    ]


def test_entries_with_a_package_are_not_offered(tmp_path: Path) -> None:
    path = tmp_path / "command.yaml"
    path.write_text("defaults: [{optional model: fsanet}, {augmentation@fsanet: fsanet}, {test: [a, b]}, _self_]\n")
    assert _groups(path) == "`model=fsanet`, `test=[a,b]`"


def test_meaning_is_found_where_a_docstring_refers_to_another() -> None:
    assert _argument("headposekit.datasets.W300LPDataModule", "max_angle").startswith("keep a face if all three")
    assert _argument("headposekit.datasets.AFLWDataModule", "crop").startswith("the crop rule")
