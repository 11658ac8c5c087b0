"""`python src/export.py`, see headposekit.cli.export; the same as `headposekit export`."""

from headposekit.__main__ import run

if __name__ == "__main__":
    run("export")
