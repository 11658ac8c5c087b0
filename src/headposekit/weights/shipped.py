"""Networks that come with the package: trained on rendered heads alone, so anybody may use them and pass them on."""

from pathlib import Path

from headposekit.errors import InputError

FOLDER = Path(__file__).with_name("shipped")
"""NAME.safetensors and NAME.json of each; docs/shipped.md says how they were made."""
DEFAULT = "resnet"


def shipped_names() -> list[str]:
    """The networks' names, the default first."""
    return sorted((path.stem for path in FOLDER.glob("*.safetensors")), key=lambda name: (name != DEFAULT, name))


def find_shipped(path: str | Path) -> str | Path:
    """The file of a network of the package, if `path` is its name; any other path as it is.

    Raises:
        InputError: a bare name that is neither a file nor one of these networks.
    """
    name = str(path)
    if not name or Path(name).name != name or Path(name).suffix or Path(name).exists():
        return path
    if name not in shipped_names():
        raise InputError(
            f"{name}: no such file, nor a network of the package; check the path, or choose {', '.join(shipped_names())}"
        )
    return FOLDER / f"{name}.safetensors"
