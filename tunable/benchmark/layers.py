"""The layers that `tunable bench layers` times."""

from typing import NamedTuple

SIZE = 128  # pixels along each side


class Layer(NamedTuple):
    """A layer that keeps the number of channels and the size.

    Attributes:
        kind: one of `tunable.forms.KINDS`, or "linear", which works on rows of SIZE^2.
        kernel: pixels along each side of the kernel.
        channels: of input and output.
        batch: pictures; omega is one for all when there is one picture, else one for each.
        backward: whether the gradients in input and parameters are computed too.
    """

    kind: str
    kernel: int
    channels: int
    batch: int = 1
    backward: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """The input's: (batch, channels, SIZE, SIZE), or (batch, SIZE^2, channels) for a linear layer."""
        if self.kind == "linear":
            return self.batch, SIZE**2, self.channels
        return self.batch, self.channels, SIZE, SIZE

    @property
    def groups(self) -> int:
        """Those of the convolution: as many as channels for a depthwise one, else 1."""
        return self.channels if self.kind == "depthwise" else 1
