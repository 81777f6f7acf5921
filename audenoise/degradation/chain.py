"""The chain: drawn from a spec, written down, replayed, applied to speech."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.degradation.additions import add_hum, add_noise, coloured_noise
from audenoise.degradation.bands import filter_band, resample_and_back
from audenoise.degradation.coders import code
from audenoise.degradation.colouring import microphone_colour, parametric_equaliser
from audenoise.degradation.drawing import DRAWERS
from audenoise.degradation.gaps import drop_out, lose_packets
from audenoise.degradation.levels import compress_dynamics, distort
from audenoise.degradation.rooms import algorithmic_reverb, in_room, reverb_response, simulate_room
from audenoise.degradation.warps import flutter, formant_shift, pitch_shift, time_stretch
from audenoise.errors import SignalError, SpecError
from audenoise.specs.degradation import DegradationSpec

BOTH: dict[str, Callable[..., AudioVector]] = {
    "time_stretch": time_stretch,
    "pitch_shift": pitch_shift,
    "formant_shift": formant_shift,
}
"""Effects that the target goes through as well."""
ONE: dict[str, Callable[..., AudioVector]] = {
    "reverb": algorithmic_reverb,
    "hum": add_hum,
    "microphone": microphone_colour,
    "equaliser": parametric_equaliser,
    "resonances": parametric_equaliser,
    "compression": compress_dynamics,
    "clip": distort,
    "flutter": flutter,
    "resampling": resample_and_back,
    "band_limit": filter_band,
    "codec": code,
    "packet_loss": lose_packets,
    "dropouts": drop_out,
}
"""Effects of one signal and what is drawn for them."""
_GIVEN = {
    "room": {"simulated", "pick", "seed", "target"},
    "noise": {"coloured", "snr_db", "start", "exponent", "seed"},
}


def _names(kind: str) -> set[str]:
    """What must have been drawn for a kind of effect."""
    if kind in _GIVEN:
        return _GIVEN[kind]
    function = BOTH[kind] if kind in BOTH else ONE[kind]
    found = {
        name
        for name, each in inspect.signature(function).parameters.items()
        if each.kind is inspect.Parameter.KEYWORD_ONLY
    }
    if function is algorithmic_reverb:
        found |= set(inspect.signature(reverb_response).parameters) - {"sample_rate"}
    return found


@dataclass(frozen=True)
class Step:
    """One effect that happens: its kind, and numbers and names for it."""

    kind: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Draw:
    """What happens to one recording; no audio in it.

    Attributes
    ----------
    sample_rate : int
        In Hz, that it was drawn for.
    n_samples : int
        That it was drawn for; any length can go through it.
    steps : tuple of Step
        In their order; none leaves a recording as it is.
    """

    sample_rate: int
    n_samples: int
    steps: tuple[Step, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """For JSON; `from_dict` gives the same draw back."""
        return {
            "sample_rate": self.sample_rate,
            "n_samples": self.n_samples,
            "steps": [{"kind": step.kind, **step.parameters} for step in self.steps],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Self:
        """Read what `to_dict` wrote.

        Raises
        ------
        SpecError
            If a key is missing or unknown; the message names it.
        """
        missing = [key for key in ("sample_rate", "n_samples", "steps") if key not in data]
        if missing:
            raise SpecError(f"draw: {missing[0]}: is missing")
        steps = []
        for i, entry in enumerate(data["steps"]):
            kind = entry.get("kind")
            if kind not in DRAWERS:
                raise SpecError(
                    f"draw: steps[{i}].kind: must be one of {', '.join(DRAWERS)}. Received: {kind}"
                )
            parameters = {key: value for key, value in entry.items() if key != "kind"}
            wrong = sorted(_names(kind) ^ set(parameters))
            if wrong:
                state = "is missing" if wrong[0] in _names(kind) else f"is no parameter of {kind}"
                raise SpecError(f"draw: steps[{i}].{wrong[0]}: {state}")
            steps.append(Step(kind, parameters))
        return cls(int(data["sample_rate"]), int(data["n_samples"]), tuple(steps))


def draw(spec: DegradationSpec, rng: np.random.Generator, *, sample_rate: int, n_samples: int) -> Draw:
    """Draw what happens to one recording.

    Parameters
    ----------
    spec : DegradationSpec
    rng : numpy.random.Generator
        One number is taken from it. What is drawn for an effect depends on that and on the effect's place,
        not on what is drawn for the others.
    sample_rate : int
        In Hz; frequencies stay below half of it.
    n_samples : int
        Of the recording.

    Examples
    --------
    >>> spec = DegradationSpec()
    >>> first, same = (
    ...     draw(spec, np.random.default_rng(3), sample_rate=48000, n_samples=96000) for _ in range(2)
    ... )
    >>> first == same == Draw.from_dict(first.to_dict())
    True
    """
    token = int(rng.integers(2**62))
    steps = []
    for i, effect in enumerate(spec.effects):
        own = np.random.default_rng([token, i])
        if own.random() < effect.probability:
            steps.append(Step(effect.kind, DRAWERS[effect.kind](effect, own, sample_rate)))
    return Draw(sample_rate, n_samples, tuple(steps))


def apply(
    draw: Draw,
    audio: AudioVector,
    sample_rate: int,
    *,
    noise: AudioVector | None = None,
    responses: Sequence[AudioVector] = (),
) -> tuple[AudioVector, AudioVector]:
    """Degrade speech as drawn.

    Parameters
    ----------
    draw : Draw
    audio : AudioVector
        Full scale is 1.0; any length from 1 sample on. Not changed.
    sample_rate : int
        In Hz, of all that is given; that of the draw.
    noise : AudioVector or None
        Of any length. Without it, background noise is coloured noise.
    responses : sequence of AudioVector
        Of rooms. Without any, rooms are simulated.

    Returns
    -------
    degraded, target : tuple of AudioVector
        float32, as long as `audio`, neither delayed. The target is what enhancement should give back: the
        speech itself, with a voice and a speed as drawn. `degraded` may exceed full scale a little.

    Raises
    ------
    SignalError
        If the audio is empty, not one channel of finite floats, or of another rate than the draw.

    Examples
    --------
    >>> steps = (Step("resampling", {"rate_hz": 8000, "quick": False}),)
    >>> speech = np.sin(np.arange(4801, dtype=np.float32))  # 2.5 kHz at 16 kHz
    >>> degraded, target = apply(Draw(16000, 4801, steps), speech, 16000)
    >>> degraded.shape == speech.shape, bool(np.abs(degraded - target)[200:-200].max() < 1e-3)
    (True, True)
    """
    if audio.ndim != 1 or audio.size < 1 or audio.dtype.kind != "f" or not np.isfinite(audio).all():
        raise SignalError(
            f"audio must be one channel of finite floats. Received: {audio.dtype} of shape {audio.shape}"
        )
    if sample_rate != draw.sample_rate:
        raise SignalError(f"sample_rate must be the draw's, {draw.sample_rate} Hz. Received: {sample_rate}")
    degraded = target = audio.astype(np.float32)
    for step in draw.steps:
        if step.kind in BOTH:
            target = degraded = BOTH[step.kind](target, sample_rate, **step.parameters)
        elif step.kind == "room":
            degraded, target = _room(degraded, target, sample_rate, responses=responses, **step.parameters)
        elif step.kind == "noise":
            degraded = _noise(degraded, sample_rate, noise=noise, **step.parameters)
        else:
            degraded = ONE[step.kind](degraded, sample_rate, **step.parameters)
    return degraded.astype(np.float32), target.astype(np.float32)


def _room(
    audio: AudioVector,
    speech: AudioVector,
    sample_rate: int,
    *,
    responses: Sequence[AudioVector],
    simulated: bool,
    pick: float,
    seed: int,
    target: str,
) -> tuple[AudioVector, AudioVector]:
    if responses and not simulated:
        response = responses[int(pick * len(responses))]
    else:
        response = simulate_room(np.random.default_rng(seed), sample_rate)
    wet, early = in_room(audio, response, sample_rate, target=target)
    if target == "dry" or audio is speech:
        return wet, speech if target == "dry" else early
    # What came before the room changed the audio alone: the target goes through the early part on its own.
    return wet, in_room(speech, response, sample_rate, target=target)[1]


def _noise(
    audio: AudioVector,
    sample_rate: int,
    *,
    noise: AudioVector | None,
    coloured: bool,
    snr_db: float,
    start: float,
    exponent: float,
    seed: int,
) -> AudioVector:
    if noise is None or coloured:
        noise = coloured_noise(np.random.default_rng(seed), max(2, audio.size), exponent)
    return add_noise(audio, noise, sample_rate, snr_db=snr_db, start=start)
