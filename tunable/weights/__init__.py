"""Weights files: the project's own, and other programs' turned into it."""
