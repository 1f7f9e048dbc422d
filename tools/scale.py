"""Write docs/scale.md: what the paper's full-size trainings take, from formulas that this program evaluates.

python tools/scale.py -o docs/scale.md
"""

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from tunable.files import write_text
from tunable.parameters.layouts import layout
from tunable.parameters.specs import ParameterSpec
from tunable.specs.networks import ResNetSpec
from tunable.specs.reading import load_recipe, shipped_recipes
from tunable.specs.recipe import Recipe
from tunable.weights import vgg

FLOAT = 4  # bytes
DEVICES = (1, 8, 64)
STATES = {"adam": 2, "adamw": 2, "sgd": 1}  # tensors of the optimizer for each weight
SECONDS = 86_400


@dataclass(frozen=True)
class Machine:
    """What is assumed of a device and of what connects several.

    Attributes:
        peak: float32 operations a second, a multiplication and an addition being two.
        utilisation: the share of the peak that a training reaches.
        link: bytes a second that a device sends to the next one of a ring.
    """

    peak: float = 67e12
    utilisation: float = 0.35
    link: float = 50e9


@dataclass(frozen=True)
class Cost:
    """What a training takes, by formula.

    Attributes:
        name: of the recipe.
        parameters: N, numbers of the network.
        multiply_adds: of a step.
        state: bytes of weights, gradients, optimizer state and averages, and of the networks that judge.
        activations: bytes that the forward pass keeps for the backward one; None where no formula is known.
        steps: of the training.
        batch: samples of a step.
        adversary: numbers of the discriminator, which is trained too.
    """

    name: str
    parameters: int
    multiply_adds: float
    state: int
    activations: int | None
    steps: int
    batch: int
    adversary: int = 0

    def sent(self, devices: int) -> float:
        """Bytes that each device of a ring sends in a step: 2 (n - 1) / n times the gradients."""
        return 2 * (devices - 1) / devices * FLOAT * (self.parameters + self.adversary)

    def days(self, devices: int, machine: Machine) -> float:
        """Of a batch that is shared out evenly; devices beyond the samples of a batch have nothing to do."""
        working = min(devices, self.batch)
        computing = 2 * self.multiply_adds / working / (machine.peak * machine.utilisation)
        return self.steps * (computing + self.sent(working) / machine.link) / SECONDS


def cost(name: str, recipe: Recipe) -> Cost:
    """Evaluate the formulas for a recipe."""
    p, data, network = recipe.network_objectives, recipe.data, recipe.network
    parameters = sum(math.prod(shape) for _, shape in layout(network, p))
    adversary = _numbers(recipe.discriminator.specs()) if recipe.adversarial else 0
    pixels = data.batch * data.patch**2
    omegas = data.batch if recipe.omega.per == "sample" else 1
    mixed = parameters * omegas if p else 0  # every stored kernel is weighed once for each omega
    averages = 1 if recipe.optimizer.average else 0
    state = parameters * (2 + STATES[recipe.optimizer.kind] + averages)
    state += adversary * (2 + STATES[recipe.discriminator.optimizer.kind])
    for layer in set(_layers(recipe)):  # VGG is frozen, and held once for each layer that is read
        state += _numbers(vgg.specs_up_to(layer, recipe.features))
    step = 3 * (pixels * network.multiply_adds + mixed) + pixels * network.scale**2 * judging(recipe)
    kept = activations(network, pixels) if isinstance(network, ResNetSpec) else None
    return Cost(name, parameters, step, FLOAT * state, kept, recipe.steps, data.batch, adversary)


def judging(recipe: Recipe) -> float:
    """Multiply-adds per clean pixel of the networks that judge.

    VGG-19 runs on both pictures, and its gradient in one (3), for every objective of kind gan, and once for all styles.
    The discriminator does so for the network's step (3), and in its own step runs on both with gradients in its weights
    too (6).
    """
    total = sum(3 * vgg.multiply_adds(layer, recipe.features) for layer in _layers(recipe))
    return total + (9 * recipe.discriminator.multiply_adds if recipe.adversarial else 0)


def _layers(recipe: Recipe) -> list[str]:
    """The layer of VGG-19 that each of its passes ends with; styles share theirs."""
    layers, kinds = recipe.feature_layers, [spec.kind for spec in recipe.objectives]
    return [layers[kind] for kind in layers for _ in range(kinds.count(kind) if kind == "gan" else 1)]


def _numbers(specs: list[ParameterSpec]) -> int:
    return sum(math.prod(spec.shape) for spec in specs)


def activations(spec: ResNetSpec, pixels: int) -> int:
    """Bytes that a `resnet` keeps: the input of every convolution, which of a ReLU is its output too.

    Args:
        spec: of a network that does not enlarge.
        pixels: of the batch.
    """
    channels = 3 + spec.channels * (2 * spec.blocks + 1)  # head, two convolutions of each block, tail
    enlarged, before = 0, 1
    for factor in {1: [], 2: [2], 3: [3], 4: [2, 2]}[spec.upscale]:
        enlarged += before * spec.channels  # the input of the convolution before a pixel shuffle
        before *= factor**2
    enlarged += (before - 1) * spec.channels  # the tail's input is larger
    return FLOAT * pixels * (channels + enlarged)


def page(costs: list[Cost], machine: Machine) -> str:
    """Write the page."""
    lines = [
        "# What the full-size trainings take\n",
        "Words are explained in the [glossary](glossary.md).\n",
        "Nothing on this page was run: no GPU and no NPU trained these recipes. "
        "`python tools/scale.py -o docs/scale.md` evaluates the formulas below for the paper's recipes. "
        "`tests/test_scale.py` compares the formulas with what PyTorch counts at a small size: operations by its FLOP "
        "counter, and the bytes that autograd keeps.\n",
        f"Assumed are float32, a peak of {machine.peak / 1e12:g} TFLOP/s for each device, of which a training reaches "
        f"{100 * machine.utilisation:g} %, and {machine.link / 1e9:g} GB/s from each device to the next. `--peak`, "
        "`--utilisation` and `--link` set others.\n",
        "| recipe | parameters N | multiply-adds a step | weights, gradients, state | activations | "
        + "all-reduce a step, 8 devices | "
        + " | ".join(f"days, {devices}" for devices in DEVICES)
        + " |",
        "|---" * (6 + len(DEVICES)) + "|",
    ]
    for one in costs:
        kept = "no formula" if one.activations is None else f"{one.activations / 2**20:,.0f} MiB"
        days = " | ".join(f"{one.days(devices, machine):.2g}" for devices in DEVICES)
        lines.append(
            f"| `{one.name}` | {one.parameters:,} | {one.multiply_adds / 1e9:,.0f} G | {one.state / 2**20:,.0f} MiB | "
            f"{kept} | {one.sent(8) / 2**20:,.1f} MiB | {days} |"
        )
    lines += [
        "\n## The formulas\n",
        "* **Multiply-adds of a step**: 3 (B M + K) + J. B is the pixels of a batch, M the network's multiply-adds per "
        "pixel at one ω (`tunable info`), and 3 stands for the forward pass and the gradients in inputs and weights. K "
        "is N for each ω of a batch: the mixing of kernels. J are VGG-19 (3 of its forward passes per clean pixel for "
        "every objective of kind `gan`, and 3 for all styles together) and the discriminator (9), where objectives "
        "need them.",
        "* **Weights, gradients, state**: 4 bytes for each of N weights, N gradients, 2 N moments of Adam, and N more "
        "with `optimizer.average`. The discriminator's weights, gradients and moments come on top, and the weights of "
        "VGG-19, which are never trained.",
        "* **Activations** of `resnet`: 4 bytes for every value that enters a convolution; a ReLU's output is the next "
        "convolution's input and is kept once. Kernels that are mixed for each sample come on top, and what VGG-19 and "
        "the discriminator keep.",
        "* **All-reduce**: 2 (n - 1) / n of the gradients' bytes, the discriminator's among them, from each of n "
        "devices in a ring, not overlapped with computing.",
        "* **Days**: the batch is shared out, and n above its samples is taken as that many. Time is 2 multiply-adds / "
        "(peak · utilisation), then the all-reduce. Reading pictures, validation and checkpoints are left out.\n",
        "The utilisation is an assumption. Small batches of small patches, as these recipes have, may reach much less.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the page, or print it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("-o", "--out", type=Path, help="the page; without it, it is printed")
    parser.add_argument("--peak", type=float, default=67.0, help="TFLOP/s of a device (default 67)")
    parser.add_argument("--utilisation", type=float, default=0.35, help="share of the peak (default 0.35)")
    parser.add_argument("--link", type=float, default=50.0, help="GB/s from a device to the next (default 50)")
    args = parser.parse_args()
    machine = Machine(args.peak * 1e12, args.utilisation, args.link * 1e9)
    recipes = {name: path for name, path in shipped_recipes().items() if name.endswith("/paper")}
    text = page([cost(name, load_recipe(path)) for name, path in recipes.items()], machine)
    if args.out:
        write_text(args.out, text)
    else:
        print(text, end="")


if __name__ == "__main__":
    main()
