"""A room never imports from a room above it."""

import ast
import tomllib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "headposekit"
FLOORS = (
    ("errors", "types", "process", "timing", "paths"),
    ("csv_file", "extensions", "files", "matlab", "pictures", "safe_files"),
    ("geometry",),
    ("heads", "losses", "metrics", "models", "synthesis"),
    ("console", "detectors"),
    ("landmarks",),
    ("data",),
    ("datasets",),
    ("weights",),
    ("inference", "training"),
    ("sweeps",),
    ("reporting", "demo"),
    ("cli",),
)
"""From the ground up: a room imports from its own floor and from those below."""
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        assert not (isinstance(node, ast.ImportFrom) and node.level), "imports are absolute"
        if isinstance(node, ast.ImportFrom) and node.module == "headposekit":
            names += [f"headposekit.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("headposekit.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    here = room(path)
    floor = next((number for number, rooms in enumerate(FLOORS) if here in rooms), len(FLOORS))
    assert imported_rooms(path) <= {room for rooms in FLOORS[: floor + 1] for room in rooms}


def test_tests_mirror_the_package() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    found = {path.name for path in Path(__file__).parent.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert found - {"tools"} == rooms


def test_all_files_of_the_package_are_installed() -> None:
    patterns = tomllib.loads((PACKAGE.parents[1] / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"][
        "headposekit"
    ]
    found = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert PACKAGE / "py.typed" in found  # without it a user's type checker takes everything for Any
    assert found == {path for pattern in patterns for path in PACKAGE.glob(pattern)}
