"""docs/config.md says what conf/ holds."""

from pathlib import Path

from headpose.running.reference import CONF, PAGE, _argument, _options, reference


def test_page_is_up_to_date() -> None:
    assert PAGE.read_text() == reference(), "conf/ has changed: run python -m headpose.running.reference"


def test_every_file_is_on_the_page() -> None:
    page = PAGE.read_text()
    for path in CONF.glob("*/*.yaml"):
        section = page.split(f"\n### `{path.parent.name}`\n")[1].split("\n### ")[0]
        assert f"`{path.stem}`" in section, path


def test_options_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "part.yaml"
    path.write_text("""# @package model.part
# What it is.
_target_: headpose.losses.MultiBinLoss
alpha: 1.0
name: a#b  # said here
off: false
inner: {deep: null}
""")
    options = [(option.key, option.default, option.meaning) for option in _options(path, "group")]
    assert options == [
        ("model.part.alpha", "`1.0`", "weight of the squared error, per squared degree"),
        ("model.part.name", "`a#b`", "said here"),
        ("model.part.off", "`false`", ""),
        ("model.part.inner.deep", "null", ""),
    ]


def test_meaning_is_found_where_a_docstring_refers_to_another() -> None:
    assert _argument("headpose.datamodules.W300LPDataModule", "max_angle").startswith("keep a face if all three")
