"""Timing tunable against plain networks, side by side in one process (Fig. 3's question, for whole networks).

Every case is run once per round (tunable.benchmark.turns). What is reported is a ratio: the median over rounds of a
case's time over its reference's time in the same round. Seconds are kept only as the raw record.
"""

import time
from collections.abc import Callable

import numpy as np

from tunable.backends.protocol import Framework
from tunable.benchmark.turns import WARM_UP, in_turns
from tunable.data.patches import Batches
from tunable.parameters.starts import starting_weights
from tunable.specs.control import Strategy
from tunable.specs.networks import NetworkSpec
from tunable.specs.recipe import Recipe, parse

Times = dict[str, list[float]]  # case -> seconds of each round
PLAIN, SHARED, PER_SAMPLE, FOLDED = "plain", "tunable, one omega", "tunable, omega per sample", "folded"
STEP, WAIT = "step of a run", "of it waiting for data"


def networks(backend: Framework, spec: NetworkSpec, size: tuple[int, ...], rounds: int) -> Times:
    """Time forward passes of a plain network, of its tunable form (p = 2) and of that one's fold.

    The plain network of a control strategy is the residual network of as many blocks in all; not all of them fold.

    Args:
        backend: which framework, where and how.
        spec: the tunable network.
        size: of the pictures, (N, C, H, W).
        rounds: how often each case is timed.

    Returns:
        Seconds of each round, by case.
    """
    pictures = np.random.default_rng(0).uniform(size=size).astype(np.float32)
    plain = _network(backend, spec.equal if isinstance(spec, Strategy) else spec, 0)
    tunable = _network(backend, spec, 2)
    omega = np.array([0.7, 0.3], np.float32)
    rows = np.tile(omega, (len(pictures), 1))
    cases: dict[str, Callable[[], object]] = {
        PLAIN: lambda: backend.run(plain, pictures, None),
        SHARED: lambda: backend.run(tunable, pictures, omega),
        PER_SAMPLE: lambda: backend.run(tunable, pictures, rows),
    }
    if not spec.without_folding:
        folded = backend.fold(tunable, omega)
        cases[FOLDED] = lambda: backend.run(folded, pictures, None)
    return in_turns(cases, rounds)


def training(backend: Framework, recipe: Recipe, rounds: int) -> Times:
    """Time training steps of a tunable recipe and of its plain network, then steps as a run takes them.

    The first cases are given ready batches. WAIT is the part of STEP that a run of the recipe, which prepares its
    batches in threads beside the training, waits for them.

    Args:
        backend: which framework, where and how.
        recipe: of the tunable network.
        rounds: how often each case is timed.

    Returns:
        Seconds of each round, by case.
    """
    fixed = {"sampler": {"kind": "fixed", "value": np.eye(recipe.num_objectives)[0].tolist()}, "per": "sample"}
    values = recipe.to_dict()
    drawn = {**values["omega"], "per": "sample"}
    recipes = {
        PLAIN: parse({**values, "network": {**values["network"], "tunable": False}, "omega": fixed}),
        SHARED: parse({**values, "omega": {**drawn, "per": "batch"}}),
        PER_SAMPLE: parse({**values, "omega": drawn}),
    }
    times = in_turns({name: _step(backend, recipe) for name, recipe in recipes.items()}, rounds)
    return {**times, **_as_a_run(backend, recipe, rounds)}


def ratios(times: Times, reference: str) -> dict[str, float]:
    """Return the median over rounds of each case's time over the reference's time in the same round."""
    base = np.asarray(times[reference])
    return {name: float(np.median(np.asarray(seconds) / base)) for name, seconds in times.items()}


def _network(backend: Framework, spec: NetworkSpec, num_objectives: int):
    network = backend.build(spec, num_objectives)
    backend.assign(network, starting_weights(backend.specs(network), 0))
    return network


def _step(backend: Framework, recipe: Recipe) -> Callable[[], object]:
    """A function that takes one training step, on the same batch every time."""
    trainer = backend.trainer(_network(backend, recipe.network, recipe.network_objectives), recipe)
    batch = Batches(recipe)[0]
    return lambda: trainer.step(batch, recipe.optimizer.learning_rate)


def _as_a_run(backend: Framework, recipe: Recipe, rounds: int) -> Times:
    trainer = backend.trainer(_network(backend, recipe.network, recipe.network_objectives), recipe)
    times: Times = {STEP: [], WAIT: []}
    stream = Batches(recipe).stream(0, WARM_UP + rounds)
    for _ in range(WARM_UP + rounds):
        start = time.perf_counter()
        batch = next(stream)
        waited = time.perf_counter()
        trainer.step(batch, recipe.optimizer.learning_rate)
        times[STEP].append(time.perf_counter() - start)
        times[WAIT].append(waited - start)
    return {name: seconds[WARM_UP:] for name, seconds in times.items()}
