"""What a certificate cannot judge is said in it; what cannot be certified at all is refused."""

import pytest

from parity_tests.test_certificate import described
from tunable.certificate import verify
from tunable.errors import TunableError


def test_one_twin_alone(twin, right, small_network):
    """By the oracle, its optimizer by numpy's; torch by itself in float64 too, MindSpore not, which is said."""
    certificate = verify(small_network("affine"), [twin.backend], points=2)
    assert certificate.passed, described(certificate)
    stages = {row.stage for row in certificate.rows}
    assert stages >= {"weights", "layer", "folded", "loss", "optimizer", "control: omega matters"}
    if twin.name == "torch":
        assert stages >= {"truth", "network", "gradients", "training"} and not certificate.not_judged
    else:
        assert not stages & {"network", "gradients", "training"}
        assert any(f"only {twin.name} ran" in line for line in certificate.not_judged)
    (row,) = [row for row in certificate.rows if row.stage == "optimizer"]
    assert row.compared == f"{twin.name} : oracle"
    assert {"moves of head.weight", "first.head.weight", "second.tail.phi.bias", "count of steps"} <= row.parts.keys()


@pytest.mark.parametrize(
    ("sections", "reason"),
    [
        ({"vgg": {"weights": "${NO_SUCH_VARIABLE}"}}, "path '${NO_SUCH_VARIABLE}' needs the environment variable"),
        ({"vgg": {"weights": "none.safetensors"}}, "an objective looks at none.safetensors, and there is no such file"),
        (
            {
                "task": "style_transfer",
                "vgg": {"seed": 0},
                "objectives": [{"kind": "style", "image": "none.png"}] * 2,
                "data": {"train": "bundled", "patch": 16},
            },
            "an objective looks at none.png, and there is no such file",
        ),
    ],
    ids=["variable", "features", "picture"],
)
def test_what_objectives_look_at_is_missing(torch, make_recipe, weights_file, tmp_path, request, sections, reason):
    """All else is judged, and the certificate says what is not; nothing is recorded for others."""
    kinds = sections.get("objectives", [{"kind": "rec"}, {"kind": "features", "vgg_weight": 1}])
    objectives = [{"name": name, **one} for name, one in zip(("first", "second"), kinds, strict=True)]
    data = {"train": "bundled", "patch": 16, "degradation": [{"kind": "gaussian_noise", "sigma": 25}]}
    recipe = make_recipe(**{"data": data, **sections, "objectives": objectives})
    path = weights_file(request.node.name, recipe, torch.backend)
    certificate = verify(path, [torch.backend], points=2)
    assert certificate.passed, described(certificate)
    assert {row.stage for row in certificate.rows} == {
        "weights", "layer", "truth", "layer output", "network", "control: omega matters", "folded"
    }  # fmt: skip
    (missing,) = certificate.not_judged
    assert missing.startswith("losses, gradients, optimizer and training steps: ") and reason in missing
    pack = tmp_path / "pack.safetensors"
    with pytest.raises(TunableError, match="^--record notes losses too, which cannot be computed: "):
        verify(path, [torch.backend], points=2, record=pack)
    assert not pack.exists()


def test_a_plain_network_is_refused(twin, make_recipe, weights_file):
    recipe = make_recipe(
        network={"name": "resnet", "channels": 2, "blocks": 1, "tunable": False},
        omega={"sampler": {"kind": "fixed", "value": [1, 0]}},
    )
    with pytest.raises(TunableError, match="plain network"):
        verify(weights_file(f"plain-{twin.name}", recipe, twin.backend), [twin.backend])
