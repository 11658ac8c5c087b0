"""`python src/report.py`, see headposekit.cli.report; the same as `headposekit report`."""

from headposekit.__main__ import run

if __name__ == "__main__":
    run("report")
