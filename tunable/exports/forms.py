"""The forms of exported graphs: what their inputs are, and how many files."""

WITH_OMEGA = ("shared", "basis")  # omega is an input of one file: one for the batch, or one per sample
ONE_INPUT = ("heads", "planes")  # omega is none: the graph returns base and differences, or its image holds the maps
FORMS = (*WITH_OMEGA, "prepared", *ONE_INPUT)
PARTS = ("trunk", "tail")  # the two files of form prepared
