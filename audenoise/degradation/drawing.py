"""What is drawn for an effect: numbers and names, no audio, so that a draw can be logged and replayed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from audenoise.degradation.coders import rates_below
from audenoise.specs import degradation as specs

Parameters = dict[str, Any]
_NODES = 9


def _uniform(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    return float(rng.uniform(*ends))


def in_octaves(rng: np.random.Generator, ends: tuple[float, float]) -> float:
    """Evenly drawn on a logarithmic scale."""
    return float(np.exp(rng.uniform(*np.log(ends))))


def _whole(rng: np.random.Generator, ends: tuple[int, int]) -> int:
    return int(rng.integers(int(ends[0]), int(ends[1]) + 1))


def _one_of(rng: np.random.Generator, choices: tuple) -> Any:
    return choices[int(rng.integers(len(choices)))]


def _seed(rng: np.random.Generator) -> int:
    return int(rng.integers(2**32))


def _happens(rng: np.random.Generator, probability: float) -> bool:
    return bool(rng.random() < probability)


def _audible(ends: tuple[float, float], sample_rate: int) -> tuple[float, float]:
    """A range of frequencies with what the sample rate can't hold cut off."""
    top = 0.47 * sample_rate
    return min(ends[0], top), min(ends[1], top)


def _time_stretch(spec: specs.TimeStretch, rng: np.random.Generator, _: int) -> Parameters:
    return {"speed": in_octaves(rng, spec.speed)}


def _pitch_shift(spec: specs.PitchShift, rng: np.random.Generator, _: int) -> Parameters:
    return {"semitones": _uniform(rng, spec.semitones)}


def _formant_shift(spec: specs.FormantShift, rng: np.random.Generator, _: int) -> Parameters:
    return {"ratio": in_octaves(rng, spec.ratio)}


def _room(spec: specs.Room, rng: np.random.Generator, _: int) -> Parameters:
    return {
        "simulated": _happens(rng, spec.simulated),
        "pick": float(rng.random()),
        "seed": _seed(rng),
        "target": spec.target,
    }


def _reverb(spec: specs.Reverb, rng: np.random.Generator, _: int) -> Parameters:
    return {
        "decay_s": in_octaves(rng, spec.decay_s),
        "wet_db": _uniform(rng, spec.wet_db),
        "pre_delay_s": _uniform(rng, spec.pre_delay_s),
        "damping": _uniform(rng, spec.damping),
        "seed": _seed(rng),
    }


def _noise(spec: specs.Noise, rng: np.random.Generator, _: int) -> Parameters:
    return {
        "coloured": _happens(rng, spec.coloured),
        "snr_db": _uniform(rng, spec.snr_db),
        "start": float(rng.random()),
        "exponent": _uniform(rng, spec.exponent),
        "seed": _seed(rng),
    }


def _hum(spec: specs.Hum, rng: np.random.Generator, _: int) -> Parameters:
    return {
        "mains_hz": float(_one_of(rng, spec.mains_hz)),
        "level_db": _uniform(rng, spec.level_db),
        "harmonics": spec.harmonics,
        "slope_db": _uniform(rng, spec.slope_db),
        "seed": _seed(rng),
    }


def _microphone(spec: specs.Microphone, rng: np.random.Generator, _: int) -> Parameters:
    span = _uniform(rng, spec.range_db)
    return {
        "gains_db": [float(gain) for gain in rng.uniform(-span, span, _NODES)],
        "low_hz": in_octaves(rng, spec.low_hz),
        "high_hz": in_octaves(rng, spec.high_hz),
    }


def _equaliser(spec: specs.Equaliser, rng: np.random.Generator, sample_rate: int) -> Parameters:
    low, high = _audible((100.0, 12000.0), sample_rate)
    bands: list[list[Any]] = []
    for kind, ends in (("low_shelf", (low, 400.0)), ("high_shelf", (min(2000.0, high), high))):
        if _happens(rng, 0.5):
            bands.append([kind, in_octaves(rng, ends), _uniform(rng, spec.gain_db), 0.707])
    for _ in range(_whole(rng, spec.bands)):
        peak = [in_octaves(rng, (low, high)), _uniform(rng, spec.gain_db), in_octaves(rng, spec.q)]
        bands.append(["peak", *peak])
    return {"bands": bands}


def _resonances(spec: specs.Resonances, rng: np.random.Generator, sample_rate: int) -> Parameters:
    ends = _audible(spec.frequency_hz, sample_rate)
    return {
        "bands": [
            ["peak", in_octaves(rng, ends), _uniform(rng, spec.gain_db), in_octaves(rng, spec.q)]
            for _ in range(_whole(rng, spec.bands))
        ]
    }


def _compression(spec: specs.Compression, rng: np.random.Generator, _: int) -> Parameters:
    return {
        "threshold_db": _uniform(rng, spec.threshold_db),
        "ratio": in_octaves(rng, spec.ratio),
        "attack_s": in_octaves(rng, spec.attack_s),
        "release_s": in_octaves(rng, spec.release_s),
    }


def _clip(spec: specs.Clip, rng: np.random.Generator, _: int) -> Parameters:
    low, high = spec.share
    return {
        "mode": _one_of(rng, spec.modes),
        "share": in_octaves(rng, (low, high)) if low > 0 else _uniform(rng, spec.share),
        "bias": float(rng.uniform(-1, 1)),
    }


def _flutter(spec: specs.Flutter, rng: np.random.Generator, _: int) -> Parameters:
    return {
        "depths": [_uniform(rng, spec.depth) / 2 for _ in range(2)],
        "rates_hz": [in_octaves(rng, spec.rate_hz) for _ in range(2)],
        "phases": [float(rng.uniform(0, 2 * np.pi)) for _ in range(2)],
    }


def _resampling(spec: specs.Resampling, rng: np.random.Generator, sample_rate: int) -> Parameters:
    lower = tuple(rate for rate in spec.rates_hz if rate < sample_rate)
    return {"rate_hz": _one_of(rng, lower or spec.rates_hz), "quick": _happens(rng, spec.quick)}


def _band_limit(spec: specs.BandLimit, rng: np.random.Generator, sample_rate: int) -> Parameters:
    high_pass = _happens(rng, spec.high_pass)
    high_pass_hz = in_octaves(rng, spec.high_pass_hz)
    return {
        "family": _one_of(rng, spec.families),
        "order": _whole(rng, spec.order),
        "cutoff_hz": in_octaves(rng, _audible(spec.cutoff_hz, sample_rate)),
        "high_pass_hz": high_pass_hz if high_pass else 0.0,
        "zero_phase": _happens(rng, spec.zero_phase),
    }


def _codec(spec: specs.Codec, rng: np.random.Generator, sample_rate: int) -> Parameters:
    coder = _one_of(rng, spec.coders)
    rates = rates_below(coder, sample_rate)
    lower = _happens(rng, spec.lower_rate)
    return {
        "coder": coder,
        "rate_hz": _one_of(rng, rates) if lower else rates[-1],
        "compression": _uniform(rng, spec.compression),
    }


def _packet_loss(spec: specs.PacketLoss, rng: np.random.Generator, _: int) -> Parameters:
    return {
        "packet_s": in_octaves(rng, spec.packet_s),
        "share": _uniform(rng, spec.share),
        "burst_packets": _uniform(rng, spec.burst_packets),
        "repeat": _happens(rng, spec.repeat),
        "seed": _seed(rng),
    }


def _dropouts(spec: specs.Dropouts, rng: np.random.Generator, _: int) -> Parameters:
    return {
        "per_second": _uniform(rng, spec.per_second),
        "duration_s": [float(end) for end in spec.duration_s],
        "depth_db": _uniform(rng, spec.depth_db),
        "seed": _seed(rng),
    }


DRAWERS: dict[str, Callable[[Any, np.random.Generator, int], Parameters]] = {
    "time_stretch": _time_stretch,
    "pitch_shift": _pitch_shift,
    "formant_shift": _formant_shift,
    "room": _room,
    "reverb": _reverb,
    "noise": _noise,
    "hum": _hum,
    "microphone": _microphone,
    "equaliser": _equaliser,
    "resonances": _resonances,
    "compression": _compression,
    "clip": _clip,
    "flutter": _flutter,
    "resampling": _resampling,
    "band_limit": _band_limit,
    "codec": _codec,
    "packet_loss": _packet_loss,
    "dropouts": _dropouts,
}
"""For each kind of effect: (its spec, rng, sample rate in Hz) → what `apply` needs."""
