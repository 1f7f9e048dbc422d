"""The base of every recipe section: unknown keys are refused with the nearest valid one."""

from pydantic import BaseModel, ConfigDict, model_validator

from tunable_core.errors import nearest


class Section(BaseModel):
    """An immutable, strictly validated part of a recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @model_validator(mode="before")
    @classmethod
    def _only_known_keys(cls, value):
        known = [field.alias or name for name, field in cls.model_fields.items()]
        if not isinstance(value, dict | cls):
            raise ValueError(f"wants keys ({', '.join(known)}), not {value!r}")
        for key in value if isinstance(value, dict) else ():
            if key not in known:
                raise ValueError(f"unknown key {key!r}{nearest(str(key), known)}; known: {', '.join(known)}")
        return value
