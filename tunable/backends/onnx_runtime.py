"""Exported ONNX files, run by onnxruntime: an `Opener` of tunable.backends.protocol."""

import contextlib
import importlib.util
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from tunable.backends.protocol import Execution, Opener
from tunable.backends.registry import check_inputs, choose
from tunable.errors import BackendError, CheckpointError, TunableError, needs, shown
from tunable.exports import graphs, onnx_files
from tunable.exports.forms import PARTS
from tunable.tolerances import TOLERANCES
from tunable.weights.storage import Header

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "cann": "CANNExecutionProvider"}
# What changes numbers: CANN computes in float16 by default, and CUDA in TF32.
_SWITCHES = {"cann": {"precision_mode": "must_keep_origin_dtype"}, "cuda": {"use_tf32": "0"}}


class Session(onnxruntime.InferenceSession):
    """An onnxruntime session that remembers its model.

    Args:
        model: the path of an ONNX file, or its content.
        device: "cpu", "cuda" or "cann".
        optimized: a file for what onnxruntime makes of the model.
    """

    def __init__(self, model: str | Path | bytes, device: str, optimized: Path | None = None) -> None:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised as well
        if optimized is not None:
            options.optimized_model_filepath = str(optimized)
        # Without a fallback: to the same provider once more, after printing what is wrong on standard output.
        super().__init__(model, options, providers=[(_PROVIDERS[device], _SWITCHES.get(device, {}))], enable_fallback=0)
        self.model, self.device = model, device
        self._made, self._one_thread = {}, threading.Lock()

    @property
    def mixes(self) -> bool:
        """Whether one omega mixes the kernels for the whole batch, which is form `shared`."""
        return self.get_inputs()[-1].shape[0] == 1

    def fold(self, omega: np.ndarray, optimized: Path | None = None) -> "Session":
        """Return a session with omega (p,) a constant, so that kernels are mixed once and then are constants too."""
        return _folded(self._path, omega, self.device, optimized)

    @property
    def _path(self) -> str | Path:
        assert not isinstance(self.model, bytes), "only a session of a file can be changed"
        return self.model

    @property
    def blocked(self) -> "Session":
        """The same whose kernels lie in blocks of channels before they are mixed; itself where they cannot.

        On a processor onnxruntime is faster with such blocks, but makes them of constants only. What it makes of the
        kernels at omega = 0 and at the unit vectors, where they are constants, can be mixed as they are. Made once, by
        the first thread that asks.
        """
        return self._once("blocked", self._made_blocked)

    @property
    def in_blocks(self) -> "Parts | None":
        """The same of the tail of a network: what lays its features out in blocks, and what an omega then takes.

        None where its kernels cannot be mixed so.
        """
        return self._once("in_blocks", self._made_in_blocks)

    def _once(self, name: str, make: Callable[[], Any]) -> Any:
        with self._one_thread:
            if name not in self._made:
                self._made[name] = make()
            return self._made[name]

    def _made_blocked(self) -> "Session":
        with tempfile.TemporaryDirectory(prefix="tunable-onnx-") as folder:
            model = self._mixed_in_blocks(Path(folder), self._path)
        return self if model is None else Session(model, self.device)

    def _made_in_blocks(self) -> "Parts | None":
        with tempfile.TemporaryDirectory(prefix="tunable-onnx-") as folder:
            pooled = Path(folder, "pooled.onnx")
            pooled.write_bytes(onnx_files.with_pools(self._path))
            model = self._mixed_in_blocks(Path(folder), pooled)
        if model is None:
            return None
        return Parts(*(Session(part, self.device) for part in onnx_files.cut_in_blocks(model)))

    def _mixed_in_blocks(self, folder: Path, source: str | Path) -> bytes | None:
        p = self.get_inputs()[-1].shape[1]
        points = [np.zeros(p), *np.eye(p), np.linspace(0.3, 0.7, p)]
        made = [Path(folder, f"{n}.onnx") for n in range(len(points))]
        for omega, path in zip(points, made, strict=True):
            _folded(source, omega, self.device, path)
        return onnx_files.with_omega(made[:-1], made[-1], points[-1], TOLERANCES["export"].limit)


def _folded(source: str | Path, omega: np.ndarray, device: str, optimized: Path | None = None) -> Session:
    """A session of a file with omega (p,) a constant."""
    at = omega[None].astype(np.float32)
    return Session(onnx_files.with_constant(source, "omega", at), device, optimized)


class Parts(NamedTuple):
    """A network in two files: what no omega changes, and the rest."""

    trunk: Session
    tail: Session


class Backend(Execution):
    """onnxruntime on `cpu`, `cuda` or `cann` (Ascend): its providers.

    Modes: session runs the file as it is; blocked, on a CPU, takes some seconds before the first picture and is
    faster then, if omega is another in every call (docs/results/knobs).
    """

    name = "onnx"
    modes = ("session", "blocked")
    lean = "session"
    opens = (".onnx",)

    def __init__(self, device: str | None = None, mode: str | None = None) -> None:
        chosen = choose(self.name, "device", device, tuple(_PROVIDERS))
        super().__init__(chosen, choose(self.name, "mode", mode, self.modes))
        if self.mode == "blocked" and self.device != "cpu":
            raise BackendError(f"backend 'onnx' has mode 'blocked' on device 'cpu' only, not on {self.device!r}")
        if self.mode == "blocked" and not _has_onnx():
            raise BackendError(f"mode 'blocked' of backend 'onnx' {needs('onnx', 'onnx')}")
        available = onnxruntime.get_available_providers()
        if _PROVIDERS[self.device] not in available:
            names = [name for name, provider in _PROVIDERS.items() if provider in available]
            raise BackendError(
                f"this onnxruntime ({onnxruntime.__version__}) has no provider {self.device!r}; it has "
                f"{', '.join(names)}"
            )

    def facts(self) -> dict[str, str]:
        """onnxruntime's version, the device, the mode, and the provider's switches that change numbers."""
        facts = {"onnxruntime": onnxruntime.__version__, "device": self.device, "mode": self.mode}
        return {**facts, **_SWITCHES.get(self.device, {})}

    def open(self, path: str | Path) -> tuple[Session | Parts, Header]:
        """Open an exported file as (session, header), both parts where it is one of two.

        Raises:
            CheckpointError: for a file that this project did not export, and for one without its other part.
        """
        session, header, pair = self._opened(path)
        if header.part not in PARTS:
            check_inputs(_inputs_of(session), header, path)
            return session, header
        first, second = PARTS if header.part == "trunk" else PARTS[::-1]
        stem = Path(path).stem
        other = Path(path).with_stem(stem.removesuffix(first) + second)
        if not stem.endswith(f"-{first}") or not other.is_file():
            raise CheckpointError(f"{path} is the {first} of a network; its {second} is wanted beside it, as {other}")
        second_session, other_header, other_pair = self._opened(other)
        if pair != other_pair or other_header.part != second:
            raise CheckpointError(f"{path} and {other} are not the two parts of one export")
        parts = Parts(session, second_session) if first == "trunk" else Parts(second_session, session)
        check_inputs(_inputs_of(parts.trunk), header, path)
        features = [one.name for one in parts.trunk.get_outputs()]
        if list(_inputs_of(parts.tail)) != [*features, "omega"] or not header.objectives:
            raise CheckpointError(f"the tail of {path} wants {shown(list(_inputs_of(parts.tail)))}, not its features")
        return parts, header

    def _opened(self, path: str | Path) -> tuple[Session, Header, str | None]:
        """One file: session, header, and what its other part is known by."""
        if not Path(path).is_file():
            raise CheckpointError(f"no such exported file: {path}")
        try:
            str(path).encode("utf-8")
        except UnicodeEncodeError:
            raise CheckpointError(f"onnxruntime opens files only whose names are UTF-8, not {path}") from None
        try:
            session = Session(path, self.device)
            metadata = session.get_modelmeta().custom_metadata_map
            _ = [(one.name, one.shape) for one in (*session.get_inputs(), *session.get_outputs())]  # perhaps no UTF-8
        except Exception as error:  # onnxruntime's own exceptions share no narrower base
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{path} is not a readable ONNX file: {reason}") from None
        return session, Header.from_metadata(metadata, path, "an exported model"), metadata.get("pair")

    def folds(self, network: Session | Parts) -> bool:
        """Return whether `fold` takes the network: where kernels are mixed, in form `shared`, and onnx is installed."""
        return isinstance(network, Session) and network.mixes and _has_onnx()

    def fold(self, network: Session, omega: np.ndarray) -> Session:
        """Return a session with omega (p,) a constant, so that kernels are mixed once and then are constants too."""
        return network.fold(omega)

    def graph(self, path: str | Path) -> graphs.Graph:
        """Read the graph of an exported file."""
        return graphs.read_onnx(path)

    def prepare(self, network: Parts, degraded: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        """Compute the features of pictures (N, 3, H, W), and return what restores them at omega (p,) or (N, p).

        Picture by picture: the batch is not the first axis of every feature. On a CPU with the package onnx the kernels
        of the tail, and the features, are laid out in blocks of channels in every mode: a picture is prepared for many
        settings.
        """
        blocks = None
        if self.mode == "blocked":
            blocks = _laid_out(network.tail, "in_blocks")
        elif self.device == "cpu" and _has_onnx():
            with contextlib.suppress(TunableError):  # no room for files, or the file is gone: slower, and right
                blocks = _laid_out(network.tail, "in_blocks")
        return self._at(network, degraded, blocks)

    def _at(self, network: Parts, degraded: np.ndarray, blocks: Parts | None) -> Callable[[np.ndarray], np.ndarray]:
        """What restores pictures, by the tail as it is or in blocks."""
        images = (np.ascontiguousarray(degraded[n : n + 1]) for n in range(len(degraded)))
        features = [_named(network.trunk, image=image) for image in images]
        tail = network.tail
        if blocks is not None:
            tail, features = blocks.tail, [_named(blocks.trunk, **feature) for feature in features]

        def at(omega: np.ndarray) -> np.ndarray:
            rows = np.broadcast_to(omega, (len(features), omega.shape[-1]))
            each = zip(rows, features, strict=True)
            return np.concatenate([_call(tail, omega=row[None], **feature) for row, feature in each])

        return at

    def run(self, network: Session | Parts, degraded: np.ndarray, omega: np.ndarray | None) -> np.ndarray:
        """Restore pictures (N, 3, H, W) at omega (p,) or (N, p), in float32.

        Without omega it runs a plain network, one that returns heads, and one of planes (N, 3 + p, H, W), which hold
        maps of omega.
        """
        if isinstance(network, Parts):
            assert omega is not None, "the tail has an omega"
            blocks = _laid_out(network.tail, "in_blocks") if self.mode == "blocked" else None
            return self._at(network, degraded, blocks)(omega)
        image = np.ascontiguousarray(degraded)
        if omega is None:
            return _call(network, image=image)
        if not network.mixes:  # one omega per sample
            rows = np.broadcast_to(omega, (len(image), omega.shape[-1]))
            return _call(network, image=image, omega=np.ascontiguousarray(rows))
        if self.mode == "blocked":
            network = _laid_out(network, "blocked")
        if omega.ndim == 1:
            return _call(network, image=image, omega=omega[None])
        return np.concatenate(
            [_call(network, image=image[n : n + 1], omega=omega[n : n + 1]) for n in range(len(image))]
        )


_: type[Opener] = Backend  # it honours the whole protocol, which the type checker holds


def _has_onnx() -> bool:
    return importlib.util.find_spec("onnx") is not None


def _laid_out(session: Session, name: str) -> Any:
    """A property of a session that is made by onnxruntime: `blocked` or `in_blocks`."""
    try:
        return getattr(session, name)
    except CheckpointError:
        raise
    except Exception as error:  # as above: no room for files
        raise BackendError(f"onnxruntime cannot lay out this model's kernels: {' '.join(str(error).split())}") from None


def _inputs_of(session: Session) -> dict[str, tuple]:
    return {one.name: tuple(one.shape) for one in session.get_inputs()}


def _call(session: Session, **inputs: np.ndarray) -> np.ndarray:
    return _called(session, **inputs)[0]


def _named(session: Session, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name."""
    return dict(zip([one.name for one in session.get_outputs()], _called(session, **inputs), strict=True))


def _called(session: Session, **inputs: np.ndarray) -> list[np.ndarray]:
    try:
        return session.run(None, inputs)
    except Exception as error:  # as above: sizes that the file does not allow, memory
        raise BackendError(f"onnxruntime cannot run this model: {' '.join(str(error).split())}") from None
