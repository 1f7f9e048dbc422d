"""Names and shapes of every parameter of a network, from its specification alone: nothing is built.

A weights file says what network it holds, and anybody may have written it: a kilobyte can promise a network of
terabytes. So the promise is held against the file's own tensors before a framework builds anything, and what a recipe
asks for is counted. Parameters come one after the other, so that whoever asks can stop at the first that is wrong.

Names and shapes equal those in both twins (parity_tests/test_layouts.py); the order is of no twin.
"""

import fnmatch
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tunable.errors import TunableError, nearest, shown
from tunable.specs.control import CONTROL_WIDTHS, AdaFMSpec, CFSNetSpec, CResMDSpec, DyNetSpec
from tunable.specs.formulations import Formulation, Last, rank_fault
from tunable.specs.networks import (
    CompactSpec,
    NAFNetSpec,
    NetworkSpec,
    OutputBlendSpec,
    ResNetSpec,
    StyleUNetSpec,
    SwinIRSpec,
    UNetSpec,
)
from tunable.specs.residual import shuffles

Parameter = tuple[str, tuple[int, ...]]  # name, shape
MOST_NAMES = 10**6


def layout(spec: NetworkSpec, num_objectives: int) -> Iterator[Parameter]:
    """Go through every parameter of the network of `spec` for p objectives; 0 means its plain form.

    Of a network of one's own nothing is known, and nothing comes.

    Raises:
        TunableError: where `spec.where` names no layer, or more layers than there are.
    """
    if spec.name == "import":
        return iter(())
    return _layout(spec, num_objectives, tunable_layers(spec, num_objectives), [])


def tunable_layers(spec: NetworkSpec, num_objectives: int) -> frozenset[str] | None:
    """Choose the layers that are tunable, by name, as `spec.where` asks.

    Args:
        spec: of a network.
        num_objectives: p, or 0 for its plain form.

    Returns:
        The names of layers and free parameters; None where all of those that can be are tunable.

    Raises:
        TunableError: for a pattern that matches none of them, or more layers than there are.
    """
    if spec.where == "all" or not num_objectives or spec.name == "import":
        return None
    names = _names(spec, num_objectives, None)
    if isinstance(spec.where, Last):
        if spec.where.last > len(names):
            raise TunableError(f"where: last {spec.where.last} of the {len(names)} layers that this {spec.name} has")
        return frozenset(names[-spec.where.last :])
    chosen = set()
    for pattern in spec.where:
        matching = [name for name in names if fnmatch.fnmatchcase(name, pattern)]
        if not matching:
            raise TunableError(
                f"where: no layer of this {spec.name} is called {shown(pattern)}{nearest(pattern, names)}"
            )
        chosen.update(matching)
    return frozenset(chosen)


def names_of_layers(spec: NetworkSpec, num_objectives: int) -> list[str]:
    """List the layers and free parameters of a network that are tunable, by name, most of them in calling order."""
    return _names(spec, num_objectives, tunable_layers(spec, num_objectives))


def _names(spec: NetworkSpec, num_objectives: int, chosen: frozenset[str] | None) -> list[str]:
    names: list[str] = []
    for _ in _layout(spec, num_objectives, chosen, names):
        if len(names) > MOST_NAMES:
            raise TunableError(f"where is for a network of at most {MOST_NAMES} layers")
    return names


def _layout(
    spec: NetworkSpec, num_objectives: int, chosen: frozenset[str] | None, names: list[str]
) -> Iterator[Parameter]:
    layers = _Layers(num_objectives, spec.formulation, chosen, names)
    norms = replace(layers, p=num_objectives if getattr(spec, "tunable_norms", False) else 0)
    return _LAYOUTS[spec.name](spec, layers, norms)


def misfit(spec: NetworkSpec, num_objectives: int) -> str | None:
    """What of a network's formulation and `where` does not fit p objectives and its layers; None where all does."""
    if num_objectives and spec.wanted_objectives not in (0, num_objectives):
        return f"name {spec.name} is a network for {spec.wanted_objectives} objectives, not {num_objectives}"
    try:
        tunable_layers(spec, num_objectives)
    except TunableError as error:
        return str(error)
    return spec.formulation.misfit(num_objectives) if num_objectives else None


def rank_misfit(spec: NetworkSpec, num_objectives: int) -> str | None:
    """What is wrong with the rank, which goes through all layers of a network that fits; None where nothing is."""
    return rank_fault(spec.rank, (shape[-1] for name, shape in layout(spec, num_objectives) if name.endswith(".up")))


def count(parameters: Iterator[Parameter], most: int) -> int:
    """Count the numbers that the parameters hold; counting ends where they are more than `most`."""
    total = 0
    for _, shape in parameters:
        total += math.prod(shape)
        if total > most:
            break
    return total


@dataclass(frozen=True)
class _Layers:
    """The layers that networks are made of, tunable by p objectives or, where p is 0, ordinary.

    chosen: those that are tunable, by name; None: all. names: of the tunable layers that were asked for, in order.
    """

    p: int
    formulation: Formulation
    chosen: frozenset[str] | None
    names: list[str]

    def objectives(self, name: str) -> int:
        """How many objectives set a layer: p or 0."""
        if not self.p or (self.chosen is not None and name not in self.chosen):
            return 0
        self.names.append(name)
        return self.p

    def conv(
        self, name: str, before: int, after: int, side: int, *, bias: bool = True, groups: int = 1
    ) -> Iterator[Parameter]:
        """A convolution of `before` channels per group to `after`."""
        return self._kernel(name, (after, before, side, side), (after,) if bias else None, groups)

    def linear(self, name: str, before: int, after: int) -> Iterator[Parameter]:
        return self._kernel(name, (after, before), (after,), 1)

    def norm(self, name: str, channels: int) -> Iterator[Parameter]:
        return self._layer(name, (channels,), (channels,), self.objectives(name))

    def free(self, name: str, shape: tuple[int, ...]) -> Iterator[Parameter]:
        """A free parameter, which is a layer only when tunable."""
        p = self.objectives(name)
        return self._layer(name, shape, None, p) if p else iter([(name, shape)])

    def _kernel(
        self, name: str, kernel: tuple[int, ...], bias: tuple[int, ...] | None, groups: int
    ) -> Iterator[Parameter]:
        """A layer whose kernels may have differences of low rank or scale."""
        formulation, p, (out, within, *size) = self.formulation, self.objectives(name), kernel
        if not p or formulation.differences == "full":
            yield from self._layer(name, kernel, bias, p)
            return
        m = formulation.num_differences(p)
        yield f"{name}.weight", (1, *kernel)
        if formulation.differences == "scale":
            yield f"{name}.gain", (m, out)
        else:
            rank = formulation.rank_of(out // groups, within, math.prod(size))
            yield f"{name}.down", (m, groups * rank, within, *size)
            yield f"{name}.up", (m, out, rank)
        if bias:
            yield f"{name}.bias", (1 + m, *bias)

    def _layer(self, name: str, weight: tuple[int, ...], bias: tuple[int, ...] | None, p: int) -> Iterator[Parameter]:
        kernels = (self.formulation.num_kernels(p),) if p else ()
        yield f"{name}.weight", kernels + weight
        if bias:
            yield f"{name}.bias", kernels + bias
        maps = {"affine": [("phi", p, p)], "se": [("phi.0", p, 4 * p), ("phi.2", 4 * p, p)]}
        for local, before, after in maps.get(self.formulation.phi, ()) if p else ():
            yield f"{name}.{local}.weight", (after, before)
            yield f"{name}.{local}.bias", (after,)


def _resnet(spec: ResNetSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    channels = spec.channels
    yield from layers.conv("head", 3, channels, 3)
    for block in range(spec.blocks):
        for conv in ("conv1", "conv2"):
            yield from layers.conv(f"body.{block}.{conv}", channels, channels, 3)
    for place, factor in enumerate(shuffles(spec.upscale)):
        yield from layers.conv(f"upsample.{place}", channels, channels * factor**2, 3)
    yield from layers.conv("tail", channels, 3, 3)


def _nafnet(spec: NAFNetSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    width = spec.width
    yield from layers.conv("intro", 3, width, 3)
    for stage, blocks in enumerate(spec.encoder):
        for block in range(blocks):
            yield from _naf_block(f"encoders.{stage}.{block}", width, layers, norms)
        yield from layers.conv(f"downs.{stage}", width, 2 * width, 2)
        width *= 2
    for block in range(spec.middle):
        yield from _naf_block(f"middle_blks.{block}", width, layers, norms)
    for stage, blocks in enumerate(spec.decoder):
        yield from layers.conv(f"ups.{stage}", width, 2 * width, 1, bias=False)
        width //= 2
        for block in range(blocks):
            yield from _naf_block(f"decoders.{stage}.{block}", width, layers, norms)
    yield from layers.conv("ending", width, 3, 3)


def _naf_block(name: str, channels: int, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    yield from norms.norm(f"{name}.norm1", channels)
    yield from layers.conv(f"{name}.conv1", channels, 2 * channels, 1)
    yield from layers.conv(f"{name}.conv2", 1, 2 * channels, 3, groups=2 * channels)
    yield from layers.conv(f"{name}.sca", channels, channels, 1)
    yield from layers.conv(f"{name}.conv3", channels, channels, 1)
    yield from norms.norm(f"{name}.norm2", channels)
    yield from layers.conv(f"{name}.conv4", channels, 2 * channels, 1)
    yield from layers.conv(f"{name}.conv5", channels, channels, 1)
    yield from layers.free(f"{name}.beta", (channels, 1, 1))
    yield from layers.free(f"{name}.gamma", (channels, 1, 1))


def _swinir(spec: SwinIRSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    channels, features, hidden = spec.channels, spec.features, int(spec.channels * spec.mlp_ratio)
    yield from layers.conv("conv_first", 3, channels, 3)
    yield from norms.norm("patch_embed.norm", channels)
    for group, (blocks, heads) in enumerate(zip(spec.depths, spec.heads, strict=True)):
        for block in range(blocks):
            name = f"layers.{group}.residual_group.blocks.{block}"
            yield from norms.norm(f"{name}.norm1", channels)
            yield from layers.linear(f"{name}.attn.qkv", channels, 3 * channels)
            table = f"{name}.attn.relative_position_bias_table"
            yield from layers.free(table, ((2 * spec.window - 1) ** 2, heads))
            yield from layers.linear(f"{name}.attn.proj", channels, channels)
            yield from norms.norm(f"{name}.norm2", channels)
            yield from layers.linear(f"{name}.mlp.fc1", channels, hidden)
            yield from layers.linear(f"{name}.mlp.fc2", hidden, channels)
        yield from layers.conv(f"layers.{group}.conv", channels, channels, 3)
    yield from norms.norm("norm", channels)
    yield from layers.conv("conv_after_body", channels, channels, 3)
    if spec.upsampler == "pixelshuffledirect":
        yield from layers.conv("upsample.0", channels, 3 * spec.upscale**2, 3)
        return
    if spec.upsampler:
        yield from layers.conv("conv_before_upsample", channels, features, 3)
    if spec.upsampler == "pixelshuffle":
        for place, factor in enumerate(shuffles(spec.upscale)):
            yield from layers.conv(f"upsample.{place}", features, features * factor**2, 3)
    if spec.upsampler == "nearest+conv":
        for place in range(spec.upscale // 2):
            yield from layers.conv(f"conv_up.{place}", features, features, 3)
        yield from layers.conv("conv_hr", features, features, 3)
    yield from layers.conv("conv_last", features if spec.upsampler else channels, 3, 3)


def _style_unet(spec: StyleUNetSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    def block(name: str, before: int, after: int, side: int, number: str = "") -> Iterator[Parameter]:
        yield from layers.conv(f"{name}.conv{number}", before, after, side)
        yield from norms.norm(f"{name}.norm{number}", after)

    channels, place, (down, middle, up) = spec.channels, 0, spec.blocks
    yield from block("conv_in", 3, channels, spec.outer)
    for _ in range(spec.scales):
        for i in range(down):
            yield from block(f"encoder_decoder.{place}", 2 * channels if i else channels, 2 * channels, 3)
            place += 1
        channels *= 2
    for _ in range(middle):
        for number in ("1", "2"):
            yield from block(f"encoder_decoder.{place}", channels, channels, 3, number)
        place += 1
    for _ in range(spec.scales):
        for i in range(up):
            yield from block(f"encoder_decoder.{place}", channels // 2 if i else channels, channels // 2, 3)
            place += 1
        channels //= 2
    yield from layers.conv("conv_out", channels, 3, spec.outer)


def _unet(spec: UNetSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    def double(name: str, before: int, after: int) -> Iterator[Parameter]:
        yield from layers.conv(f"{name}.conv1", before, after, 3)
        yield from layers.conv(f"{name}.conv2", after, after, 3)

    widths = [spec.width * 2**scale for scale in range(spec.depth)]
    for scale, (before, channels) in enumerate(zip([3, *widths], widths, strict=False)):
        yield from double(f"encoders.{scale}", before, channels)
        yield from layers.conv(f"downs.{scale}", channels, channels, 2)
    yield from double("middle", widths[-1], 2 * widths[-1])
    for place, channels in enumerate(reversed(widths)):
        yield from layers.conv(f"ups.{place}", 2 * channels, channels, 1)
        yield from double(f"decoders.{place}", 2 * channels, channels)
    yield from layers.conv("tail", spec.width, 3, 3)


def _compact(spec: CompactSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    slopes = replace(layers, p=layers.p if spec.tunable_slopes else 0)
    for place in range(spec.blocks + 1):
        yield from layers.conv(f"body.{2 * place}", spec.channels if place else 3, spec.channels, 3)
        yield from slopes.free(f"body.{2 * place + 1}.weight", (spec.channels,))
    yield from layers.conv(f"body.{2 * spec.blocks + 2}", spec.channels, 3 * spec.upscale**2, 3)


def _dynet(spec: DyNetSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    ordinary = replace(layers, p=0)
    yield from _resnet(spec.main, ordinary, ordinary)
    for block in range(spec.blocks if layers.p else 0):
        for place in range(spec.tuning_depth):
            yield from ordinary.conv(f"tuning.{block}.conv{place + 1}", spec.channels, spec.channels, 3)


def _cfsnet(spec: CFSNetSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    ordinary, channels, factors = replace(layers, p=0), spec.channels, shuffles(spec.upscale)
    if not layers.p:
        yield from _folded_cfsnet(spec, ordinary)
        return
    yield from _resnet(spec.main, ordinary, ordinary)
    for block in range(spec.blocks):
        for conv in ("conv1", "conv2"):
            yield from ordinary.conv(f"tuning.{block}.{conv}", channels, channels, 3, bias=False)
    for place, factor in enumerate(factors):
        yield from ordinary.conv(f"tuning_upsample.{place}", channels, channels * factor**2, 3, bias=False)
    for place, (before, after) in enumerate(itertools.pairwise((*CONTROL_WIDTHS, channels))):
        yield f"control.{place}.weight", (after, before)
    for block in range(spec.blocks + bool(factors)):
        for place in range(2):
            yield f"couplings.{block}.{place}.weight", (channels, channels)


def _folded_cfsnet(spec: CFSNetSpec, layers: _Layers) -> Iterator[Parameter]:
    channels, factors = spec.channels, shuffles(spec.upscale)
    yield from layers.conv("head", 3, channels, 3)
    for block in range(spec.blocks):
        yield from layers.conv(f"body.{block}.conv1", channels, 2 * channels, 3)
        yield from layers.conv(f"body.{block}.conv2", 2 * channels, channels, 3)
        yield from layers.free(f"body.{block}.skip", (channels, 1, 1))
    for place, factor in enumerate(factors):
        before = 2 * channels if place else channels
        after = channels if place == len(factors) - 1 else 2 * channels
        yield from layers.conv(f"upsample.{place}", before, after * factor**2, 3)
    yield from layers.conv("tail", channels, 3, 3)


def _cresmd(spec: CResMDSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    ordinary = replace(layers, p=0)
    yield from _resnet(spec.main, ordinary, ordinary)
    if layers.p:
        for block in range(spec.blocks):
            yield from layers.free(f"body.{block}.scale", (spec.channels, 1, 1))
        yield from layers.free("scale_tail", (3, 1, 1))


def _adafm(spec: AdaFMSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    ordinary = replace(layers, p=0)
    yield from _resnet(spec.main, ordinary, ordinary)
    if not layers.p and spec.kernel == 1:
        return
    places = [("modulate_head", spec.channels)]
    places += [(f"body.{block}.modulate{n}", spec.channels) for block in range(spec.blocks) for n in (1, 2)]
    factors = shuffles(spec.upscale)
    places += [(f"modulate_upsample.{place}", spec.channels * factor**2) for place, factor in enumerate(factors)]
    for name, channels in [*places, ("modulate_tail", 3)]:
        yield from ordinary.conv(name, 1, channels, spec.kernel, groups=channels)


def _output_blend(spec: OutputBlendSpec, layers: _Layers, norms: _Layers) -> Iterator[Parameter]:
    for place in range(spec.ends):
        for name, shape in layout(spec.of, 0):
            yield f"ends.{place}.{name}", shape


_LAYOUTS = {
    "resnet": _resnet,
    "nafnet": _nafnet,
    "swinir": _swinir,
    "style_unet": _style_unet,
    "unet": _unet,
    "compact": _compact,
    "dynet": _dynet,
    "cfsnet": _cfsnet,
    "cresmd": _cresmd,
    "adafm": _adafm,
    "output_blend": _output_blend,
}
