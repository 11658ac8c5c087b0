"""Which code and versions made a result."""

import subprocess
from importlib.metadata import version

from headposekit.paths import IS_INSTALLED, ROOT

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "numpy",
    "opencv-python-headless",
    "albumentations",
    "hydra-core",
)


def commit() -> str | None:
    """Commit of the project, with `+` where files differ from it; None outside a git checkout."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(ROOT), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    if IS_INSTALLED:  # any repository around it is another project's
        return None
    try:
        return git("rev-parse", "--short=12", "HEAD") + ("+" if git("status", "--porcelain") else "")
    except (OSError, subprocess.SubprocessError):
        return None


def versions() -> dict[str, str]:
    """Versions of the packages that numbers depend on."""
    return {package: version(package) for package in PACKAGES}
