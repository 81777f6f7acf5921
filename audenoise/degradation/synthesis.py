"""Noises made from nothing, each unlike the last: tones, impacts and textures, RMS 1.

Recordings of noise are few, and a network learns them by heart. These have no model in nature but its
ingredients: pitches that stand, glide or jump, things that are struck, bands that swell and fade.
"""

import numpy as np
from scipy.fft import irfft, next_fast_len, rfft

from audenoise.array_types import AudioVector
from audenoise.degradation.drawing import in_octaves


def _unit(audio: np.ndarray) -> AudioVector:
    return (audio / np.sqrt(np.square(audio).mean() + 1e-20)).astype(np.float32)


def _path(rng: np.random.Generator, n_samples: int, turns: int, low: float, high: float) -> np.ndarray:
    """A line through `turns` + 1 random points."""
    points = rng.uniform(low, high, turns + 1)
    return np.interp(np.linspace(0, turns, n_samples), np.arange(turns + 1), points)


def _strokes(rng: np.random.Generator, n_samples: int, n_strokes: int) -> np.ndarray:
    """Where something begins: now as regular as a machine, now as it comes."""
    if rng.random() < 0.4:
        starts = (np.arange(n_strokes) + rng.random()) * n_samples / n_strokes
        starts += rng.normal(0, 0.1 * rng.random(), n_strokes) * n_samples / n_strokes
        return np.clip(starts, 0, n_samples - 1).astype(int)
    return rng.integers(0, n_samples, n_strokes)


def _convolve(audio: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(audio, kernel))[: audio.size]


def tones(rng: np.random.Generator, n_samples: int, sample_rate: int) -> AudioVector:
    """One to four pitches with harmonics, as of alarms, engines, birds and music.

    Parameters
    ----------
    rng : Generator
    n_samples : int
    sample_rate : int
        In Hz.

    Returns
    -------
    AudioVector
        (n_samples,), RMS 1.
    """
    seconds, audio = n_samples / sample_rate, np.zeros(n_samples)
    for _ in range(int(rng.integers(1, 5))):
        octaves = np.zeros(n_samples)
        kind = rng.random()
        if kind < 0.3:  # glides
            octaves = _path(rng, n_samples, max(1, round(seconds * in_octaves(rng, (0.3, 12)))), -1, 1)
        elif kind < 0.6:  # notes
            notes = rng.integers(-12, 13, max(1, round(seconds * in_octaves(rng, (1, 10))))) / 12
            octaves = notes[np.arange(n_samples) * notes.size // n_samples]
        octaves = octaves * rng.random() + 0.02 * rng.random() * np.sin(
            2 * np.pi * rng.uniform(2, 9) * np.arange(n_samples) / sample_rate
        )
        pitch_hz = np.minimum(in_octaves(rng, (50, 0.3 * sample_rate)) * 2**octaves, 0.48 * sample_rate)
        phase = 2 * np.pi * np.cumsum(pitch_hz) / sample_rate
        highest = int(np.clip(0.5 * sample_rate / pitch_hz.max(), 1, rng.integers(1, 16)))
        tilt = rng.uniform(0, 2)
        voice = np.zeros(n_samples)
        for harmonic in range(1, highest + 1):
            voice += rng.random() * harmonic**-tilt * np.sin(harmonic * phase + rng.uniform(0, 2 * np.pi))
        if rng.random() < 0.5:  # struck, plucked or switched
            strokes = np.zeros(n_samples)
            count = max(1, round(seconds * in_octaves(rng, (0.7, 12))))
            strokes[_strokes(rng, n_samples, count)] = rng.uniform(0.2, 1, count)
            length = max(2, round(sample_rate * min(seconds, in_octaves(rng, (0.03, 1.5)))))
            decay = np.exp(-rng.uniform(0, 7) * np.arange(length) / length)
            decay[: max(1, length // 50)] *= np.linspace(0, 1, max(1, length // 50))
            voice *= np.maximum(_convolve(strokes, decay), 0)
        audio += _unit(voice) * 10 ** rng.uniform(-1, 0)
    return _unit(audio + rng.standard_normal(n_samples) * 10 ** rng.uniform(-2.5, -1))


def impacts(rng: np.random.Generator, n_samples: int, sample_rate: int) -> AudioVector:
    """A few things that are struck, dropped or pressed again and again, from one a second to a rain of them.

    Parameters and return value as in `tones`.
    """
    seconds, audio = n_samples / sample_rate, np.zeros(n_samples)
    for _ in range(int(rng.integers(1, 5))):
        length = max(2, min(n_samples, round(sample_rate * in_octaves(rng, (0.002, 0.4)))))
        time = np.arange(length)
        sound = rng.standard_normal(length) * np.exp(-rng.uniform(3, 9) * time / length)
        if rng.random() < 0.5:  # white as it is, or dull
            sound = _convolve(sound, np.exp(-time[: length // 2 + 1] / in_octaves(rng, (1, 30))))
        sound = _unit(sound) * rng.random()
        for _ in range(int(rng.integers(0, 5))):
            ringing = np.sin(2 * np.pi * in_octaves(rng, (80, 0.45 * sample_rate)) / sample_rate * time)
            sound = sound + _unit(ringing * np.exp(-rng.uniform(3, 12) * time / length)) * rng.random()
        count = max(1, round(seconds * in_octaves(rng, (0.7, 150))))
        strokes = np.zeros(n_samples)
        strokes[_strokes(rng, n_samples, count)] = rng.normal(0, 1, count) * 10 ** rng.uniform(-1, 0, count)
        audio += _unit(_convolve(strokes, sound)) * 10 ** rng.uniform(-1, 0)
    return _unit(audio + rng.standard_normal(n_samples) * 10 ** rng.uniform(-3, -1))


def texture(rng: np.random.Generator, n_samples: int, sample_rate: int) -> AudioVector:
    """Bands of noise that swell and fade each by itself, as of wind, water, motors and crowds.

    Parameters and return value as in `tones`.
    """
    seconds, audio = n_samples / sample_rate, np.zeros(n_samples)
    size = next_fast_len(n_samples, real=True) or n_samples
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / sample_rate), 20))
    spectrum = rfft(rng.standard_normal(size))
    for _ in range(int(rng.integers(2, 6))):
        centre, width = rng.uniform(np.log2(40), np.log2(0.5 * sample_rate)), in_octaves(rng, (0.15, 3))
        shaped = spectrum * np.exp(-0.5 * ((octaves - centre) / width) ** 2)
        band = np.asarray(irfft(shaped, size))[:n_samples]
        kind = rng.random()
        if kind < 0.5:
            turns = max(1, round(seconds * in_octaves(rng, (0.4, 15))))
            band = band * 10 ** (_path(rng, n_samples, turns, -rng.uniform(3, 35), 0) / 20)
        elif kind < 0.75:
            beat = np.sin(2 * np.pi * in_octaves(rng, (3, 120)) * np.arange(n_samples) / sample_rate)
            band = band * (1 + rng.random() * beat) ** in_octaves(rng, (0.5, 4))
        audio += _unit(band) * 10 ** rng.uniform(-1, 0)
    return _unit(audio)


def synthetic_noise(rng: np.random.Generator, n_samples: int, sample_rate: int) -> AudioVector:
    """`tones`, `impacts` or `texture`, each as often; parameters and return value as there."""
    return (tones, impacts, texture)[int(rng.integers(3))](rng, n_samples, sample_rate)
