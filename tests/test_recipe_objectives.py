"""Recipes whose objectives do not fit each other, or their pictures."""

import pytest

from tunable.errors import RecipeError
from tunable.specs.recipe import parse


def test_ms_ssim_needs_room_for_its_scales(values, refused):
    """11 pixels at the last of five scales: 176; half as many go into a network that enlarges twice."""
    values["objectives"] = [{"name": "a", "kind": "rec", "distance": "ms_ssim"}]
    for patch, network in ((176, {"name": "resnet"}), (88, {"name": "resnet", "upscale": 2})):
        if "upscale" in network:
            values["data"]["degradation"] = [{"kind": "bicubic", "scale": 2}]
        values["network"], values["data"]["patch"] = network, patch
        parse(values)
        values["data"]["patch"] -= 1
        with refused(RecipeError, "objective a needs clean patches of at least 176", f"data.patch must be {patch} or"):
            parse(values)


@pytest.mark.parametrize("kind", ["features", "gan"])
def test_a_grid_is_of_networks_that_enlarge(values, refused, kind):
    """Without a pixel shuffle there is none, and the weight would say nothing; its windows want patches of 32."""
    values["vgg"], values["data"]["patch"] = {"seed": 0}, 32
    values["objectives"] = [{"name": "a", "kind": kind, "grid_weight": 1}]
    with refused(RecipeError, "objective a has a grid_weight, but the network does not enlarge"):
        parse(values)
    values["objectives"][0] |= {"grid_weight": 0, "shrunk_weight": 1}
    with refused(RecipeError, "objective a has a shrunk_weight, but the network does not enlarge"):
        parse(values)
    values["objectives"][0] |= {"grid_weight": 1}
    values["network"]["upscale"], values["data"]["degradation"] = 2, [{"kind": "bicubic", "scale": 2}]
    assert parse(values).objectives[0].grid_weight == 1
    values["data"]["patch"] = 15
    with refused(RecipeError, "objective a needs clean patches of at least 32 pixels, not 30"):
        parse(values)


@pytest.mark.parametrize(
    ("objectives", "fragments"),
    [
        ([{"kind": "noise"}], ["objective o0 wants residual: full, not keep"]),
        ([{"kind": "noise", "residual": "remove"}], ["objective o0 wants residual: full, not remove"]),
        ([{"kind": "noise", "residual": "full"}, {"kind": "blur", "noise_objective": "o0"}], ["kind blur (o1)"]),
        ([{"kind": "rec"}, {"kind": "rec", "distance": "l2"}], ["one distance", "o0 l1, o1 l2"]),
        (
            [{"kind": "rec"}, {"kind": "noise", "residual": "full", "space": "luma"}],
            ["space rgb everywhere or nowhere", "o0 rgb, o1 luma"],
        ),
        ([{"kind": "style", "image": "x.png"}], ["wants an objective of kind rec, noise or residue"]),
    ],
)
def test_targets_without_a_mean(objectives, fragments, values, refused):
    values["vgg"] = {"seed": 0}
    values["objectives"] = [{"name": f"o{i}", **objective} for i, objective in enumerate(objectives)]
    assert parse(values).shared_targets == ()
    values["loss"] = {"combine": "targets"}
    with refused(RecipeError, "loss.combine: targets", *fragments):
        parse(values)


@pytest.mark.parametrize("steps", [[], ["gaussian_noise"], ["gaussian_blur", "gaussian_noise", "gaussian_blur"]])
def test_a_residue_is_that_of_one_step(steps, values, refused):
    values["data"]["degradation"] = [{"kind": kind, "sigma": 1} for kind in steps]
    values["objectives"] = [{"name": "soft", "kind": "residue", "of": "gaussian_blur"}]
    named = ", ".join(steps) or "nothing is degraded"
    with refused(
        RecipeError,
        "objective soft wants the residue of gaussian_blur",
        f"once, not {steps.count('gaussian_blur')} times",
        named,
    ):
        parse(values)


def test_a_discriminator_has_no_average(values, refused):
    """Nothing would read it: what is saved is the network."""
    parse(values | {"discriminator": {"optimizer": {"average": 0}}})
    for kind in ("adam", "sgd"):
        with refused(RecipeError, "discriminator", "optimizer.average", "must be 0, not 0.9"):
            parse(values | {"discriminator": {"optimizer": {"kind": kind, "learning_rate": 0.1, "average": 0.9}}})


def test_parts_of_a_batch_are_equal_and_independent(values, refused):
    parse(values | {"optimizer": {"accumulate": 3}})
    with refused(RecipeError, "optimizer.accumulate", "equal parts of data.batch 3, not 2"):
        parse(values | {"optimizer": {"accumulate": 2}})
    with refused(RecipeError, "discriminator", "optimizer.accumulate", "must be 1, not 3"):
        parse(values | {"discriminator": {"optimizer": {"accumulate": 3}}})
    values["objectives"][0] = {"name": "sharp", "kind": "gan"}
    values["data"]["patch"] = 64
    with refused(RecipeError, "optimizer.accumulate must be 1 with objectives of kind gan, not 3"):
        parse(values | {"vgg": {"seed": 0, "width": 4}, "optimizer": {"accumulate": 3}})
