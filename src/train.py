"""`python src/train.py`, see headposekit.cli.train; the same as `headposekit train`."""

from headposekit.__main__ import run

if __name__ == "__main__":
    run("train")
