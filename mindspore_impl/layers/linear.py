"""The tunable linear layer."""

import mindspore as ms
from mindspore import nn

from mindspore_impl import ops
from mindspore_impl.layers.tunable import Tunable
from tunable.specs.networks import DEFAULT_PHI


class TunableLinear(Tunable):
    """A linear layer whose matrix and bias are set by omega: y = W(omega) x + b(omega) (Eqs. 3, 6).

    Parameters: weight (k, out, in), bias (k, out), phi.*; k is the number of kernels, p or (phi `base`) p + 1.

    Args:
        in_features: length of the last axis of the input.
        out_features: length of the last axis of the output.
        num_objectives: p, at least 1.
        bias: whether a bias is added, which omega sets too.
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
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
        seed: int | None = None,
    ) -> None:
        super().__init__(num_objectives, phi)
        self.in_features = in_features
        self.out_features = out_features
        self.weight = ops.parameter((self.num_kernels, out_features, in_features))
        self.bias = ops.parameter((self.num_kernels, out_features)) if bias else None
        self.start(seed)

    def construct(self, x: ms.Tensor, omega: ms.Tensor) -> ms.Tensor:
        """Multiply x (N, ..., in) by the matrix of omega (p,) or (N, p); returns (N, ..., out)."""
        return ops.linear(x, self.alpha(omega), self.weight, self.bias)

    def roles(self) -> dict[str, tuple[str, int]]:
        """Return the (role, fan_in) of the layer's parameters by local name, as ParameterSpec explains them."""
        return {"weight": ("kernel", self.in_features), "bias": ("bias", self.in_features)}

    def fold(self, omega: ms.Tensor) -> nn.Dense:
        """Return the ordinary linear layer that equals this one at omega (p,); OmegaError for another shape."""
        return self.mixed_into(nn.Dense(self.in_features, self.out_features, has_bias=self.bias is not None), omega)
