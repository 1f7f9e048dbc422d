"""Install the pinned torch: the CPU build where no NVIDIA GPU is seen, the default build elsewhere.

    python tools/install_torch.py constraints.txt

The CPU build comes from torch's own package index (a tenth of the size); where that index cannot be
reached, pip's configured index decides.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main(constraints: str) -> int:
    text = Path(constraints).read_text(encoding="utf-8")
    pin = re.search(r"^torch==\S+", text, re.MULTILINE).group()
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--constraint", constraints]
    if shutil.which("nvidia-smi") is None:
        # the configured index may offer a CPU build already, as may an installed wheel: pip prefers neither by itself
        index = ["--index-url", CPU_INDEX, "--retries", "0", "--timeout", "10"]
        if subprocess.run([*pip, *index, pin, "--no-deps"], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return 0
    return subprocess.run([*pip, pin], check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
