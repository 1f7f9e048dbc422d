"""Parts of one's own that compute with tensors (docs/own_parts.md): made by name, checked, and wrapped."""

import inspect
from collections.abc import Callable

import mindspore as ms
import numpy as np
from mindspore import nn

from mindspore_impl import ops, parameters
from mindspore_impl.retrofit import TunedNetwork, make_tunable
from mindspore_impl.retrofit.makers import planned
from tunable.errors import OmegaError, TunableError
from tunable.omega import check_tensor
from tunable.own import blamed, imported
from tunable.parameters.specs import ParameterSpec
from tunable.retrofit import Entry
from tunable.specs.own import OfFramework
from tunable.specs.own_network import OwnNetwork as Specification

FRAMEWORK = "mindspore"


def kind_of(spec: OfFramework, what: str) -> Callable[..., nn.Cell]:
    """Import the class that a specification names for this framework, or the function that makes the network.

    Args:
        spec: of the part.
        what: it is, for messages: "network", "objective".

    Raises:
        TunableError: where there is no class for this framework, and where the class is of another.
    """
    reference = spec.reference_for(FRAMEWORK, what)
    kind = imported(reference, what, functions=what == "network")
    if isinstance(kind, type) and not issubclass(kind, nn.Cell):
        raise TunableError(f"{what} {reference} is no mindspore.nn.Cell: backend {FRAMEWORK!r} cannot run it")
    return kind


class OwnObjective(nn.Cell):
    """An objective of one's own, called as every other: objective(restored, sample, omega) -> (N,).

    Args:
        spec: which class, and the arguments of its constructor.
        like: a parameter of the network that is trained.
    """

    def __init__(self, spec: OfFramework, like: ms.Parameter) -> None:
        super().__init__()
        kind = kind_of(spec, "objective")
        with blamed(spec.named, "objective"):
            self.part = kind(**spec.options)
        self.message = f"objective {spec.named} must return one number for each sample"

    def construct(self, restored: ms.Tensor, sample: dict[str, ms.Tensor], omega: ms.Tensor) -> ms.Tensor:
        """Return the objective of every sample, (N,).

        Args:
            restored: the network's output, (N, 3, H, W).
            sample: pictures of the same shape by name, `clean` and `degraded` among them.
            omega: (N, 1), the knob of this objective.

        Raises:
            ValueError: where the part returns another shape; a graph raises Python's own errors only.
        """
        terms = self.part(restored, sample, omega)
        if terms.shape != restored.shape[:1]:
            raise ValueError(self.message)
        return terms


class OwnNetwork(nn.Cell):
    """A network of one's own, called as every other: network(x, omega) when tunable, network(x) when plain.

    A class whose constructor takes `num_objectives` is tunable by itself; every other is made tunable.

    Args:
        spec: which class, the arguments of its constructor, and what `make_tunable` is told.
        num_objectives: p; 0 for the plain form.
        part: what runs, instead of a new object of the class: it has the class already.
        kind: the class or function, where it is imported already.
    """

    def __init__(
        self,
        spec: Specification,
        num_objectives: int,
        part: nn.Cell | None = None,
        kind: Callable[..., nn.Cell] | None = None,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.num_objectives = num_objectives
        self.kind = kind or kind_of(spec, "network")
        self.part = part or self._made()

    def __call__(self, x: ms.Tensor, omega: ms.Tensor | None = None) -> ms.Tensor:
        """Raise OmegaError where omega and the network's form do not agree, in either mode."""
        if omega is None and self.num_objectives:
            raise OmegaError(f"a tunable network wants omega ({self.num_objectives},)")
        if omega is not None:
            check_tensor(omega, self.num_objectives, len(x), without_maps=self.spec.without_maps)
        with ops.alone():
            return super().__call__(x) if omega is None else super().__call__(x, omega)

    def construct(self, x: ms.Tensor, omega: ms.Tensor | None = None) -> ms.Tensor:
        """Run the network.

        Args:
            x: pictures (N, 3, H, W), 0 to 1.
            omega: (p,) for all pictures, or (N, p) for one each; None exactly when the network is plain.

        Returns:
            (N, 3, upscale H, upscale W), not clipped.
        """
        if omega is None:
            return self.part(x)
        return self.part(x, omega)

    def rebuilt(self, num_objectives: int) -> "OwnNetwork":
        """Build the network once more, for p objectives, 0 for its plain form; its weights are not set."""
        return OwnNetwork(self.spec, num_objectives, kind=self.kind)

    def around(self, part: nn.Cell) -> "OwnNetwork":
        """Return a plain network of the same class that runs `part`."""
        return OwnNetwork(self.spec, 0, part, self.kind)

    def specs(self) -> list[ParameterSpec]:
        """Return name and shape of every tensor of the weights file."""
        return [ParameterSpec(name, value.shape, "given") for name, value in self.weights().items()]

    def weights(self) -> dict[str, np.ndarray]:
        """Return the tensors of the weights file by name: parameters, and the running statistics of norms."""
        if isinstance(self.part, TunedNetwork):
            return self.part.weights()
        return {name: parameters.array(each) for name, each in self._entries().items()}

    def assign(self, tensors: dict[str, np.ndarray]) -> None:
        """Set the weights to what `weights` returned."""
        if isinstance(self.part, TunedNetwork):
            self.part.assign(tensors)
            return
        for name, each in self._entries().items():
            parameters.set_value(each, tensors[name])

    def parts(self) -> tuple[nn.Cell, nn.Cell]:
        """Raise TunableError: nobody knows which layers of this network come before those that omega sets."""
        raise TunableError(f"there is nothing to prepare: {self.spec.named} runs as a whole")

    def _entries(self) -> dict[str, Entry]:
        return {**parameters.entries(self.part), **parameters.statistics(self.part)}

    def _made(self) -> nn.Cell:
        spec, knobs = self.spec, self.spec.knobs
        taken = inspect.signature(self.kind.__init__ if isinstance(self.kind, type) else self.kind).parameters
        aware = "num_objectives" in taken and not spec.plan
        arguments = spec.options
        if aware:
            arguments |= {"num_objectives": self.num_objectives}
            arguments |= {name: value for name, value in knobs.items() if name in taken}
        with ops.seeded(), blamed(spec.named, "network"):
            part = self.kind(**arguments)
        if not isinstance(part, nn.Cell):
            made = f"network {spec.named} made a {type(part).__name__}, which is no mindspore.nn.Cell"
            raise TunableError(f"{made}: backend {FRAMEWORK!r} cannot run it")
        if spec.plan and self.num_objectives:
            part = planned(part, spec.plan, spec.named)
        elif not aware and self.num_objectives:
            part = make_tunable(part, self.num_objectives, **knobs)
        return part.set_train(False)
