"""Mutants of objectives, the multi-loss, optimizers and training: kind -> name -> fault."""

import numpy as np

from parity_tests.mutants.tensors import of_first_sample, of_next_sample, reversed_along, rolled
from parity_tests.mutants.ways import but, each, edited, given, replaced, returned, within
from tunable.data.filters import gaussian_taps
from tunable.objectives.similarity import SCALES

DISTANCE = "objectives.restoration:Objective.forward"
BETWEEN, MEAN = "objectives.distances:distance_between", "objectives.distances:mean_distance"
SIMILAR, MAPS = "objectives.distances:ms_ssim", "objectives.distances:_similarities"
TOGETHER = "objectives.restoration:MeanTarget.target"
REC = "objectives.restoration:Reconstruction.target"
NOISE = "objectives.restoration:NoisePreservation.target"
RESIDUE = "objectives.restoration:ResiduePreservation.target"
SHARP = "objectives.restoration:Sharpening.target"
BLURRED, SPECTRUM = "objectives.restoration:_blurred", "ops:spectrum"
LOSS, MAKE_LOSS = "objectives.multi:MultiLoss.forward", "objectives.multi:make_loss"
INIT = "objectives.multi:MultiLoss.__init__"
COLUMNS = "objectives.multi:columns_of"
STEP, LAUNCH, OPTIMIZER = "training:Trainer.step", "training:Trainer.launch", "optimizers:Optimizer"

_SQUARE = "difference * difference"

OBJECTIVE_FAULTS = {
    "degraded for clean": returned(REC, lambda target, a: a.sample["degraded"]),
    "omega of the first objective": returned(COLUMNS, lambda columns, a: tuple((0, *each[1:]) for each in columns)),
    "omega of the last objective": returned(
        COLUMNS, lambda columns, a: tuple((len(columns) - 1, *each[1:]) for each in columns)
    ),
    "target at the next sample's omega": given(NOISE, omega=lambda a: of_next_sample(a.omega)),
    "target at the first sample's omega": given(NOISE, omega=lambda a: of_first_sample(a.omega)),
    "residual the other way": but(NOISE, residual=lambda a: {"keep": "remove", "remove": "keep"}[a.self.residual]),
    "residual always kept": but(NOISE, residual=lambda a: "keep"),
    "nu ignored": but(NOISE, nu=lambda a: 1),
    "nu squared": but(NOISE, nu=lambda a: a.self.nu**2),
    "nu of the kept part alone": edited(NOISE, ("else knob if", "else knob / self.nu if")),
    "the full end moves with omega": edited(NOISE, ('1 if self.residual == "full" else ', "")),
    "noise with the other sign": but(NOISE, nu=lambda a: -a.self.nu),
    "noise on top of noise": returned(NOISE, lambda target, a: target - a.sample["clean"] + a.sample["degraded"]),
    "residue of the noise for any": edited(RESIDUE, ("sample[self.of]", 'sample["gaussian_noise"]')),
    "nu of the residue ignored": but(RESIDUE, nu=lambda a: 1),
    "target has a gradient": each(
        torch=edited(DISTANCE, (".detach()", "")), mindspore=edited(DISTANCE, ("_ops.stop_gradient", ""))
    ),
    "l1 is l2": given(MEAN, distance=lambda a: {"l1": "l2"}.get(a.distance, a.distance)),
    "l2 is l1": given(MEAN, distance=lambda a: {"l2": "l1"}.get(a.distance, a.distance)),
    "l2 halved": returned(MEAN, lambda mean, a: mean / 2 if a.distance == "l2" else mean),
    "charbonnier eps not squared": edited(MEAN, ("CHARBONNIER_EPS**2", "CHARBONNIER_EPS")),
    "charbonnier eps x 10": replaced("objectives.distances:CHARBONNIER_EPS", 1e-2),
    "charbonnier over all pixels": each(
        torch=edited(MEAN, (f"ops.per_sample_mean(torch.sqrt({_SQUARE}", f"torch.sqrt(ops.per_sample_mean({_SQUARE}")),
        mindspore=edited(
            MEAN, (f"ops.per_sample_mean(_ops.sqrt({_SQUARE}", f"_ops.sqrt(ops.per_sample_mean({_SQUARE}")
        ),
    ),
    "fft is l1": given(MEAN, distance=lambda a: {"fft": "l1"}.get(a.distance, a.distance)),
    "fft not orthonormal": returned(SPECTRUM, lambda seen, a: seen * a.x.shape[2]),
    "fft of real parts alone": returned(SPECTRUM, lambda seen, a: seen[:, : a.x.shape[1]]),
    "fft of all waves": returned(SPECTRUM, lambda seen, a: seen[:, :, [*range(seen.shape[2]), 1]]),
    "fft of half the imaginary parts": edited(SPECTRUM, ("= -cosines", "= 0 * cosines")),
    "similarity for distance": edited(BETWEEN, ("1 - ms_ssim", "ms_ssim")),
    "similarity to the target's distance": given(SIMILAR, y=lambda a: a.x - a.y),
    "similarity: scales in reverse order": replaced("objectives.distances:SCALES", SCALES[::-1]),
    "similarity: equal exponents": replaced("objectives.distances:SCALES", (0.2,) * 5),
    "similarity: four scales": replaced("objectives.distances:SCALES", SCALES[:4]),
    "similarity: luminance at every scale": edited(SIMILAR, ("if i == len(SCALES) - 1 else", "if i >= 0 else")),
    "similarity: luminance nowhere": edited(SIMILAR, ("luminance * contrast if", "contrast if")),
    "similarity: a lower floor": replaced("objectives.distances:SIMILARITY_FLOOR", 1e-6),
    "similarity: largest of 2x2 pixels": each(
        torch=edited("ops:mean_pool", ("avg_pool2d", "max_pool2d")),
        mindspore=edited("ops:mean_pool", ("_ops.AvgPool", "_ops.MaxPool")),
    ),
    "similarity: another window": replaced("objectives.distances:_TAPS", tuple(gaussian_taps(1.6, 11).tolist())),
    "similarity: C1 for C2": replaced("objectives.distances:C2", 0.01**2),
    "similarity: another middle": edited(MAPS, ("mean_x + _MIDDLE", "mean_x + 0.4")),
    "similarity: variances of the means": edited(MAPS, ("squares - mean_x * mean_x - mean_y * mean_y", "squares")),
    "sum over pixels": returned("ops:per_sample_mean", lambda mean, a: mean * a.values[0].reshape(-1).shape[0]),
    "mean over the batch": returned("ops:per_sample_mean", lambda mean, a: mean * 0 + mean.mean()),
    "U for chroma": given("ops:mix_colours", rows=lambda a: a.rows[:1] * 2 if len(a.rows) == 2 else a.rows),
    "all colours for a part": but(DISTANCE, space=lambda a: "rgb"),
    "chroma for luma": but(DISTANCE, space=lambda a: {"luma": "chroma"}.get(a.self.space, a.self.space)),
    "chroma ignored": edited(DISTANCE, ('if self.space != "rgb"', 'if self.space == "luma"')),
    "sharpened at another omega": edited(SHARP, ("omega[:, 0]", "omega[:, 1]")),
    "sharpened over noise of its own omega": edited(SHARP, ("omega[:, 1:]", "omega")),
    "sharpened without gamma": but(SHARP, gamma=lambda a: 1),
    "blurred for sharpened": but(SHARP, gamma=lambda a: -a.self.gamma),
    "clean picture sharpened": edited(SHARP, ("self.noise.target(sample, omega[:, 1:])", 'sample["clean"]')),
    "mask of the clean picture": edited(
        SHARP, ("noisy - _blurred(noisy)", 'sample["clean"] - _blurred(sample["clean"])')
    ),
    "Gaussian with a replicated border": within(BLURRED, given("ops:pad", mode=lambda a: "replicate")),
    "Gaussian without its last row": given("ops:filtered", taps=lambda a: (*a.taps[:-1], 0.0)),
    "mean of targets: lambda left out": each(
        torch=edited(TOGETHER, ("omega * omega.new_tensor(self.weights)", "omega")),
        mindspore=edited(TOGETHER, ("omega * ms.Tensor(self.weights, ms.float32)", "omega")),
    ),
    "mean of targets: omega in reverse order": given(TOGETHER, omega=lambda a: reversed_along(a.omega, 1)),
    "mean of targets: the next sample's omega": given(TOGETHER, omega=lambda a: of_next_sample(a.omega)),
    "mean of targets: a lower floor": within(TOGETHER, replaced("objectives.restoration:NORMALISE_FLOOR", 1e-8)),
    "mean of targets: shares of no sum": edited(TOGETHER, ("shares = weighted /", "shares = weighted + 0 *")),
    "mean of targets: not from the clean picture": edited(TOGETHER, ('(own - sample["clean"])', "own")),
}

LOSS_FAULTS = {
    "no mean of targets": given(INIT, shared=lambda a: ()),
    "one mean of all targets": given(INIT, shared=lambda a: (sum(a.shared, ()),) if a.shared else ()),
    "terms in the order of the means": edited(LOSS, ("for place in self.places", "for place in sorted(self.places)")),
    "lambda dropped": given(INIT, weights=lambda a: [1.0] * len(a.weights)),
    "lambda squared": given(INIT, weights=lambda a: [w * w for w in a.weights]),
    "lambda in reverse order": given(INIT, weights=lambda a: a.weights[::-1]),
    "lambda normalised": given(INIT, weights=lambda a: [w / sum(a.weights) for w in a.weights]),
    "omega dropped": edited(LOSS, ("losses = (rows * ", "losses = (")),
    "omega squared": edited(LOSS, ("losses = (rows * ", "losses = (rows * rows * ")),
    "omega in reverse order": edited(LOSS, ("(rows * ", "(rows[:, list(range(rows.shape[1]))[::-1]] * ")),
    "omega of the next sample": edited(LOSS, ("losses = (rows * ", "losses = (rows[[*range(1, len(rows)), 0]] * ")),
    "means of the batch multiplied": edited(
        LOSS, ("(rows * terms", "((rows * 0 + rows.mean(0)) * (terms * 0 + terms.mean(0))")
    ),
    "sum over the batch": returned(LOSS, lambda result, a: (result[0] * len(a.restored), result[1])),
    "mean over objectives": edited(LOSS, (".sum(1)\n    if", ".mean(1)\n    if")),
    "terms weighted": edited(LOSS, ("terms.mean(0)", "(rows * terms).mean(0)")),
    "terms of the first sample": edited(LOSS, ("terms.mean(0)", "terms[0]")),
    "normalisation ignored": but(LOSS, normalise=lambda a: "none"),
    "always normalised": but(LOSS, normalise=lambda a: "sum"),
    "normalised by the number of objectives": each(
        torch=edited(LOSS, ("rows.sum(1).clamp", "(rows.sum(1) * 0 + rows.shape[1]).clamp")),
        mindspore=edited(LOSS, ("_ops.maximum(rows.sum(1)", "_ops.maximum(rows.sum(1) * 0 + rows.shape[1]")),
    ),
    "normalised by the batch's sum": each(
        torch=edited(LOSS, ("rows.sum(1).clamp", "(rows.sum(1) * 0 + rows.sum(1).mean()).clamp")),
        mindspore=edited(LOSS, ("_ops.maximum(rows.sum(1)", "_ops.maximum(rows.sum(1) * 0 + rows.sum(1).mean()")),
    ),
    "floor forgotten": replaced("objectives.multi:NORMALISE_FLOOR", 1e-8),
    "floor x 10": replaced("objectives.multi:NORMALISE_FLOOR", 1e-2),
    "floor added": each(
        torch=edited(LOSS, ("rows.sum(1).clamp(min=NORMALISE_FLOOR)", "(rows.sum(1) + NORMALISE_FLOOR)")),
        mindspore=edited(LOSS, ("_ops.maximum(rows.sum(1), NORMALISE_FLOOR)", "(rows.sum(1) + NORMALISE_FLOOR)")),
    ),
    "weights not compared with objectives": edited(INIT, ("len(objectives) != len(weights)", "False")),
}


def _with(**changes):
    """The optimizer gets other values of some settings."""
    return given(f"{OPTIMIZER}.__init__", settings=lambda a: a.settings.model_copy(update=changes))


def _changed(change):
    """The optimizer gets the settings that change(its settings) gives."""
    return given(f"{OPTIMIZER}.__init__", settings=lambda a: a.settings.model_copy(update=change(a.settings)))


def _corrected_back(of):
    """The rate of the step to come times what `of` makes of 1 - beta^t, by Adam alone."""

    def rate(a):
        settings, steps = a.self._settings, int(a.self.state()["step"][0]) + 1
        return a.learning_rate if settings.kind == "sgd" else a.learning_rate * of(settings, steps)

    return given(f"{OPTIMIZER}.prepare", learning_rate=rate)


def _averaged(a):
    """For v = momentum v + (1 - momentum) g, the convention of running means."""
    return [0.1 * g for g in a.gradients] if a.self._settings.kind == "sgd" else a.gradients


def _reported(change):
    """Gradients are reported otherwise."""
    return returned("training:Trainer.gradients", lambda report, a: report._replace(gradients=change(report.gradients)))


def _reported_after(report, a):
    """Loss and terms of the weights after the step."""
    later = a.self.gradients(a.batch)
    return report._replace(loss=later.loss, terms=later.terms)


def _first_rate(a):
    return a.self.__dict__.setdefault("first_rate", a.learning_rate)


def _without(*starts):
    """Those entries of a state are zero."""
    return lambda a: {name: 0 * value if name.startswith(starts) else value for name, value in a.state.items()}


TRAINING_FAULTS = {
    "beta1 wrong": _with(beta1=0.89),
    "beta2 wrong": _with(beta2=0.99),
    "eps x 10": _changed(lambda s: {"eps": 10 * getattr(s, "eps", 0)}),
    "first moment not corrected": _corrected_back(lambda s, t: 1 - s.beta1**t),
    "second moment not corrected": _corrected_back(lambda s, t: (1 - s.beta2**t) ** -0.5),
    "no bias correction": _corrected_back(lambda s, t: (1 - s.beta1**t) / (1 - s.beta2**t) ** 0.5),
    "decay decoupled": _changed(lambda s: {"kind": "adamw"} if s.kind == "adam" else {}),
    "decay coupled": _changed(lambda s: {"kind": "adam"} if s.kind == "adamw" else {}),
    "no decay": _with(weight_decay=0.0),
    "decay where none is wanted": _changed(lambda s: {"weight_decay": s.weight_decay or 0.01}),
    "clipping ignored": _with(clip_norm=None),
    "clipping at half": _changed(lambda s: {"clip_norm": s.clip_norm and s.clip_norm / 2}),
    "momentum wrong": _with(momentum=0.89),
    "momentum as an average": given(f"{OPTIMIZER}.update", gradients=_averaged),
    "Nesterov unasked": _changed(lambda s: {"nesterov": bool(getattr(s, "momentum", 0))}),
    "Nesterov ignored": _with(nesterov=False),
    "nothing moves": replaced(f"{OPTIMIZER}.update", lambda self, gradients, loss=None: True),
    "uphill": given(f"{OPTIMIZER}.update", gradients=lambda a: [-g for g in a.gradients]),
    "signs of gradients": given(f"{OPTIMIZER}.update", gradients=lambda a: [g / (abs(g) + 1e-30) for g in a.gradients]),
    "first rate for ever": given(f"{OPTIMIZER}.prepare", learning_rate=_first_rate),
    "rate of the recipe": given(f"{OPTIMIZER}.prepare", learning_rate=lambda a: a.self._settings.learning_rate),
    "first moment not resumed": given(f"{OPTIMIZER}.load_state", state=_without("first", "momentum")),
    "second moment not resumed": given(f"{OPTIMIZER}.load_state", state=_without("second")),
    "count of steps not resumed": given(f"{OPTIMIZER}.load_state", state=_without("step")),
    "nothing resumed": edited("training:Trainer.load_state", ("self._optimizer.load_state(state)", "pass")),
    "moments exchanged in the state": returned(
        f"{OPTIMIZER}.state", lambda state, a: {n: state.get(n.replace("first", "second")) for n in state}
    ),
    "count of steps stands still": returned(
        f"{OPTIMIZER}.state", lambda state, a: state | {"step": np.ones(1, np.float32)}
    ),
    "two steps for one": each(
        torch=edited(
            LAUNCH,
            (
                "self._optimizer.update(gradients, loss)",
                "[self._optimizer.update(gradients, loss) for _ in range(2)][0]",
            ),
        ),
        mindspore=edited(
            LAUNCH,
            (
                "loss, terms, finite, *judged =",
                "self._update(*self._tensors(batch))\n    loss, terms, finite, *judged =",
            ),
        ),
    ),
    "loss after the step": returned(STEP, _reported_after),
    "terms in reverse order": returned(STEP, lambda report, a: report._replace(terms=report.terms[::-1])),
    "omega in reverse order": given("objectives:MultiLoss.forward", omega=lambda a: reversed_along(a.omega, -1)),
    "clean pictures trained on": each(
        torch=edited("training:Trainer._compute", ('else sample["degraded"]', 'else sample["clean"]')),
        mindspore=edited("training:Trainer._functions", ('(sample["degraded"], omega)', '(sample["clean"], omega)')),
    ),
    "gradients of a bias in another order": _reported(lambda parts: parts | {"head.bias": rolled(parts["head.bias"])}),
    "no gradients reported": _reported(lambda parts: {name: 0 * value for name, value in parts.items()}),
}

FEATURES = "objectives.features:FeatureDistance.forward"
GAN = "objectives.adversarial:Perceptual.forward"
LOOK, WEIGH = "objectives.style:Style.look", "objectives.style:Style.weigh"
RELATIVISTIC, VGG, ADVERSARY = (
    "objectives.adversarial:relativistic",
    "networks.vgg:VGG.forward",
    "adversary:Adversary",
)
SCORES = "networks.discriminator:Discriminator.forward"

JUDGE_FAULTS = {
    "scores exchanged": given(RELATIVISTIC, high=lambda a: a.low, low=lambda a: a.high),
    "not relative to the mean": edited(RELATIVISTIC, ("high - low.mean()", "high - low")),
    "one side alone": edited(RELATIVISTIC, (" + ops.softplus(high.mean() - low)", "")),
    "gan: rec weight forgotten": but(GAN, rec_weight=lambda a: 1),
    "gan: vgg weight squared": but(GAN, vgg_weight=lambda a: a.self.vgg_weight**2),
    "gan: adv weight forgotten": but(GAN, adv_weight=lambda a: 1),
    "gan: vgg by squares": edited(GAN, ('"l1"', '"l2"')),
    "gan: grid of another period": but(GAN, period=lambda a: 2 * a.self.period),
    "gan: shrunk weight forgotten": but(GAN, shrunk_weight=lambda a: 1),
    "gan: unit features of the last layer alone": edited(GAN, ("seen[1:], truth[1:]", "seen[-1:], truth[-1:]")),
    "features: rec weight forgotten": but(FEATURES, rec_weight=lambda a: 1),
    "features: grid of another period": but(FEATURES, period=lambda a: 2 * a.self.period),
    "features: shrunk weight forgotten": but(FEATURES, shrunk_weight=lambda a: 1),
    "features: shrunk pictures by squares": edited("objectives.features:shrunk", ('"l1"', '"l2"')),
    "features: the last layer alone": edited(FEATURES, ("seen[1:], truth[1:]", "seen[-1:], truth[-1:]")),
    "features of any length": returned("objectives.features:unit", lambda y, a: a.features),
    "gram without the channels": returned("objectives.style:gram", lambda gram, a: gram * a.x.shape[1]),
    "style: less the content's Gram matrix too": edited(
        LOOK, ("gram(layer) for", "gram(layer) - gram(content[1]).mean() for")
    ),
    "style: content by absolute values": edited(
        LOOK, ('mean_distance(features[0] - content[0], "l2")', 'mean_distance(features[0] - content[0], "l1")')
    ),
    "style: variation along rows alone": edited(LOOK, ('mean_distance(down, "l1") + ', "")),
    "style: luma in place of U": edited(LOOK, ("UV", "((0.299, 0.587, 0.114), UV[1])")),
    "style: weights of layers in reverse order": but(WEIGH, layer_weights=lambda a: a.self.layer_weights[::-1]),
    "style: chrominance weight forgotten": but(WEIGH, uv_weight=lambda a: 1),
    "VGG: never halved": but(VGG, halved=lambda a: [False] * len(a.self.halved)),
    "VGG: one ReLU too few": but(VGG, rectified=lambda a: [r and i != 1 for i, r in enumerate(a.self.rectified)]),
    "VGG: scale of the colours forgotten": edited(VGG, ("IMAGENET_STD, -1", "(1.0, 1.0, 1.0), -1")),
    "discriminator: no hidden leak": edited(SCORES, ("ops.leaky_relu(self.hidden(x), 0.2)", "self.hidden(x)")),
    "discriminator: first block twice": edited(
        SCORES, ("x = block(x)", "x = block(x) if x.shape[1] != 3 else self.blocks[0](x) * 1.01")
    ),
    "discriminator: the network's rate": but(f"{ADVERSARY}.prepare", _ratio=lambda a: 1),
    "discriminator: clean and restored exchanged": given(
        f"{ADVERSARY}.judge", clean=lambda a: a.restored, restored=lambda a: a.clean
    ),
    "discriminator: learns from the clean alone": given(f"{ADVERSARY}.judge", restored=lambda a: a.clean),
}


LEARNING = {
    "objective": OBJECTIVE_FAULTS,
    "judge": JUDGE_FAULTS,
    "multi-loss": LOSS_FAULTS,
    "training": TRAINING_FAULTS,
}
