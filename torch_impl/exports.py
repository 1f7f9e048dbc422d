"""Networks as graphs for other runtimes (docs/design.md, "Exports"); form `shared` or `basis` says what omega is."""

import copy
import logging
import warnings
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from torch_impl.layers import Tunable
from torch_impl.layers.conv import TunableConv
from torch_impl.networks import Network
from tunable.backends.heads import settings, told_apart
from tunable.errors import BackendError
from tunable.exports.forms import ONE_INPUT
from tunable.exports.onnx_files import finish, require_onnx

_OPSET = 18  # the oldest that torch's exporter writes without converting


class _Exported(nn.Module):
    """A network whose omega has rank 2."""

    def __init__(self, network: Network, form: str) -> None:
        super().__init__()
        self.network = network
        self.form = form

    def forward(self, image: torch.Tensor, omega: torch.Tensor | None = None) -> torch.Tensor:
        """image (n, c, h, w); omega (1, p) in form `shared`, (n, p) in form `basis`; None when plain."""
        return self.network(image, omega[0] if self.form == "shared" and omega is not None else omega)


class _Heads(nn.Module):
    """A network of which the last layer alone is tunable, and returns base and differences."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        (last,) = (module for module in network.modules() if isinstance(module, Tunable))
        self.omegas = torch.from_numpy(settings(last.formulation, network.num_objectives))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image (n, c, h, w); returns (n, (1 + m) c, scale h, scale w), of each head all channels."""
        features = self.network.trunk_of(image)
        pictures = [self.network.finish(image, features, omega) for omega in self.omegas]
        return torch.cat(told_apart(pictures, self.network.num_objectives), 1)


class _Planes(nn.Module):
    """A network whose picture and map of omega are one input, the map's knobs behind the colours."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """image (n, 3 + p, h, w); returns (n, 3, scale h, scale w)."""
        return self.network(image[:, :3], image[:, 3:])


def _wrapped(network: Network, form: str) -> nn.Module:
    """The network as the graph of a form."""
    if form == "planes":
        return _Planes(network)
    return _Heads(network) if form == "heads" else _Exported(network, form)


def export_onnx(
    network: Network,
    path: str | Path,
    form: str = "shared",
    metadata: dict[str, str] | None = None,
    size: tuple[int, int] | None = None,
) -> None:
    """Write a network as an ONNX file whose batch may vary, and height and width too.

    Args:
        network: a tunable or a plain network.
        path: the file.
        form: `shared`: omega (1, p), one for the batch; `basis`: omega (n, p), one per sample; unused when plain.
            `heads`: no omega, and base and differences as output, of a network whose last layer alone is tunable.
            `planes`: one input, pictures and maps of omega (n, 3 + p, h, w).
        metadata: the header, which stands in the file.
        size: height and width that are fixed; None: they may vary.

    Raises:
        BackendError: where ONNX is not installed or torch cannot export the network.
    """
    require_onnx()
    network = copy.deepcopy(network).cpu().eval()
    network.mix = "layer"  # the same file on every device
    for module in network.modules():
        if isinstance(module, TunableConv):
            module.form = "shared" if form == "heads" else form
    # Sides that are multiples of nothing: of others the exporter would conclude that all are.
    planes = network.num_objectives if form == "planes" else 0
    inputs = {"image": torch.rand(2, 3 + planes, *(size or (29, 43)))}
    sizes = {"image": {0: "n"} if size else {0: "n", 2: "h", 3: "w"}}
    if network.num_objectives and form not in ONE_INPUT:
        inputs["omega"] = torch.rand(1 if form == "shared" else 2, network.num_objectives)
        sizes["omega"] = {} if form == "shared" else {0: "n"}
    try:
        with _quiet():
            torch.onnx.export(
                _wrapped(network, form).eval(),
                tuple(inputs.values()),
                path,
                input_names=list(inputs),
                output_names=["heads" if form == "heads" else "restored"],
                dynamic_shapes=sizes,
                opset_version=_OPSET,
                dynamo=True,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as error:
        raise BackendError(f"torch cannot export this network: {' '.join(str(error).split())[:300]}") from None
    finish(path, metadata)


@contextmanager
def _quiet():
    """The exporter speaks of its own affairs (torchvision is not installed, deprecated calls inside torch)."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
