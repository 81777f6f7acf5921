"""The parts of a network: stages of convolutions, what joins them, and what stands in the middle."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from audenoise.specs.base import Activation, Initializer, Pair, Size, Strict


class StageSpec(Strict):
    """One encoder or decoder stage: `convolutions` convolutions, a stride in the first or a pool at the end.

    Kernels, strides and pools are (frames, frequency). In the decoder, `stride` and `pool` are not given:
    they mirror the encoder's; `up_kernel` is the kernel of the layer that goes back up, and there may be no
    convolutions besides it.

    `norm` stands between each convolution and its activation, or once at the stage's end, and then the
    activation comes again: behind the skip in the encoder, behind the join in the decoder. `dropout` is at
    the stage's end, or inside, after the first convolution.
    """

    filters: Size
    kernel: Pair = (1, 3)
    stride: Pair = (1, 1)
    pool: Pair = (1, 1)
    convolutions: Annotated[int, Field(ge=0, le=16)] = 1
    residual: bool = False
    activation: Activation = "elu"
    negative_slope: Annotated[float, Field(ge=0, le=1)] = 0.3
    norm: Literal["none", "batch", "layer"] = "none"
    norm_position: Literal["each", "end"] = "each"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    dropout_position: Literal["end", "inside"] = "end"
    initializer: Initializer = "glorot_uniform"
    up_kernel: Pair | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stride != (1, 1) and self.pool != (1, 1):
            raise ValueError(f"pool: give a stride or a pool, not both. Received: {list(self.pool)}")
        for size, step, key in zip(self.kernel, self.stride, ("frames", "frequency"), strict=True):
            if step > size:
                raise ValueError(
                    f"stride: must not exceed the kernel along {key}, or input is skipped. "
                    f"Received: stride {step}, kernel {size}"
                )
        if self.dropout and self.dropout_position == "inside" and self.convolutions < 2:
            raise ValueError("dropout_position: inside needs at least 2 convolutions. Received: inside")
        return self


def keep_their_size(stages: tuple[StageSpec, ...], what: str) -> None:
    """Raise `ValueError` for the first stage that strides, pools, goes up or has no convolution."""
    for i, stage in enumerate(stages):
        for key in ("stride", "pool"):
            step = getattr(stage, key)
            if step != (1, 1):
                raise ValueError(f"stages[{i}].{key}: {what} keeps its size. Received: {list(step)}")
        if stage.up_kernel:
            raise ValueError(f"stages[{i}].up_kernel: belongs to a decoder stage")
        if stage.convolutions < 1:
            raise ValueError(f"stages[{i}].convolutions: must be at least 1. Received: 0")


class SkipSpec(Strict):
    kind: Literal["concatenate", "add", "none"] = "concatenate"
    position: Literal["before", "after"] = "before"
    """Join the encoder's output before or after the convolutions of the decoder's stage."""


class ConvolutionBottleneck(Strict):
    kind: Literal["convolution"]
    stages: Annotated[tuple[StageSpec, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        keep_their_size(self.stages, "a bottleneck")
        return self


class RecurrentBottleneck(Strict):
    """Blocks of [GRU over time, shared across bands; attention, GRU over bands, or one GRU for all bands].

    `bands` and `channels` are the sizes inside: the frequency axis is projected linearly to `bands`.
    """

    kind: Literal["recurrent"]
    bands: Size | None = 24
    channels: Size = 36
    blocks: Annotated[int, Field(ge=1, le=32)] = 2
    across_bands: Literal["attention", "gru", "full_band", "none"] = "attention"
    heads: Annotated[int, Field(ge=1, le=64)] = 4
    full_band_units: Size = 128
    """Units of the GRU over time that sees all bands at once, for `across_bands: full_band`."""
    norm: Literal["none", "batch", "layer"] = "batch"
    bidirectional: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.across_bands == "attention" and self.channels % self.heads:
            raise ValueError(f"heads: must divide channels {self.channels}. Received: {self.heads}")
        if self.across_bands == "gru" and self.channels % 2:
            raise ValueError(f"channels: must be even for a GRU over bands. Received: {self.channels}")
        return self


class DilatedBottleneck(Strict):
    """Residual depthwise convolutions over time with growing dilation."""

    kind: Literal["dilated"]
    channels: Size = 64
    kernel: Pair = (3, 3)
    dilations: Annotated[tuple[Size, ...], Field(min_length=1, max_length=64)] = (1, 2, 4, 8)
    activation: Activation = "elu"
    norm: Literal["none", "batch", "layer"] = "batch"
