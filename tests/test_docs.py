"""README, docs/ and results/: every command is one that the program takes, every link leads somewhere."""

import ast
import csv
import importlib.util
import itertools
import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from configs import compose_config
from headposekit.datasets.biwi import read_detections
from headposekit.datasets.table import CSVTable
from headposekit.datasets.trees import write_units
from headposekit.geometry.crops import FSANetCrop, HopenetCrop, MarginCrop
from headposekit.inference.estimator import HeadPose
from headposekit.inference.outputs import COLUMNS, TableWriter, pose_row
from headposekit.inference.sources import Frame, Input
from headposekit.inference.stream import TrackedPose
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers import Write300WLP
from pages import PAGES, ROOT, commands_of, files_of, write_files_of

CONF = ROOT / "conf"
COMMANDS = sorted(
    {(str(page.relative_to(ROOT)), part.strip()) for page in PAGES for line in commands_of(page) for part in line.split("&&")}
)
SHOWING_FILES = {str(page.relative_to(ROOT)) for page in PAGES if any(name.startswith("mine/") for name in files_of(page))}
ENTRIES = sorted(
    {
        (page if page in SHOWING_FILES else "any page", command)
        for page, command in COMMANDS
        if command.startswith("python src/")
    }
)
"""Each once, however many pages have it, unless the page's own files go with it."""
OTHERS = [(page, command) for page, command in COMMANDS if not command.startswith("python src/")]
KNOWN = {"git", "cd", ".", "export", "wandb", "pre-commit"}
"""Programs that are not ours, and what the shell does itself."""
WRITTEN = {"output", "root", "search.wandb_sweep", "layout.root", "data.pack.root"}
"""Options that name what will be written."""
ABSENT = re.compile(r"\b(DIR|FILE|URL|lp20000)\b|\.\.\.|\.(h5|pkl|pth|onnx|ckpt|csv|npy|txt)\b")
"""What an option's value looks like that names files which a reader has and the tests do not."""


LOOKING_AT_RUNS = ("report", "dashboard", "search")
"""Entry points that miss no data set: they look at runs only, or start some."""


def one_cell(overrides: list[str], is_sweep: bool) -> list[str]:
    """Options with the first of a sweep's values each; those of a group must all be there."""
    single = []
    for text in overrides:
        override = OverridesParser.create().parse_override(text)
        values = list(override.sweep_string_iterator()) if is_sweep and override.is_discrete_sweep() else []
        folder = CONF / override.key_or_group
        for value in values:
            assert not folder.is_dir() or (folder / f"{value}.yaml").is_file(), f"{folder.name} has no {value}"
        value = values[0] if values else text.split("=", maxsplit=1)[-1]
        if value.isupper() and not ABSENT.search(value):  # SOLVER, F or NAME stands for any
            value = sorted(folder.glob("*.yaml"))[0].stem if folder.is_dir() else "1"
        single.append(text if text.startswith("~") else f"{text.split('=', maxsplit=1)[0]}={value}")
    return single


def missing_keys(node: Any, key: str = "") -> Iterator[str]:
    """Of options that have to be given and are not."""
    if isinstance(node, dict):
        for name, value in node.items():
            yield from missing_keys(value, f"{key}.{name}".strip("."))
    elif node == "???":
        yield key


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where synthetic heads go, so that they are rendered once for all commands that want the same."""
    return tmp_path_factory.mktemp("datasets")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(("page", "command"), ENTRIES, ids=str)
def test_entry_points_take_what_pages_tell_the_reader_to_give_them(
    page: str, command: str, refused: Callable[..., str], datasets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the data are absent, the program is called and must refuse just that; else the configuration is composed."""
    _, script, *words = shlex.split(command, comments=True)
    name = Path(script).stem
    assert (ROOT / script).is_file(), f"{script} is not there"
    if page in SHOWING_FILES:
        write_files_of(ROOT / page, tmp_path)
        monkeypatch.setenv("HEADPOSEKIT_EXTENSIONS", str(tmp_path / "mine"))
    monkeypatch.setenv("HEADPOSEKIT_DATASETS", str(datasets))
    monkeypatch.setenv("WANDB_MODE", "offline")
    overrides = [word for word in words if word not in ("-m", "--multirun", "--help", "...")]
    overrides = one_cell(overrides, is_sweep=name == "search" or bool({"-m", "--multirun"} & {*words}))
    given = dict(text.lstrip("+").split("=", maxsplit=1) for text in overrides if "=" in text)
    absent = [
        value for key, value in given.items() if ABSENT.search(value) and key not in WRITTEN and not key.startswith("hydra")
    ]
    config = compose_config(name, *overrides)
    if absent and "..." not in words and name not in LOOKING_AT_RUNS:
        small = {"num_heads": 16, "heads.texture_pool": 4}
        few = [
            f"{part}.{key}={value}"
            for part in ("data", "test.synthetic")
            for key, value in small.items()
            if OmegaConf.select(config, f"{part}.{key}")
        ]
        if OmegaConf.select(config, "model.backbone.pretrained"):
            few.append("model.backbone.pretrained=false")  # what is not there shall not be fetched either
        line = refused(name, *overrides, *few)
        names_what_is_absent = any(
            part in line for value in absent for part in re.split(r"[\[\],{}]", value) if ABSENT.search(part)
        )
        assert names_what_is_absent or ("trainer=ddp" in words and "No supported gpu backend found" in line), line
        return
    plain = OmegaConf.to_container(config, resolve=False)
    unneeded = "root" if name == "prepare" and "data" in given else None
    missing = list(missing_keys({key: value for key, value in plain.items() if key != unneeded}))
    assert "..." in words or not missing, f"needs {missing}"


@pytest.mark.parametrize(("page", "command"), OTHERS, ids=str)
def test_other_commands_are_there(page: str, command: str) -> None:
    program, *words = [word for word in shlex.split(command, comments=True) if not re.fullmatch(r"[A-Z_]+=\S*", word)] or [
        "export"
    ]
    if program in ("python", "python3"):
        if words[0] == "-m":
            assert importlib.util.find_spec(words[1]), f"no module {words[1]}"
        elif words[0] == "-c":
            compile(words[1], page, "exec")
        elif words[0] != "-":
            assert (ROOT / words[0]).is_file() or words[0] in files_of(ROOT / page), f"{words[0]} is not there"
    elif program == "pip":
        extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["headposekit"]["extras"]
        extras = [extra for word in words for part in re.findall(r"^\.\[(.*)\]$", word) for extra in part.split(",")]
        assert set(extras) <= {"train", *extra}
        assert all((ROOT / path).is_file() for flag, path in itertools.pairwise(words) if flag == "-r")
    elif program == "make":
        assert re.search(rf"^{words[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), f"no target {words[0]}"
    else:
        assert program in KNOWN, f"{program} is unknown to this test"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        if not link.startswith("http"):
            target = (page.parent / path) if path else page
            assert target.exists(), link
            headings = re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE) if anchor else []
            assert not anchor or anchor in {
                re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings
            }, link


def test_readme_is_short_and_every_page_is_in_an_index() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 150
    for folder in ("docs", "results"):
        index = (ROOT / folder / "README.md").read_text()
        assert f"({folder}/README.md)" in text
        assert [page.name for page in (ROOT / folder).glob("*.md") if f"({page.name})" not in index] == ["README.md"]


@pytest.mark.parametrize(
    "page", [page for page in PAGES if page.parent != ROOT and page.name not in ("README.md", "config.md")], ids=str
)
def test_pages_say_whom_they_are_for(page: Path) -> None:
    title, _, opening = page.read_text().split("\n", maxsplit=2)
    assert title.startswith("# ")
    assert opening.startswith("Read this if ")


@pytest.mark.parametrize(
    "box", [(100, 50, 220.5, 190.2), (5.3, 3.2, 90, 130), (300, 200, 390, 299)], ids=["inside", "corner", "edge"]
)
def test_crops_of_the_page_on_exports_are_those_of_the_project(box: tuple[float, ...]) -> None:
    theirs: dict[str, Any] = {}
    exec(files_of(ROOT / "docs" / "export.md")["my_crops.py"], theirs)
    picture = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8), (0, 0), 4)
    assert np.array_equal(theirs["fsanet_crop"](picture, box), FSANetCrop()(picture, box))
    assert np.array_equal(theirs["margin_crop"](picture, box), MarginCrop()(picture, box))
    assert np.abs(theirs["hopenet_crop"](picture, box).astype(int) - HopenetCrop()(picture, box)).mean() < 1


def test_tables_of_the_first_sweep_hold_all_faces_and_keep_people_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_units(Write300WLP(tmp_path / "heads", HeadSampler(poses_per_identity=1, texture_pool=4), num_units=15), 0)
    exec(files_of(ROOT / "docs" / "first_sweep.md")["make_csv.py"], {})
    rows = {name: list(csv.DictReader(Path(f"{name}.csv").read_text().splitlines())) for name in ("train", "test")}
    people = {name: {row["subject"] for row in listed} for name, listed in rows.items()}
    assert (len(rows["train"]), len(rows["test"])) == (24, 6)  # a picture of each person, and its mirror
    assert (len(people["train"]), len(people["test"])) == (12, 3)
    assert not people["train"] & people["test"]
    faces = CSVTable(Path("train.csv"))
    assert len(faces) == 24
    assert faces.has_boxes
    assert faces[0]["image"].shape == (450, 450, 3)


def test_boxes_of_a_prediction_are_boxes_of_biwi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "found").mkdir()
    frame = Frame(Input(Path("BIWI/01/frame_00003_rgb.png"), "01/frame_00003_rgb.png"), None)
    with TableWriter(tmp_path / "found" / "poses.csv", COLUMNS, "csv") as table:
        for score, x0 in ((0.9, 250.5), (0.4, 10.0)):
            table.write([pose_row(frame, TrackedPose(HeadPose((x0, 170, 375, 331), score, 1, 2, 3), None))])
    exec(files_of(ROOT / "docs" / "datasets.md")["detections.py"], {})
    ((name, faces),) = read_detections(Path("detections.csv")).items()
    assert name == "01/frame_00003"
    assert faces.tolist() == [[0.9, 250.5, 170, 375, 331], [0.4, 10, 170, 375, 331]]


def test_pictures_of_the_readme_are_small() -> None:
    shown = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "README.md").read_text())
    assert shown
    assert sum((ROOT / path).stat().st_size for path in shown) < 400_000


def test_every_feature_names_a_test_that_exists() -> None:
    text = (ROOT / "docs" / "features.md").read_text()
    rows = re.findall(r"^\| (?!feature)[^|]+ \| (\[.+\)) \| `(tests/\S+\.py)::(\w+)`", text, re.MULTILINE)
    assert len(rows) == len(re.findall(r"^\| (?!feature)", text, re.MULTILINE)) > 100
    for file in sorted({file for _, file, _ in rows}):
        there = {node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)}
        assert {name for _, named, name in rows if named == file} <= there, file
    looked_up = {"README.md", "features.md", "licences.md"}
    described = {page for link, _, _ in rows for page in re.findall(r"\((\w+\.md)", link)}
    assert {page.name for page in (ROOT / "docs").glob("*.md")} == described | looked_up
