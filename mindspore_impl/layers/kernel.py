"""What the tunable convolutions and the tunable linear layer share: a kernel, its differences, a bias."""

import math

import mindspore as ms
from mindspore import ops as _ops

from mindspore_impl import ops
from mindspore_impl.layers.tunable import Kernels, Tunable
from tunable.errors import TunableError
from tunable.specs.formulations import FACTORS, Formulation


class TunableKernel(Tunable):
    """Base of the layers that have a kernel and a bias.

    Parameters: with full differences weight (k, *kernel). Else weight (1, *kernel), the base kernel, and for m
    differences down (m, *A) and up (m, out, rank), or gain (m, out). bias (k, out), phi.*.

    Attributes:
        groups: parts of the channels that do not see each other.
        transposed: whether kernels are (in, out / groups, *size), as transposed convolutions have them.
        rank: of the differences; 0 where they are not of low rank.
    """

    groups = 1
    transposed = False

    def __init__(self, num_objectives: int, formulation: Formulation) -> None:
        super().__init__(num_objectives, formulation)
        self.rank = 0
        self.down = self.up = self.gain = None

    def _make(self, kernel: tuple[int, ...], out: int, bias: bool, seed: int | None) -> None:
        """Make the parameters for kernels of one shape and start them."""
        within = kernel[0] // self.groups if self.transposed else kernel[1]
        self.fan_in = math.prod(kernel[1:])
        full, differences = self.differences == "full", self.num_kernels - 1
        self.weight = ops.parameter((self.num_kernels if full else 1, *kernel))
        if self.differences == "low_rank":
            self.rank = self.formulation.rank_of(out // self.groups, within, math.prod(kernel[2:]))
            first = (kernel[0], self.rank) if self.transposed else (self.groups * self.rank, within)
            self.down = ops.parameter((differences, *first, *kernel[2:]))
            self.up = ops.parameter((differences, out, self.rank))
        if self.differences == "scale":
            self.gain = ops.parameter((differences, out))
        self.bias = ops.parameter((self.num_kernels, out)) if bias else None
        self.start(seed)

    def mixed(self, alpha: ms.Tensor) -> tuple[ms.Tensor, ms.Tensor | None]:
        """Return kernel and bias at alpha (k,), or those of every sample at alpha (N, k); without a bias None."""
        return self.kernel(alpha), None if self.bias is None else ops.aggregate(alpha, self.bias)

    def kernel(self, alpha: ms.Tensor) -> ms.Tensor:
        """Return the kernel at alpha (k,), or those of every sample at alpha (N, k)."""
        if self.gain is not None:
            return ops.with_scale(alpha, self.weight, self.gain, self.groups, self.transposed)
        if self.up is not None and self.down is not None:
            return ops.with_low_rank(alpha, self.weight, self.up, self.down, self.groups, self.transposed)
        return ops.aggregate(alpha, self.weight)

    def _unmixed(self, omega: ms.Tensor) -> Kernels:
        alpha = self.alpha(omega)
        if self.differences == "full":
            return alpha, self.weight, self.bias
        if not self.beside(omega):
            kernel, bias = self.mixed(alpha)
            return None, kernel, bias
        return alpha, self.weight, self._bias_at(alpha)

    def _bias_at(self, alpha: ms.Tensor) -> ms.Tensor | None:
        """The bias of every sample (N, out) or pixel (N, out, *size)."""
        if self.bias is None:
            return None
        return ops.aggregate(alpha, self.bias) if alpha.ndim == 2 else ops.at_outputs(alpha, self.bias, alpha.ndim - 2)

    def _run(
        self, x: ms.Tensor, alpha: ms.Tensor | None, weight: ms.Tensor, bias: ms.Tensor | None, form: str
    ) -> ms.Tensor:
        """The layer with other kernels than its own; `ops.conv` says what they are."""
        raise TunableError(f"{type(self).__name__} does not say what it computes")

    def _beside(self, x: ms.Tensor, alpha: ms.Tensor, bias: ms.Tensor | None) -> ms.Tensor:
        """Every sample or pixel at its own alpha: differences computed beside the base kernel, not added to it.

        bias is that of every sample or pixel.
        """
        base = self.weight[0]
        if self.up is not None and self.down is not None:
            factors = ops.stacked(self.down, self.groups, self.transposed)
            if self.groups == 1:  # one convolution for both
                both = self._run(x, None, _ops.concat([base, factors], int(self.transposed)), None, "shared")
                y, features = both[:, : self.up.shape[1]], both[:, self.up.shape[1] :]
            else:
                y = self._run(x, None, base, None, "shared")
                features = self._run(x, None, factors, None, "shared")
            y = ops.with_low_rank_outputs(y, features, alpha, self.up, self.groups)
        else:
            y = self._run(x, None, base, None, "shared")
        if self.gain is not None:
            y = ops.with_scaled_outputs(y, alpha, self.gain)
        return y if bias is None else ops.with_bias(y, bias)

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the layer's parameters by local name, as ParameterSpec explains them."""
        kernel = ("kernel", self.fan_in)
        return {"weight": kernel, "down": kernel, "up": ("zero", 0), "gain": ("zero", 0), "bias": ("bias", self.fan_in)}

    def stacked(self, name: str) -> bool:
        """Return whether a parameter holds the base kernel and its differences, one behind the other."""
        return self.differences == "full" or name not in ("weight", *FACTORS)
