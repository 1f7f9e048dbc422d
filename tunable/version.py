"""The version of the distribution: read by setup.py, written into every file the project makes."""

__version__ = "0.1.0"
