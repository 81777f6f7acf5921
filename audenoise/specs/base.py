"""What every section of a spec shares: kinds of value, and the refusal of keys that are not known."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Size = Annotated[int, Field(ge=1, le=4096)]
Probability = Annotated[float, Field(ge=0, le=1)]
Pair = tuple[Size, Size]
"""(frames, frequency)."""
Range = tuple[float, float]
Activation = Literal["linear", "relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid", "softplus"]
Initializer = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "orthogonal"
]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def ordered(value: Range, key: str) -> None:
    if value[0] > value[1]:
        raise ValueError(f"{key}: the lower end must not exceed the upper end. Received: {list(value)}")
