"""Procedural heads: shape, appearance, camera, and writers of the real data sets' formats."""
