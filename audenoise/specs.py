"""Specs: dictionaries that say everything needed to build and train a network.

A spec is data. It has one form in Python (`ModelSpec`), on disk (YAML or JSON), in the tuner and in a
published model. Sizes that cannot work are found here, before anything is built.
"""

import difflib
import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from audenoise.errors import SpecError

Size = Annotated[int, Field(ge=1, le=4096)]
Probability = Annotated[float, Field(ge=0, le=1)]
Pair = tuple[Size, Size]
"""(frames, frequency)."""
Range = tuple[float, float]
Activation = Literal["linear", "relu", "leaky_relu", "elu", "silu", "gelu", "tanh", "sigmoid", "softplus"]
Initializer = Literal[
    "glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_normal", "orthogonal"
]
MAX_SPEC_BYTES = 1_000_000
MAX_PARAMETERS = 500_000_000


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _ordered(value: Range, key: str) -> None:
    if value[0] > value[1]:
        raise ValueError(f"{key}: the lower end must not exceed the upper end. Received: {list(value)}")


class StftSpec(_Strict):
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


class InputSpec(_Strict):
    """What the network sees.

    `complex` gives two channels (real and imaginary part), `magnitude` and `decibel` one,
    `magnitude_complex` three. `compression` is the exponent c in |X|^c (1: none). `decibel` maps
    `range_db` to 0…1.
    """

    representation: Literal["complex", "magnitude", "magnitude_complex", "decibel"] = "complex"
    compression: Annotated[float, Field(gt=0, le=1)] = 0.3
    range_db: Range = (-100.0, 0.0)

    @property
    def channels(self) -> int:
        return {"complex": 2, "magnitude": 1, "magnitude_complex": 3, "decibel": 1}[self.representation]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not -200 <= self.range_db[0] < self.range_db[1] <= 100:
            raise ValueError(
                f"range_db: must be [low, high] within -200 to 100 dB. Received: {list(self.range_db)}"
            )
        return self


class StageSpec(_Strict):
    """One encoder or decoder stage: `convolutions` convolutions, a stride in the first or a pool at the end.

    Kernels, strides and pools are (frames, frequency). In the decoder, `stride` and `pool` are not given:
    they mirror the encoder's; `up_kernel` is the kernel of the layer that goes back up.
    """

    filters: Size
    kernel: Pair = (1, 3)
    stride: Pair = (1, 1)
    pool: Pair = (1, 1)
    convolutions: Annotated[int, Field(ge=1, le=16)] = 1
    residual: bool = False
    activation: Activation = "elu"
    negative_slope: Annotated[float, Field(ge=0, le=1)] = 0.3
    norm: Literal["none", "batch", "layer"] = "none"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
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
        return self


class SkipSpec(_Strict):
    kind: Literal["concatenate", "add", "none"] = "concatenate"
    position: Literal["before", "after"] = "before"
    """Join the encoder's output before or after the convolutions of the decoder's stage."""


class ConvolutionBottleneck(_Strict):
    kind: Literal["convolution"]
    stages: Annotated[tuple[StageSpec, ...], Field(min_length=1, max_length=16)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        for i, stage in enumerate(self.stages):
            for key in ("stride", "pool"):
                step = getattr(stage, key)
                if step != (1, 1):
                    raise ValueError(
                        f"stages[{i}].{key}: a bottleneck keeps its size. Received: {list(step)}"
                    )
            if stage.up_kernel:
                raise ValueError(f"stages[{i}].up_kernel: belongs to a decoder stage")
        return self


class RecurrentBottleneck(_Strict):
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


class DilatedBottleneck(_Strict):
    """Residual depthwise convolutions over time with growing dilation."""

    kind: Literal["dilated"]
    channels: Size = 64
    kernel: Pair = (3, 3)
    dilations: Annotated[tuple[Size, ...], Field(min_length=1, max_length=64)] = (1, 2, 4, 8)
    activation: Activation = "elu"
    norm: Literal["none", "batch", "layer"] = "batch"


class OutputSpec(_Strict):
    """What the network predicts.

    `complex_mask` and `magnitude_mask` multiply the noisy spectrogram, `noise` is subtracted from it
    (in its representation: dB if the input is dB), `spectrogram` is the clean one itself. `domain` says
    whether this happens on the compressed spectrogram or on the linear one.
    """

    kind: Literal["magnitude_mask", "complex_mask", "noise", "spectrogram"] = "complex_mask"
    activation: Activation = "linear"
    domain: Literal["compressed", "linear"] = "compressed"
    kernel: Pair = (1, 1)


class LossSpec(_Strict):
    """Weights of the loss terms, see `audenoise.losses`; `compression` is the exponent of the spectra."""

    magnitude: Annotated[float, Field(ge=0)] = 0.3
    complex: Annotated[float, Field(ge=0)] = 0.2
    consistency: Annotated[float, Field(ge=0)] = 0.3
    waveform: Annotated[float, Field(ge=0)] = 0.2
    sdr: Annotated[float, Field(ge=0)] = 0.0
    envelope: Annotated[float, Field(ge=0)] = 0.0
    compression: Annotated[float, Field(gt=0, le=1)] = 0.3

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any((self.magnitude, self.complex, self.consistency, self.waveform, self.sdr, self.envelope)):
            raise ValueError("magnitude: at least one loss weight must be above 0. Received: 0")
        return self


class MixingSpec(_Strict):
    """How mixtures are drawn; levels in dBFS (RMS), ratios in dB over active speech."""

    snr_db: Range = (-5.0, 20.0)
    level_dbfs: Range = (-35.0, -10.0)
    second_noise: Probability = 0.3
    coloured_noise: Probability = 0.1
    babble: Probability = 0.1
    """Several other voices as the noise, in place of a noise recording."""
    modulate: Probability = 0.15
    """Let the noise swell and fade."""
    clean_only: Probability = 0.05
    noise_only: Probability = 0.05
    reverb: Probability = 0.25
    speed: Probability = 0.5
    equalise: Probability = 0.5
    """Colour speech mildly and noise strongly."""
    band_limit: Probability = 0.1
    clip: Probability = 0.03

    @model_validator(mode="after")
    def _check(self) -> Self:
        _ordered(self.snr_db, "snr_db")
        _ordered(self.level_dbfs, "level_dbfs")
        if self.level_dbfs[1] > 0:
            raise ValueError(f"level_dbfs: must not exceed 0 dBFS. Received: {list(self.level_dbfs)}")
        if self.clean_only + self.noise_only > 1:
            raise ValueError("noise_only: clean_only and noise_only together must not exceed 1")
        return self


class TrainingSpec(_Strict):
    batch_size: Annotated[int, Field(ge=1, le=65536)] = 16
    crop_s: Annotated[float, Field(gt=0, le=600)] = 2.0
    epochs: Annotated[int, Field(ge=1)] = 100
    steps_per_epoch: Annotated[int, Field(ge=1)] = 200
    learning_rate: Annotated[float, Field(gt=0)] = 2e-3
    schedule: Literal["cosine", "plateau", "constant"] = "cosine"
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    plateau_patience: Annotated[int, Field(ge=1)] = 5
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    clip_norm: Annotated[float, Field(gt=0)] = 3.0
    ema_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.999
    """0 turns weight averaging off."""
    early_stopping_epochs: Annotated[int, Field(ge=1)] | None = None
    validation_mixtures: Annotated[int, Field(ge=1)] = 128
    seed: Annotated[int, Field(ge=0)] = 0


class ModelSpec(_Strict):
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
    upsampling: Literal["transposed", "nearest"] = "transposed"
    skip: SkipSpec = SkipSpec()
    output: OutputSpec = OutputSpec()
    causal: bool = True
    loss: LossSpec = LossSpec()
    mixing: MixingSpec = MixingSpec()
    training: TrainingSpec = TrainingSpec()

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

    @model_validator(mode="after")
    def _check(self) -> Self:
        sizes = [(f"encoder[{i}]", stage) for i, stage in enumerate(self.encoder)]
        bins = self.stft.bins
        for key, stage in sizes:
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
        if self.causal:
            if self.time_factor > 1:
                raise ValueError(
                    "causal: strides and pools along frames look ahead; set causal to false. Received: true"
                )
            if isinstance(self.bottleneck, RecurrentBottleneck) and self.bottleneck.bidirectional:
                raise ValueError("bottleneck.bidirectional: needs causal: false. Received: true")
        if self.training.crop_s * self.sample_rate < self.stft.window_samples:
            raise ValueError(
                f"training.crop_s: must be at least one window "
                f"({self.stft.window_samples / self.sample_rate:g} s). Received: {self.training.crop_s}"
            )
        return self


def _key_path(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        if part in ("convolution", "recurrent", "dilated") and text == "bottleneck":
            continue  # pydantic names the chosen union member; a user never wrote it
        text += f"[{part}]" if isinstance(part, int) else f"{'.' if text else ''}{part}"
    return text


def _short(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):  # a date as a key, a dictionary that holds itself
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
"""Pydantic's kinds of error, our words, and where it keeps the bound."""


def _explain(error: ValidationError, source: str) -> str:
    # A key that is not known explains one that is missing.
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    key = _key_path(first["loc"])
    kind, context = first["type"], first.get("ctx", {})
    received = f". Received: {_short(first['input'])}"
    if kind == "value_error":  # our own checks say key and value themselves
        inner = str(context["error"])
        message = f"{key}.{inner}" if key else inner
    elif kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        message = f"{key}: must be {words} {context[bound]}{received}"
    elif kind == "missing":
        message = f"{key}: is missing"
    elif kind == "extra_forbidden":
        known = [name for section in _Strict.__subclasses__() for name in section.model_fields]
        similar = difflib.get_close_matches(str(first["loc"][-1]), known, n=1, cutoff=0.8)
        message = f"{key}: is not a key of this section" + (
            f", did you mean {similar[0]}?" if similar else received
        )
    elif kind == "union_tag_invalid":
        message = f"{key}.kind: must be {context['expected_tags'].replace(', ', ' or ')}{received}"
    elif kind == "union_tag_not_found":
        message = f"{key}.kind: is missing"
    elif kind in ("tuple_type", "list_type"):
        message = f"{key}: must be a list{received}"
    elif kind == "too_short":
        message = f"{key}: must have at least {context['min_length']} entry{received}"
    elif kind == "too_long":
        message = f"{key}: must have at most {context['max_length']} entries{received}"
    elif kind == "string_pattern_mismatch":
        message = f"{key}: must be letters, digits and . _ -, and start with a letter or digit{received}"
    else:
        text = first["msg"].replace("Input should be", "must be")
        message = f"{key}: {text[0].lower()}{text[1:]}{received}" if key else text
    more = error.error_count() - 1
    return f"{source}: {message}" + (f" (and {more} more)" if more else "")


def parse_spec(data: Any, *, source: str = "spec") -> ModelSpec:
    """Turn a dictionary into a checked spec.

    Parameters
    ----------
    data : dict
        As read from YAML or JSON.
    source : str
        Named at the start of an error, such as the file.

    Raises
    ------
    SpecError
        Names the key: ``encoder[2].filters: must be at least 1. Received: 0``.

    Examples
    --------
    >>> spec = parse_spec({"encoder": [{"filters": 8}], "bottleneck": {"kind": "recurrent"}})
    >>> spec.sample_rate
    16000
    """
    if not isinstance(data, dict):
        raise SpecError(f"{source}: must be a dictionary of keys. Received: {_short(data)}")
    try:
        return ModelSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(_explain(error, source)) from None


class _OneLevelLoader(yaml.SafeLoader):
    """Safe YAML without aliases: a spec never needs them, and they can blow a small file up."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed")
        return super().compose_node(parent, index)


def load_spec(path: str | Path) -> ModelSpec:
    """Read a spec from a YAML or JSON file.

    Raises
    ------
    SpecError
        If the file is missing, too large, not YAML or JSON, or not a valid spec.
    """
    path = Path(path)
    try:
        if path.stat().st_size > MAX_SPEC_BYTES:
            raise SpecError(f"{path}: is larger than 1 MB, so it is no spec")
        text = path.read_text(encoding="utf-8")
        # JSON is nearly YAML, but for tabs.
        data = json.loads(text) if path.suffix.lower() == ".json" else yaml.load(text, Loader=_OneLevelLoader)
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        first_line = " ".join(str(error).split())[:200]
        raise SpecError(f"{path}: is not valid YAML or JSON: {first_line}") from None
    return parse_spec(data, source=str(path))


def same_network(first: ModelSpec, second: ModelSpec) -> bool:
    """Whether the weights of one spec fit the other: all but name, loss, mixing and training is equal."""
    free = {"name", "loss", "mixing", "training"}
    return first.model_dump(exclude=free) == second.model_dump(exclude=free)


RECIPES = Path(__file__).parent / "recipes"


def load_recipe(name_or_path: str | Path) -> ModelSpec:
    """Read a spec by path, or a shipped recipe by name (such as ``standard``).

    Raises
    ------
    SpecError
        If there is neither such a file nor such a recipe, or the spec is not valid.
    """
    shipped = RECIPES / f"{name_or_path}.yaml"
    if Path(name_or_path).suffix or not shipped.is_file():
        if not Path(name_or_path).is_file():
            names = ", ".join(sorted(path.stem for path in RECIPES.glob("*.yaml")))
            raise SpecError(f"{name_or_path}: no such spec file; shipped recipes: {names}")
        return load_spec(name_or_path)
    return load_spec(shipped)


def override_training(spec: ModelSpec, overrides: dict[str, Any]) -> ModelSpec:
    """The spec with some keys of its `training` section replaced; keys with the value None are left alone.

    Raises
    ------
    SpecError
        If a value is not valid.
    """
    data = spec_to_dict(spec)
    data["training"].update({key: value for key, value in overrides.items() if value is not None})
    return parse_spec(data)


def spec_to_dict(spec: ModelSpec) -> dict[str, Any]:
    """The dictionary form; `parse_spec` gives the same spec back."""
    return spec.model_dump(mode="json")


def dump_spec(spec: ModelSpec) -> str:
    """The YAML form, in the order of the schema."""
    return yaml.safe_dump(spec_to_dict(spec), sort_keys=False, allow_unicode=True, default_flow_style=None)
