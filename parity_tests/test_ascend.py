"""What the MindSpore twin does on Ascend, run on the CPU: right numbers, and no convolution that Ascend lacks.

Ascend has dense convolutions and depth-wise ones (groups = channels in = channels out), no others: a layer with
groups, or with one kernel per sample, must be built from these (docs/framework_traps.md, "Groups on Ascend").
"""

import inspect

import pytest

from parity_tests.cases import CASES, CONVOLUTIONS, build, inputs, omegas, truth
from tunable.forms import FORMS
from tunable.tolerances import TOLERANCES, relative_error


@pytest.fixture
def issued(mindspore, monkeypatch):
    """(groups, channels in, channels out) of every convolution that the framework is asked for, in order."""
    framework, calls = mindspore.ms.ops, []
    real = framework.conv2d

    def spy(*args, **options):
        call = inspect.signature(real).bind(*args, **options)
        call.apply_defaults()
        given = call.arguments
        calls.append((given["groups"], given["input"].shape[1], given["weight"].shape[0]))
        return real(*args, **options)

    monkeypatch.setattr(framework, "conv2d", spy)
    return calls


@pytest.fixture
def ascend(mindspore, monkeypatch):
    """The twin believes itself on Ascend; its kernels are the CPU's."""
    monkeypatch.setattr(mindspore.module("ops.convolution"), "device_in_use", lambda: "ascend")


def run(mindspore, name, form, label):
    """A layer's output; affine phi, three objectives."""
    return mindspore.run(build(mindspore, name, "affine", 3, form=form), inputs(name), omegas(3)[label])


@pytest.mark.parametrize("name", CONVOLUTIONS)
@pytest.mark.parametrize(
    ("form", "label"),
    [*((form, "per sample") for form in FORMS), ("auto", "inside"), ("basis", "inside")],  # one omega: two ways in all
)
def test_ascend(mindspore, ascend, issued, name, form, label):
    """Equal to the oracle, by dense and depth-wise convolutions only, or by matrix products."""
    output = run(mindspore, name, form, label)
    assert relative_error(output, truth(name, "affine", 3, label)) <= TOLERANCES["layer"].limit
    assert issued or form in ("auto", "shared", "matmul")
    unfit = [call for call in issued if call[0] != 1 and not call[0] == call[1] == call[2]]
    assert not unfit, f"(groups, in, out): {unfit}"


def test_depth_wise_stays_one_convolution(mindspore, ascend, issued):
    """Not one dense convolution per channel, in either form."""
    run(mindspore, "depth-wise", "basis", "per sample")
    run(mindspore, "depth-wise", "basis", "inside")
    assert issued == [(12, 12, 12), (4, 4, 4)]


def test_the_spy_sees_groups(mindspore, issued):
    """Negative control: on a CPU the same layers are run with groups that Ascend lacks."""
    for name in ("grouped", "3x3"):
        run(mindspore, name, "grouped", "per sample")
    groups, batch = CASES["grouped"].options["groups"], len(inputs("grouped"))
    assert issued == [(groups * batch, 12, 18), (batch, 9, 15)]
