"""A room never imports from a room above it."""

import ast
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "headpose"
BASIS = {"process", "errors", "extensions", "files", "pictures", "types"}
MAY_IMPORT = {
    "process": set(),
    "errors": set(),
    "extensions": {"errors"},
    "files": set(),
    "types": set(),
    "pictures": {"errors", "types"},
    "geometry": BASIS,
    "synthesis": BASIS | {"geometry"},
    "models": BASIS | {"geometry"},
    "losses": BASIS | {"geometry"},
    "metrics": BASIS | {"geometry"},
    "detectors": BASIS | {"geometry", "synthesis"},
    "datasets": BASIS | {"geometry", "synthesis", "detectors"},
    "landmarks": BASIS | {"geometry", "datasets"},
    "datamodules": BASIS | {"geometry", "datasets", "synthesis"},
    "modules": BASIS | {"geometry", "models", "losses", "metrics"},
    "reporting": BASIS | {"geometry", "metrics"},
    "inference": BASIS | {"geometry", "models", "modules", "detectors", "reporting"},
    "demo": BASIS | {"geometry", "synthesis", "detectors", "inference"},
    "benchmarks": BASIS | {"geometry", "synthesis", "models", "datasets", "datamodules", "modules", "landmarks", "detectors"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not (isinstance(node, ast.ImportFrom) and node.level), "imports are absolute"
        if isinstance(node, ast.ImportFrom) and node.module == "headpose":
            names += [f"headpose.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("headpose.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    if here in ("running", "__init__"):
        return  # what the entry points share may use everything
    assert imported_rooms(path) - {here} <= MAY_IMPORT[here]


def test_tests_mirror_the_package() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    tested = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert tested == rooms | {"tools"}


def test_no_two_test_files_have_one_name() -> None:
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(set(names)) == sorted(names)  # pytest imports them by it


def test_all_files_of_the_package_are_installed() -> None:
    patterns = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "headpose"
    ]
    found = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert PACKAGE / "py.typed" in found  # without it a user's type checker takes everything for Any
    assert found == {path for pattern in patterns for path in PACKAGE.glob(pattern)}
