"""A network as ncnn's two files: a text of layers (.param) and their numbers (.bin).

The blobs are called `data` and `output`, as the programs on ncnn call them that enlarge and clean pictures (upscayl,
realesrgan-ncnn). The files are written here from the folded weights, for the networks whose layers ncnn has: pnnx
20261020, which converts graphs, aborts on those of a compact and a unet, and leaves layers that ncnn lacks.

A file holds one setting. ncnn pads nothing: the sides of a picture for a U-Net must be multiples of 2^depth.

realesrgan-ncnn and upscayl are built with some of ncnn's layers alone, so only those are used that both have. And on a
GPU they make 8 bits of the output by a conversion that GLSL leaves undefined for negative numbers: what should be black
was white in places. So the last layer is a ReLU.
"""

from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from tunable.arrays import Tensors
from tunable.backends.model import WeightsModel
from tunable.errors import BackendError, CheckFailed, TunableError
from tunable.exports.judging import Report
from tunable.files import atomic, check_writable
from tunable.specs.networks import CompactSpec, NetworkSpec, ResNetSpec, UNetSpec, shuffles
from tunable.specs.residual import DIV2K_MEAN
from tunable.tolerances import TOLERANCES, relative_error

KNOWN = ("compact", "resnet", "unet")
_MAGIC = 7767517  # the first line of a text of layers
_SIDES = ((2, 3), (3, 1))  # height and width of the comparison, in multiples of 16 pixels


def export_ncnn(model: WeightsModel, path: str | Path, omega: ArrayLike | None = None) -> tuple[list[Path], Report]:
    """Write a network for ncnn, with negative output set to 0, once ncnn has run it and the output has been compared.

    Args:
        model: with weights, of a compact, a resnet or a unet.
        path: the file of layers, *.param; the numbers stand beside it in *.bin.
        omega: (p,) to fold at; None for a plain network.

    Returns:
        The files, and how far ncnn's output is from the model's.

    Raises:
        CheckFailed: where it is too far; no file is left.
        BackendError: where ncnn is not installed.
        TunableError: for what cannot be asked.
    """
    path, network = Path(path), model.header.network
    if network.name not in KNOWN:
        raise TunableError(f"files for ncnn are written of {', '.join(KNOWN)}, not of {network.name}")
    if path.suffix != ".param":
        raise TunableError(f"a file of layers for ncnn must be named *.param, not {path}")
    files = [path, path.with_suffix(".bin")]
    for file in files:
        check_writable(file)
    folded = model if omega is None else model.fold(omega)
    layers, numbers = written(network, folded.backend.parameters(folded.network))
    with atomic(files[0]) as text, atomic(files[1]) as binary:
        text.write_text(layers, encoding="ascii")
        binary.write_bytes(numbers)
        report = Report("ncnn", "folded", _errors(folded, text, binary), (), "export")
        if not report.passed:
            raise CheckFailed(
                f"ncnn's output is not the network's, and nothing was kept: relative error {report.worst:.1e}, "
                f"limit {TOLERANCES[report.limit].limit:.0e}"
            )
    return files, report


def _errors(model: WeightsModel, text: Path, binary: Path) -> dict[str, float]:
    try:
        import ncnn
    except ImportError:
        raise BackendError("files for ncnn are checked by ncnn, which is not installed: pip install ncnn") from None
    rng, errors = np.random.default_rng(0), {}
    multiple = 16 * model.header.network.padding_multiple // np.gcd(16, model.header.network.padding_multiple)
    for down, across in _SIDES:
        net = ncnn.Net()
        for option in ("use_vulkan_compute", "use_fp16_packed", "use_fp16_storage", "use_fp16_arithmetic"):
            setattr(net.opt, option, False)
        net.load_param(str(text))
        net.load_model(str(binary))
        image = rng.random((3, down * multiple, across * multiple), np.float32)
        extractor = net.create_extractor()
        extractor.input("data", ncnn.Mat(image).clone())
        _, output = extractor.extract("output")
        expected = np.maximum(model.run(image[None])[0], 0)
        output = np.array(output)
        same = output.shape == expected.shape
        size = f"{image.shape[1]}x{image.shape[2]}"
        errors[size] = relative_error(output, expected) if same else float("inf")
    return errors


def written(network: NetworkSpec, tensors: Tensors) -> tuple[str, bytes]:
    """Return the text of layers and the numbers of a plain network of `KNOWN`.

    Args:
        network: of which the tensors are.
        tensors: by name, of the folded network.
    """
    graph = _Graph(tensors)
    if isinstance(network, CompactSpec):
        _compact(graph, network)
    elif isinstance(network, ResNetSpec):
        _resnet(graph, network)
    elif isinstance(network, UNetSpec):
        _unet(graph, network)
    graph.add("ReLU", [graph.layers[-1][1]])
    return graph.text(), bytes(graph.numbers)


class _Graph:
    """Layers in order; a blob is known by the name of the layer that makes it."""

    def __init__(self, tensors: Tensors) -> None:
        self.tensors, self.numbers = tensors, bytearray()
        self.layers: list[tuple[str, str, list[str], str]] = [("Input", "data", [], "")]

    def add(self, kind: str, inputs: list[str], *arguments: str, name: str = "") -> str:
        """Add a layer, and return its blob."""
        name = name or f"{kind.lower()}_{len(self.layers)}"
        self.layers.append((kind, name, inputs, " ".join(arguments)))
        return name

    def conv(self, x: str, layer: str, *, stride: int = 1, relu: bool = False) -> str:
        """A convolution, padded by half its kernel, or not where it has a stride; with the ReLU after it."""
        return self._conv(x, self.tensors[f"{layer}.weight"], self.tensors.get(f"{layer}.bias"), stride, relu)

    def _conv(self, x: str, weight: np.ndarray, bias: np.ndarray | None, stride: int = 1, relu: bool = False) -> str:
        out, _, side, _ = weight.shape
        self._write(np.zeros(1, np.int32), weight, *([] if bias is None else [bias]))  # 0: numbers of 32 bits follow
        facts = {0: out, 1: side, 3: stride, 4: 0 if stride > 1 else side // 2, 5: int(bias is not None)}
        facts |= {6: weight.size} | ({9: 1} if relu else {})
        return self.add("Convolution", [x], *(f"{key}={value}" for key, value in facts.items()))

    def prelu(self, x: str, slopes: np.ndarray) -> str:
        """A PReLU of a slope for each channel."""
        self._write(slopes)
        return self.add("PReLU", [x], f"0={slopes.size}")

    def shift(self, x: str, colour: np.ndarray) -> str:
        """A number added to each channel: a convolution with the identity, for want of a layer that adds alone."""
        return self._conv(x, np.eye(colour.size, dtype=np.float32)[:, :, None, None], colour)

    def nearest(self, x: str, factor: int) -> str:
        """Every pixel repeated down and across."""
        return self.add("Interp", [x], "0=1", f"1={factor:.1f}", f"2={factor:.1f}") if factor > 1 else x

    def shuffle(self, x: str, factor: int) -> str:
        """Pixels of channels."""
        return self.add("PixelShuffle", [x], f"0={factor}") if factor > 1 else x

    def sum(self, x: str, y: str, name: str = "") -> str:
        """The sum of two blobs."""
        return self.add("BinaryOp", [x, y], "0=0", name=name)

    def _write(self, *arrays: np.ndarray) -> None:
        for array in arrays:
            self.numbers += array.astype(array.dtype.newbyteorder("<")).tobytes()

    def text(self) -> str:
        """The text of layers, in which the last blob is called output, and one that several take is split before."""
        takers = Counter(x for _, _, inputs, _ in self.layers for x in inputs)
        last, taken, lines, blobs = self.layers[-1][1], Counter(), [], 0
        for kind, name, inputs, arguments in self.layers:
            sources = []
            for x in inputs:
                sources.append(f"{x}_{taken[x]}" if takers[x] > 1 else x)
                taken[x] += 1
            blob = "output" if name == last else name
            lines.append(" ".join([kind, name, str(len(inputs)), "1", *sources, blob, arguments]).rstrip())
            blobs += 1
            if takers[name] > 1:
                copies = [f"{name}_{i}" for i in range(takers[name])]
                lines.append(" ".join(["Split", f"split_{name}", "1", str(len(copies)), name, *copies]))
                blobs += len(copies)
        return "\n".join([str(_MAGIC), f"{len(lines)} {blobs}", *lines]) + "\n"


def _compact(graph: _Graph, network: CompactSpec) -> None:
    y = "data"
    for place in range(0, 2 * network.blocks + 2, 2):
        y = graph.prelu(graph.conv(y, f"body.{place}"), graph.tensors[f"body.{place + 1}.weight"])
    y = graph.conv(y, f"body.{2 * network.blocks + 2}")
    graph.sum(graph.shuffle(y, network.upscale), graph.nearest("data", network.upscale))


def _resnet(graph: _Graph, network: ResNetSpec) -> None:
    mean = np.array(DIV2K_MEAN, np.float32)
    x = graph.shift("data", -mean) if network.mean else "data"
    first = y = graph.conv(x, "head", relu=network.head_relu)
    for block in range(network.blocks):
        z = graph.conv(graph.conv(y, f"body.{block}.conv1", relu=True), f"body.{block}.conv2")
        if network.residual_scale != 1:
            z = graph.add("BinaryOp", [z], "0=2", "1=1", f"2={network.residual_scale:.9g}")
        y = graph.sum(y, z)
    y = graph.sum(y, first)
    for place, factor in enumerate(shuffles(network.upscale)):
        y = graph.shuffle(graph.conv(y, f"upsample.{place}"), factor)
    y = graph.conv(y, "tail")
    if network.global_residual:
        y = graph.sum(y, graph.nearest(x, network.upscale))
    if network.mean:
        graph.shift(y, mean)


def _unet(graph: _Graph, network: UNetSpec) -> None:
    def double(x: str, layer: str) -> str:
        return graph.conv(graph.conv(x, f"{layer}.conv1", relu=True), f"{layer}.conv2", relu=True)

    y, kept = "data", []
    for scale in range(network.depth):
        kept.append(double(y, f"encoders.{scale}"))
        y = graph.conv(kept[-1], f"downs.{scale}", stride=2)
    y = double(y, "middle")
    for place in range(network.depth):
        y = graph.nearest(graph.conv(y, f"ups.{place}"), 2)
        y = double(graph.add("Concat", [kept.pop(), y], "0=0"), f"decoders.{place}")
    graph.sum(graph.conv(y, "tail"), "data")
