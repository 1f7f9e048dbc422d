"""Atomic output, by which a file appears whole under its name or not at all.

And folders that one process at a time writes.
"""

import errno
import hashlib
import logging
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tunable.errors import TunableError

try:
    import fcntl
except ImportError:  # not on this system: nothing is ever locked
    fcntl = None

LOCK = ".lock"  # in a folder that is held
_UNFINISHED = ".tunable-"  # how the names of temporary files begin
_LONGEST_SUFFIX = 16  # a longer one would leave no room for the rest of a temporary name
_swept: set[Path] = set()
log = logging.getLogger(__name__)


@contextmanager
def atomic(path: str | Path) -> Iterator[Path]:
    """Let a file be written whole or not at all.

    On success the temporary file is synced and renamed to `path`. On any error it is removed, and `path` keeps what it
    held. What a killed process leaves behind is removed by the next process that writes into the folder.

    Args:
        path: the file.

    Yields:
        A temporary path in the same folder, with the same suffix.

    Raises:
        TunableError: for a path that cannot be written.
    """
    path = Path(path)
    descriptor, temporary = _temporary(path)
    try:
        yield temporary
        with open(temporary, "rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise TunableError(f"cannot write {path}: {error.strerror or error}") from None
    finally:
        temporary.unlink(missing_ok=True)
        os.close(descriptor)


def file_digest(path: str | Path) -> str:
    """Return the SHA-256 of a file's content in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_writable(path: str | Path, *given: str | Path) -> None:
    """Raise now, before long work, the error that writing a file would raise at its end.

    Args:
        path: the file.
        given: what is read in order to write it.

    Raises:
        TunableError: for a path that cannot be written, and for one of `given`, which would be overwritten.
    """
    for source in given:
        with suppress(OSError):  # one of them is not there
            if os.path.samefile(path, source):
                raise TunableError(f"{path} is what is read; choose another name for what is written")
    descriptor, temporary = _temporary(Path(path))
    temporary.unlink()
    os.close(descriptor)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically, in UTF-8.

    Args:
        path: the file.
        text: its content; what UTF-8 cannot say, such as half of a pair from a file's name, is written as an escape.

    Raises:
        TunableError: for a path that cannot be written.
    """
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def sweep(folder: Path) -> None:
    """Remove the temporary files in `folder` that no living process writes."""
    for path in folder.glob(_UNFINISHED + "*"):
        # To write, or NFS locks nothing. OSError: gone meanwhile, or no locks here: left alone.
        with suppress(OSError), open(path, "r+b") as file:
            if _locked(file.fileno()):
                path.unlink()


@contextmanager
def holding(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made if need be, against other processes.

    The lock ends with the process, however it ends. Where the file system knows no locks, there is a warning instead.
    A folder that was made here and stays empty is removed again.

    Args:
        folder: the folder.

    Raises:
        TunableError: where another process holds the folder, which it names.
    """
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    path = folder / LOCK
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = _take(path)
    except FileExistsError:
        raise TunableError(f"cannot write in {folder}: {folder} is a file, not a folder") from None
    except OSError as error:
        raise TunableError(f"cannot write in {folder}: {error.strerror}") from None
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)
        with suppress(OSError):  # they hold something
            for place in made:
                place.rmdir()


def _take(path: Path) -> int:
    """Open and lock a file, and write into it who holds it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if not _locked(descriptor):
                holder = os.read(descriptor, 200).decode(errors="replace").strip() or "another process"
                raise TunableError(f"{path.parent} is in use by {holder}; wait for its end or choose another folder")
        except OSError as error:
            if error.errno in (errno.EACCES, errno.EPERM):
                raise
            log.warning("%s cannot be locked (%s): let no two runs write into it", path.parent, error.strerror)
        except TunableError:
            os.close(descriptor)
            raise
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                break
        os.close(descriptor)  # its holder ended meanwhile, and removed it
    with suppress(OSError):  # a full disk: what is written next says so
        os.ftruncate(descriptor, 0)
        os.write(descriptor, f"process {os.getpid()} on {socket.gethostname()}\n".encode())
    return descriptor


def _locked(descriptor: int) -> bool:
    """Lock an open file; False where another holds it, OSError where there are no locks."""
    if fcntl is None:
        raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _temporary(path: Path) -> tuple[int, Path]:
    """A new, empty file beside `path`, open and locked, so that `sweep` knows it for one in use."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, "it is a folder")
        folder = path.parent.resolve()
        if folder not in _swept:
            _swept.add(folder)
            sweep(folder)
        suffix = path.suffix if len(os.fsencode(path.suffix)) <= _LONGEST_SUFFIX else ""
        descriptor, name = tempfile.mkstemp(prefix=_UNFINISHED, suffix=suffix, dir=path.parent)
    except (FileExistsError, NotADirectoryError) as error:
        raise TunableError(f"cannot write {path}: {error.filename} is a file, not a folder") from None
    except OSError as error:
        raise TunableError(f"cannot write {path}: {error.strerror}") from None
    with suppress(OSError):
        _locked(descriptor)
    return descriptor, Path(name)


def _sync_folder(folder: Path) -> None:
    """Bring a folder's names to the disk: a file that was renamed is under its new name after a power cut too."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # a folder that may be written but not read, or a system that opens none
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno == errno.EIO:
            raise
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
