"""`python src/prepare.py`, see headposekit.cli.prepare; the same as `headposekit prepare`."""

from headposekit.__main__ import run

if __name__ == "__main__":
    run("prepare")
