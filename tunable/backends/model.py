"""A network with its weights in one framework, or an exported file: numpy in, numpy out."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from tunable.backends.heads import Heads, anchor_of, check_heads, heads_fault, settings, told_apart
from tunable.backends.protocol import Framework, Runtime, is_framework, is_opener
from tunable.backends.registry import backend_for, default_backend, get_framework, get_opener, get_runtime
from tunable.errors import BackendError, OmegaError, TunableError, shown
from tunable.exports.forms import ONE_INPUT, PARTS
from tunable.models import find
from tunable.omega import axes_of, check_omega
from tunable.own import permitted
from tunable.weights import storage


@dataclass(frozen=True)
class Model(ABC):
    """What `load` returns: it restores pictures, and folds where it can.

    Attributes:
        backend: what runs the network.
        network: the backend's own object.
        header: what the file says of itself.
    """

    backend: Runtime
    network: Any
    header: storage.Header

    @property
    def objectives(self) -> tuple[str, ...]:
        """Their names in omega's order, p of them; () for a plain network."""
        return self.header.objectives

    @property
    def folds(self) -> bool:
        """Whether `fold` can be taken: not of a plain network, nor of every exported one, nor of every strategy."""
        ordinary = not self.header.network.without_folding
        return bool(self.objectives) and ordinary and self.backend.folds(self.network)

    def with_mode(self, mode: str) -> Self:
        """Return the same network, run in another mode of its backend; BackendError for one that the backend lacks."""
        return dataclasses.replace(self, backend=self.backend.with_mode(mode))

    def run(self, degraded: np.ndarray, omega: ArrayLike | None = None) -> np.ndarray:
        """Restore pictures.

        Args:
            degraded: floats (N, 3, H, W), 0 to 1.
            omega: (p,), (N, p) for one per picture, or a map (N, p, H, W) for one per pixel, any finite values; None
                for a plain network.

        Returns:
            float32 (N, 3, scale H, scale W), not clipped.

        Raises:
            TunableError: for pictures of whole numbers or of another shape.
            OmegaError: for an omega of another length, or of values that are not finite.
            BackendError: where an exported file cannot run on these pictures.
        """
        degraded = self._checked(degraded)
        if omega is not None:
            omega = self.checked_omega(omega, len(degraded), (degraded.shape[2], degraded.shape[3]))
        elif self.objectives:
            raise OmegaError(f"a tunable network wants omega for {', '.join(self.objectives)}")
        shape = self._shape(degraded)
        if not len(degraded):  # not every framework computes with nothing
            return np.zeros(shape, np.float32)
        return self._restored(degraded, omega, shape)

    def prepare(self, degraded: np.ndarray) -> "Prepared":
        """Compute of pictures what no omega changes: the layers before the first tunable one.

        Args:
            degraded: floats (N, 3, H, W), 0 to 1.

        Returns:
            What restores them: `model.prepare(pictures).at(omega)` is `model.run(pictures, omega)` by the other layers
            alone. It holds the features of the pictures, most often many times their size.

        Raises:
            TunableError: for a network that is tunable from its first layers on, a plain one, an exported file that is
                not in two parts, and for pictures that `run` does not take.
        """
        degraded = self._checked(degraded)
        if not self.objectives:
            raise TunableError("a plain network takes no omega: there is nothing to prepare for")
        size, shape = (degraded.shape[2], degraded.shape[3]), self._shape(degraded)
        if not len(degraded):  # as in `run`
            return Prepared(self, lambda omega: np.zeros(shape, np.float32), 0, size)
        return Prepared(self, self.backend.prepare(self.network, degraded), len(degraded), size)

    @property
    def has_heads(self) -> bool:
        """Whether `heads` can be told: whether pictures are affine in omega, as the last layer alone is tunable."""
        return heads_fault(self.header.network, len(self.objectives)) is None

    def heads(self, degraded: np.ndarray) -> Heads:
        """Compute base and difference pictures, from which any omega is a sum: one inference, up to the last layer.

        Args:
            degraded: floats (N, 3, H, W), 0 to 1.

        Returns:
            The pictures: `model.heads(pictures).at(omega)` is `model.run(pictures, omega)` to rounding.

        Raises:
            TunableError: for a network of which more than the last layer is tunable, or whose phi is se, a plain
                network, and for pictures that `run` does not take.
        """
        check_heads(self.header.network, len(self.objectives))
        prepared, p = self.prepare(degraded), len(self.objectives)
        formulation = self.header.network.formulation
        pictures = told_apart([prepared.at(omega) for omega in settings(formulation, p)], p)
        return Heads(pictures[0], np.stack(pictures[1:], 1), self.objectives, anchor_of(formulation, p))

    def _checked(self, degraded: np.ndarray) -> np.ndarray:
        """Pictures as the network takes them; TunableError for others."""
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
        return degraded

    @property
    def without_maps(self) -> str:
        """Why omega cannot be a map, one setting for every pixel; "" where it can."""
        return self.header.network.without_maps

    def checked_omega(self, omega: ArrayLike, count: int, size: tuple[int, int]) -> np.ndarray:
        """Check an omega for pictures.

        Args:
            omega: (p,), (N, p), or a map (N, p, H, W).
            count: N, of the pictures.
            size: their height and width.

        Returns:
            The omega as float32 of the same shape.

        Raises:
            OmegaError: for another shape, values that are not finite, a map that the network does not take, and for
                any where the network is plain.
        """
        if not self.objectives:
            raise OmegaError(f"a plain network takes no omega, but received {shown(omega)}")
        if self.without_maps and axes_of(omega) == 4:
            name = self.header.network.title
            raise OmegaError(f"this {name} takes one omega for a picture, not a map: {self.without_maps}")
        return check_omega(omega, self.objectives, count, None if self.without_maps else size)

    def _shape(self, degraded: np.ndarray) -> tuple[int, ...]:
        """Of what the network makes of pictures."""
        scale, (count, channels, height, width) = self.header.network.scale, degraded.shape
        return count, channels, scale * height, scale * width

    def _restored(self, degraded: np.ndarray, omega: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
        made = self.backend.run(self.network, degraded, omega)
        if made.shape != shape:  # a network of one's own does what it likes
            title = self.header.network.title
            raise TunableError(f"network {title} returns shape {made.shape} of pictures {degraded.shape}, not {shape}")
        return made

    def fold(self, omega: ArrayLike) -> Self:
        """Return a plain model equal to this one at omega (p,).

        Raises:
            TunableError: for a plain network, and for an exported one that cannot be folded.
            OmegaError: for an omega of another shape, or of values that are not finite.
        """
        if not self.objectives:
            raise TunableError("this network is plain already: there is nothing to fold")
        if reason := self.header.network.without_folding:
            raise TunableError(f"{self.header.network.title} does not fold: {reason}")
        if not self.folds:
            raise _only_runs("fold")
        omega = check_omega(omega, self.objectives)
        if omega.ndim != 1:
            raise OmegaError(f"folding wants one omega ({len(self.objectives)},), not {omega.shape}")
        network = self.backend.fold(self.network, omega)
        spec = self.header.network.model_copy(update={"tunable": False})
        header = dataclasses.replace(
            self.header, network=spec, objectives=(), omega_range=(), folded_at=tuple(omega.tolist()), trained=None
        )
        return dataclasses.replace(self, network=network, header=header)

    @abstractmethod
    def save(self, path: str | Path) -> None:
        """Write the weights file; TunableError for an exported model, which holds no weights of its own."""


@dataclass(frozen=True)
class Prepared:
    """Pictures of which is computed what no omega changes; made by `Model.prepare`.

    Attributes:
        model: that restores them.
        tail: the rest of the network, a function of omega.
        count: N, of the pictures.
        size: their height and width.
    """

    model: Model
    tail: Callable[[np.ndarray], np.ndarray]
    count: int
    size: tuple[int, int]

    def at(self, omega: ArrayLike) -> np.ndarray:
        """Restore the pictures.

        Args:
            omega: (p,), (N, p) for one per picture, or a map (N, p, H, W) for one per pixel, any finite values.

        Returns:
            float32 (N, 3, scale H, scale W), not clipped.

        Raises:
            OmegaError: for an omega of another length, or of values that are not finite.
        """
        return self.tail(self.model.checked_omega(omega, self.count, self.size))


@dataclass(frozen=True)
class WeightsModel(Model):
    """A network with its weights in a framework, such as a weights file holds."""

    backend: Framework

    def save(self, path: str | Path) -> None:
        """Write the weights file."""
        storage.save(path, self.backend.parameters(self.network), self.header)


@dataclass(frozen=True)
class ExportedModel(Model):
    """An exported file, which runs and may fold, no more."""

    @property
    def folds(self) -> bool:
        """Whether `fold` can be taken: of a whole network with omega as an input, where the backend can."""
        return not self.header.part and super().folds

    @property
    def without_maps(self) -> str:
        """As of `Model`: a graph has one omega as an input, unless its form is planes or heads."""
        return super().without_maps or (
            ""
            if self.header.part in ONE_INPUT
            else "`tunable export --form planes` or `--form heads` writes files that take maps"
        )

    @property
    def has_heads(self) -> bool:
        """Whether the file returns heads."""
        return self.header.part == "heads"

    def prepare(self, degraded: np.ndarray) -> Prepared:
        """As `Model.prepare`, of a file that was exported in two parts."""
        if self.header.part not in PARTS:
            raise TunableError(
                "this exported file runs as a whole: `tunable export --form prepared` writes a network in two parts"
            )
        return super().prepare(degraded)

    def heads(self, degraded: np.ndarray) -> Heads:
        """As `Model.heads`, of a file that was exported with them."""
        if not self.has_heads:
            raise TunableError(
                "this exported file returns no heads: `tunable export --form heads` writes one that does"
            )
        degraded, p = self._checked(degraded), len(self.objectives)
        formulation = self.header.network.formulation
        count, channels, *size = self._shape(degraded)
        heads = 1 + formulation.num_differences(p)
        shape = (count, heads * channels, *size)
        made = self.backend.run(self.network, degraded, None) if count else np.zeros(shape, np.float32)
        self._promised(made, degraded, shape)
        made = made.reshape(count, heads, channels, *size)
        return Heads(made[:, 0], made[:, 1:], self.objectives, anchor_of(formulation, p))

    def save(self, path: str | Path) -> None:
        """Raise TunableError."""
        raise _only_runs("save")

    def _restored(self, degraded: np.ndarray, omega: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
        if self.has_heads:
            assert omega is not None, "heads are a tunable network's"
            return self.heads(degraded).at(omega)
        if self.header.part == "planes":
            assert omega is not None, "planes are a tunable network's"
            maps = omega if omega.ndim == 4 else omega[..., None, None]
            maps = np.broadcast_to(maps, (len(degraded), len(self.objectives), *degraded.shape[2:]))
            planes = np.concatenate([degraded, maps], 1)
            return self._promised(self.backend.run(self.network, planes, None), degraded, shape)
        return self._promised(self.backend.run(self.network, degraded, omega), degraded, shape)

    def _promised(self, made: np.ndarray, degraded: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """What the file makes, which must be what its header says: a graph does what it likes."""
        if made.shape != shape or made.dtype != np.float32:
            raise BackendError(
                f"the exported file makes {made.dtype} of shape {made.shape} of pictures {degraded.shape}; "
                f"its header promises float32 of shape {shape}"
            )
        return made


def _only_runs(verb: str) -> TunableError:
    return TunableError(f"an exported model only runs: to {verb} it, load the weights that it was made from")


def build(
    header: storage.Header, tensors: dict[str, np.ndarray], backend: Framework, source: str | Path = "weights"
) -> WeightsModel:
    """Build the header's network in a framework and give it its weights.

    Args:
        header: names the network.
        tensors: exactly the network's parameters, float32.
        backend: the framework.
        source: what errors call the weights.

    Raises:
        CheckpointError: for other tensors, before the network is built.
    """
    storage.check_network(tensors, header, source)
    network = backend.build(header.network, header.num_objectives)
    if header.network.name == "import":
        storage.check_tensors(tensors, backend.specs(network), source)
    backend.assign(network, tensors)
    return WeightsModel(backend, network, header)


def load(
    path: str | Path,
    backend: str | Runtime | None = None,
    device: str | None = None,
    mode: str | None = None,
    *,
    allow_import: bool = False,
) -> Model:
    """Load a weights file into a framework, or an exported file: .onnx, .mindir.

    Args:
        path: the file; of weights, also a checkpoint of a run; or the name of a model that ships, such as "denoise".
        backend: a name, or a backend that exists already; None: "onnx" for .onnx, "mindspore" for .mindir, else the
            first framework that is installed.
        device: as `tunable.backends.registry.get_runtime`.
        mode: likewise.
        allow_import: whether the module of a network of one's own, which the file names, may be imported and run.

    Returns:
        The model. The model of an exported file runs, and does no more.

    Raises:
        CheckpointError: for a file that is missing, damaged, or none of this project.
        BackendError: for a backend that is missing.
        TunableError: for a backend that cannot open this file.
    """
    path = find(path)
    opener = backend_for(path)
    if opener is None:
        with permitted(allow_import):
            return load_weights(path, backend, device, mode)
    if isinstance(backend, str | None):
        runtime = get_opener(path, device, mode) if backend in (None, opener) else get_runtime(backend, device, mode)
    else:
        runtime = backend
    if not (is_opener(runtime) and Path(path).suffix.lower() in runtime.opens):
        raise TunableError(f"{path} is an exported model: it runs with backend {opener!r}, not {runtime.name!r}")
    return ExportedModel(runtime, *runtime.open(path))


def load_weights(
    path: str | Path, backend: str | Runtime | None = None, device: str | None = None, mode: str | None = None
) -> WeightsModel:
    """Load a weights file into a framework; arguments and errors as `load`."""
    if isinstance(backend, str | None):
        backend = get_framework(backend or default_backend(), device, mode)
    if not is_framework(backend):
        raise BackendError(f"backend {backend.name!r} only runs exported files, not weights")
    tensors, header = storage.load(path)
    return build(header, tensors, backend, path)
