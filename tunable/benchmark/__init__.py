"""Timing tunable against ordinary networks and layers."""
