"""`python src/predict.py`, see headposekit.cli.predict; the same as `headposekit predict`."""

from headposekit.__main__ import run

if __name__ == "__main__":
    run("predict")
