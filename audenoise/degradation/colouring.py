"""Frequency responses: random filters, equalisers, resonances, microphones. Levels are kept."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.degradation.levels import keep_level


def random_filter(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients (b, a) of a random mild second-order filter, as in Valin 2018 (RNNoise)."""
    b = np.concatenate([[1.0], rng.uniform(-0.375, 0.375, 2)])
    a = np.concatenate([[1.0], rng.uniform(-0.375, 0.375, 2)])
    return b, a


def equalise(audio: AudioVector, coefficients: tuple[np.ndarray, np.ndarray]) -> AudioVector:
    """Apply a filter (b, a); the level is kept."""
    from scipy.signal import lfilter

    filtered = np.asarray(lfilter(*coefficients, audio))
    before, after = np.square(audio).sum(), np.square(filtered).sum()
    return (filtered * np.sqrt(before / (after + 1e-20))).astype(audio.dtype)


def colour(rng: np.random.Generator, audio: AudioVector, range_db: float) -> AudioVector:
    """Apply a random smooth frequency response, linear-phase; the level is kept.

    Parameters
    ----------
    rng : numpy.random.Generator
    audio : AudioVector
    range_db : float
        Gains between -range_db and range_db at about one node an octave, joined in dB over log-frequency.
    """
    spectrum = np.fft.rfft(audio)
    place = np.log2(np.linspace(2**-7, 1, spectrum.size))
    nodes = np.linspace(-7, 0, int(rng.integers(4, 10)))
    gain_db = np.interp(place, nodes, rng.uniform(-range_db, range_db, nodes.size))
    coloured = np.fft.irfft(spectrum * 10 ** (gain_db / 20), audio.size)
    before, after = np.square(audio).sum(), np.square(coloured).sum()
    return (coloured * np.sqrt(before / (after + 1e-20))).astype(audio.dtype)


def biquad(kind: str, *, frequency_hz: float, gain_db: float, q: float, sample_rate: int) -> np.ndarray:
    """One second-order section of an equaliser (Bristow-Johnson's Audio EQ Cookbook).

    Parameters
    ----------
    kind : str
        ``peak``, ``low_shelf`` or ``high_shelf``.
    frequency_hz : float
        Centre of a peak, midpoint of a shelf; below half the sample rate.
    gain_db : float
        At the centre of a peak, or of the shelf itself.
    q : float
        Of a peak: centre over bandwidth.
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray
        (6,): b0, b1, b2, 1, a1, a2.
    """
    amplitude, angle = 10 ** (gain_db / 40), 2 * np.pi * frequency_hz / sample_rate
    cosine, alpha = np.cos(angle), np.sin(angle) / (2 * q)
    if kind == "peak":
        b = [1 + alpha * amplitude, -2 * cosine, 1 - alpha * amplitude]
        a = [1 + alpha / amplitude, -2 * cosine, 1 - alpha / amplitude]
    else:
        sign = 1 if kind == "low_shelf" else -1
        up, down, root = amplitude + 1, amplitude - 1, 2 * np.sqrt(amplitude) * alpha
        b = [
            amplitude * (up - sign * down * cosine + root),
            sign * 2 * amplitude * (down - sign * up * cosine),
            amplitude * (up - sign * down * cosine - root),
        ]
        a = [up + sign * down * cosine + root, -sign * 2 * (down + sign * up * cosine)]
        a.append(up + sign * down * cosine - root)
    return np.array([*b, *a]) / a[0]


def parametric_equaliser(
    audio: AudioVector, sample_rate: int, *, bands: Sequence[tuple[str, float, float, float]]
) -> AudioVector:
    """Apply (kind, frequency_hz, gain_db, q) one after the other, see `biquad`; the level is kept.

    Bands at more than 0.95 of half the sample rate are left out.
    """
    from scipy.signal import sosfilt

    sections = [
        biquad(kind, frequency_hz=frequency, gain_db=gain, q=q, sample_rate=sample_rate)
        for kind, frequency, gain, q in bands
        if frequency < 0.475 * sample_rate
    ]
    if not sections:
        return audio
    return keep_level(np.asarray(sosfilt(np.stack(sections).astype(audio.dtype), audio)), audio)


def microphone_colour(
    audio: AudioVector, sample_rate: int, *, gains_db: Sequence[float], low_hz: float, high_hz: float
) -> AudioVector:
    """Colour like a microphone's, linear-phase; the level is kept.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        In Hz.
    gains_db : sequence of float
        At as many frequencies from 50 Hz to 20 kHz, evenly spaced in octaves and joined by straight lines.
    low_hz, high_hz : float
        Where the response falls by 3 dB, at 12 dB per octave.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    # What rings beyond the ends mustn't come back at the other one: 10 periods of the lowest corner.
    n = cast(int, next_fast_len(audio.size + int(10 * sample_rate / max(low_hz, 50.0)), real=True))
    frequency = np.fft.rfftfreq(n, 1 / sample_rate).astype(np.float32)
    nodes = np.geomspace(50, 20000, len(gains_db))
    gain = 10 ** (np.interp(np.log(np.maximum(frequency, 1)), np.log(nodes), gains_db) / 20)
    gain /= np.sqrt((1 + (frequency / high_hz) ** 4) * (1 + (low_hz / np.maximum(frequency, 1e-3)) ** 4))
    coloured = np.asarray(irfft(np.asarray(rfft(audio, n)) * gain.astype(np.float32), n))[: audio.size]
    return keep_level(coloured, audio)
