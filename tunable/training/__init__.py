"""A training run: its loop, log, checkpoints and interruptions."""
