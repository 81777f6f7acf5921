"""The sections of a spec around the network: spectrogram, input, output, loss, mixtures, training."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from audenoise.specs.base import Activation, Pair, Probability, Range, Strict, ordered
from audenoise.specs.stages import StageSpec, keep_their_size


class StftSpec(Strict):
    """The spectrogram that feeds the network, at the spec's sample rate."""

    n_fft: Annotated[int, Field(ge=16, le=16384)] = 512
    hop_length: Annotated[int, Field(ge=1, le=16384)] = 256
    win_length: Annotated[int, Field(ge=2, le=16384)] | None = None
    window: Literal["sqrt_hann", "hann", "hamming", "blackman", "rectangular"] = "sqrt_hann"

    @property
    def window_samples(self) -> int:
        return self.win_length or self.n_fft

    @property
    def bins(self) -> int:
        return self.n_fft // 2 + 1

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.n_fft % 2:
            raise ValueError(f"n_fft: must be even. Received: {self.n_fft}")
        if self.window_samples > self.n_fft:
            raise ValueError(f"win_length: must not exceed n_fft {self.n_fft}. Received: {self.win_length}")
        half = (self.window_samples + 1) // 2
        if self.hop_length > half:
            raise ValueError(
                f"hop_length: must be at most half the window ({half}), so that the inverse exists. "
                f"Received: {self.hop_length}"
            )
        return self


class ScalingSpec(Strict):
    """Levels as the network has them: (dB - `mean_db`) / `scale_db`.

    A value of null is measured when training begins, so that 99.9 % of the training levels lie within -1…1,
    and kept in the run's spec and in the published model's.
    """

    mean_db: Annotated[float, Field(ge=-300, le=300)] | None = None
    scale_db: Annotated[float, Field(gt=0, le=300)] | None = None

    @property
    def is_fitted(self) -> bool:
        return self.mean_db is not None and self.scale_db is not None

    def over(self, other: "ScalingSpec") -> "ScalingSpec":
        """This scaling with what it leaves open taken from another."""
        return ScalingSpec(
            mean_db=other.mean_db if self.mean_db is None else self.mean_db,
            scale_db=other.scale_db if self.scale_db is None else self.scale_db,
        )


class InputSpec(Strict):
    """What the network sees.

    `complex` gives two channels (real and imaginary part), `magnitude` and `decibel` one,
    `magnitude_complex` three. `compression` is the exponent c in |X|^c (1: none). `decibel` maps
    `range_db` to 0…1, or has a `scaling` of its own, and then only the lower end of `range_db` counts.
    """

    representation: Literal["complex", "magnitude", "magnitude_complex", "decibel"] = "complex"
    compression: Annotated[float, Field(gt=0, le=1)] = 0.3
    range_db: Range = (-100.0, 0.0)
    scaling: ScalingSpec | None = None

    @property
    def channels(self) -> int:
        return {"complex": 2, "magnitude": 1, "magnitude_complex": 3, "decibel": 1}[self.representation]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not -200 <= self.range_db[0] < self.range_db[1] <= 100:
            raise ValueError(
                f"range_db: must be [low, high] within -200 to 100 dB. Received: {list(self.range_db)}"
            )
        if self.scaling is not None and self.representation != "decibel":
            raise ValueError(
                f"scaling: is for representation decibel. Received: representation {self.representation}"
            )
        return self


class OutputSpec(Strict):
    """What the network predicts.

    `complex_mask` and `magnitude_mask` multiply the noisy spectrogram, `noise` is subtracted from it
    (in its representation: dB if the input is dB), `spectrogram` is the clean one itself. `domain` says
    whether this happens on the compressed spectrogram or on the linear one. `scaling` is that of a
    prediction in dB; without one, the input's range is 1. `stages` are convolutions between the decoder and
    the last layer, whose kernel is `kernel`.

    `phase` is for outputs that are magnitudes: the noisy phase, or one that Griffin-Lim finds for them.
    """

    kind: Literal["magnitude_mask", "complex_mask", "noise", "spectrogram"] = "complex_mask"
    activation: Activation = "linear"
    domain: Literal["compressed", "linear"] = "compressed"
    kernel: Pair = (1, 1)
    stages: Annotated[tuple[StageSpec, ...], Field(max_length=8)] = ()
    scaling: ScalingSpec | None = None
    phase: Literal["noisy", "griffin_lim"] = "noisy"

    @model_validator(mode="after")
    def _check(self) -> Self:
        keep_their_size(self.stages, "a stage of the output")
        if self.scaling is not None and self.kind not in ("noise", "spectrogram"):
            raise ValueError(f"scaling: is for kind noise or spectrogram. Received: kind {self.kind}")
        return self


class LossSpec(Strict):
    """Weights of the loss terms, see `audenoise.losses`; `compression` is the exponent of the spectra.

    `mse` and `huber` compare in the network's own representation: what it predicts and should have.
    """

    magnitude: Annotated[float, Field(ge=0)] = 0.3
    complex: Annotated[float, Field(ge=0)] = 0.2
    consistency: Annotated[float, Field(ge=0)] = 0.3
    waveform: Annotated[float, Field(ge=0)] = 0.2
    sdr: Annotated[float, Field(ge=0)] = 0.0
    envelope: Annotated[float, Field(ge=0)] = 0.0
    loudness: Annotated[float, Field(ge=0)] = 0.0
    mse: Annotated[float, Field(ge=0)] = 0.0
    huber: Annotated[float, Field(ge=0)] = 0.0
    compression: Annotated[float, Field(gt=0, le=1)] = 0.3

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields if name != "compression"):
            raise ValueError("magnitude: at least one loss weight must be above 0. Received: 0")
        return self


class MixingSpec(Strict):
    """How mixtures are drawn; levels in dBFS (RMS), ratios in dB over active speech."""

    snr_db: Range = (-5.0, 20.0)
    level_dbfs: Range = (-35.0, -10.0)
    common_level_dbfs: Annotated[float, Field(le=0)] | None = None
    """The level that most mixtures are near, fewer towards both ends; without it all are as frequent."""
    second_noise: Probability = 0.3
    coloured_noise: Probability = 0.1
    synthetic_noise: Probability = 0.0
    """Tones, impacts and textures made anew each time, in place of a noise recording."""
    babble: Probability = 0.1
    """Several other voices as the noise, in place of a noise recording."""
    modulate: Probability = 0.15
    """Let the noise swell and fade."""
    reverse: Probability = 0.2
    """Play the noise recording backwards."""
    clean_only: Probability = 0.05
    noise_only: Probability = 0.05
    reverb: Probability = 0.25
    speed: Probability = 0.5
    formant_shift: Probability = 0.0
    """Move the formants of speech by up to a sixth, so that there are more voices than were recorded."""
    equalise: Probability = 0.5
    """Colour speech mildly and noise strongly."""
    band_limit: Probability = 0.1
    clip: Probability = 0.03
    scene_change: Probability = 0.0
    """Go over to another mixture somewhere: another voice, noise, room and level, as long recordings do."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ordered(self.snr_db, "snr_db")
        ordered(self.level_dbfs, "level_dbfs")
        if self.level_dbfs[1] > 0:
            raise ValueError(f"level_dbfs: must not exceed 0 dBFS. Received: {list(self.level_dbfs)}")
        low, high = self.level_dbfs
        if self.common_level_dbfs is not None and not low <= self.common_level_dbfs <= high:
            raise ValueError(
                f"common_level_dbfs: must lie within level_dbfs, {low:g} to {high:g}. "
                f"Received: {self.common_level_dbfs:g}"
            )
        if self.clean_only + self.noise_only > 1:
            raise ValueError("noise_only: clean_only and noise_only together must not exceed 1")
        return self


class TrainingSpec(Strict):
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    crop_s: Annotated[float, Field(gt=0, le=600)] = 2.0
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    steps_per_epoch: Annotated[int, Field(ge=1, le=10_000_000)] = 200
    optimizer: Literal["adamw", "adam"] = "adamw"
    """`adam` is without weight decay."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 500
    plateau_patience: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    clip_norm: Annotated[float, Field(gt=0)] = 3.0
    ema_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Of a weight average over some 1 / (1 - momentum) steps, which is then validated and kept; 0: none.

    Batch norms keep the statistics of the weights themselves, which don't fit an average over many steps:
    where the rate falls to 0, the last weights of a network with batch norms were better."""
    early_stopping_epochs: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    validation_mixtures: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    scored_mixtures: Annotated[int, Field(ge=0, le=1_000_000)] = 24
    """How many of them are also judged by SI-SDR, ESTOI and PESQ after each epoch; 0 for the loss alone."""
    best_by: Literal["loss", "si_sdr", "estoi", "pesq"] = "loss"
    """What the kept weights are best in, on the validation mixtures."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    """What the network computes in; its weights, the spectra and the loss are float32."""
