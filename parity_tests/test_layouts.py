"""What a specification alone says of a network's parameters: names and shapes as in both twins."""

import itertools

import pytest

from tunable.parameters.layouts import count, layout
from tunable.specs.formulations import PHI_FORMS
from tunable.specs.networks import (
    CompactSpec,
    NAFNetSpec,
    ResNetSpec,
    StyleUNetSpec,
    SwinIRSpec,
    UNetSpec,
)

SWINIR = {"channels": 4, "depths": [1, 2], "heads": [2, 1], "window": 3, "mlp_ratio": 1.6, "features": 5}
NETWORKS = {
    **{f"resnet x{upscale}": (ResNetSpec, {"channels": 3, "blocks": 2, "upscale": upscale}) for upscale in range(1, 5)},
    "nafnet": (NAFNetSpec, {"width": 2, "middle": 1, "encoder": [1, 2], "decoder": [3, 0]}),
    "nafnet empty": (NAFNetSpec, {"width": 3, "middle": 0, "encoder": [0], "decoder": [0]}),
    "style_unet": (StyleUNetSpec, {"channels": 2, "scales": 2, "blocks": [2, 1, 3]}),
    "style_unet thin": (StyleUNetSpec, {"channels": 3, "scales": 1, "blocks": [1, 0, 1], "outer": 3}),
    "unet": (UNetSpec, {"width": 2, "depth": 3}),
    "unet shallow": (UNetSpec, {"width": 3, "depth": 1}),
    "compact": (CompactSpec, {"channels": 3, "blocks": 2}),
    "compact x3": (CompactSpec, {"channels": 2, "blocks": 1, "upscale": 3}),
    "swinir": (SwinIRSpec, SWINIR),
    **{
        f"swinir {upsampler} x{upscale}": (SwinIRSpec, {**SWINIR, "upsampler": upsampler, "upscale": upscale})
        for upsampler, upscale in [
            ("pixelshuffle", 2),
            ("pixelshuffle", 3),
            ("pixelshuffle", 4),
            ("pixelshuffledirect", 3),
            ("nearest+conv", 2),
            ("nearest+conv", 4),
        ]
    },
}
FORMS = [("base", 0, False), ("base", 2, False), ("base", 2, True), ("affine", 3, True), ("se", 1, True)]
FORMS += [("identity", 2, False)]
DIFFERENCES = [{"differences": "low_rank", "rank": 2}, {"differences": "scale", "bump": True}]


def specs():
    """Every network in every form of phi, plain too, norms and slopes tunable or not where there is that choice."""
    for (name, (kind, values)), (phi, p, norms) in itertools.product(NETWORKS.items(), FORMS):
        choices = dict.fromkeys({"tunable_norms", "tunable_slopes"} & kind.model_fields.keys(), norms)
        yield pytest.param(kind(**values, phi=phi, tunable=p > 0, **choices), p, id=f"{name} {phi} {p} {norms}")
    for (name, (kind, values)), change in itertools.product(NETWORKS.items(), DIFFERENCES):
        yield pytest.param(kind(**values, **change), 3, id=f"{name} {change['differences']}")


def test_every_form_of_phi_is_looked_at():
    assert {phi for phi, _, _ in FORMS} == set(PHI_FORMS)


@pytest.mark.parametrize(("spec", "p"), list(specs()))
def test_names_and_shapes_are_the_twins(twin, spec, p):
    network = twin.backend.build(spec, p)
    shapes = {name: shape for name, shape, *_ in twin.backend.specs(network)}
    names_and_shapes = list(layout(spec, p))
    assert dict(names_and_shapes) == shapes and len(names_and_shapes) == len(shapes)
    assert count(layout(spec, p), 10**6) == sum(value.size for value in twin.backend.parameters(network).values())
