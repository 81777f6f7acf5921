"""What happens to speech before it is restored: one recording, one kind of damage at a time."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from audenoise import degradation
from audenoise.audio import resample
from audenoise.degradation import Draw, Step


@dataclass(frozen=True)
class Case:
    """What came in, and what should come out.

    Attributes
    ----------
    audio : ndarray
        (samples,) at `rate`.
    rate : int
        In Hz.
    reference : ndarray
        (samples,) at `reference_rate`, of the same duration.
    reference_rate : int
    """

    audio: np.ndarray
    rate: int
    reference: np.ndarray
    reference_rate: int


Damage = Callable[[np.ndarray, int, int], Case]


def _band(low: int, high: int) -> Damage:
    """Recorded at `low` Hz and wanted at `high`."""

    def make(speech: np.ndarray, rate: int, seed: int) -> Case:
        reference = resample(speech, rate, high)
        return Case(resample(reference, high, low), low, reference, high)

    return make


def _steps(*kinds: tuple[str, dict[str, Any]], at: int | None = None) -> Damage:
    """Effects of `audenoise.degradation`, at the recording's own rate or at `at` Hz."""

    def make(speech: np.ndarray, rate: int, seed: int) -> Case:
        audio = speech if at is None else resample(speech, rate, at)
        steps = tuple(
            Step(kind, {**parameters, "seed": seed} if "seed" in parameters else parameters)
            for kind, parameters in kinds
        )
        drawn = Draw(at or rate, audio.size, steps)
        degraded, target = degradation.apply(drawn, audio, at or rate)
        if at is not None:
            return Case(degraded, at, speech, rate)
        return Case(degraded, rate, target, rate)

    return make


def _clip(mode: str, share: float) -> tuple[str, dict[str, Any]]:
    return "clip", {"mode": mode, "share": share, "bias": 0.4}


def _code(coder: str, rate_hz: int, compression: float = 0.9) -> tuple[str, dict[str, Any]]:
    return "codec", {"coder": coder, "rate_hz": rate_hz, "compression": compression}


def _filter(low_hz: float, high_hz: float) -> tuple[str, dict[str, Any]]:
    return "band_limit", {
        "family": "butterworth", "order": 6, "cutoff_hz": high_hz, "high_pass_hz": low_hz, "zero_phase": True,
    }  # fmt: skip


_ROOM = ("room", {"simulated": True, "pick": 0.0, "seed": 0, "target": "early"})
_NOISE = ("noise", {"coloured": True, "snr_db": 10.0, "start": 0.0, "exponent": 1.0, "seed": 0})
_BOX = ("resonances", {"bands": [["peak", 400.0, 12.0, 6.0], ["peak", 1500.0, 9.0, 8.0]]})
_PUMPING = ("compression", {"threshold_db": -35.0, "ratio": 8.0, "attack_s": 0.002, "release_s": 0.1})
_LOSS = (
    "packet_loss",
    {"packet_s": 0.02, "share": 0.08, "burst_packets": 2.0, "repeat": False, "seed": 0},
)

DAMAGE: dict[str, tuple[int, Damage]] = {
    "none": (0, _steps()),
    "8 → 16 kHz": (16000, _band(8000, 16000)),
    "8 → 48 kHz": (48000, _band(8000, 48000)),
    "16 → 48 kHz": (48000, _band(16000, 48000)),
    "telephone": (16000, _steps(_filter(300, 3400), _code("mulaw", 8000), at=8000)),
    "GSM": (16000, _steps(_code("gsm", 8000), at=8000)),
    "clipped, 5 %": (0, _steps(_clip("hard", 0.05))),
    "overdriven, 10 %": (0, _steps(_clip("overdrive", 0.1))),
    "MP3, low rate": (16000, _steps(_code("mp3", 16000))),
    "Opus, low rate": (16000, _steps(_code("opus", 16000, 0.95))),
    "room": (0, _steps(_ROOM)),
    "box": (0, _steps(_BOX)),
    "pumping": (0, _steps(_PUMPING)),
    "lost packets": (0, _steps(_LOSS)),
    "pink noise, 10 dB": (0, _steps(_NOISE)),
}
"""Name to the lowest rate that a recording must have, in Hz, and what is done to it."""


def cases_of(speech: np.ndarray, rate: int, *, seed: int, names: list[str]) -> dict[str, Case]:
    """Those of some kinds of damage that a recording of this rate can show."""
    return {name: DAMAGE[name][1](speech, rate, seed) for name in names if rate >= DAMAGE[name][0]}
