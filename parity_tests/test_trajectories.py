"""Trajectories of 200 training steps of both twins: left to themselves, and from the same weights and state each step.

Left to themselves correct float32 programs drift apart, as fast as any difference of rounding grows; so their gap is
compared with what a perturbation of the weights by 1e-7 does within one of them. From the same weights and optimizer
state every single step must be the same.
"""

import numpy as np
import pytest

from parity_tests.optimizers import FAULTS
from tunable.certificate.programs import zero_gradients
from tunable.certificate.truth import ZERO_REASON
from tunable.data.patches import Batches
from tunable.parameters.starts import starting_weights
from tunable.tolerances import DRIFT, KINK, SYNCHRONISED, joint_error, relative_error

STEPS = 200
PERTURBATION = 1e-7
# Smooth but for few ReLUs: what rounding does at a kink is beside the point. Decay and clipping bite.
SECTIONS = {
    "network": {"name": "resnet", "channels": 8, "blocks": 4},
    "objectives": [
        {"name": "fidelity", "kind": "rec", "distance": "charbonnier"},
        {"name": "noise", "kind": "noise", "distance": "charbonnier"},
    ],
    "data": {"train": "bundled", "patch": 8, "batch": 2, "degradation": [{"kind": "gaussian_noise", "sigma": 25}]},
}
OPTIMIZERS = {
    "adam": {"kind": "adam", "learning_rate": 1e-4, "weight_decay": 0.01, "clip_norm": 0.1},
    "sgd": {"kind": "sgd", "learning_rate": 0.02, "momentum": 0.9, "weight_decay": 0.01, "clip_norm": 0.1},
}


class Run:
    """A network being trained in one framework, from the recipe's start.

    seed             of a perturbation: the start times 1 + PERTURBATION N(0, 1)
    change(network)  what is done to the network when it is built
    """

    def __init__(self, backend, recipe, seed=None, change=lambda network: None):
        self.backend, self.recipe = backend, recipe
        self.network = backend.build(recipe.network, recipe.network_objectives)
        change(self.network)
        weights = starting_weights(backend.specs(self.network), recipe.seed, recipe.initial)
        if seed is not None:
            rng = np.random.default_rng(seed)
            weights = {
                name: value * (1 + PERTURBATION * rng.normal(size=value.shape)) for name, value in weights.items()
            }
        self.assign({name: value.astype(np.float32) for name, value in weights.items()})
        self.trainer = backend.trainer(self.network, recipe)

    def weights(self):
        return self.backend.parameters(self.network)

    def assign(self, weights):
        self.backend.assign(self.network, weights)

    def step(self, batch):
        """Its loss."""
        return self.trainer.step(batch, self.recipe.optimizer.learning_rate)[0]


def always_zero(backend, recipe, steps, change=lambda network: None):
    """The parameters whose gradient is zero in float64 at each of some steps."""
    run = Run(backend.in_float64(), recipe, change=change)
    batches, found = Batches(recipe), []
    for index in range(steps):
        found.append(zero_gradients(run.trainer.gradients(batches[index])))
        run.step(batches[index])
    return set.intersection(*found)


def gaps(runs, recipe, steps, exempt=()):
    """(steps, runs - 1, 2): how far each run is from the first, in loss and in weights, those exempt aside."""
    batches, rows = Batches(recipe), []
    for index in range(steps):
        (loss, *losses) = [run.step(batches[index]) for run in runs]
        held = [{name: value for name, value in run.weights().items() if name not in exempt} for run in runs]
        errors = [joint_error(weights, held[0]) for weights in held[1:]]
        rows.append(list(zip([relative_error(other, loss) for other in losses], errors, strict=True)))
    return np.array(rows)


def excess(found):
    """The twin's gap as a part of what it may be, at each step: of the first run, measured by the others.

    In weights DRIFT times the largest of the perturbed runs; in loss DRIFT times the largest until then, for the gap
    of a single loss is a matter of luck, and never less than its last bit.
    """
    own, perturbed = found[:, 0], found[:, 1:].max(1)
    perturbed[:, 0] = np.maximum(np.maximum.accumulate(perturbed[:, 0]), np.finfo(np.float32).eps)
    return own / (DRIFT * perturbed)


def show(found):
    print(" step  loss: twin  perturbed   weights: twin  perturbed")
    for step in (0, 1, 4, 9, 19, 49, 99, 149, 199):
        if step < len(found):
            (loss, weights), (other_loss, other_weights) = found[step, 0], found[step, 1:].max(0)
            print(f"{step + 1:5d}  {loss:10.1e}  {other_loss:9.1e}  {weights:14.1e}  {other_weights:9.1e}")


def graph(twins):
    """Both backends, MindSpore's as it trains."""
    return twins[0].backend, twins[1].in_mode("graph")


def test_free_running(twins, make_recipe):
    """200 Adam steps at 1e-4: each step's gap at most ten times what a perturbation of the weights causes."""
    recipe = make_recipe(**SECTIONS, optimizer=OPTIMIZERS["adam"])
    first, second = graph(twins)
    exempt = always_zero(first, recipe, 3)
    assert not exempt, f"no parameter of this network has a gradient of zero, but {exempt}: {ZERO_REASON}"
    runs = [Run(first, recipe), Run(second, recipe), *(Run(first, recipe, seed) for seed in range(2))]
    found = gaps(runs, recipe, STEPS)
    show(found)
    part = excess(found).max(0)
    print(f"largest part of what is allowed: loss {part[0]:.2f}, weights {part[1]:.2f}")
    assert np.all(part <= 1)
    assert joint_error(runs[0].weights(), Run(first, recipe).weights()) > 1e-2, "the weights have hardly moved"


def synchronised(first, second, recipe, steps):
    """(steps, 3): the errors of loss and update of `second`, and how near to its kink a ReLU is where they are large.

    The second takes the weights and the optimizer's state of the first before each step. The last column is measured
    in float64, inf where there was no reason to.
    """
    batches, rows, exact = Batches(recipe), [], None
    for index in range(steps):
        weights = first.weights()
        second.assign(weights)
        second.trainer.load_state(first.trainer.state())
        loss, other = (run.step(batches[index]) for run in (first, second))
        moves = [{k: v.astype(np.float64) - weights[k] for k, v in run.weights().items()} for run in (second, first)]
        update, kink = joint_error(*moves), np.inf
        if update > SYNCHRONISED:
            exact = exact or Run(first.backend.in_float64(), recipe)
            exact.assign(weights)
            kink = nearest_kink(exact, batches[index])
        rows.append([relative_error(other, loss), update, kink])
    return np.array(rows)


def nearest_kink(run, batch):
    """The smallest input of a ReLU of the network beside their root mean square."""
    calls = run.backend.trace(run.network, batch.sample["degraded"], batch.omega).items()
    inputs = [call.output for name, call in calls if name.endswith("conv1")]
    assert len(inputs) == run.recipe.network.blocks
    return min(float(np.abs(x).min() / np.sqrt(np.mean(x**2))) for x in inputs)


def judged(found):
    """Whether each step is right: within SYNCHRONISED; the update within KINK where a ReLU is 1e-6 from its kink."""
    loss, update, kink = found.T
    return (loss <= SYNCHRONISED) & (update <= np.where(kink <= 1e-6, KINK, SYNCHRONISED))


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_synchronised(twins, make_recipe, kind):
    """200 steps from the first twin's weights and state: loss and update within 1e-5 in each."""
    recipe = make_recipe(**SECTIONS, optimizer=OPTIMIZERS[kind])
    found = synchronised(*(Run(backend, recipe) for backend in graph(twins)), recipe, STEPS)
    loss, update, kink = found.T
    print(f"{kind}: loss at most {loss.max():.1e}, update {update[np.isinf(kink)].max():.1e}", end="")
    print(f", in the middle {np.median(update):.1e}; steps at a kink: {np.sum(np.isfinite(kink))}")
    assert np.all(judged(found)), f"steps {np.flatnonzero(~judged(found)) + 1}: {found[~judged(found)]}"


CONTROLS = {
    "adam": ["beta1 wrong", "no bias correction", "decay decoupled", "clipping ignored"],
    "sgd": ["momentum wrong", "momentum as an average", "clipping ignored"],
}


def faulty(twin, recipe, kind, fault):
    """A run of a twin whose optimizer has a fault."""
    fault = FAULTS[kind][fault]
    told = recipe.optimizer.model_copy(update=fault.told)
    run = Run(twin.backend, recipe.model_copy(update={"optimizer": told}))
    fault.broken(twin, run.trainer._optimizer)
    return run


@pytest.mark.parametrize(("kind", "fault"), [(kind, fault) for kind, faults in CONTROLS.items() for fault in faults])
def test_a_fault_is_seen_in_one_step(twin, torch, make_recipe, kind, fault):
    """Negative control, of each twin beside a sound one. The first step may hide it: there all momentum is gradient."""
    recipe = make_recipe(**SECTIONS, optimizer=OPTIMIZERS[kind])
    found = synchronised(Run(torch.backend, recipe), faulty(twin, recipe, kind, fault), recipe, 2)
    print(f"{twin.name}, {fault}: update {found[:, 1]}")
    assert not judged(found)[1] and found[1, 1] > 10 * SYNCHRONISED


@pytest.mark.parametrize("fault", FAULTS["adam"])
def test_a_fault_makes_trajectories_part(torch, make_recipe, fault):
    """Negative control of the free-running twins: within ten steps."""
    recipe = make_recipe(**SECTIONS, optimizer=OPTIMIZERS["adam"])
    runs = [Run(torch.backend, recipe), faulty(torch, recipe, "adam", fault), Run(torch.backend, recipe, 0)]
    found = gaps(runs, recipe, 10)
    print(f"{fault}: {excess(found).max():.0f} times what is allowed")
    assert excess(found).max() > 10


def norm_behind_head(twin):
    """A change of the network, by which the mean of each of head's channels, and so its bias, loses all influence."""
    base = twin.torch.nn.Module if twin.name == "torch" else twin.ms.nn.Cell
    normalise = twin.module("ops").normalise

    class Normed(base):
        def __init__(self, layer):
            super().__init__()
            self.layer = layer

        def forward(self, x, omega):
            return normalise(self.layer(x, omega), "instance_norm2d", 1e-5)

        construct = forward

    def change(network):
        network.head = Normed(network.head)

    return change


def test_gradients_that_are_zero_are_listed(twins, make_recipe):
    """Adam turns their rounding into steps of the learning rate: only without them the twins stay together."""
    recipe = make_recipe(**SECTIONS, optimizer={"kind": "adam", "learning_rate": 1e-4})
    changes = [norm_behind_head(twin) for twin in twins]
    exempt = always_zero(twins[0].backend, recipe, 3, changes[0])
    print(*(f"{name}: {ZERO_REASON}" for name in sorted(exempt)), sep="\n")
    assert exempt == {"head.layer.bias"}

    runs = [Run(twin.backend, recipe, change=change) for twin, change in zip(twins, changes, strict=True)]
    runs.append(Run(twins[0].backend, recipe, 0, changes[0]))
    found = gaps(runs, recipe, 10, exempt)
    show(found)
    assert np.all(excess(found) <= 1)
    whole = joint_error(runs[1].weights(), runs[0].weights())
    print(f"weights with {', '.join(exempt)}: {whole:.1e}")
    assert whole > 10 * found[-1, 0, 1], "no rounding was turned into steps"
