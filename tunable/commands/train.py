"""`tunable train RECIPE --out DIR`: train, with checkpoints, a log and TensorBoard."""

import argparse
import logging

from tunable.backends.registry import default_backend, get_framework
from tunable.commands.shared import add_backend, add_max_pixels, progress
from tunable.specs.reading import load_recipe, shipped_recipes
from tunable.training.loop import train

EXAMPLES = (
    "tunable train denoise/mini --out runs/mini",
    "tunable train denoise/mini --out runs/mine --set data.train=my/photographs --set data.validate=my/photographs",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments and options of `tunable train`."""
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help=f"A YAML file, or the name of a recipe that ships: {', '.join(shipped_recipes())}.",
    )
    parser.add_argument(
        "--out",
        required=True,
        metavar="DIR",
        help="The folder of the run. The weights file DIR/model.safetensors is the result.",
    )
    parser.add_argument("--resume", action="store_true", help="Continue from the newest checkpoint in DIR.")
    parser.add_argument(
        "--allow-change",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY",
        help="With --resume: go on although these values of the recipe, or what is in these sections, are not those "
        "that the run began with, for example optimizer.learning_rate.",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="Override a value of the recipe, for example data.batch=8. May be given several times.",
    )
    add_max_pixels(parser)
    add_backend(parser, exported=False)


def run(args: argparse.Namespace) -> int:
    """Run `tunable train`, and return its exit status."""
    recipe = load_recipe(args.recipe, args.set)
    backend = get_framework(args.backend or default_backend(), args.device, args.mode)
    if backend.join().rank:  # the first process speaks for all
        logging.getLogger().setLevel(logging.WARNING)
    with progress(f"train ({backend.name})", every=0.05, unit="steps") as report:
        train(
            recipe,
            backend,
            args.out,
            resume=args.resume,
            allow_change=args.allow_change,
            progress=report,
            max_pixels=args.max_pixels,
        )
    logging.info("wrote %s/model.safetensors", args.out)
    return 0
