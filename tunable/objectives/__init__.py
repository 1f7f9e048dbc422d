"""The objectives that a recipe may name: what it may say of each, and what each is worth, in float64.

Every file of this package holds kinds of objectives, found and not listed. A kind is a class derived from
`base.Objective` with a field `kind`. In a twin it is the class of the same name in the file of the same name, whose
constructor takes the kind's keys.
"""

import pkgutil
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args

from pydantic import BeforeValidator, Field

from tunable.errors import TunableError
from tunable.objectives.base import Objective as Base
from tunable.specs.own import tagged


def found() -> dict[str, type[Base]]:
    """Return the kinds of objectives that the files of this package hold, by the word that a recipe has for each.

    Raises:
        TunableError: where two classes have one word.
    """
    files = [import_module(f"{__name__}.{one.name}") for one in pkgutil.iter_modules(__path__)]
    kinds: dict[str, type[Base]] = {}
    for each in dict.fromkeys(one for file in files for one in vars(file).values() if isinstance(one, type)):
        if not issubclass(each, Base) or "kind" not in each.__annotations__:
            continue
        (kind,) = get_args(each.model_fields["kind"].annotation)
        if kind in kinds:
            raise TunableError(f"{each.__name__} and {kinds[kind].__name__} are both objectives of kind {kind!r}")
        kinds[kind] = each
    return kinds


def one_of(kinds: dict[str, type[Base]]) -> Any:
    """Return the type of an objective in a recipe, whose key `kind` says which one it is."""
    return Annotated[
        Union[tuple(kinds.values())],  # noqa: UP007  of as many as there are
        Field(discriminator="kind"),
        BeforeValidator(tagged("kind")),
    ]


def counterpart(spec: Base, package: str) -> Any:
    """Return the class that computes an objective in a framework.

    Args:
        spec: of the objective.
        package: the twin's, such as "torch_impl.objectives".

    Raises:
        TunableError: where that twin has no such class.
    """
    module, name = type(spec).__module__.rpartition(".")[2], type(spec).__name__
    try:
        return getattr(import_module(f"{package}.{module}"), name)
    except (ModuleNotFoundError, AttributeError):
        raise TunableError(f"objectives of kind {spec.kind!r} have no class {package}.{module}.{name}") from None


KINDS = found()

if TYPE_CHECKING:
    Objective = Base
else:
    Objective = one_of(KINDS)
