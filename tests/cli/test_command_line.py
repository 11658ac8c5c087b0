"""Arguments as a shell user types them."""

from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from configs import compose_config
from headposekit.cli.command_line import hydra_arguments, quote, settle_group
from headposekit.errors import InputError
from headposekit.paths import ROOT

NAMES = ["a=b", "a(1)", "a[1]", "é", "it's", "a#b", "{a}", "a&b", "a;b", "a~b", 'a"b', " a ", "a b", "a,b", "头", "лицо", "[a]"]
NAMES += [
    "'a'",
    '"a"',
    "2024",
    "null",
    "a\\",
    "a\\'b",
    "x${y}",
    "${y}",
    "a: 1",
    "1e3",
    "true",
    "a\\,b",
    "choice(1,2)",
    "\udcff",
]


def read(argument: str) -> object:
    """What the program is given for an argument, after Hydra and OmegaConf."""
    override = OverridesParser.create().parse_override(argument)
    return OmegaConf.create({"value": override.value()}).value


@pytest.mark.parametrize("name", NAMES)
def test_path_of_any_letters_reaches_the_program_letter_by_letter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).touch()
    for written in (name, str(tmp_path / name), f"{tmp_path}/{name}/"[:-1]):
        argument = quote(f"input={written}")
        assert read(argument) == written
        assert quote(argument) == argument  # a process that is given the same again changes nothing


@given(st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=12))
def test_any_name_of_an_existing_file_is_read_as_it_is(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.getbasetemp() / "names"
    folder.mkdir(exist_ok=True)
    path = folder / f"_{name}"
    try:
        path.touch()
    except OSError:  # more bytes than a name may have
        return
    assert read(quote(f"test.csv.root={path}")) == str(path)
    path.unlink()


@pytest.mark.parametrize("name", ["out (1)", "out=1", "out#1", "été", "out{1}", "out,1"])
def test_path_that_is_not_there_yet_is_taken_as_typed(name: str) -> None:
    assert read(quote(f"output=/nowhere/{name}")) == f"/nowhere/{name}"


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("input=[a,b]", ["a", "b"]),
        ("input=0", 0),
        ("input='a,b.jpg'", "a,b.jpg"),
        ("checkpoint=[a=1.ckpt,b.ckpt]", ["a=1.ckpt", "b.ckpt"]),
        ("output=null", None),
        ("logger.wandb.project=Köpfe", "Köpfe"),
    ],
)
def test_what_hydra_reads_right_stays(argument: str, value: object) -> None:
    assert read(quote(argument)) == value


def test_commas_of_a_sweep_win_over_a_file_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a,b").touch()
    assert hydra_arguments(["data.root=a,b", "-m"], "train") == ["data.root=a,b", "-m"]
    assert hydra_arguments(["data.root=a,b"], "train") == ['data.root="a,b"']


def test_what_cannot_be_read_is_refused_with_its_quoted_form() -> None:
    with pytest.raises(InputError, match=r"as plain text it is written 'search\.name=\"a=b\"'"):
        quote("search.name=a=b")


def test_flags_may_stand_between_options() -> None:
    assert hydra_arguments(["a=1", "-m", "b=2"], "train") == ["a=1", "b=2", "-m"]
    assert hydra_arguments(["a=1", "--cfg", "job", "b=2"], "train") == ["a=1", "b=2", "--cfg", "job"]


PROGRAMS = ["train", "evaluate", "predict", "export", "prepare", "search", "report", "dashboard", "benchmark", "demo"]
GROUPS = sorted({path.parent.name for path in (ROOT / "conf").glob("*/*.yaml")} | {"experiments"})


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("value", ["null", "false", "''", "[]"])
def test_group_given_nothing_means_without_or_needs_a_choice(program: str, value: str) -> None:
    for group in GROUPS:
        argument = f"{group}={value}"
        try:
            settled = settle_group(argument, program)
        except InputError as error:
            settled = str(error).partition("; choose ")[0]
        left_out = f"{group}=none" if has_none(group) else f"{group}=[]" if group == "test" else None
        assert settled in (left_out, f"{argument}: {group} needs a choice")
        assert settled == left_out or not has_none(group)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("value", ["5", "true", "[5]"])
def test_group_given_what_is_no_name_is_unknown(program: str, value: str) -> None:
    for group in set(GROUPS) - {"test", "logger"}:
        with pytest.raises(InputError, match=f"{group}=.* is unknown; choose "):
            settle_group(f"{group}={value}", program)


@pytest.mark.parametrize(
    ("program", "options"),
    [
        (
            "train",
            ["logger=null", "test=null", "experiments=null", "budget=false", "protocol=null", "model=fsanet", "scoring=null"],
        ),
        ("evaluate", ["logger=false", "model=null"]),
        ("predict", ["detector=null", "smoothing=null", "input=x"]),
        ("prepare", ["layout=null", "data=null", "test=null"]),
        ("demo", ["detector=null"]),
    ],
)
def test_group_left_out_composes(program: str, options: list[str]) -> None:
    config = compose_config(program, *hydra_arguments(options, program))
    assert not config.get("logger")
    assert "test=null" not in options or config.test == {}


def test_values_of_a_sweep_are_settled_one_by_one() -> None:
    assert hydra_arguments(["scoring=null,conv", "-m"], "train") == ["scoring=none,conv", "-m"]


def has_none(group: str) -> bool:
    return (ROOT / "conf" / group / "none.yaml").is_file()


def test_a_home_folder_that_the_shell_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert read(quote("data.root=~/300W LP")) == f"{tmp_path}/300W LP"
    assert read(quote("weights=[~/a.h5,~/b.h5]")) == [f"{tmp_path}/a.h5", f"{tmp_path}/b.h5"]
    assert read(quote("input=~not a user")) == "~not a user"
    Path("~").mkdir()
    assert read(quote("output=~")) == "~"
