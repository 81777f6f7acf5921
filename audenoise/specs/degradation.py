"""The chain of degradations as data: which effects, in which order, how often, with what parameters."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from audenoise.errors import SpecError
from audenoise.specs.base import Probability, Range, Strict
from audenoise.specs.explain import explain, short


@dataclass(frozen=True)
class Within:
    """What a `Range` may hold, both ends included."""

    low: float
    high: float


Share = Annotated[Range, Within(0, 1)]
Rate = Annotated[int, Field(ge=4000, le=192000)]


class Effect(Strict):
    """What all effects share: how often, and ranges [low, high] that parameters are drawn from."""

    probability: Probability = 0.1

    @model_validator(mode="after")
    def _ranges(self) -> Self:
        for name, field in type(self).model_fields.items():
            for limits in field.metadata:
                value = getattr(self, name)
                if isinstance(limits, Within) and not limits.low <= value[0] <= value[1] <= limits.high:
                    raise ValueError(
                        f"{name}: must be [low, high] within {limits.low:g} to {limits.high:g}. "
                        f"Received: {list(value)}"
                    )
        return self


class TimeStretch(Effect):
    """Faster or slower speech of the same pitch, on both sides alike; cut or repeated to its old length."""

    kind: Literal["time_stretch"] = "time_stretch"
    speed: Annotated[Range, Within(0.5, 2)] = (0.85, 1.15)


class PitchShift(Effect):
    """A higher or lower voice, formants and all, at the same speed, on both sides alike."""

    kind: Literal["pitch_shift"] = "pitch_shift"
    semitones: Annotated[Range, Within(-12, 12)] = (-3.0, 3.0)


class FormantShift(Effect):
    """A longer or shorter vocal tract at the same pitch, on both sides alike."""

    kind: Literal["formant_shift"] = "formant_shift"
    ratio: Annotated[Range, Within(0.5, 2)] = (0.87, 1.15)


class Room(Effect):
    """A room's measured response, or a simulated one."""

    kind: Literal["room"] = "room"
    simulated: Probability = 0.5
    """Share of simulated rooms; all are where no measured responses are given."""
    target: Literal["dry", "early"] = "dry"
    """What to give back: the speech with no room, or with the reflections of its first 50 ms."""


class Reverb(Effect):
    """Algorithmic reverberation, as added by effect units and games."""

    kind: Literal["reverb"] = "reverb"
    decay_s: Annotated[Range, Within(0.05, 10)] = (0.3, 2.5)
    wet_db: Annotated[Range, Within(-60, 20)] = (-20.0, 0.0)
    """Reverberation against the dry speech."""
    pre_delay_s: Annotated[Range, Within(0, 0.2)] = (0.0, 0.04)
    damping: Share = (0.1, 0.6)
    """How much faster high frequencies decay."""


class Noise(Effect):
    """Background noise: the one that is given, or a coloured one."""

    kind: Literal["noise"] = "noise"
    snr_db: Annotated[Range, Within(-40, 100)] = (5.0, 40.0)
    coloured: Probability = 0.2
    """Share of coloured noises; all are where no noise is given."""
    exponent: Annotated[Range, Within(-2, 3)] = (-0.5, 2.0)
    """Power of a coloured noise falls with frequency to this power (0: white, 1: pink, 2: brown)."""


class Hum(Effect):
    """Mains hum and its harmonics."""

    kind: Literal["hum"] = "hum"
    mains_hz: Annotated[tuple[Annotated[float, Field(ge=10, le=1000)], ...], Field(min_length=1)] = (50, 60)
    level_db: Annotated[Range, Within(-100, 40)] = (-45.0, -15.0)
    """Against the active speech."""
    harmonics: Annotated[int, Field(ge=1, le=100)] = 20
    slope_db: Annotated[Range, Within(0, 24)] = (2.0, 9.0)
    """How much each octave of harmonics is below the one before."""


class Microphone(Effect):
    """A microphone's colour: roll-off at both ends and a smooth unevenness between, linear-phase."""

    kind: Literal["microphone"] = "microphone"
    range_db: Annotated[Range, Within(0, 40)] = (1.0, 8.0)
    low_hz: Annotated[Range, Within(1, 2000)] = (30.0, 300.0)
    high_hz: Annotated[Range, Within(500, 96000)] = (5000.0, 24000.0)


class Equaliser(Effect):
    """Broad peaks and dips, and a shelf at either end."""

    kind: Literal["equaliser"] = "equaliser"
    bands: Annotated[tuple[int, int], Within(0, 16)] = (1, 5)
    gain_db: Annotated[Range, Within(-40, 40)] = (-12.0, 12.0)
    q: Annotated[Range, Within(0.1, 10)] = (0.4, 2.0)


class Resonances(Effect):
    """Narrow peaks: a boxy room, a case, a tube."""

    kind: Literal["resonances"] = "resonances"
    bands: Annotated[tuple[int, int], Within(1, 16)] = (1, 4)
    gain_db: Annotated[Range, Within(0, 40)] = (6.0, 18.0)
    q: Annotated[Range, Within(0.5, 100)] = (4.0, 20.0)
    frequency_hz: Annotated[Range, Within(20, 48000)] = (80.0, 4000.0)


class Compression(Effect):
    """Dynamic compression with make-up gain, also so fast that it pumps."""

    kind: Literal["compression"] = "compression"
    threshold_db: Annotated[Range, Within(-80, 0)] = (-35.0, -10.0)
    """Against the peak."""
    ratio: Annotated[Range, Within(1, 100)] = (2.0, 12.0)
    attack_s: Annotated[Range, Within(0.0005, 1)] = (0.001, 0.03)
    release_s: Annotated[Range, Within(0.001, 5)] = (0.03, 0.5)


class Clip(Effect):
    """Clipping: hard, soft (tanh), or overdrive (soft, harder on one side than on the other)."""

    kind: Literal["clip"] = "clip"
    modes: Annotated[tuple[Literal["hard", "soft", "overdrive"], ...], Field(min_length=1)] = (
        "hard", "soft", "overdrive",
    )  # fmt: skip
    share: Annotated[Range, Within(0, 0.9)] = (0.002, 0.15)
    """Share of the samples above the limit; the soft kinds bend from there on."""


class Flutter(Effect):
    """A tape's slow wobble of the speed, at two rates at once."""

    kind: Literal["flutter"] = "flutter"
    depth: Annotated[Range, Within(0, 0.1)] = (0.0005, 0.004)
    """Largest share by which the speed is off."""
    rate_hz: Annotated[Range, Within(0.1, 50)] = (0.7, 12.0)


class Resampling(Effect):
    """Down to a lower rate and back; `quick` leaves aliases, as cheap devices do."""

    kind: Literal["resampling"] = "resampling"
    rates_hz: Annotated[tuple[Rate, ...], Field(min_length=1)] = (8000, 11025, 16000, 22050)
    quick: Probability = 0.15
    """Share of conversions by cubic interpolation with no filter."""


class BandLimit(Effect):
    """A low-pass of one of many families, and at times a high-pass."""

    kind: Literal["band_limit"] = "band_limit"
    families: Annotated[
        tuple[
            Literal["butterworth", "chebyshev1", "chebyshev2", "elliptic", "bessel", "fir", "brickwall"], ...
        ],
        Field(min_length=1),
    ] = ("butterworth", "chebyshev1", "chebyshev2", "elliptic", "bessel", "fir", "brickwall")
    cutoff_hz: Annotated[Range, Within(100, 96000)] = (2000.0, 16000.0)
    """Where 3 dB are lost; drawn evenly in octaves."""
    order: Annotated[tuple[int, int], Within(1, 16)] = (2, 12)
    high_pass: Probability = 0.3
    high_pass_hz: Annotated[Range, Within(1, 4000)] = (50.0, 400.0)
    zero_phase: Probability = 0.5
    """Share of recursive filters that are applied by their magnitude alone."""


class Codec(Effect):
    """Coded and decoded by a real encoder, at a rate it takes; mostly the highest not above the audio's."""

    kind: Literal["codec"] = "codec"
    coders: Annotated[
        tuple[Literal["mp3", "vorbis", "opus", "gsm", "alaw", "mulaw"], ...], Field(min_length=1)
    ] = ("mp3", "vorbis", "opus", "gsm", "alaw", "mulaw")
    compression: Share = (0.5, 0.99)
    """Of MP3, Vorbis and Opus: from the highest bit rate (0) to the lowest (1)."""
    lower_rate: Probability = 0.5
    """Share of codings at a lower rate than need be."""


class PacketLoss(Effect):
    """Packets that are lost, in bursts, and replaced by silence or by what came before, fading."""

    kind: Literal["packet_loss"] = "packet_loss"
    packet_s: Annotated[Range, Within(0.0025, 0.2)] = (0.01, 0.06)
    share: Annotated[Range, Within(0, 0.9)] = (0.01, 0.15)
    burst_packets: Annotated[Range, Within(1, 100)] = (1.0, 3.0)
    """Mean length of a burst."""
    repeat: Probability = 0.5
    """Share of recordings in which the packet before is repeated."""


class Dropouts(Effect):
    """Short gaps with soft edges, as of a bad tape or a loose plug."""

    kind: Literal["dropouts"] = "dropouts"
    per_second: Annotated[Range, Within(0, 50)] = (0.3, 3.0)
    duration_s: Annotated[Range, Within(0.001, 2)] = (0.005, 0.08)
    depth_db: Annotated[Range, Within(3, 120)] = (12.0, 60.0)


EffectSpec = Annotated[
    TimeStretch | PitchShift | FormantShift | Room | Reverb | Noise | Hum | Microphone | Equaliser
    | Resonances | Compression | Clip | Flutter | Resampling | BandLimit | Codec | PacketLoss | Dropouts,
    Field(discriminator="kind"),
]  # fmt: skip
BOTH_SIDES = frozenset({"time_stretch", "pitch_shift", "formant_shift"})
"""Augmentations: they change what is to be given back as well."""


class DegradationSpec(Strict):
    """A chain of effects, in the order in which sound meets them: voice, room, device, line."""

    effects: Annotated[tuple[EffectSpec, ...], Field(max_length=64)] = (
        TimeStretch(probability=0.05),
        PitchShift(probability=0.1),
        FormantShift(probability=0.05),
        Room(probability=0.3),
        Reverb(probability=0.1),
        Noise(probability=0.4),
        Microphone(probability=0.5),
        Resonances(probability=0.15),
        Hum(probability=0.05),
        Compression(probability=0.2),
        Clip(probability=0.2),
        Flutter(probability=0.03),
        Equaliser(probability=0.25),
        Resampling(probability=0.3),
        BandLimit(probability=0.4),
        Codec(probability=0.2),
        PacketLoss(probability=0.05),
        Dropouts(probability=0.05),
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        one_sided = ""
        for i, effect in enumerate(self.effects):
            if effect.kind not in BOTH_SIDES:
                one_sided = one_sided or effect.kind
            elif one_sided:
                raise ValueError(
                    f"effects[{i}].kind: {effect.kind} changes both sides, so it must come before {one_sided}"
                )
        return self


def parse_degradation(data: Any, *, source: str = "degradation") -> DegradationSpec:
    """Turn a dictionary, as read from YAML or JSON, into a checked spec.

    Raises
    ------
    SpecError
        Names the key: ``effects[2].cutoff_hz: must be [low, high] within 100 to 96000. Received: [5, 4]``.

    Examples
    --------
    >>> spec = parse_degradation({"effects": [{"kind": "resampling", "probability": 1, "rates_hz": [8000]}]})
    >>> spec.effects[0].rates_hz
    (8000,)
    """
    if not isinstance(data, dict):
        raise SpecError(f"{source}: must be a dictionary of keys. Received: {short(data)}")
    try:
        return DegradationSpec.model_validate(data)
    except ValidationError as error:
        raise SpecError(explain(error, source)) from None
