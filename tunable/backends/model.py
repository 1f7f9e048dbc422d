"""A network with its weights in one framework, or an exported file: numpy in, numpy out."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tunable.backends.protocol import Backend
from tunable.backends.registry import backend_for, default_backend, get_backend
from tunable.errors import BackendError, OmegaError, TunableError, shown
from tunable.omega import check_omega
from tunable.weights import storage


@dataclass
class Model:
    """A network with its weights in one framework, or an exported file: numpy in, numpy out."""

    backend: Backend
    network: Any
    header: storage.Header
    exported: bool = False  # a graph without parameters, which runs and may fold, no more

    @property
    def objectives(self) -> tuple[str, ...]:
        return self.header.objectives

    @property
    def folds(self) -> bool:
        """Whether there is an omega to `fold` at, and a way."""
        return bool(self.objectives) and (not self.exported or self.backend.folds(self.network))

    def run(self, degraded: np.ndarray, omega=None) -> np.ndarray:
        """Restore pictures.

        degraded  floats (N, 3, H, W), 0..1; TunableError for whole numbers and for other shapes
        omega     (p,) or (N, p), any finite values; None for a plain network
        returns   float32 (N, 3, scale H, scale W), not clipped
        """
        degraded = np.asarray(degraded)
        if degraded.dtype.kind in "iu":
            raise TunableError(
                f"pictures must be floats of 0 to 1, not {degraded.dtype}: divide those of 8 bits by 255"
            )
        degraded = degraded.astype(np.float32, copy=False)
        if degraded.ndim != 4 or degraded.shape[1] != 3 or not all(degraded.shape[2:]):
            raise TunableError(f"pictures must be (N, 3, H, W) of a pixel at least, not of shape {degraded.shape}")
        if self.header.size and degraded.shape[2:] != self.header.size:
            height, width = degraded.shape[2:]
            raise TunableError(
                "this file was exported for pictures of {}x{} pixels, height x width; ".format(*self.header.size)
                + f"one of {height}x{width} was received"
            )
        if not self.objectives:
            if omega is not None:
                raise OmegaError(f"a plain network takes no omega, but received {shown(omega)}")
        elif omega is None:
            raise OmegaError(f"a tunable network wants omega for {', '.join(self.objectives)}")
        else:
            omega = check_omega(omega, self.objectives, len(degraded))
        scale, (count, channels, height, width) = self.header.network.scale, degraded.shape
        wanted = (count, channels, scale * height, scale * width)
        if not count:  # not every framework computes with nothing
            return np.zeros(wanted, np.float32)
        restored = self.backend.run(self.network, degraded, omega)
        # A graph does what it likes, whatever its header says.
        if self.exported and (restored.shape != wanted or restored.dtype != np.float32):
            raise BackendError(
                f"the exported file makes {restored.dtype} of shape {restored.shape} of pictures {degraded.shape}; "
                f"its header promises float32 of shape {wanted}"
            )
        return restored

    def save(self, path: str | Path) -> None:
        """Write the weights file."""
        self._check_weights("save")
        storage.save(path, self.backend.parameters(self.network), self.header)

    def fold(self, omega) -> "Model":
        """A plain model equal to this one at omega (p,)."""
        if not self.objectives:
            raise TunableError("this network is plain already: there is nothing to fold")
        if not self.folds:
            self._check_weights("fold")
        omega = check_omega(omega, self.objectives)
        if omega.ndim != 1:
            raise OmegaError(f"folding wants one omega ({len(self.objectives)},), not {omega.shape}")
        network = self.backend.fold(self.network, omega)
        spec = self.header.network.model_copy(update={"tunable": False})
        header = dataclasses.replace(
            self.header, network=spec, objectives=(), omega_range=(), folded_at=tuple(omega.tolist()), trained=None
        )
        return dataclasses.replace(self, network=network, header=header)

    def _check_weights(self, verb: str) -> None:
        if self.exported:
            raise TunableError(f"an exported model only runs: to {verb} it, load the weights that it was made from")


def build(header: storage.Header, tensors: dict[str, np.ndarray], backend: Backend, source="weights") -> Model:
    """Build the header's network in `backend` and give it `tensors` (strict; CheckpointError before it is built)."""
    storage.check_network(tensors, header, source)
    network = backend.build(header.network, header.num_objectives)
    backend.assign(network, tensors)
    return Model(backend, network, header)


def load(
    path: str | Path, backend: str | Backend | None = None, device: str | None = None, mode: str | None = None
) -> Model:
    """Load a weights file into a framework, or an exported file: .onnx, .mindir.

    backend  None: "onnx" for .onnx, "mindspore" for .mindir, else the first framework that is installed
    """
    wanted = backend_for(path)
    backend = backend or wanted or default_backend()
    chosen = get_backend(backend, device, mode) if isinstance(backend, str) else backend
    if wanted and Path(path).suffix.lower() in chosen.opens:
        return Model(chosen, *chosen.open(path), exported=True)
    if wanted:
        raise TunableError(f"{path} is an exported model: it runs with backend {wanted!r}, not {chosen.name!r}")
    tensors, header = storage.load(path)
    return build(header, tensors, chosen, path)
