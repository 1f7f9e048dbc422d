"""`tunable info MODEL`: what a weights file or a checkpoint of a run is, without any framework; or an exported file.

`tunable info --models` lists the models that ship.
"""

import argparse
import itertools
import math
from pathlib import Path

from tunable.backends.model import load
from tunable.backends.registry import backend_for
from tunable.commands.shared import add_json, add_model, print_json
from tunable.errors import TunableError, printable, shown
from tunable.models import MODELS, Shipped, find, shipped
from tunable.objectives.own import OwnObjective
from tunable.omega import format_omega
from tunable.parameters.arithmetic import beside, multiples
from tunable.parameters.specs import ParameterSpec
from tunable.specs.formulations import KEYS
from tunable.specs.recipe import Recipe
from tunable.trained import describe
from tunable.training.checkpoints import changes
from tunable.weights import retrofitted, storage, vgg

EXAMPLES = ("tunable info denoise", "tunable info runs/mini/model.safetensors", "tunable info --models")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable info`."""
    add_model(parser, needed=False)
    parser.add_argument("--models", action="store_true", help="List the models that ship, which a name is enough for.")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Run `tunable info`, and return its exit status."""
    if args.models and args.model is not None:
        raise TunableError(f"--models lists all that ship: it takes no MODEL, such as {shown(args.model)}")
    if args.models:
        return _list(args.json)
    if args.model is None:
        raise TunableError("wants MODEL, or --models for a list of those that ship (--help lists the arguments)")
    path, known = find(args.model), shipped(args.model)
    exported = backend_for(path)
    if exported:
        tensors, header = None, load(path).header
    elif storage.load_tensors(path)[1].get("format") == retrofitted.FORMAT:
        return _made_tunable(path, args.json)
    else:
        tensors, header = storage.load(path)
        storage.check_network(tensors, header, path)
    facts = {
        "network": header.network.model_dump(mode="json", by_alias=True),
        "objectives": header.objectives,
        "omega_range": header.omega_range,
        "exported": exported and {"runs with": exported, "size": header.size, "part": header.part},
        "trained": header.trained and [part.model_dump() for part in header.trained],
        "parameters": sum(value.size for value in tensors.values()) if tensors else None,
        "tensors": len(tensors) if tensors else None,
        "multiply_adds_per_pixel": header.network.multiply_adds or None,
        "multiply_adds_over_plain": _over_plain(header),
        "multiples": multiples(header.network, header.num_objectives) if header.network.strategy and tensors else None,
        "training_networks": _training_networks(header.recipe) if header.recipe else {},
        "writer": header.writer,
        "recipe": header.recipe_values,
        "folded_at": header.folded_at,
        "step": header.step,
        "history": header.history,
        "card": known and str(known.card),
    }
    if args.json:
        print_json(facts)
    else:
        for name, text in _lines(header, facts):
            print(f"{name:<13} {printable(text)}")
    return 0


def _made_tunable(path: str | Path, as_json: bool) -> int:
    """Say what the file of a network made tunable is, which does not name the network's class."""
    tensors, plan, base = retrofitted.load(path)
    facts = {**plan.model_dump(), "parameters": sum(value.size for value in tensors.values()), "base": base or None}
    if as_json:
        print_json(facts)
        return 0
    needed = "the network that it was made from" if base else "a network of the same structure"
    print(f"{'network':<13} made tunable by make_tunable; load_tuned(path, base=...) takes {needed}")
    print(f"{'knobs':<13} {plan.num_objectives}, phi {plan.phi}, differences {plan.differences}, trained: {plan.train}")
    print(f"{'tunable':<13} {printable(', '.join(plan.tensors))}")
    print(f"{'parameters':<13} {facts['parameters']:,} in {len(tensors)} tensors")
    return 0


def _lines(header: storage.Header, facts: dict):
    fields, quiet = (
        type(header.network).model_fields,
        {*KEYS, "where", "halo"} - ({"phi"} - header.network.not_arguments),
    )  # said where they change anything
    arguments = ", ".join(
        f"{key} {value}"
        for key, value in header.network.arguments().items()
        if key not in quiet or value != fields[key].default
    )
    yield "network", f"{header.network.title}, {'tunable' if header.network.tunable else 'plain'}: {arguments}"
    if header.objectives:
        ranges = zip(header.objectives, header.omega_range, strict=True)
        yield "omega", ", ".join(f"{name} [{low:g}, {high:g}]" for name, (low, high) in ranges)
    if header.trained:
        yield "trained at", f"omega {describe(header.trained)}"
    if header.folded_at is not None:
        yield "folded at", format_omega(header.folded_at)
    if facts["exported"]:
        size = "{} x {} pixels, height x width".format(*header.size) if header.size else "any size"
        part = f"{header.part}, " if header.part else ""
        yield "exported", f"{part}for pictures of {size}; runs with backend {facts['exported']['runs with']}"
    else:
        yield "parameters", f"{facts['parameters']:,} in {facts['tensors']} tensors"
    apart = facts["multiply_adds_over_plain"]["basis"]
    more = f" with one omega or folded; {apart:.2f} x with omega per sample in the form basis" if apart else ""
    known = facts["multiply_adds_per_pixel"]
    yield "multiply-adds", f"{known:,} per pixel{more}" if known else "unknown"
    if (values := facts["multiples"]) and header.objectives:
        folds = "does not fold" if values["folded"] is None else f"{values['folded']:.4f} x folded"
        cost = f"{values['parameters']:.3f} x parameters ({folds}), {values['multiply_adds']:.3f} x multiply-adds"
        yield "multiples", f"{cost} of a {values['beside']}"
    yield from facts["training_networks"].items()
    yield "recipe", _recipe(header)
    if header.step is not None:
        yield "checkpoint", f"after step {header.step}"
    for before, now in itertools.pairwise(header.history):
        parts = [now.get("changed", ""), changes(before, now)]
        yield "history", f"from step {now['from']} on, {'; '.join(filter(None, parts))}"
    yield "writer", header.writer
    if facts["card"]:
        yield "card", facts["card"]


def _list(as_json: bool) -> int:
    """Print what ships."""
    facts = [_facts(model) for model in MODELS.values()]
    if as_json:
        print_json(facts)
        return 0
    for model in facts:
        knobs = ", ".join(f"{name} {value:g}" for name, value in model["omega"].items())
        megabytes = f"{model['bytes'] / 1e6:.1f} MB"
        presets = f"presets {', '.join(model['presets'])}; " if model["presets"] else ""
        card = printable(model["card"])
        print(f"{model['name']:<13} {model['purpose']}; knobs {knobs}; {presets}{megabytes}; card {card}")
    return 0


def _facts(model: Shipped) -> dict:
    """A line of the list; `omega` holds the setting that is taken where none is asked for."""
    _, header = storage.load(model.path)
    size = model.path.stat().st_size
    omega = dict(zip(header.objectives, model.omega, strict=True))
    facts = {"name": model.name, "purpose": model.purpose, "omega": omega, "presets": dict(model.presets)}
    return facts | {"bytes": size, "card": str(model.card)}


def _over_plain(header: storage.Header) -> dict[str, float | None]:
    """Multiples of the plain network's multiply-adds, by the form in which it runs; None where it is not known."""
    objectives = len(header.objectives)
    return {"shared": 1.0, "folded": 1.0, "basis": beside(header.network, objectives) if objectives else None}


def _training_networks(recipe: Recipe) -> dict[str, str]:
    """The networks of training that are not in the file: VGG as far as it is read, and the discriminator."""
    sizes = {}
    if recipe.vgg:
        for layer in sorted(recipe.feature_layers.values()):
            sizes[f"vgg {layer}"] = _counts(vgg.specs_up_to(layer, recipe.vgg), vgg.multiply_adds(layer, recipe.vgg))
    if recipe.adversarial:
        sizes["discriminator"] = _counts(recipe.discriminator.specs(), recipe.discriminator.multiply_adds)
    return sizes


def _counts(specs: list[ParameterSpec], multiply_adds: float) -> str:
    total = sum(math.prod(spec.shape) for spec in specs)
    return f"{total:,} parameters, {round(multiply_adds):,} multiply-adds per pixel"


def _recipe(header: storage.Header) -> str:
    if header.unread:
        return f"not accepted by this version: {header.unread.reason}"
    if header.recipe is None:
        return "unknown"
    recipe = header.recipe
    kinds = (spec.named if isinstance(spec, OwnObjective) else spec.kind for spec in recipe.objectives)
    objectives = ", ".join(f"{spec.name} ({kind})" for spec, kind in zip(recipe.objectives, kinds, strict=True))
    return f"{recipe.task}, {recipe.steps} steps on {', '.join(recipe.data.train)}; {objectives}"
