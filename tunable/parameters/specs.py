"""What a twin declares of each parameter of a network."""

from typing import NamedTuple

ROLES = ("kernel", "bias", "phi", "one", "zero")


class ParameterSpec(NamedTuple):
    """One parameter of a network, as a twin declares it.

    shape    as stored, kernel axis first for tunable ones
    role     `kernel` and `bias` (of a convolution or a linear layer), `phi`, `one`, `zero`
             (norms and free parameters: the value they start from)
    fan_in   inputs per output of the layer, for `kernel` and `bias`
    phi      form of the layer's phi when tunable, "" for an ordinary layer
    """

    name: str
    shape: tuple[int, ...]
    role: str
    fan_in: int = 0
    phi: str = ""
