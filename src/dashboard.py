"""`python src/dashboard.py`, see headposekit.cli.dashboard; the same as `headposekit dashboard`."""

from headposekit.__main__ import run

if __name__ == "__main__":
    run("dashboard")
