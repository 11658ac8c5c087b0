"""`python src/evaluate.py`, see headposekit.cli.evaluate; the same as `headposekit evaluate`."""

from headposekit.__main__ import run

if __name__ == "__main__":
    run("evaluate")
