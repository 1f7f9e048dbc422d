"""Some hundred mutated inputs, always the same; `python tests/fuzz.py N` tries others."""

import fuzz
import fuzz_files
import pytest


@pytest.mark.parametrize("kind", [*fuzz.KINDS, *fuzz_files.KINDS], ids=lambda kind: kind.__name__)
def test_mutated_input_works_or_is_refused_in_one_line(kind, tmp_path):
    faults = [fault for seed in range(40) if (fault := fuzz.attempt(kind, tmp_path, seed))]
    assert not faults, faults[0]
