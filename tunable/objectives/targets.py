"""Objectives that need one another: by whose targets one is judged."""

from collections.abc import Sequence

from tunable.errors import nearest
from tunable.objectives.base import Objective
from tunable.objectives.restoration import InSpace, NoisePreservation, Sharpening


def noise_place(objectives: Sequence[Objective], spec: Sharpening) -> int:
    """Return the place of the objective that `spec.noise_objective` names; ValueError unless its kind is `noise`."""
    places = {objective.name: i for i, objective in enumerate(objectives) if objective.kind == "noise"}
    if spec.noise_objective not in places:
        known = ", ".join(places) or "there is none"
        raise ValueError(
            f"objective {spec.name}: noise_objective must name one of kind noise ({known}), not "
            f"{spec.noise_objective!r}{nearest(spec.noise_objective, places)}"
        )
    return places[spec.noise_objective]


def shared_targets(objectives: Sequence[Objective]) -> tuple[tuple[int, ...], ...]:
    """Find which objectives train one distance to the mean of their targets (`loss.combine: targets`).

    Args:
        objectives: of a recipe, in omega's order.

    Returns:
        The places of those of kind rec, noise and residue, a tuple for each part of the colour space that is compared.

    Raises:
        ValueError: where the targets have no one mean, or no one distance.
    """
    spaces: dict[str, dict[int, InSpace]] = {}
    for i, spec in enumerate(objectives):
        if spec.kind == "blur":
            raise ValueError(
                f"loss.combine: targets takes no objective of kind blur ({spec.name}): its target moves with two knobs"
            )
        if isinstance(spec, NoisePreservation) and spec.residual != "full":
            raise ValueError(
                f"loss.combine: targets weighs targets at their full end: objective {spec.name} wants residual: full, "
                f"not {spec.residual}"
            )
        if isinstance(spec, InSpace):
            spaces.setdefault(spec.space, {})[i] = spec
    if "rgb" in spaces and len(spaces) > 1:
        named = ", ".join(f"{spec.name} {space}" for space, alike in spaces.items() for spec in alike.values())
        raise ValueError(f"loss.combine: targets wants space rgb everywhere or nowhere, not {named}")
    if not spaces:
        raise ValueError("loss.combine: targets wants an objective of kind rec, noise or residue, which have targets")
    for alike in spaces.values():
        if len({spec.distance for spec in alike.values()}) > 1:
            named = ", ".join(f"{spec.name} {spec.distance}" for spec in alike.values())
            raise ValueError(f"loss.combine: targets trains one distance to the mean of targets, not {named}")
    return tuple(tuple(alike) for alike in spaces.values())
