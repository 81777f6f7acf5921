"""A whole spec: the sections together, and what must fit between them."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from audenoise.specs.base import Strict
from audenoise.specs.pretraining import PretrainingSpec
from audenoise.specs.sections import (
    InputSpec,
    LossSpec,
    MixingSpec,
    OutputSpec,
    ScalingSpec,
    StftSpec,
    TrainingSpec,
)
from audenoise.specs.stages import (
    ConvolutionBottleneck,
    DilatedBottleneck,
    RecurrentBottleneck,
    SkipSpec,
    StageSpec,
)


def _filled(scaling: ScalingSpec | None, default: tuple[float, float]) -> tuple[float, float]:
    filled = (scaling or ScalingSpec()).over(ScalingSpec(mean_db=default[0], scale_db=default[1]))
    return filled.mean_db or 0.0, filled.scale_db or 1.0


class ModelSpec(Strict):
    """A denoising network, its spectrogram and its recipe."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "unnamed"
    architecture: Literal["unet"] = "unet"
    sample_rate: Annotated[int, Field(ge=4000, le=192000)] = 16000
    stft: StftSpec = StftSpec()
    input: InputSpec = InputSpec()
    encoder: Annotated[tuple[StageSpec, ...], Field(min_length=1, max_length=16)]
    bottleneck: Annotated[
        ConvolutionBottleneck | RecurrentBottleneck | DilatedBottleneck, Field(discriminator="kind")
    ]
    decoder: tuple[StageSpec, ...] | None = None
    upsampling: Literal["transposed", "nearest", "repeat"] = "transposed"
    """Transposed convolutions; each value repeated, then a convolution; or repeated and no more."""
    skip: SkipSpec = SkipSpec()
    output: OutputSpec = OutputSpec()
    causal: bool = True
    loss: LossSpec = LossSpec()
    mixing: MixingSpec = MixingSpec()
    training: TrainingSpec = TrainingSpec()
    pretraining: PretrainingSpec = PretrainingSpec()

    @property
    def decoder_stages(self) -> tuple[StageSpec, ...]:
        """The decoder as it is built: given, or the encoder mirrored."""
        if self.decoder is not None:
            return self.decoder
        return tuple(
            stage.model_copy(update={"stride": (1, 1), "pool": (1, 1)}) for stage in reversed(self.encoder)
        )

    @property
    def time_factor(self) -> int:
        """Frames are padded to a multiple of this inside the network."""
        factor = 1
        for stage in self.encoder:
            factor *= stage.stride[0] * stage.pool[0]
        return factor

    @property
    def output_is_magnitude(self) -> bool:
        """Whether the network says nothing about the phase."""
        return self.output.kind == "magnitude_mask" or (
            self.output.kind in ("noise", "spectrogram")
            and self.input.representation in ("magnitude", "decibel")
        )

    @property
    def input_scaling(self) -> tuple[float, float]:
        """(mean, scale) in dB of an input in dB; its range where nothing else is said or measured yet."""
        low, high = self.input.range_db
        return _filled(self.input.scaling, (low, high - low))

    @property
    def output_scaling(self) -> tuple[float, float]:
        """(mean, scale) in dB of a prediction in dB."""
        low, high = self.input.range_db
        return _filled(self.output.scaling, (0.0 if self.output.kind == "noise" else low, high - low))

    @property
    def is_fitted(self) -> bool:
        """Whether no scaling has to be measured before training."""
        scalings = (self.input.scaling, self.output.scaling)
        return all(scaling is None or scaling.is_fitted for scaling in scalings)

    def with_scaling(self, inputs: ScalingSpec | None, outputs: ScalingSpec | None) -> "ModelSpec":
        """This spec with what its scalings leave open filled in."""

        def filled(section, given):
            if section.scaling is None or given is None:
                return section
            return section.model_copy(update={"scaling": section.scaling.over(given)})

        return self.model_copy(
            update={"input": filled(self.input, inputs), "output": filled(self.output, outputs)}
        )

    def with_scaling_of(self, other: "ModelSpec") -> "ModelSpec":
        """This spec with what its scalings leave open taken from another, such as that of a run."""
        return self.with_scaling(other.input.scaling, other.output.scaling)

    @model_validator(mode="after")
    def _check(self) -> Self:
        sizes = [(f"encoder[{i}]", stage) for i, stage in enumerate(self.encoder)]
        bins = self.stft.bins
        for key, stage in sizes:
            if stage.convolutions < 1:
                raise ValueError(f"{key}.convolutions: must be at least 1. Received: 0")
            step = stage.stride[1] * stage.pool[1]
            if step > bins:
                raise ValueError(
                    f"{key}: a stride or pool of {step} leaves nothing of the {bins} frequency bins that "
                    f"reach it. Received: {step}"
                )
            bins = -(-bins // step)
        if self.decoder is not None:
            if len(self.decoder) != len(self.encoder):
                raise ValueError(
                    f"decoder: must have as many stages as encoder ({len(self.encoder)}). "
                    f"Received: {len(self.decoder)}"
                )
            for i, stage in enumerate(self.decoder):
                if stage.stride != (1, 1) or stage.pool != (1, 1):
                    raise ValueError(f"decoder[{i}].stride: is taken from the encoder; leave it out")
        for i, (up, down) in enumerate(zip(self.decoder_stages, reversed(self.encoder), strict=True)):
            step = tuple(a * b for a, b in zip(down.stride, down.pool, strict=True))
            if (
                up.up_kernel
                and self.upsampling == "transposed"
                and any(k < s for k, s in zip(up.up_kernel, step, strict=True))
            ):
                raise ValueError(
                    f"decoder[{i}].up_kernel: must not be smaller than the step {list(step)} it undoes. "
                    f"Received: {list(up.up_kernel)}"
                )
            if up.up_kernel and self.causal and up.up_kernel[0] > 1:
                raise ValueError(
                    f"decoder[{i}].up_kernel: more than 1 frame looks ahead; set causal to false. "
                    f"Received: {list(up.up_kernel)}"
                )
        if self.upsampling == "repeat" and any(stage.up_kernel for stage in self.decoder_stages):
            raise ValueError("upsampling: repeat has no up_kernel; leave that out. Received: repeat")
        if self.output.scaling is not None and self.input.representation != "decibel":
            raise ValueError("output.scaling: is for input.representation decibel")
        if self.output.phase == "griffin_lim" and not self.output_is_magnitude:
            raise ValueError(
                "output.phase: griffin_lim is for outputs without a phase of their own: magnitude_mask, or "
                "noise and spectrogram of a magnitude or decibel input. Received: griffin_lim"
            )
        if self.causal:
            if self.time_factor > 1:
                raise ValueError(
                    "causal: strides and pools along frames look ahead; set causal to false. Received: true"
                )
            if isinstance(self.bottleneck, RecurrentBottleneck) and self.bottleneck.bidirectional:
                raise ValueError("bottleneck.bidirectional: needs causal: false. Received: true")
        self.pretraining.check(causal=self.causal)
        if self.training.crop_s * self.sample_rate < self.stft.window_samples:
            raise ValueError(
                f"training.crop_s: must be at least one window "
                f"({self.stft.window_samples / self.sample_rate:g} s). Received: {self.training.crop_s}"
            )
        return self
