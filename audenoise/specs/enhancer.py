"""The spec of an enhancer: its generator, its discriminators, and how they are trained against each other."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from audenoise.errors import SpecError
from audenoise.specs.base import Pair, Probability, Range, Size, Strict, ordered
from audenoise.specs.degradation import DegradationSpec
from audenoise.specs.explain import explain, short
from audenoise.specs.pretraining import PretrainingSpec
from audenoise.specs.reading import RECIPES, load_document
from audenoise.specs.sections import StftSpec

ENHANCER_RECIPES = RECIPES / "enhancers"
Weight = Annotated[float, Field(ge=0, le=1e4)]

RECONSTRUCTION_TERMS = ("mel", "output_mel", "stft", "magnitude", "complex", "phase", "envelope", "waveform")
"""Terms of the loss that need no opponent."""
MAX_HOP_S = 0.05
"""Between frames of an enhancer, whose pitch is looked for in each (`audenoise.conditioning`)."""


class MelSpec(Strict):
    """The mel-spectrogram that goes in, and comes out enhanced halfway: log amplitudes of `bands` bands."""

    bands: Annotated[int, Field(ge=4, le=512)] = 80


class ConditioningSpec(Strict):
    """What the network is told about the input beside its spectrum, see `audenoise.conditioning`.

    `pitch` is F0 and voicing, `rhythm` the onset strength, `loudness` the loudness of each frame.
    """

    pitch: bool = True
    rhythm: bool = True
    loudness: bool = True

    @property
    def columns(self) -> tuple[int, ...]:
        """Columns of the features that the network takes: pitch, voicing, onset strength, loudness."""
        switches = (self.pitch, self.pitch, self.rhythm, self.loudness)
        return tuple(column for column, wanted in enumerate(switches) if wanted)


class GeneratorSpec(Strict):
    """Blocks of a ConvNeXt over frames (Liu et al. 2022; Siuzdak 2024): first to the mel, then further.

    Block number i, counted through both parts, has dilation ``dilations[i % len(dilations)]``.
    """

    channels: Size = 192
    mel_blocks: Annotated[int, Field(ge=1, le=64)] = 3
    spectrum_blocks: Annotated[int, Field(ge=1, le=64)] = 5
    kernel: Annotated[int, Field(ge=1, le=63)] = 7
    dilations: Annotated[tuple[Size, ...], Field(min_length=1, max_length=64)] = (1, 2, 4, 1, 2, 4, 2, 1)
    expansion: Annotated[int, Field(ge=1, le=16)] = 2
    compression: Annotated[float, Field(gt=0, le=1)] = 0.3
    """Exponent c in |X|^c of the spectrum that the network sees."""

    @property
    def reach_frames(self) -> int:
        """Frames on each side of a frame that its output depends on."""
        blocks = self.mel_blocks + self.spectrum_blocks
        half = self.kernel // 2
        return sum(half * self.dilations[i % len(self.dilations)] for i in range(blocks))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.kernel % 2 == 0:
            raise ValueError(f"kernel: must be odd, so that it has a middle. Received: {self.kernel}")
        return self


class AuxiliarySpec(Strict):
    """Weights of tasks that are learned on the way and left out of a published model; 0 has no such head.

    `pitch` predicts F0 and voicing of the target, `residual` the mel-spectrogram of what was wrong with the
    input.
    """

    pitch: Weight = 0.1
    residual: Weight = 0.1


class DiscriminatorsSpec(Strict):
    """Multi-period discriminators (Kong et al. 2020) and multi-resolution ones of spectrograms.

    `resolutions` are (n_fft, hop_length); each has one discriminator for every one of `views`: the log
    amplitude (Jang et al. 2021) or the phase (Lu et al. 2024). Channels double from layer to layer, from
    `channels` to `max_channels`.
    """

    periods: Annotated[tuple[Annotated[int, Field(ge=2, le=1000)], ...], Field(max_length=16)] = (
        2,
        3,
        5,
        7,
        11,
    )
    period_channels: Size = 16
    resolutions: Annotated[tuple[Pair, ...], Field(max_length=16)] = ((512, 128), (1024, 256), (2048, 512))
    views: Annotated[tuple[Literal["amplitude", "phase"], ...], Field(min_length=1, max_length=2)] = (
        "amplitude",
        "phase",
    )
    spectrum_channels: Size = 16
    max_channels: Size = 256

    @model_validator(mode="after")
    def _check(self) -> Self:
        for i, (n_fft, hop_length) in enumerate(self.resolutions):
            if n_fft % 2 or n_fft < 16 or hop_length * 2 > n_fft:
                raise ValueError(
                    f"resolutions[{i}]: must be an even n_fft from 16 and a hop_length of at most half "
                    f"of it. Received: {[n_fft, hop_length]}"
                )
        if len(set(self.views)) < len(self.views):
            raise ValueError(f"views: must differ. Received: {list(self.views)}")
        if not (self.periods or self.resolutions):
            raise ValueError("periods: periods and resolutions must not both be empty. Received: []")
        return self


class EnhancerLossSpec(Strict):
    """Weights of the loss terms, see `audenoise.enhancer_losses`."""

    mel: Weight = 1.0
    """Of the enhanced mel in the middle of the network."""
    output_mel: Weight = 1.0
    """Of the waveform that comes out."""
    stft: Weight = 1.0
    floor_db: Annotated[float, Field(ge=-160, le=-20)] = -100.0
    """Levels below this, against full scale and at one loudness for all targets, count as equal in `stft`.
    If it is lower, silence is to have the floor of the target's recording."""
    magnitude: Weight = 60.0
    """Of compressed magnitudes."""
    complex: Weight = 8.0
    """Of compressed complex spectra. What has to be made up has a phase that nobody can know, and the more
    this weighs, the quieter it becomes."""
    phase: Weight = 0.2
    envelope: Weight = 0.0
    """Of short-time envelopes in third-octave bands up to 4.3 kHz, as ESTOI compares them. A band that is
    made up at the right level but at the wrong moments is as good as the right one to `mel` and `stft`."""
    waveform: Weight = 0.0
    adversarial: Weight = 0.05
    feature_matching: Weight = 0.1
    kind: Literal["least_squares", "hinge"] = "least_squares"
    compression: Annotated[float, Field(gt=0, le=1)] = 0.3
    stft_resolutions: Annotated[tuple[Pair, ...], Field(min_length=1, max_length=16)] = (
        (512, 128),
        (1024, 256),
        (2048, 512),
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(getattr(self, name) for name in RECONSTRUCTION_TERMS):
            raise ValueError("output_mel: at least one weight of reconstruction must be above 0. Received: 0")
        return self


class ScheduleSpec(Strict):
    """Reconstruction alone first; from step `adversarial_from_step` on the discriminators learn and judge."""

    adversarial_from_step: Annotated[int, Field(ge=0, le=10**13)] = 20000
    warmup_steps: Annotated[int, Field(ge=0, le=10_000_000)] = 500
    decay: Literal["cosine", "constant"] = "cosine"


class EnhancerTrainingSpec(Strict):
    batch_size: Annotated[int, Field(ge=1, le=4096)] = 16
    crop_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    steps_per_epoch: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    learning_rate: Annotated[float, Field(gt=0)] = 5e-4
    discriminator_learning_rate: Annotated[float, Field(gt=0)] = 2e-4
    betas: tuple[Annotated[float, Field(ge=0, lt=1)], Annotated[float, Field(ge=0, lt=1)]] = (0.8, 0.99)
    weight_decay: Annotated[float, Field(ge=0)] = 1e-2
    clip_norm: Annotated[float, Field(gt=0)] = 5.0
    ema_momentum: Annotated[float, Field(gt=0, lt=1)] = 0.999
    """The averaged weights are validated and kept."""
    validation_pairs: Annotated[int, Field(ge=1, le=1_000_000)] = 64
    scored_pairs: Annotated[int, Field(ge=0, le=1_000_000)] = 12
    best_by: Literal["spectral_distance", "mel_distance", "last"] = "spectral_distance"
    """What the kept weights are best in on the validation pairs; or simply the last."""
    examples_every: Annotated[int, Field(ge=0, le=1_000_000)] = 5
    """Epochs between two sets of example recordings and spectrograms; 0 writes none."""
    examples: Annotated[int, Field(ge=1, le=64)] = 3

    @property
    def scored_by(self) -> str:
        """What `RunState.best_loss` is of a run."""
        return "spectral_distance" if self.best_by == "last" else self.best_by

    balance_epochs: Annotated[int, Field(ge=1, le=1_000_000)] = 5
    """Stop if one side has won for so many epochs in a row."""
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0


class PairsSpec(Strict):
    """Which recordings are targets, and what happens to an input beside its degradation."""

    min_bandwidth_hz: Annotated[float, Field(ge=0)] = 14000.0
    """Recordings with no speech up to here would teach that what lies above is silent; they are left out."""
    min_upper_db: Annotated[float, Field(le=0)] | None = None
    """Recordings whose upper band is duller than this teach restraint; they are left out. In dB, see
    `audenoise.bandwidth.upper_band_db`."""
    full_band_hz: Annotated[float, Field(ge=0)] | None = 19000.0
    """Speech that reaches this, or nine tenths of the band that the sample rate has room for, is complete. Of
    a recording that ends lower, a coder's doing mostly, nothing is taught above its end, where silence is no
    example, nor of a frame above where its coder ended it (`audenoise.bandwidth.frame_ends_hz`). Null:
    silence is taught there."""
    level_dbfs: Range = (-35.0, -14.0)
    denoise: Probability = 0.5
    """Share of inputs that go through the denoiser, as they do in `audenoise enhance`."""
    untouched: Probability = 0.05
    """Share of inputs that are the target itself, so that good recordings stay as they are."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        ordered(self.level_dbfs, "level_dbfs")
        if self.level_dbfs[1] > 0:
            raise ValueError(f"level_dbfs: must not exceed 0 dBFS. Received: {list(self.level_dbfs)}")
        return self


class EnhancerSpec(Strict):
    """An enhancer's generator, its spectrogram, its opponents and its recipe."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")] = "unnamed"
    kind: Literal["enhancer"] = "enhancer"
    sample_rate: Annotated[int, Field(ge=8000, le=96000)] = 48000
    stft: StftSpec = StftSpec(n_fft=1024, hop_length=256, window="hann")
    mel: MelSpec = MelSpec()
    conditioning: ConditioningSpec = ConditioningSpec()
    generator: GeneratorSpec = GeneratorSpec()
    auxiliary: AuxiliarySpec = AuxiliarySpec()
    discriminators: DiscriminatorsSpec = DiscriminatorsSpec()
    loss: EnhancerLossSpec = EnhancerLossSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    pairs: PairsSpec = PairsSpec()
    degradation: DegradationSpec = DegradationSpec()
    training: EnhancerTrainingSpec = EnhancerTrainingSpec()
    pretraining: PretrainingSpec = PretrainingSpec()

    @property
    def crop_samples(self) -> int:
        return round(self.training.crop_s * self.sample_rate)

    @model_validator(mode="after")
    def _check(self) -> Self:
        self.pretraining.check(causal=False)
        window, hop = self.stft.window_samples, self.stft.hop_length
        if window % (2 * hop):
            raise ValueError(
                f"stft.hop_length: must go into half the window ({window // 2}) without rest, so that frames "
                f"are centred where the conditioning is. Received: {hop}"
            )
        if hop > MAX_HOP_S * self.sample_rate:
            longest_hop = int(MAX_HOP_S * self.sample_rate)
            raise ValueError(
                f"stft.hop_length: must be at most {MAX_HOP_S:g} s, {longest_hop} samples, "
                f"as pitch is looked for in every frame. Received: {hop}"
            )
        if self.crop_samples < window:
            raise ValueError(
                f"training.crop_s: must be at least one window ({window / self.sample_rate:g} s). "
                f"Received: {self.training.crop_s}"
            )
        longest = max(n for n, _ in (*self.discriminators.resolutions, *self.loss.stft_resolutions))
        if self.crop_samples < longest:
            raise ValueError(
                f"training.crop_s: must be at least the longest n_fft of the losses and discriminators "
                f"({longest / self.sample_rate:.3g} s). Received: {self.training.crop_s}"
            )
        if self.pairs.min_bandwidth_hz > self.sample_rate / 2:
            raise ValueError(
                f"pairs.min_bandwidth_hz: must not exceed half the sample rate {self.sample_rate}. "
                f"Received: {self.pairs.min_bandwidth_hz:g}"
            )
        if self.pairs.min_upper_db is not None and self.sample_rate < 28000:
            raise ValueError(
                "pairs.min_upper_db: is about 8 to 14 kHz, for which the sample rate must be 28000 at least. "
                f"Received: {self.sample_rate}"
            )
        if self.mel.bands > self.stft.bins // 4:
            raise ValueError(
                f"mel.bands: must be at most a quarter of the {self.stft.bins} frequency bins. "
                f"Received: {self.mel.bands}"
            )
        return self


def parse_enhancer_spec(data: Any, *, source: str = "spec") -> EnhancerSpec:
    """Turn a dictionary into a checked spec.

    Raises
    ------
    SpecError
        Names the key.

    Examples
    --------
    >>> parse_enhancer_spec({"generator": {"channels": 0}})
    Traceback (most recent call last):
        ...
    audenoise.errors.SpecError: spec: generator.channels: must be at least 1. Received: 0
    """
    if not isinstance(data, dict):
        raise SpecError(f"{source}: must be a dictionary of keys. Received: {short(data)}")
    try:
        return EnhancerSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(explain(error, source)) from None


def load_enhancer_spec(name_or_path: str | Path) -> EnhancerSpec:
    """Read an enhancer's spec by path, or a shipped recipe by name.

    Raises
    ------
    SpecError
        If there is neither such a file nor such a recipe, or the spec is not valid.
    """
    path = Path(name_or_path)
    shipped = ENHANCER_RECIPES / f"{name_or_path}.yaml"
    if not path.suffix and shipped.is_file():
        path = shipped
    elif not path.is_file():
        names = ", ".join(sorted(each.stem for each in ENHANCER_RECIPES.glob("*.yaml")))
        raise SpecError(f"{name_or_path}: no such spec file; shipped recipes of enhancers: {names}")
    return parse_enhancer_spec(load_document(path), source=str(path))


def dump_enhancer_spec(spec: EnhancerSpec) -> str:
    """The YAML form; `parse_enhancer_spec` of it gives the same spec back."""
    data = spec.model_dump(mode="json")
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, default_flow_style=None)


def same_enhancer(first: EnhancerSpec, second: EnhancerSpec) -> bool:
    """Whether weights and discriminators of one spec fit the other."""
    keys = {"sample_rate", "stft", "mel", "conditioning", "generator", "auxiliary", "discriminators"}
    both = [spec.model_dump(include=keys) for spec in (first, second)]
    for dump in both:  # only whether there is a head matters
        dump["auxiliary"] = {name: weight > 0 for name, weight in dump["auxiliary"].items()}
    return both[0] == both[1]


def is_enhancer_run(run: Path) -> bool:
    """Whether a run folder is that of an enhancer, by its spec."""
    spec = run / "spec.yaml"
    data = load_document(spec) if spec.is_file() else None
    return isinstance(data, dict) and data.get("kind") == "enhancer"
