"""Measuring a model: metrics and the protocol they are taken by."""
