"""What only the entry points use: Hydra, the pool of trainings, experiments, the report, exports."""
