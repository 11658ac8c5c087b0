"""What the entry points share: Hydra, the identity of a training, its tests and its loggers."""
