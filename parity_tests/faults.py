"""Deliberate faults, each of which must turn a certificate red: fault(twin, monkeypatch) breaks one twin.

Tensors of both frameworks share the operators used here.
"""

import numpy as np

from tunable.specs.recipe import Recipe


def in_conv(change):
    """A fault in the arguments of ops.conv: change(twin, x, alpha, weight, bias) -> the same, changed."""

    def fault(twin, monkeypatch):
        ops = twin.module("ops")
        real = ops.conv

        def conv(x, alpha, weight, bias, *options):
            return real(*change(twin, x, alpha, weight, bias), *options)

        monkeypatch.setattr(ops, "conv", conv)

    return fault


def in_recipe(change):
    """A fault in what the trainer is told: change(recipe as values) in place."""

    def fault(twin, monkeypatch):
        module = twin.module("backend")
        real = module.Trainer

        def trainer(network, recipe, **options):
            values = recipe.to_dict()
            change(values)
            return real(network, Recipe.model_validate(values), **options)

        monkeypatch.setattr(module, "Trainer", trainer)

    return fault


def kernels_swapped(twin, x, alpha, weight, bias):
    return x, alpha[..., [1, 0]], weight, bias


def omega_ignored(twin, x, alpha, weight, bias):
    return x, alpha * 0 + 0.5, weight, bias


def omega_of_another_sample(twin, x, alpha, weight, bias):
    if alpha.ndim == 2:
        alpha = alpha[[*range(1, len(x)), 0]]
    return x, alpha, weight, bias


def bias_dropped(twin, x, alpha, weight, bias):
    return x, alpha, weight, bias * 0


def bias_not_mixed(twin, x, alpha, weight, bias):
    return x, alpha, weight, bias * 0 + bias[:1]


def kernel_transposed(twin, x, alpha, weight, bias):
    return x, alpha, weight.swapaxes(-1, -2), bias


def phi_untrained(twin, x, alpha, weight, bias):
    return x, twin.constant(alpha) + alpha * 0, weight, bias


def phi_transposed(twin, monkeypatch):
    def wrong(self, omega):
        return omega @ self.weight + self.bias

    if twin.name == "torch":
        monkeypatch.setattr(twin.torch.nn.Linear, "forward", wrong)
    else:
        monkeypatch.setattr(twin.module("layers.phi")._Dense, "construct", wrong)


def padding_shifted(twin, monkeypatch):
    """The picture moves by one row."""
    ops = twin.module("ops")
    real = ops.conv

    def conv(x, alpha, weight, bias, stride, padding, dilation, groups, form):
        return real(x, alpha, weight, bias, stride, (padding[0] + 1, padding[1]), dilation, groups, form)[:, :, :-2]

    monkeypatch.setattr(ops, "conv", conv)


def wrong_activation(twin, monkeypatch):
    """A leak of a hundredth: every layer is right, the network is not."""

    def leaky(x):
        return x - 0.99 * (x - abs(x)) / 2

    monkeypatch.setattr(*((twin.torch, "relu") if twin.name == "torch" else (twin.ms.ops, "relu")), leaky)


def fold_elsewhere(twin, monkeypatch):
    folding = twin.module("folding")
    real = folding.fold
    monkeypatch.setattr(folding, "fold", lambda network, omega: real(network, omega * 0.99))


def weights_in_half_precision(twin, monkeypatch):
    real = twin.backend.assign

    def assign(network, tensors):
        real(network, {name: value.astype(np.float16).astype(np.float32) for name, value in tensors.items()})

    monkeypatch.setattr(twin.backend, "assign", assign)


def in_output(change):
    """A fault in what the network returns: change(output) in place."""

    def fault(twin, monkeypatch):
        real = twin.backend.run

        def run(network, degraded, omega):
            output = real(network, degraded, omega)
            change(output)
            return output

        monkeypatch.setattr(twin.backend, "run", run)

    return fault


def one_nan(output):
    output[0, 0, 0, 0] = np.nan


def five_millionths(output):
    output *= 1 + 5e-6


def in_gradients(change):
    """A fault in the gradients: change(gradients by name) in place."""

    def fault(twin, monkeypatch):
        trainer = twin.module("training").Trainer
        real = trainer.gradients

        def gradients(self, batch):
            report = real(self, batch)
            change(report.gradients)
            return report

        monkeypatch.setattr(trainer, "gradients", gradients)

    return fault


def nan_gradient(gradients):
    gradients["tail.bias"][0] = np.nan


def long_gradients(gradients):
    """By 1.5e-4: no tensor alone is beyond its limit, all together they are, whatever the model's own gap."""
    for value in gradients.values():
        value *= 1 + 1.5e-4


def moment_undecayed(twin, monkeypatch):
    """The state, as it would be saved, has a second moment that is a thousandth too large."""
    trainer = twin.module("training").Trainer
    real = trainer.state

    def state(self):
        return {name: value * (1.001 if name.startswith("second.") else 1) for name, value in real(self).items()}

    monkeypatch.setattr(trainer, "state", state)


def count_stands_still(twin, monkeypatch):
    trainer = twin.module("training").Trainer
    real = trainer.state
    monkeypatch.setattr(trainer, "state", lambda self: {**real(self), "step": np.ones(1, np.float32)})


def lambda_squared(values):
    for objective in values["objectives"]:
        objective["weight"] **= 2


def residual_removed(values):
    values["objectives"][1]["residual"] = "remove"


def loss_normalised(values):
    values["loss"]["normalise"] = "sum"


def optimizer(name, value):
    return in_recipe(lambda values: values["optimizer"].update({name: value}))


def nothing_moves(twin, monkeypatch):
    monkeypatch.setattr(twin.module("training").Trainer, "step", lambda self, batch, rate: (0.1, np.zeros(2)))


# name -> (fault, the first stage that is red, others that must be)
FAULTS = {
    "kernels swapped": (in_conv(kernels_swapped), "layer", {"network", "gradients"}),
    "omega ignored": (in_conv(omega_ignored), "layer", {"control: omega matters", "network"}),
    "omega of another sample": (in_conv(omega_of_another_sample), "layer", {"network"}),
    "bias dropped": (in_conv(bias_dropped), "layer", {"folded", "network"}),
    "bias not mixed": (in_conv(bias_not_mixed), "layer", {"folded", "network"}),
    "kernel transposed": (in_conv(kernel_transposed), "layer", {"folded", "network"}),
    "phi gets no gradient": (in_conv(phi_untrained), "gradients", {"gradient", "steps: weights"}),
    "phi transposed": (phi_transposed, "layer", {"network"}),
    "padding shifted": (padding_shifted, "layer", {"folded", "network"}),
    "wrong activation": (wrong_activation, "layer output", {"network"}),
    "fold at another omega": (fold_elsewhere, "folded", set()),
    "weights in half precision": (weights_in_half_precision, "weights", {"network"}),
    "one output not finite": (in_output(one_nan), "network", {"folded", "control: omega matters"}),
    "one gradient not finite": (in_gradients(nan_gradient), "gradients", {"gradient"}),
    "lambda squared": (in_recipe(lambda_squared), "loss", {"gradients", "steps: loss"}),
    "noise removed, not kept": (in_recipe(residual_removed), "loss", {"gradients", "steps: loss"}),
    "loss normalised": (in_recipe(loss_normalised), "loss", {"gradients", "steps: loss"}),
    "eps x 10": (optimizer("eps", 1e-7), "steps: weights", set()),
    "output off by five millionths": (in_output(five_millionths), "network", set()),
    "gradients too long": (in_gradients(long_gradients), "gradients", set()),
    "moment off in the saved state": (moment_undecayed, "optimizer state", set()),
    "count of steps stands still": (count_stands_still, "optimizer state", set()),
    "beta1 wrong": (optimizer("beta1", 0.89), "optimizer state", {"steps: loss", "steps: weights"}),
    "beta2 wrong": (optimizer("beta2", 0.99), "optimizer state", {"steps: loss", "steps: weights"}),
    "nothing moves": (nothing_moves, "control: weights move", {"optimizer state", "steps: loss", "steps: weights"}),
}
