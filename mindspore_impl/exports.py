"""Networks as graphs for other runtimes (docs/design.md, "Exports"); form `shared` or `basis` says what omega is."""

from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import mindspore as ms
from mindspore import nn
from mindspore.train import mind_ir_pb2

from mindspore_impl import ops
from mindspore_impl.layers import Tunable
from mindspore_impl.networks import Network
from tunable.backends.heads import settings, told_apart
from tunable.errors import BackendError, CheckpointError
from tunable.exports.forms import ONE_INPUT
from tunable.exports.graphs import Graph, Node
from tunable.exports.onnx_files import finish, require_onnx
from tunable.weights.foreign import check_message

_NO_OPERATORS = {"Constant", "Depend", "Load", "MakeTuple", "Reshape", "TupleGetItem", "UpdateState"}


class _Exported(nn.Cell):
    """A network whose omega has rank 2."""

    def __init__(self, network: Network, form: str) -> None:
        super().__init__(auto_prefix=False)  # the parameters keep their names
        self.network = network
        self.form = form

    def construct(self, image: ms.Tensor, omega: ms.Tensor | None = None) -> ms.Tensor:
        """image (n, c, h, w); omega (1, p) in form `shared`, (n, p) in form `basis`; None when plain."""
        if omega is None:
            return self.network(image)
        return self.network(image, omega[0] if self.form == "shared" else omega)


class _Heads(nn.Cell):
    """A network of which the last layer alone is tunable, and returns base and differences."""

    def __init__(self, network: Network) -> None:
        super().__init__(auto_prefix=False)
        self.network = network
        (last,) = (cell for _, cell in network.cells_and_names() if isinstance(cell, Tunable))
        self.omegas = tuple(map(ms.Tensor, settings(last.formulation, network.num_objectives)))

    def construct(self, image: ms.Tensor) -> ms.Tensor:
        """image (n, c, h, w); returns (n, (1 + m) c, scale h, scale w), of each head all channels."""
        features = self.network.trunk_of(image)
        pictures = [self.network.finish(image, features, omega) for omega in self.omegas]
        return ms.ops.concat(told_apart(pictures, self.network.num_objectives), 1)


class _Planes(nn.Cell):
    """A network whose picture and map of omega are one input, the map's knobs behind the colours."""

    def __init__(self, network: Network) -> None:
        super().__init__(auto_prefix=False)
        self.network = network

    def construct(self, image: ms.Tensor) -> ms.Tensor:
        """image (n, 3 + p, h, w); returns (n, 3, scale h, scale w)."""
        return self.network(image[:, :3], image[:, 3:])


def _wrapped(network: Network, form: str) -> nn.Cell:
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
        size: height and width that are fixed; None: they may vary, which a network that pads its input cannot.

    Raises:
        BackendError: where ONNX is not installed or MindSpore cannot export the network.
    """
    require_onnx()
    inputs, copy = _inputs(network, form, size), _copied(network, form)
    with _exporting(size), ops.erf_replaced():
        ms.onnx.export(
            _wrapped(copy, form),
            *inputs.values(),
            file_name=str(path),
            input_names=list(inputs),
            output_names=["heads" if form == "heads" else "restored"],
        )
    finish(path, metadata, renamed={"Softsign": "Erf"})


def export_mindir(
    network: Network,
    path: str | Path,
    form: str = "shared",
    metadata: dict[str, str] | None = None,
    size: tuple[int, int] | None = None,
) -> None:
    """Write a network as a MINDIR file, whose path ends in .mindir; arguments and errors as for `export_onnx`."""
    inputs, copy = _inputs(network, form, size), _copied(network, form)
    with _exporting(size):
        ms.export(_wrapped(copy, form), *inputs.values(), file_name=str(path), file_format="MINDIR")
    model = _parsed(path)
    model.user_info.update(metadata or {})
    model.primitives.sort(key=lambda primitive: primitive.name)  # they are named, and come in any order
    for graph in (model.graph, *model.functions):
        for attribute in graph.attribute:
            if attribute.name == "compile_phase":  # the time, and an address
                attribute.s = b"export"
    Path(path).write_bytes(model.SerializeToString(deterministic=True))


def operators(network: Network, *inputs: ms.Tensor) -> Counter[str]:
    """Count the operators of the graph to which a network is compiled, by name.

    What reshapes, makes or reads tuples, reads parameters, or keeps an order is left out.

    Args:
        network: a tunable or a plain network.
        inputs: with which it is called.
    """
    with TemporaryDirectory() as folder, ops.running("graph"):
        path = f"{folder}/network.mindir"
        ms.export(network, *inputs, file_name=path, file_format="MINDIR")
        return Counter(node.op for node in read_mindir(path).nodes if node.op not in _NO_OPERATORS)


class ExportedNetwork:
    """A MINDIR file, called as the network that it was made from.

    Args:
        path: the file.

    Raises:
        CheckpointError: for a file that cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        """Read the file; the class says what is raised."""
        model = _parsed(path)
        self.metadata = dict(model.user_info)
        self.inputs = {
            one.name.rpartition(":")[2]: tuple(dim for tensor in one.tensor[:1] for dim in tensor.dims)
            for one in model.graph.input
        }
        self.per_sample = self.inputs.get("omega", (1,))[:1] != (1,)
        try:
            with ops.running("graph"):
                self._graph, self._sizes = nn.GraphCell(ms.load(str(path))), ops.Sizes()
        except (RuntimeError, ValueError) as error:
            raise CheckpointError(f"{path} is not a readable MINDIR file: {_first_line(error)}") from None

    def __call__(self, x: ms.Tensor, omega: ms.Tensor | None = None) -> ms.Tensor:
        """Run x (n, c, h, w) at omega (p,) or (n, p), None for a plain network; returns (n, c, scale h, scale w)."""
        with ops.running("graph"):  # a reloaded graph knows no other mode
            if self._sizes.full(x.shape):
                ops.forget_graphs(self._graph)
            if omega is None:
                return self._graph(x)
            if self.per_sample:
                return self._graph(x, omega.broadcast_to((x.shape[0], omega.shape[-1])))
            if omega.ndim == 1:
                return self._graph(x, omega.reshape(1, -1))
            rows = [self._graph(x[n : n + 1], omega[n : n + 1]) for n in range(x.shape[0])]
            return ms.ops.concat(rows, 0)


def read_mindir(path: str | Path) -> Graph:
    """Return the operators and constants of a MINDIR file; CheckpointError if it cannot be read."""
    model = _parsed(path)
    kinds = {one.name: one for one in model.primitives}
    shapes = {one.name: tuple(one.dims) for one in model.graph.parameter}
    nodes = []
    for node in model.graph.node:
        kind = kinds.get(node.op_type.removeprefix("REF::"))
        groups = next((one.i for one in kind.attribute if one.name == "group"), 1) if kind else 1
        op = kind.op_type if kind else node.op_type
        nested = any(one.HasField("g") or one.graphs for one in node.attribute)
        nodes.append(Node(op, node.name, tuple(node.input), tuple(node.output), groups, nested))
        shape = next((one.tensors for one in node.attribute if one.name == "shape"), ())
        if len(shape) == 1:
            shapes[node.output[0]] = tuple(shape[0].dims)
        if op == "Load" and node.input[0] in shapes:  # a parameter, read
            shapes[node.output[0]] = shapes[node.input[0]]
    for function in model.functions:
        nodes.append(Node("function", function.name, (), (), nested=True))
    # names of inputs stand behind the graph's own name: 12_construct:image
    short = {one.name: one.name.rpartition(":")[2] for one in model.graph.input}
    nodes = [node._replace(inputs=tuple(short.get(name, name) for name in node.inputs)) for node in nodes]
    return Graph(tuple(short.values()), tuple(one.name for one in model.graph.output), tuple(nodes), shapes)


def _inputs(network: Network, form: str, size: tuple[int, int] | None) -> dict[str, ms.Tensor]:
    """The inputs by name; sizes that may vary are None."""
    channels = 3 + network.num_objectives if form == "planes" else 3
    inputs = {"image": ms.Tensor(shape=[None, channels, *(size or (None, None))], dtype=ms.float32)}
    if network.num_objectives and form not in ONE_INPUT:
        rows = 1 if form == "shared" else None
        inputs["omega"] = ms.Tensor(shape=[rows, network.num_objectives], dtype=ms.float32)
    return inputs


def _copied(network: Network, form: str) -> Network:
    """The same network in a form. Built once more: a deep copy would share what MindSpore compiled for it."""
    copy = network.rebuilt(network.num_objectives)
    copy.mix = "layer"  # the same file on every device
    weights = dict(network.parameters_and_names())
    for name, value in copy.parameters_and_names():
        ops.assign(value, weights[name].asnumpy())
    for _, cell in copy.cells_and_names():
        if isinstance(cell, Tunable) and hasattr(cell, "form"):
            cell.form = "shared" if form == "heads" else form
    return copy.set_train(False)


@contextmanager
def _exporting(size: tuple[int, int] | None):
    """BackendError where MindSpore cannot export a network."""
    try:
        with ops.running("graph"), ops.for_export():
            yield
    except RuntimeError as error:
        hint = "" if size else " (with a fixed size, --size HxW, it exports more)"
        raise BackendError(f"MindSpore cannot export this network{hint}: {_first_line(error)}") from None


def _parsed(path: str | Path) -> mind_ir_pb2.ModelProto:
    model = mind_ir_pb2.ModelProto()
    try:
        check_message(Path(path), "MINDIR file")
        model.ParseFromString(Path(path).read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot read {path}: {error.strerror}") from None
    except CheckpointError:
        raise
    except Exception as error:  # protobuf's DecodeError; its module is no dependency of ours
        raise CheckpointError(f"{path} is not a readable MINDIR file: {_first_line(error)}") from None
    return model


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
