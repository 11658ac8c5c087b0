"""Sweeps and searches: cells, the pool of trainings, run folders."""
