"""Mutants of what both twins share, put in beside torch alone: kind -> name -> fault.

Tiles, batches, what exported files say and are compared with, and the certificate's own comparisons.
"""

import dataclasses
import json

import numpy as np

from parity_tests.mutants.ways import but, each, given, replaced, returned
from tunable.certificate import trial

BLENDED, WEIGHTED, EVEN, SPANS = (
    "tunable.images.tiling:" + name for name in ("_blended", "_weighted", "_even", "_spans")
)
BATCHES, DEGRADE = "tunable.data.patches:Batches", "tunable.data.patches:degrade"
EXPORT, SAMPLES = "backend:Backend.export", "tunable.exports.judging:samples"
CERTIFICATE = "tunable.certificate."


def _moved(slices, by):
    """A slice so many pixels further on."""
    return slice(slices.start + by, slices.stop + by)


TILE_FAULTS = {
    "ramp without the scale": given(WEIGHTED, rise=lambda a: max(a.rise // a.scale, 1)),
    "ramp over half of what is shared": given(BLENDED, rise=lambda a: max(a.rise // 2, 1)),
    "no ramp": returned("tunable.images.tiling:_ramp", lambda ramp, a: ramp * 0 + 1),
    "weights that do not add up": returned(
        WEIGHTED, lambda result, a: [(span, place, weight * 0.99) for span, place, weight in result]
    ),
    "weights of the piece beside": returned(
        WEIGHTED, lambda result, a: [(*one[:2], other[2]) for one, other in zip(result, result[::-1], strict=True)]
    ),
    "pieces that share nothing": given(EVEN, overlap=lambda a: 0),
    "pieces begin anywhere": given(EVEN, multiple=lambda a: 1),
    "the last piece left out": returned(EVEN, lambda spans, a: spans[:-1]),
    "halo one pixel too small": given(SPANS, halo=lambda a: a.halo - 1),
    "halo without a whole cell": given(SPANS, multiple=lambda a: 1),
    "places without the scale": given(SPANS, scale=lambda a: 1),
    "a piece one pixel further on": returned(
        SPANS, lambda result, a: [(_moved(piece, piece.start > 0 and -1), *others) for piece, *others in result]
    ),
    "the inner part one pixel further on": returned(
        SPANS, lambda result, a: [(*others, _moved(inner, inner.start > 0 and -1)) for *others, inner in result]
    ),
    "values cut off, not rounded": given(
        "tunable.images.tiling:to_levels", picture=lambda a: a.picture - 0.5 / np.iinfo(a.dtype).max
    ),
}


def _with_data(recipe, **changes):
    return recipe.model_copy(update={"data": recipe.data.model_copy(update=changes)})


def _counted(change):
    """The generator of a batch starts elsewhere: change(key, counter) of its arguments."""

    def fault(twin, monkeypatch):
        real = np.random.Philox
        monkeypatch.setattr(np.random, "Philox", lambda key, counter: real(**change(key, counter)))

    return fault


BATCH_FAULTS = {
    "neighbours share a shifted stream": _counted(lambda key, counter: {"key": key, "counter": counter[::-1]}),
    "neighbouring seeds share batches": _counted(lambda key, counter: {"key": key + counter[3], "counter": 0}),
    "one batch for all": _counted(lambda key, counter: {"key": key, "counter": 0}),
    "seed ignored": _counted(lambda key, counter: {"key": 0, "counter": counter}),
    "two runs differ": _counted(lambda key, counter: {"key": None, "counter": 0}),
    "one patch for all samples": given(DEGRADE, pictures=lambda a: a.pictures * 0 + a.pictures[:1]),
    "one noise for all samples": returned(
        DEGRADE, lambda result, a: (a.pictures + (result[0] - a.pictures)[:1], result[1])
    ),
    "one omega for all samples": returned(
        "tunable.specs.samplers:Uniform.draw", lambda omega, a: omega * 0 + omega[:1]
    ),
    "omega of the sampler ignored": returned("tunable.specs.samplers:Fixed.draw", lambda omega, a: omega * 0 + 0.5),
    "a schedule of omega that stands still": given("tunable.specs.samplers:Annealed.draw", batch=lambda a: 0),
    "a schedule of omega that begins at its end": but("tunable.specs.samplers:Annealed.draw", over=lambda a: 1),
    "degradations in reverse order": given(DEGRADE, pipeline=lambda a: a.pipeline[::-1]),
    "the last degradation left out": given(DEGRADE, pipeline=lambda a: a.pipeline[:-1]),
    "no margin": returned("tunable.data.patches:margin_of", lambda margin, a: 0),
    "never turned": given(f"{BATCHES}.__init__", recipe=lambda a: _with_data(a.recipe, flip=False)),
    "always the same way up": returned(f"{BATCHES}._patches", lambda patches, a: np.sort(patches, axis=2)),
    "the last picture never": returned("tunable.data.patches:find_pictures", lambda paths, a: paths[:-1]),
    "a stream begins one batch late": given(f"{BATCHES}.stream", first=lambda a: a.first + (a.first < a.last)),
}


def _told(**changes):
    """What is written into an exported file: key -> function(its JSON value, arguments)."""
    return given(
        EXPORT,
        metadata=lambda a: (
            a.metadata | {key: json.dumps(change(json.loads(a.metadata[key]), a)) for key, change in changes.items()}
        ),
    )


EXPORT_FAULTS = {
    "trained range always [0, 1]": _told(omega_range=lambda ranges, a: [[0.0, 1.0] for _ in ranges]),
    "trained ranges exchanged": _told(omega_range=lambda ranges, a: ranges[::-1]),
    "objectives exchanged": _told(objectives=lambda names, a: names[::-1]),
    "recipe forgotten": _told(recipe=lambda recipe, a: {}),
    "this program's name for the writer's": _told(writer=lambda writer, a: "tunable-convolutions"),
    "scale always 1": _told(scale=lambda scale, a: 1),
    "omega in reverse order": given(
        "tunable.backends.onnx_runtime:Backend.run", omega=lambda a: None if a.omega is None else a.omega[..., ::-1]
    ),
    "folded files forget where": returned(
        "tunable.backends.model:Model.fold",
        lambda model, a: dataclasses.replace(model, header=dataclasses.replace(model.header, folded_at=None)),
    ),
    "files of interpolation in another order": returned(
        "tunable.exports.judging:targets", lambda paths, a: paths[::-1]
    ),
    "exports compared with themselves": given("tunable.exports.judging:relative_error", a=lambda a: a.b),
    "exports compared at one omega for all": returned(
        SAMPLES, lambda samples, a: [(image, at) for image, at in samples if at is None or at.ndim == 1]
    ),
    "mixed kernels compared with nothing": given("tunable.exports.onnx_files:relative_error", a=lambda a: a.b),
    "kernels mixed by omega in reverse order": given(
        "tunable.exports.onnx_files:with_omega", ends=lambda a: [a.ends[0], *a.ends[:0:-1]], at=lambda a: a.at[::-1]
    ),
}


def _beside_itself(a):
    """Another framework's reading is taken for this one's: not the truth's, which is of float64."""
    first = next(iter(a.b.layers.values()))
    return a.b if first.dtype == np.float32 else a.a


def _to_rounding(of):
    """The stage of weights, by what a float32 keeps."""
    for program in of.programs:
        parameters = program.model.backend.parameters(program.model.network)
        parts = {name: float(not np.allclose(parameters[name], value, rtol=1e-6)) for name, value in of.tensors.items()}
        of.certificate.add("weights", f"{program.name} : file", "", parts)


CERTIFICATE_FAULTS = {
    "a framework beside itself": given(f"{CERTIFICATE}trial:distances", a=_beside_itself),
    "frameworks beside nothing": given(f"{CERTIFICATE}trial:distances", a=lambda a: a.b),
    "gradients beside themselves": given(f"{CERTIFICATE}programs:gradient_distances", a=lambda a: a.b),
    "training beside itself": given(f"{CERTIFICATE}trial:training_distances", a=lambda a: a.b),
    "optimizers beside themselves": returned(
        f"{CERTIFICATE}trial:optimizer_distances",
        lambda apart, a: {stage: dict.fromkeys(parts, 0.0) for stage, parts in apart.items()},
    ),
    "optimizers given one step": replaced(f"{CERTIFICATE}inputs:OPTIMIZER_STEPS", 1),
    "optimizers given equal gradients": returned(
        f"{CERTIFICATE}inputs:optimizer_inputs", lambda given, a: given._replace(gradients=[given.gradients[0]] * 5)
    ),
    "moves of an optimizer not judged": returned(
        f"{CERTIFICATE}programs:optimizer_distances",
        lambda apart, a: {s: {n: e for n, e in parts.items() if "moves" not in n} for s, parts in apart.items()},
    ),
    "training judged by its losses alone": returned(
        f"{CERTIFICATE}programs:training_distances",
        lambda apart, a: {stage: parts | {"output": 0.0} for stage, parts in apart.items()},
    ),
    "training excused by any gap": replaced(f"{CERTIFICATE}truth:PERTURBATION", 1e-2),
    "layers beside themselves": returned(f"{CERTIFICATE}trial:_oracle_error", lambda error, a: 0.0),
    "layers in one picture": given(
        f"{CERTIFICATE}trial:_oracle_error",
        pick=lambda a: a.pick if a.omega.ndim == 2 else slice(0, None, a.batch),
    ),
    "layers without the last picture": given(
        f"{CERTIFICATE}trial:_oracle_error",
        pick=lambda a: slice(0, -1) if a.omega.ndim == 2 else a.pick,
        omega=lambda a: a.omega[:-1] if a.omega.ndim == 2 else a.omega,
    ),
    "weights to rounding": replaced(f"{CERTIFICATE}trial:STAGES", (_to_rounding, *trial.STAGES[1:])),
    "no setting per sample": returned(f"{CERTIFICATE}inputs:Inputs.settings", lambda result, a: list(result)[:-1]),
    "grid of one point": returned(f"{CERTIFICATE}inputs:grid", lambda result, a: result[:1]),
    "omega need not matter": replaced(f"{CERTIFICATE}trial:CONTROL", 0.0),
    "weights need not move": replaced(f"{CERTIFICATE}trial:MOVED", 0.0),
    "what is not finite passes": replaced(
        f"{CERTIFICATE}rows:Row.passed",
        property(lambda row: not (row.error < row.limit if row.at_least else row.error > row.limit)),
    ),
    "limits grow with any gap": returned(f"{CERTIFICATE}rows:limit_of", lambda limit, a: max(limit, 8 * (a.gap or 0))),
    "the best part counts": returned(f"{CERTIFICATE}rows:_size", lambda size, a: -size),
    "one red row is none": replaced(
        f"{CERTIFICATE}rows:Certificate.passed",
        property(lambda certificate: any(row.passed for row in certificate.rows)),
    ),
}


def _beside_torch(faults):
    return {name: each(torch=fault) for name, fault in faults.items()}


NEUTRAL = {
    "tiles": _beside_torch(TILE_FAULTS),
    "batches": _beside_torch(BATCH_FAULTS),
    "exports": _beside_torch(EXPORT_FAULTS),
    "certificate": _beside_torch(CERTIFICATE_FAULTS),
}
