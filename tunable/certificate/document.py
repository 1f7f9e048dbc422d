"""What an auditor asks beside the comparisons: which file was judged, when, on which machine and by what program."""

import importlib.metadata
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tunable.certificate.inputs import Inputs
from tunable.certificate.programs import Weights
from tunable.errors import TunableError, shown
from tunable.files import file_digest
from tunable.version import __version__

ROOT = Path(__file__).parents[2]


def subject(file: Weights, inputs: Inputs) -> dict[str, str]:
    """Say what is certified, and when by which program.

    Args:
        file: the weights file.
        inputs: of the certificate, whose omega are listed.

    Returns:
        Lines to be printed, by name: the file and its SHA-256, the network, omega, the date, the program.
    """
    header, network = file.header, file.header.network.model_dump(mode="json")
    quiet = {"name", "plan", *header.network.not_arguments}
    arguments = ", ".join(f"{key} {value}" for key, value in network.items() if key not in quiet)
    labels = [label for _, label in inputs.settings()]
    return {
        "weights file": str(file.source),
        "SHA-256": file_digest(file.source),
        "network": f"{network['name']}: {arguments}",
        "parameters": f"{sum(value.size for value in file.tensors.values()):,}",
        "objectives": ", ".join(header.objectives),
        "ω": ", ".join(labels[:-1]) + "; and one of its own for each picture of a batch",
        "date": now().strftime("%Y-%m-%d %H:%M:%S UTC"),
        "program": f"tunable-convolutions {__version__}" + (f", commit {tree}" if (tree := commit()) else ""),
    }


def now() -> datetime:
    """Return the present time, or the time in SOURCE_DATE_EPOCH, by which two builds become equal to the byte."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    try:
        return datetime.fromtimestamp(int(fixed), UTC) if fixed.isdecimal() else datetime.now(UTC)
    except (ValueError, OverflowError, OSError):
        raise TunableError(f"SOURCE_DATE_EPOCH must be seconds since 1970, not {shown(fixed)}") from None


def commit() -> str:
    """Return what `git describe` says of the checkout that this package runs from; "" outside of one."""
    if not (ROOT / ".git").exists():
        return ""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--tags"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def machine() -> dict[str, str]:
    """Return the facts of the machine that the certificate is made on, by name, to be printed."""
    return {
        "platform": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "numpy": np.__version__,
        "safetensors": importlib.metadata.version("safetensors"),
        "tunable-convolutions": __version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or "unknown")
