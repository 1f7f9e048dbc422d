"""`tunable doctor`: frameworks, devices, versions, precision switches, and the known traps on this machine."""

import importlib.metadata
import os
import platform
from pathlib import Path

from tunable_core.backends import BACKENDS, get_backend, installed
from tunable_core.commands.shared import add_json, print_json
from tunable_core.errors import TunableError
from tunable_core.version import __version__

PACKAGES = ("numpy", "torch", "mindspore", "safetensors", "pydantic", "scikit-image", "pillow")


def add_arguments(parser):
    add_json(parser)


def run(args) -> int:
    found = {
        "tunable-convolutions": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "packages": {name: _version(name) for name in PACKAGES},
        "backends": {name: _backend(name) for name in BACKENDS},
        "checks": _checks(),
    }
    if args.json:
        print_json(found)
    else:
        _print(found)
    return 1 if any(not passed for passed, _ in found["checks"].values()) else 0


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _backend(name: str) -> dict[str, str]:
    if name not in installed():
        return {"state": f"not installed: pip install tunable-convolutions[{name}]"}
    try:
        return get_backend(name).facts()
    except TunableError as error:
        return {"state": str(error)}


def _checks() -> dict[str, tuple[bool, str]]:
    """Known traps: name -> (avoided, what was found)."""
    checks = {}
    numpy_version = _version("numpy")
    wants_old = "mindspore" in installed()
    checks["numpy below 2 beside MindSpore"] = (
        not wants_old or int(numpy_version.split(".")[0]) < 2,
        f"numpy {numpy_version}"
        + ("; MindSpore 2.10 fails in pixel_shuffle and others with numpy 2" if wants_old else ""),
    )
    if wants_old:
        cap, avx512 = os.environ.get("ONEDNN_MAX_CPU_ISA"), _has_avx512()
        checks["MindSpore's CPU convolutions use the fast kernel"] = (
            not avx512 or cap == "AVX2",
            f"AVX-512 {'present' if avx512 else 'absent'}, ONEDNN_MAX_CPU_ISA {cap or 'not set'}",
        )
    return checks


def _has_avx512() -> bool:
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _print(found: dict) -> None:
    print(f"tunable-convolutions {found['tunable-convolutions']}, Python {found['python']}, {found['machine']}")
    print("packages: " + ", ".join(f"{name} {version}" for name, version in found["packages"].items()))
    for name, facts in found["backends"].items():
        print(f"{name}: " + ", ".join(f"{key} {value}" for key, value in facts.items()))
    for name, (avoided, text) in found["checks"].items():
        print(f"{'ok  ' if avoided else 'TRAP'} {name}: {text}")
