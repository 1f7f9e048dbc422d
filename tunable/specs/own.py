"""What a recipe or a header may say of a part of one's own: which class, and the arguments of its constructor.

Reading it imports nothing; tunable.own does, where the part is used.
"""

import json
from typing import Annotated, Any, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from tunable.errors import TunableError, shown
from tunable.specs.documents import is_mapping
from tunable.specs.schema import Section

KEY = "import"  # which key makes a section one of these, and the kind or name of such a section
FRAMEWORKS = ("torch", "mindspore")


def check_reference(text: str) -> str:
    """Return "module:Name", or raise ValueError for a text of another form."""
    module, colon, name = text.partition(":")
    if not colon or not name.isidentifier() or not all(part.isidentifier() for part in module.split(".")):
        raise ValueError(f"import wants module:Name, such as my_module:Net, not {shown(text)}")
    return text


Reference = Annotated[str, Field(max_length=256), AfterValidator(check_reference)]


class Own(Section):
    """A part of one's own. Keys that are no field are arguments of its constructor."""

    model_config = ConfigDict(extra="allow")

    reference: Reference = Field(alias=KEY)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, value: Any) -> Any:  # any key is known
        if not is_mapping(value) and not isinstance(value, cls):
            raise ValueError(f"wants keys, not {shown(value)}")
        return value

    @model_validator(mode="after")
    def _plain(self) -> Self:
        try:
            json.dumps(self.options, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError(
                f"arguments of {self.reference} must be numbers, texts, lists and mappings of these, not "
                f"{shown(self.options)}"
            ) from None
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of the constructor, by name."""
        return dict(self.model_extra or {})


class OfFramework(Own):
    """A part that computes with tensors: a class of one framework, or one for each, by the framework's name."""

    reference: Reference | dict[str, Reference] = Field(alias=KEY)  # pyright: ignore[reportIncompatibleVariableOverride]

    @model_validator(mode="after")
    def _known_frameworks(self) -> Self:
        if isinstance(self.reference, dict) and (not self.reference or not self.reference.keys() <= {*FRAMEWORKS}):
            raise ValueError(
                f"import wants module:Name, or one for each framework ({', '.join(FRAMEWORKS)}), not "
                f"{shown(self.reference)}"
            )
        return self

    @property
    def named(self) -> str:
        """The reference as a message says it: one, or one for each framework."""
        return self.reference if isinstance(self.reference, str) else ", ".join(self.reference.values())

    def reference_for(self, framework: str, what: str) -> str:
        """Return the reference of the class for a framework.

        Raises:
            TunableError: where there is none for it.
        """
        if isinstance(self.reference, str):
            return self.reference
        if framework not in self.reference:
            known = ", ".join(f"{name} ({reference})" for name, reference in self.reference.items())
            raise TunableError(f"this {what} has no class for {framework}, only for {known}")
        return self.reference[framework]


def tagged(key: str) -> Any:
    """Make a validator that lets a section with the key `import` leave out `key`, which tells sections apart."""

    def tag(value: Any) -> Any:
        return {**value, key: KEY} if is_mapping(value) and KEY in value and key not in value else value

    return tag
