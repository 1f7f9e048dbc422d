"""The base of every recipe section: unknown keys are refused with the nearest valid one. And a path, as a value."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from tunable.errors import nearest, shown
from tunable.specs.documents import is_mapping

LONGEST_PATH = 4096  # bytes; Linux opens no longer one
MOST = 10**9  # of what is counted: steps, and what happens every so many of them


class Section(BaseModel):
    """An immutable, strictly validated part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, value: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if not is_mapping(value) and not isinstance(value, cls):
            raise ValueError(f"wants keys ({', '.join(known)}), not {shown(value)}")
        for key in value if is_mapping(value) else ():
            if key not in known:
                raise ValueError(f"unknown key {shown(key)}{nearest(str(key), known)}; known: {', '.join(known)}")
        return value


def check_path(path: str) -> str:
    """Return a path, or raise ValueError for one that no system can open: with a NUL, not UTF-8, too long."""
    try:
        encoded = path.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError(f"a path in a recipe must be UTF-8, which {shown(path)} is not") from None
    if b"\0" in encoded:
        raise ValueError(f"a path cannot hold the character NUL, as {shown(path)} does")
    if len(encoded) > LONGEST_PATH:
        raise ValueError(f"a path has at most {LONGEST_PATH} bytes, not {len(encoded)}")
    return path


Place = Annotated[str, AfterValidator(check_path)]  # a file or a folder
