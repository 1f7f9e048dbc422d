"""Source files stay short enough to read at once."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
LINES = 400


def test_no_file_is_longer_than_400_lines():
    paths = [path for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    assert Path(__file__) in paths
    counts = {str(path.relative_to(ROOT)): len(path.read_text("utf-8").splitlines()) for path in paths}
    long = {path: count for path, count in counts.items() if count > LINES}
    assert not long, f"longer than {LINES} lines: " + ", ".join(f"{path} has {count}" for path, count in long.items())
