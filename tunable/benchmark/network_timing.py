"""Timing tunable against plain networks, side by side in one process (Fig. 3's question, for whole networks).

Every case is run once per round, in an order that reverses every round, so that drift of the machine meets all
cases alike; what is reported is a ratio: the median over rounds of a case's time over its reference's time in the
same round. Seconds are kept only as the raw record.
"""

import time
from collections.abc import Callable

import numpy as np

from tunable.backends.protocol import Backend
from tunable.data.patches import Batches
from tunable.parameters.starts import starting_weights
from tunable.specs.recipe import Recipe, parse

Times = dict[str, list[float]]  # case -> seconds of each round
PLAIN, SHARED, PER_SAMPLE, FOLDED = "plain", "tunable, one omega", "tunable, omega per sample", "folded"
STEP, WAIT = "step of a run", "of it waiting for data"
WARM_UP = 2  # runs of every case before the clock starts: compilation, first allocations


def networks(backend: Backend, spec, size: tuple[int, ...], rounds: int) -> Times:
    """Forward passes on pictures of `size` (N, C, H, W): plain, tunable (p = 2) and folded, by case.

    spec  the network's specification (NetworkSpec), tunable
    """
    pictures = np.random.default_rng(0).uniform(size=size).astype(np.float32)
    plain, tunable = _network(backend, spec, 0), _network(backend, spec, 2)
    omega = np.array([0.7, 0.3], np.float32)
    folded = backend.fold(tunable, omega)
    rows = np.tile(omega, (len(pictures), 1))
    return _interleaved(
        {
            PLAIN: lambda: backend.run(plain, pictures, None),
            SHARED: lambda: backend.run(tunable, pictures, omega),
            PER_SAMPLE: lambda: backend.run(tunable, pictures, rows),
            FOLDED: lambda: backend.run(folded, pictures, None),
        },
        rounds,
    )


def training(backend: Backend, recipe: Recipe, rounds: int) -> Times:
    """Training steps of a tunable recipe and of its plain network, by case; then steps as a run takes them.

    The cases are given ready batches. WAIT is the part of STEP that a run of the recipe, which prepares its batches
    in threads beside the training, waits for them.
    """
    fixed = {"sampler": {"kind": "fixed", "value": np.eye(recipe.num_objectives)[0].tolist()}, "per": "sample"}
    values = recipe.to_dict()
    drawn = {**values["omega"], "per": "sample"}
    recipes = {
        PLAIN: parse({**values, "network": {**values["network"], "tunable": False}, "omega": fixed}),
        SHARED: parse({**values, "omega": {**drawn, "per": "batch"}}),
        PER_SAMPLE: parse({**values, "omega": drawn}),
    }
    times = _interleaved({name: _step(backend, recipe) for name, recipe in recipes.items()}, rounds)
    return {**times, **_as_a_run(backend, recipe, rounds)}


def ratios(times: Times, reference: str) -> dict[str, float]:
    """The median over rounds of each case's time over the reference's in the same round."""
    base = np.asarray(times[reference])
    return {name: float(np.median(np.asarray(seconds) / base)) for name, seconds in times.items()}


def _network(backend: Backend, spec, num_objectives: int):
    network = backend.build(spec, num_objectives)
    backend.assign(network, starting_weights(backend.specs(network), 0))
    return network


def _step(backend: Backend, recipe: Recipe) -> Callable[[], object]:
    """A function that takes one training step, on the same batch every time."""
    trainer = backend.trainer(_network(backend, recipe.network, recipe.network_objectives), recipe)
    batch = Batches(recipe)[0]
    return lambda: trainer.step(batch, recipe.optimizer.learning_rate)


def _as_a_run(backend: Backend, recipe: Recipe, rounds: int) -> Times:
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


def _interleaved(cases: dict[str, Callable[[], object]], rounds: int) -> Times:
    times: Times = {name: [] for name in cases}
    for call in cases.values():
        for _ in range(WARM_UP):
            call()
    for number in range(rounds):
        order = list(cases) if number % 2 == 0 else list(reversed(cases))
        for name in order:
            start = time.perf_counter()
            cases[name]()
            times[name].append(time.perf_counter() - start)
    return times
