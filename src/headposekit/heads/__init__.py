"""Heads: what the numbers of a network's last layer mean, as a rotation, and how they are trained."""
