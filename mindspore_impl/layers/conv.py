"""Tunable convolutions (Eqs. 3, 5, 6)."""

from collections.abc import Sequence

import mindspore as ms
from mindspore import nn

from mindspore_impl import ops
from mindspore_impl.layers.kernel import TunableKernel
from tunable.errors import TunableError, nearest
from tunable.forms import FORMS, kind_of
from tunable.specs.formulations import DEFAULT_PHI, Formulation

PADDING_MODES = ("zeros", "reflect", "replicate")


class TunableConv(TunableKernel):
    """A convolution whose kernel and bias are set by omega: y = x * k(omega) + b(omega) (Eqs. 3, 5, 6).

    Parameters: weight (k, out, in / groups, *kernel size), bias (k, out), phi.*; k is the number of
    kernels, p or (phi `base`) p + 1. Differences of low rank or scale have parameters of their own.
    Use TunableConv1d, TunableConv2d or TunableConv3d.

    Args:
        in_channels: channels of the input, at least 1.
        out_channels: channels of the output, at least 1.
        kernel_size: taps along each dimension, at least 1: one number, or one per dimension.
        num_objectives: p, at least 1.
        stride: pixels from one output to the next, at least 1: one number, or one per dimension.
        padding: pixels added on both sides, at least 0: one number, or one per dimension.
        dilation: pixels from one tap to the next, at least 1: one number, or one per dimension.
        groups: parts of the channels that do not see each other; it divides both numbers of channels.
        bias: whether a bias is added, which omega sets too.
        padding_mode: what is added: zeros, reflect or replicate.
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
        differences: what stands beside the base kernel: full, low_rank or scale (docs/method.md, "Formulations").
        rank: of low_rank differences, at least 1; 0 for the others.
        anchor: omega* (p,), at which the layer is its base kernel; () where that is omega = 0.
        bump: whether each pair of objectives has a kernel, weighed by the product of the two.
        form: how an omega per sample is computed, a name of tunable.forms.FORMS; `auto` takes the fastest.
        seed: seed of the starting weights; None draws one from the framework's generator.

    Raises:
        TunableError: for a value out of range, groups that do not divide the channels, or an unknown name.
    """

    dims = 0

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        *,
        num_objectives: int,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        phi: str = DEFAULT_PHI,
        differences: str = "full",
        rank: int = 0,
        anchor: Sequence[float] = (),
        bump: bool = False,
        form: str = "auto",
        seed: int | None = None,
    ) -> None:
        super().__init__(num_objectives, Formulation(phi, differences, rank, anchor, bump))
        if min(in_channels, out_channels, groups) < 1 or in_channels % groups or out_channels % groups:
            raise TunableError(f"groups {groups} must divide in_channels {in_channels} and out_channels {out_channels}")
        _known("form", form, FORMS)
        _known("padding_mode", padding_mode, PADDING_MODES)
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = self._each("kernel_size", kernel_size, 1)
        self.stride = self._each("stride", stride, 1)
        self.padding = self._each("padding", padding, 0)
        self.dilation = self._each("dilation", dilation, 1)
        self.groups = groups
        self.padding_mode = padding_mode
        self.form = form
        self.geometry = self._kind()
        self._make((*self._channels(), *self.kernel_size), out_channels, bias, seed)

    def construct(self, x: ms.Tensor, omega: ms.Tensor) -> ms.Tensor:
        """Convolve x (N, in, *size) with the kernels of omega; returns (N, out, *size').

        omega is (p,), (N, p), or a map (N, p, *size') whose pixels are the output's.
        """
        alpha, weight, bias = self.at(omega)
        if alpha is None or self.differences == "full":
            return self._run(x, alpha, weight, bias, self.form if alpha is None or alpha.ndim < 3 else "basis")
        return self._beside(x, alpha, bias)

    def beside(self, omega: ms.Tensor) -> bool:
        """Return whether the layer runs its kernels beside each other at omega, and mixes none."""
        form = "basis" if omega.ndim > 2 else self.form
        return ops.form_of(omega, form, omega.ndim > 1, self.geometry, self.differences) == "basis"

    def _run(
        self, x: ms.Tensor, alpha: ms.Tensor | None, weight: ms.Tensor, bias: ms.Tensor | None, form: str
    ) -> ms.Tensor:
        """The convolution with other kernels than the layer's own; `ops.conv` says what they are."""
        padding = self.padding
        if self.padding_mode != "zeros":
            x = ops.pad(x, padding, self.padding_mode)
            padding = (0,) * self.dims
        return ops.conv(x, alpha, weight, bias, self.stride, padding, self.dilation, self.groups, form)

    def _kind(self) -> str:
        """What kind of layer it is for tunable.forms."""
        padding = self.padding if self.padding_mode == "zeros" else ()
        return kind_of((*self._channels(), *self.kernel_size), self.groups, padding)

    def options(self) -> dict:
        """Return the keyword arguments with which the oracle computes this layer."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "dilation": self.dilation,
            "groups": self.groups,
            "padding_mode": self.padding_mode,
        }

    def fold(self, omega: ms.Tensor) -> nn.Cell:
        """Return the ordinary convolution that equals this one at omega (p,); OmegaError for another shape."""
        channels, bias = (self.in_channels, self.out_channels), self.bias is not None
        folded = ops.ordinary_conv(*channels, kernel_size=self.kernel_size, bias=bias, **self.options())
        return self.mixed_into(folded, omega)

    def pixels(self, x: ms.Tensor) -> tuple[int, ...]:
        """Return the size of the output for an input x (N, in, *size), which maps have."""
        each = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        return tuple((m + 2 * p - d * (k - 1) - 1) // s + 1 for m, k, s, p, d in each)

    def _channels(self) -> tuple[int, int]:
        """The sizes of the two channel axes of a kernel."""
        return self.out_channels, self.in_channels // self.groups

    def _each(self, name: str, value: int | tuple[int, ...], least: int) -> tuple[int, ...]:
        """One number per dimension."""
        values = tuple(value) if isinstance(value, tuple | list) else (value,) * self.dims
        if len(values) != self.dims or not all(isinstance(each, int) and each >= least for each in values):
            raise TunableError(f"{name} must be one integer or {self.dims}, each at least {least}, not {value!r}")
        return values


class TunableConv1d(TunableConv):
    """A tunable convolution of sequences, x (N, in, L)."""

    kind = "conv1d"
    dims = 1


class TunableConv2d(TunableConv):
    """A tunable convolution of pictures, x (N, in, H, W)."""

    kind = "conv2d"
    dims = 2


class TunableConv3d(TunableConv):
    """A tunable convolution of volumes, x (N, in, D, H, W)."""

    kind = "conv3d"
    dims = 3


class TunableConvTranspose(TunableConv):
    """A transposed convolution whose kernel and bias are set by omega (Eqs. 3, 5, 6).

    A pixel of the input adds its multiple of the kernel to the output, size' = (size - 1) stride - 2 padding +
    dilation (kernel size - 1) + output_padding + 1.

    Parameters: weight (k, in, out / groups, *kernel size), bias (k, out), phi.*; k is the number of
    kernels, p or (phi `base`) p + 1. Differences of low rank or scale have parameters of their own.
    Use TunableConvTranspose1d, TunableConvTranspose2d or TunableConvTranspose3d.

    Args:
        in_channels: channels of the input, at least 1.
        out_channels: channels of the output, at least 1.
        kernel_size: taps along each dimension, at least 1: one number, or one per dimension.
        num_objectives: p, at least 1.
        stride: output pixels from one input to the next, at least 1: one number, or one per dimension.
        padding: output pixels cut off on both sides, at least 0: one number, or one per dimension.
        output_padding: output pixels added at the end, less than stride or dilation: one number, or one per dimension.
        dilation: pixels from one tap to the next, at least 1: one number, or one per dimension.
        groups: parts of the channels that do not see each other; it divides both numbers of channels.
        bias: whether a bias is added, which omega sets too.
        phi: form of the map from omega to the weights of the kernels: affine, identity, se or base (Eq. 6).
        differences: what stands beside the base kernel: full, low_rank or scale (docs/method.md, "Formulations").
        rank: of low_rank differences, at least 1; 0 for the others.
        anchor: omega* (p,), at which the layer is its base kernel; () where that is omega = 0.
        bump: whether each pair of objectives has a kernel, weighed by the product of the two.
        form: how an omega per sample is computed, a name of tunable.forms.FORMS; `auto` takes the fastest.
        seed: seed of the starting weights; None draws one from the framework's generator.

    Raises:
        TunableError: for a value out of range, groups that do not divide the channels, or an unknown name.
    """

    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, ...],
        *,
        num_objectives: int,
        stride: int | tuple[int, ...] = 1,
        padding: int | tuple[int, ...] = 0,
        output_padding: int | tuple[int, ...] = 0,
        dilation: int | tuple[int, ...] = 1,
        groups: int = 1,
        bias: bool = True,
        phi: str = DEFAULT_PHI,
        differences: str = "full",
        rank: int = 0,
        anchor: Sequence[float] = (),
        bump: bool = False,
        form: str = "auto",
        seed: int | None = None,
    ) -> None:
        super().__init__(
            in_channels,
            out_channels,
            kernel_size,
            num_objectives=num_objectives,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            bias=bias,
            phi=phi,
            differences=differences,
            rank=rank,
            anchor=anchor,
            bump=bump,
            form=form,
            seed=seed,
        )
        self.output_padding = self._each("output_padding", output_padding, 0)
        for added, *larger in zip(self.output_padding, self.stride, self.dilation, strict=True):
            if added >= max(larger):
                raise TunableError(
                    f"output_padding {self.output_padding} must be less than stride {self.stride} "
                    f"or dilation {self.dilation}"
                )

    def _run(
        self, x: ms.Tensor, alpha: ms.Tensor | None, weight: ms.Tensor, bias: ms.Tensor | None, form: str
    ) -> ms.Tensor:
        options = (self.stride, self.padding, self.output_padding, self.dilation, self.groups)
        return ops.conv_transpose(x, alpha, weight, bias, *options, form)

    def _kind(self) -> str:
        return "dense"  # a point or a depth-wise one is not special

    def options(self) -> dict:
        """Return the keyword arguments with which the oracle computes this layer."""
        return {
            "stride": self.stride,
            "padding": self.padding,
            "output_padding": self.output_padding,
            "dilation": self.dilation,
            "groups": self.groups,
        }

    def pixels(self, x: ms.Tensor) -> tuple[int, ...]:
        """Return the size of the output for an input x (N, in, *size), which maps have."""
        each = zip(x.shape[2:], self.kernel_size, self.stride, self.padding, self.dilation, strict=True)
        sizes = [(m - 1) * s - 2 * p + d * (k - 1) + 1 for m, k, s, p, d in each]
        return tuple(size + added for size, added in zip(sizes, self.output_padding, strict=True))

    def _channels(self) -> tuple[int, int]:
        return self.in_channels, self.out_channels // self.groups


class TunableConvTranspose1d(TunableConvTranspose):
    """A tunable transposed convolution of sequences, x (N, in, L)."""

    kind = "conv_transpose1d"
    dims = 1


class TunableConvTranspose2d(TunableConvTranspose):
    """A tunable transposed convolution of pictures, x (N, in, H, W)."""

    kind = "conv_transpose2d"
    dims = 2


class TunableConvTranspose3d(TunableConvTranspose):
    """A tunable transposed convolution of volumes, x (N, in, D, H, W)."""

    kind = "conv_transpose3d"
    dims = 3


def _known(kind: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise TunableError(f"unknown {kind} {name!r}{nearest(name, known)}; known: {', '.join(known)}")
