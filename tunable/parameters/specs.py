"""What a twin declares of each parameter of a network."""

from typing import NamedTuple

from tunable.errors import TunableError

CONSTANTS = {"one": 1.0, "zero": 0.0, "quarter": 0.25}  # what norms and free parameters start from
ROLES = ("kernel", "bias", "tenth", "condition", "phi", *CONSTANTS)


class ParameterSpec(NamedTuple):
    """One parameter of a network, as a twin declares it.

    Attributes:
        name: its name in the network.
        shape: as it is stored, the axis of kernels first for a tunable one.
        role: `kernel` or `bias` of a convolution or a linear layer, `phi`, or what a norm's or a free parameter starts
            from: `one`, `zero`, `quarter`. CFSNet and CResMD have kernels of role `tenth`, which start Kaiming-normal
            times 0.1, and CResMD scales of role `condition`: zero, and for each knob as `tenth`.
        fan_in: inputs per output of the layer, for `kernel`, `tenth`, `condition` and `bias`.
        phi: the form of the layer's phi when tunable, "" for an ordinary layer.
    """

    name: str
    shape: tuple[int, ...]
    role: str
    fan_in: int = 0
    phi: str = ""


def constant_role(value: float) -> str:
    """Return the role of a parameter that starts from a constant.

    Args:
        value: 0, 0.25 or 1.

    Raises:
        TunableError: for another value.
    """
    for role, constant in CONSTANTS.items():
        if value == constant:
            return role
    raise TunableError(f"a parameter may start from {', '.join(map(str, CONSTANTS.values()))}, not {value}")
