"""Poses, rotations, the conventions of each source, crops and projection."""
