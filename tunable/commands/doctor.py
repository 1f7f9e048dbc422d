"""`tunable doctor`: frameworks, devices, versions, precision switches, and the known traps on this machine."""

import argparse
import importlib.metadata
import os
import platform
from pathlib import Path

from tunable.backends.registry import BACKENDS, get_runtime, installed, needs_framework, requested
from tunable.commands.shared import add_json, print_json
from tunable.errors import TunableError
from tunable.version import __version__

PACKAGES = ("numpy", "torch", "mindspore", "onnx", "onnxruntime", "safetensors", "pydantic", "scikit-image", "pillow")


EXAMPLES = ("tunable doctor",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable doctor`."""
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run `tunable doctor`, and return its exit status."""
    backends = {name: _backend(name) for name in dict.fromkeys([*BACKENDS, "onnx", *requested()])}
    checks = {**_usable(backends), **_precision(backends), **_traps(backends), **_privacy()}
    facts = {
        "tunable-convolutions": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "packages": {name: _version(name) for name in PACKAGES},
        "backends": backends,
        "checks": checks,
    }
    if args.json:
        print_json(facts)
    else:
        _print(facts)
    return 0 if all(check["passed"] for check in checks.values()) else 1


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _backend(name: str) -> dict[str, str]:
    """Versions, device and switches; only `problem` where it cannot be used."""
    try:
        return get_runtime(name).facts()
    except TunableError as error:
        return {"problem": str(error)}


def _check(passed: bool, state: str) -> dict:
    return {"passed": passed, "found": state}


def _usable(backends: dict[str, dict[str, str]]) -> dict[str, dict]:
    """Every framework that is installed, or that TUNABLE_BACKENDS asks for, must start; onnxruntime alone will do."""
    names = dict.fromkeys([*installed(), *requested()])
    found = ", ".join(installed())
    if not names and "problem" not in backends["onnx"]:
        found = f"by onnxruntime alone, exported .onnx files; all else {needs_framework()}"
    checks = {"networks can be run": _check(bool(found), found or f"this {needs_framework()}")}
    for name in names:
        problem = backends[name].get("problem")
        checks[f"{name} starts"] = _check(problem is None, problem or f"on {backends[name].get('device', '?')}")
    return checks


def _precision(backends: dict[str, dict[str, str]]) -> dict[str, dict]:
    """float32 must not be replaced by TF32 (CUDA) or HF32 (Ascend), which are those devices' defaults."""
    checks = {}
    for name, facts in backends.items():
        switches = {key: value for key, value in facts.items() if key.startswith(("tf32", "hf32"))}
        if switches:
            settings = ", ".join(f"{key} {value}" for key, value in switches.items())
            checks[f"{name} computes in full float32"] = _check("True" not in switches.values(), settings)
    return checks


def _traps(backends: dict[str, dict[str, str]]) -> dict[str, dict]:
    """Known traps of MindSpore: passed when avoided."""
    if "mindspore" not in installed():
        return {}
    on_cpu = backends["mindspore"].get("device") == "cpu"
    dispatch = os.environ.get("MS_DEV_HOST_BLOCKING_RUN", "not set")
    version, cap, avx512 = _version("numpy"), os.environ.get("ONEDNN_MAX_CPU_ISA"), _has_avx512()
    return {
        "numpy below 2 beside MindSpore": _check(
            int(version.split(".")[0]) < 2,
            f"numpy {version}; MindSpore 2.10 fails in pixel_shuffle and others with numpy 2",
        ),
        "MindSpore's CPU convolutions use the fast kernel": _check(
            not avx512 or cap == "AVX2",
            f"AVX-512 {'present' if avx512 else 'absent'}, ONEDNN_MAX_CPU_ISA {cap or 'not set'}",
        ),
        "MindSpore's waiting thread leaves the cores to the kernels": _check(
            not on_cpu or dispatch == "1", f"MS_DEV_HOST_BLOCKING_RUN {dispatch}"
        ),
    }


def _privacy() -> dict[str, dict]:
    """What would tell others of this machine's use: passed when it is switched off."""
    switch = os.environ.get("ORT_DISABLE_TELEMETRY", "")
    off = switch.lower() in ("1", "true", "yes", "on")
    return {"onnxruntime sends no data on its use": _check(off, f"ORT_DISABLE_TELEMETRY {switch or 'empty'}")}


def _has_avx512() -> bool:
    try:
        return "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False


def _print(facts: dict) -> None:
    print(f"tunable-convolutions {facts['tunable-convolutions']}, Python {facts['python']}, {facts['machine']}")
    print("packages: " + ", ".join(f"{name} {version}" for name, version in facts["packages"].items()))
    for name, backend in facts["backends"].items():
        print(f"{name}: " + (backend.get("problem") or ", ".join(f"{key} {value}" for key, value in backend.items())))
    for name, check in facts["checks"].items():
        print(f"{'ok  ' if check['passed'] else 'FAIL'} {name}: {check['found']}")
