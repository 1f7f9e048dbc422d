"""Parts of one's own that compute with tensors (docs/own_parts.md): made by name, checked, and wrapped."""

from collections.abc import Mapping
from typing import Any

import mindspore as ms
from mindspore import nn

from tunable.errors import TunableError
from tunable.own import blamed, imported
from tunable.specs.own import OfFramework

FRAMEWORK = "mindspore"


def made(spec: OfFramework, what: str, arguments: Mapping[str, Any]) -> nn.Cell:
    """Import and construct the class that a specification names for this framework.

    Args:
        spec: of the part.
        what: it is, for messages: "network", "objective".
        arguments: of its constructor.

    Raises:
        TunableError: where there is no class for this framework, the class is of another, or it cannot be made.
    """
    reference = spec.reference_for(FRAMEWORK, what)
    kind = imported(reference, what)
    if not issubclass(kind, nn.Cell):
        raise TunableError(f"{what} {reference} is no mindspore.nn.Cell: backend {FRAMEWORK!r} cannot run it")
    with blamed(reference, what):
        return kind(**arguments)


class OwnObjective(nn.Cell):
    """An objective of one's own, called as every other: objective(restored, sample, omega) -> (N,).

    Args:
        spec: which class, and the arguments of its constructor.
        like: a parameter of the network that is trained.
    """

    def __init__(self, spec: OfFramework, like: ms.Parameter) -> None:
        super().__init__()
        self.part = made(spec, "objective", spec.options)
        self.message = f"objective {spec.reference_for(FRAMEWORK, 'objective')} must return one number for each sample"

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
