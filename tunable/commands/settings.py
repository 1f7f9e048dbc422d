"""Which settings of the knobs `tunable restore` is asked for: --omega, --strength, --preset, --omega-map, --sweep."""

import argparse

from tunable.backends.model import Model
from tunable.commands.omega_maps import read_omega_map
from tunable.commands.shared import read_omega
from tunable.errors import TunableError
from tunable.models import default_omega, preset_of, sweep_start
from tunable.omega import check_omega, check_range, example, of_strength, sweep, tour


def add_preset(parser: argparse.ArgumentParser) -> None:
    """Add --preset."""
    parser.add_argument(
        "--preset",
        metavar="NAME",
        help="A setting that has a name, of a model that ships. `tunable info --models` lists them.",
    )


def settings_asked(args: argparse.Namespace, model: Model) -> list:
    """Return the settings in the rows of a sheet, each (p,), a map (1, p, H, W), or None of a plain network.

    TunableError for two ways of saying one, for none where one is needed, and for any of a plain network.
    """
    p, ways = len(model.objectives), ("omega", "omega-map", "strength", "preset", "sweep")
    given = [name for name in ways if getattr(args, name.replace("-", "_")) is not None]
    if not p:
        if given:
            raise TunableError(f"{args.model} holds a plain network: it takes no --{', --'.join(given)}")
        return [[None]]
    if len(given) > 1:
        raise TunableError(f"give either --{given[0]} or --{given[1]}")
    if args.omega_map:
        return [[read_omega_map(args.omega_map, model.header, args.extrapolate, args.max_pixels)]]
    if args.sweep:
        points, square = args.sweep
        start = sweep_start(args.model)
        if not args.animate:
            return sweep(p, points, square=square, start=start)
        if square:
            raise TunableError("--animate wants --sweep N, not NxN")
        return [tour(p, points, start)]
    if args.animate:
        raise TunableError("--animate wants --sweep N")
    if args.strength is not None:
        omega = of_strength(args.strength, model.objectives, default_omega(args.model))
        return [[omega if args.extrapolate else check_range(omega, model.header.omega_range)]]
    if args.preset is not None:
        return [[preset_of(args.model, args.preset)]]
    if args.omega is None and (start := default_omega(args.model)):
        return [[check_omega(start, model.objectives)]]
    if not args.omega:
        raise TunableError(
            f"--omega is needed: {p} values for {', '.join(model.objectives)}, such as {example(model.objectives)}"
        )
    return [[read_omega(args.omega, model.header, args)]]
