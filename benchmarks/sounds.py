"""Noises that can be made: each the same for the same seed, any length and rate, RMS 1."""

from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter

from audenoise.degradation import coloured_noise


def hum(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Mains at 50 or 60 Hz with its harmonics, and a little of the hiss that comes with it."""
    time_s = np.arange(n_samples) / sample_rate
    mains = float(rng.choice([50.0, 60.0])) * (1 + 0.002 * np.sin(2 * np.pi * 0.1 * time_s))
    phase = 2 * np.pi * np.cumsum(mains) / sample_rate
    harmonics = [k for k in range(1, 21) if 60 * k < sample_rate / 2]
    audio = sum(rng.uniform(0.3, 1) / k * np.sin(k * phase + rng.uniform(0, 6)) for k in harmonics)
    return unit(audio + 0.02 * rng.standard_normal(n_samples))


def clicks(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Five clicks a second on the average, some ms long, as of switches and a worn record."""
    audio = np.zeros(n_samples)
    for start in np.flatnonzero(rng.random(n_samples) < 5 / sample_rate):
        length = min(n_samples - start, max(2, round(sample_rate * rng.uniform(0.0005, 0.006))))
        decay = np.exp(-5 * np.arange(length) / length)
        audio[start : start + length] += rng.uniform(0.2, 1) * decay * rng.standard_normal(length)
    audio[n_samples // 2] += 0.5  # however short, there is one
    return unit(audio)


def music(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Chords of plucked strings (decaying harmonics), three notes each, two to four chords a second."""
    audio, start = np.zeros(n_samples), 0
    while start < n_samples:
        length = round(sample_rate / rng.uniform(2, 4))
        time_s = np.arange(min(4 * length, n_samples - start)) / sample_rate
        root = 110 * 2 ** (int(rng.integers(0, 25)) / 12)
        for step in (0, int(rng.choice([3, 4])), 7):
            for k in range(1, 9):
                frequency = root * 2 ** (step / 12) * k
                if frequency < sample_rate / 2:
                    tone = np.sin(2 * np.pi * frequency * time_s + rng.uniform(0, 6))
                    audio[start : start + time_s.size] += tone * np.exp(-k * time_s * 2) / k
        start += length
    return unit(audio)


def wind(rng: np.random.Generator, n_samples: int, sample_rate: int) -> np.ndarray:
    """Gusts at a microphone: noise below some 100 Hz that swells and fades by 20 dB."""
    gusts = np.interp(
        np.arange(n_samples),
        np.linspace(0, n_samples, max(2, 1 + round(n_samples / sample_rate * 1.5))),
        rng.uniform(-20, 0, max(2, 1 + round(n_samples / sample_rate * 1.5))),
    )
    pole = np.exp(-2 * np.pi * 80 / sample_rate)
    low = np.asarray(lfilter([1 - pole], [1, -pole], rng.standard_normal(n_samples)))
    return unit(low * 10 ** (gusts / 20))


def white(rng: np.random.Generator, n_samples: int, _sample_rate: int) -> np.ndarray:
    return unit(rng.standard_normal(n_samples))


def pink(rng: np.random.Generator, n_samples: int, _sample_rate: int) -> np.ndarray:
    return unit(coloured_noise(rng, n_samples, 1.0))


def unit(audio: np.ndarray) -> np.ndarray:
    return (audio / (np.sqrt(np.mean(np.square(audio))) + 1e-20)).astype(np.float32)


SOUNDS: dict[str, Callable[[np.random.Generator, int, int], np.ndarray]] = {
    "white noise": white,
    "pink noise": pink,
    "hum": hum,
    "clicks": clicks,
    "music (plucked chords)": music,
    "wind": wind,
}
