"""In which type a network computes in training. Weights, their optimizer's state and the loss are float32 always.

Kernels are mixed in float32 at every precision, and cast once they are sums.
"""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from tunable.specs.documents import is_mapping
from tunable.specs.samplers import named
from tunable.specs.schema import MOST, Section

_Scale = Annotated[float, Field(ge=1, le=2**24)]


class Static(Section):
    """A loss that is multiplied by one number in every step.

    Attributes:
        scale: the number.
    """

    kind: Literal["static"] = "static"
    scale: _Scale = 1024.0


class Dynamic(Section):
    """A loss that is multiplied by as much as float16 bears.

    Attributes:
        scale: the first factor.
        growth: what the factor is multiplied by after `window` steps of finite gradients, and divided by after a step
            whose gradients are not finite, which moves no weight.
        window: how many steps.
    """

    kind: Literal["dynamic"] = "dynamic"
    scale: _Scale = 65536.0
    growth: int = Field(default=2, ge=2, le=1024)
    window: int = Field(default=2000, ge=1, le=MOST)


_LossScale = Annotated[Static | Dynamic, Field(discriminator="kind")]


class Precision(Section):
    """The type of convolutions and matrix products, and of what lies between them, in training.

    Attributes:
        kind: float32, bfloat16 or float16.
        level: which operators compute in it. `auto`: convolutions and matrix products, while what is delicate, such as
            a softmax, stays float32 (torch.autocast; MindSpore's level of this name). The others are MindSpore's: O0,
            none; O1, convolutions and matrix products; O2, all but norms and what is delicate; O3, all.
        loss_scale: what the loss is multiplied by, so that small gradients are more than 0 in float16; None: nothing.
    """

    kind: Literal["float32", "bfloat16", "float16"] = "float32"
    level: Literal["auto", "O0", "O1", "O2", "O3"] = "auto"
    loss_scale: Annotated[_LossScale | None, BeforeValidator(named)] = None

    @model_validator(mode="before")
    @classmethod
    def _scaled_in_float16(cls, value: Any) -> Any:
        """What is float16 has a dynamic scale unless the recipe says otherwise."""
        if is_mapping(value) and value.get("kind") == "float16" and "loss_scale" not in value:
            return {**value, "loss_scale": {"kind": "dynamic"}}
        return value

    @property
    def mixed(self) -> bool:
        """Whether anything computes in another type than float32."""
        return self.kind != "float32" and self.level != "O0"

    def __str__(self) -> str:
        scale = f", loss scale {self.loss_scale.kind} {self.loss_scale.scale:g}" if self.loss_scale else ""
        return f"{self.kind} {self.level}{scale}" if self.mixed else f"False{scale}"
