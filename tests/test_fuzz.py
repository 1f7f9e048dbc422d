"""Some hundred mutated inputs, always the same; `python tests/fuzz.py N` tries others."""

import contextlib

import fuzz
import fuzz_files
import pytest


def test_a_hang_is_reported(tmp_path):
    """Also where the case catches every Exception."""

    def endless(folder, rng):
        while True:
            with contextlib.suppress(Exception):
                rng.random()

    assert fuzz.attempt(endless, tmp_path, 3, most=0.05).startswith("endless 3: hangs: ")


@pytest.mark.parametrize("kind", [*fuzz.KINDS, *fuzz_files.KINDS], ids=lambda kind: kind.__name__)
def test_mutated_input_works_or_is_refused_in_one_line(kind, tmp_path):
    faults = [fault for seed in range(40) if (fault := fuzz.attempt(kind, tmp_path, seed))]
    assert not faults, faults[0]
