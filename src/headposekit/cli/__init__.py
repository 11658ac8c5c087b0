"""Entry points: Hydra, options and refusals."""
