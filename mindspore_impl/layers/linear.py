"""The tunable linear layer."""

from collections.abc import Sequence

import mindspore as ms
from mindspore import nn

from mindspore_impl import ops
from mindspore_impl.layers.kernel import TunableKernel
from mindspore_impl.layers.maps import is_map
from tunable.specs.formulations import DEFAULT_PHI, Formulation


class TunableLinear(TunableKernel):
    """A linear layer whose matrix and bias are set by omega: y = W(omega) x + b(omega) (Eqs. 3, 6).

    Parameters: weight (k, out, in), bias (k, out), phi.*; k is the number of kernels, p or (phi `base`) p + 1.
    Differences of low rank or scale have parameters of their own.

    Args:
        in_features: length of the last axis of the input.
        out_features: length of the last axis of the output.
        num_objectives: p, at least 1.
        bias: whether a bias is added, which omega sets too.
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
        differences: what stands beside the base kernel: full, low_rank or scale (docs/method.md, "Formulations").
        rank: of low_rank differences, at least 1; 0 for the others.
        anchor: omega* (p,), at which the layer is its base kernel; () where that is omega = 0.
        bump: whether each pair of objectives has a kernel, weighed by the product of the two.
        seed: seed of the starting weights; None draws one from the framework's generator.

    Raises:
        TunableError: for num_objectives below 1 or an unknown phi.
    """

    kind = "linear"

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        num_objectives: int,
        bias: bool = True,
        phi: str = DEFAULT_PHI,
        differences: str = "full",
        rank: int = 0,
        anchor: Sequence[float] = (),
        bump: bool = False,
        seed: int | None = None,
    ) -> None:
        super().__init__(num_objectives, Formulation(phi, differences, rank, anchor, bump))
        self.in_features = in_features
        self.out_features = out_features
        self._make((out_features, in_features), out_features, bias, seed)

    def construct(self, x: ms.Tensor, omega: ms.Tensor) -> ms.Tensor:
        """Multiply x (N, ..., in) by the matrix of omega (p,), (N, p), or a map (N, p, ...); returns (N, ..., out)."""
        if is_map(omega):
            return self._per_pixel(x, self.alpha(omega))
        return ops.linear(x, *self.at(omega))

    def _per_pixel(self, x: ms.Tensor, alpha: ms.Tensor) -> ms.Tensor:
        """Every pixel at its own alpha (N, k, ...), by a convolution of a row of pixels."""
        row = x.reshape(x.shape[0], -1, self.in_features).swapaxes(1, 2)
        alpha = alpha.reshape(*alpha.shape[:2], -1)
        full = self.differences == "full"
        y = (
            self._run(row, alpha, self.weight, self.bias, "basis")
            if full
            else self._beside(row, alpha, self._bias_at(alpha))
        )
        return y.swapaxes(1, 2).reshape(*x.shape[:-1], self.out_features)

    def _run(
        self, x: ms.Tensor, alpha: ms.Tensor | None, weight: ms.Tensor, bias: ms.Tensor | None, form: str
    ) -> ms.Tensor:
        return ops.conv(x, alpha, weight[..., None], bias, (1,), (0,), (1,), 1, form)

    def pixels(self, x: ms.Tensor) -> tuple[int, ...]:
        """Return the size of the maps for an input x (N, ..., in), of all axes between its first and its last."""
        return tuple(x.shape[1:-1])

    def fold(self, omega: ms.Tensor) -> nn.Dense:
        """Return the ordinary linear layer that equals this one at omega (p,); OmegaError for another shape."""
        return self.mixed_into(nn.Dense(self.in_features, self.out_features, has_bias=self.bias is not None), omega)
