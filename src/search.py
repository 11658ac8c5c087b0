"""`python src/search.py`, see headposekit.cli.search; the same as `headposekit search`."""

from headposekit.__main__ import run

if __name__ == "__main__":
    run("search")
