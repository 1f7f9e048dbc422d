"""`tunable train RECIPE --out DIR`: train, with checkpoints, a log and TensorBoard."""

import logging

from tunable.backends.registry import default_backend, get_framework
from tunable.commands.shared import add_backend, add_max_pixels, progress
from tunable.specs.reading import load_recipe, shipped_recipes
from tunable.training.loop import train


def add_arguments(parser):
    parser.add_argument(
        "recipe",
        metavar="RECIPE",
        help=f"a YAML file, or the name of a recipe that ships: {', '.join(shipped_recipes())}",
    )
    parser.add_argument(
        "--out", required=True, metavar="DIR", help="folder of the run; model.safetensors is the result"
    )
    parser.add_argument("--resume", action="store_true", help="continue the newest checkpoint of DIR")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="override a recipe value: data.batch=8"
    )
    add_max_pixels(parser)
    add_backend(parser)


def run(args) -> int:
    recipe = load_recipe(args.recipe, args.set)
    backend = get_framework(args.backend or default_backend(), args.device, args.mode)
    with progress(f"train ({backend.name})", every=0.05) as report:
        train(recipe, backend, args.out, resume=args.resume, progress=report, max_pixels=args.max_pixels)
    logging.info("wrote %s/model.safetensors", args.out)
    return 0
