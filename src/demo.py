"""`python src/demo.py`, see headposekit.cli.demo; the same as `headposekit demo`."""

from headposekit.__main__ import run

if __name__ == "__main__":
    run("demo")
