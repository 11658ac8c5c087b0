"""What pyproject.toml cannot say: requirements.txt feeds the base and the extra `train`; conf/ and experiments/ go along."""

import shutil
import tomllib
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

PROJECT = Path(__file__).resolve().parent


def requirements() -> dict[str, list[str]]:
    """Each section of requirements.txt, from its name to its packages."""
    sections: dict[str, list[str]] = {}
    name = ""
    for line in (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        package, _, comment = line.partition("#")
        if package.strip():
            sections[name].append(package.strip())
        elif comment.startswith(" ["):
            name = comment.strip(" []").partition("]")[0]
            sections[name] = []
    return sections


class BuildWithConfiguration(build_py):
    """Adds conf/ and experiments/ to the package, but for an editable install, which finds them in the repository."""

    def run(self) -> None:
        """Copy the package, then these folders into it."""
        super().run()
        if not self.editable_mode:
            for folder in ("conf", "experiments"):
                shutil.copytree(PROJECT / folder, Path(self.build_lib) / "headposekit" / folder, dirs_exist_ok=True)


sections = requirements()
extras = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["headposekit"]["extras"]
setup(
    cmdclass={"build_py": BuildWithConfiguration},
    install_requires=sections["base"],
    extras_require={"train": sections["train"], **extras},
)
