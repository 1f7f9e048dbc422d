"""Exported ONNX files behind the protocol of tunable_core.backends, as far as a file can follow it: it runs."""

import importlib.util
from pathlib import Path

import numpy as np
import onnxruntime

from tunable_core import graphs, onnx_files
from tunable_core.backends import choose
from tunable_core.checkpoint import Header
from tunable_core.errors import BackendError, CheckpointError

_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Session(onnxruntime.InferenceSession):
    """Runs a model, a path or bytes, and remembers which."""

    def __init__(self, model: str | Path | bytes, device: str):
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4  # what goes wrong is raised as well
        super().__init__(model, options, providers=[_PROVIDERS[device]])
        self.model = model


class Backend:
    """onnxruntime on `cpu` or `cuda`; one mode."""

    name = "onnx"
    modes = ("session",)
    formats = ()
    extends_any = True
    opens = (".onnx",)

    def __init__(self, device: str | None = None, mode: str | None = None):
        self.mode = choose(self.name, "mode", mode, self.modes)
        self.device = choose(self.name, "device", device, tuple(_PROVIDERS))
        available = onnxruntime.get_available_providers()
        if _PROVIDERS[self.device] not in available:
            raise BackendError(
                f"this onnxruntime ({onnxruntime.__version__}) has no device {self.device!r}; it has {available}"
            )

    def facts(self) -> dict[str, str]:
        return {"onnxruntime": onnxruntime.__version__, "device": self.device, "mode": self.mode}

    def build(self, spec, num_objectives: int):
        raise BackendError("backend 'onnx' only runs exported files: `tunable export` makes them")

    def open(self, path: str | Path):
        """An exported file as (session, header); CheckpointError if it is not one."""
        if not Path(path).is_file():
            raise CheckpointError(f"no such exported file: {path}")
        try:
            session = Session(path, self.device)
        except Exception as error:  # onnxruntime's own exceptions share no narrower base
            reason = " ".join(str(error).split())
            raise CheckpointError(f"{path} is not a readable ONNX file: {reason}") from None
        header = Header.from_metadata(session.get_modelmeta().custom_metadata_map, path, "an exported model")
        wanted = ["image", "omega"] if header.objectives else ["image"]
        found = [one.name for one in session.get_inputs()]
        if found != wanted:
            raise CheckpointError(f"{path} has inputs {found}, but its header wants {wanted}")
        return session, header

    def folds(self, network) -> bool:
        """Where kernels are mixed, in form `shared`; and where onnx is there to do it."""
        return network.get_inputs()[1].shape[0] == 1 and importlib.util.find_spec("onnx") is not None

    def fold(self, network, omega: np.ndarray):
        """A session whose omega (p,) is a constant, so that kernels are mixed once and then are constants too.

        onnxruntime computes these faster, on blocks of channels.
        """
        return Session(onnx_files.with_constant(network.model, "omega", omega[None]), self.device)

    def graph(self, path: str | Path) -> graphs.Graph:
        return graphs.read_onnx(path)

    def run(self, network, degraded: np.ndarray, omega: np.ndarray | None) -> np.ndarray:
        image = np.ascontiguousarray(degraded)
        if omega is None:
            return _call(network, image=image)
        if network.get_inputs()[1].shape[0] != 1:  # one omega per sample
            rows = np.broadcast_to(omega, (len(image), omega.shape[-1]))
            return _call(network, image=image, omega=np.ascontiguousarray(rows))
        if omega.ndim == 1:
            return _call(network, image=image, omega=omega[None])
        return np.concatenate(
            [_call(network, image=image[n : n + 1], omega=omega[n : n + 1]) for n in range(len(image))]
        )


def _call(session, **inputs: np.ndarray) -> np.ndarray:
    try:
        return session.run(["restored"], inputs)[0]
    except Exception as error:  # as above: sizes that the file does not allow, memory
        raise BackendError(f"onnxruntime cannot run this model: {' '.join(str(error).split())}") from None
