"""What recordings suffer: rooms, equalisation, band limits, clipping. Seeded and length-preserving."""

import numpy as np

from audenoise.array_types import AudioVector

EARLY_S = 0.05
"""Reflections this soon after the direct sound support speech and stay in the target (50 ms, as in C50)."""


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


def modulate(rng: np.random.Generator, audio: AudioVector, sample_rate: int) -> AudioVector:
    """Let the level swell and fade by up to 20 dB, at about one to five turns a second."""
    turns = max(2, round(audio.size / sample_rate * rng.uniform(1, 5)) + 1)
    gain_db = np.interp(np.linspace(0, turns - 1, audio.size), np.arange(turns), rng.uniform(-20, 0, turns))
    return (audio * 10 ** (gain_db / 20)).astype(audio.dtype)


def band_limit(audio: AudioVector, *, low_hz: float, high_hz: float, sample_rate: int) -> AudioVector:
    """Butterworth band limits; a limit at 0 Hz or at half the sample rate is none."""
    from scipy.signal import butter, sosfilt

    nyquist = sample_rate / 2
    if low_hz > 0:
        audio = np.asarray(sosfilt(butter(2, low_hz / nyquist, "highpass", output="sos"), audio))
    if high_hz < nyquist:
        audio = np.asarray(sosfilt(butter(8, high_hz / nyquist, output="sos"), audio))
    return audio.astype(np.float32)


def change_speed(audio: AudioVector, n_samples: int) -> AudioVector:
    """Resample to `n_samples`, which shifts pitch and tempo alike (Ko et al. 2015)."""
    from scipy.signal import resample

    return audio if audio.size == n_samples else np.asarray(resample(audio, n_samples)).astype(np.float32)


def coloured_noise(rng: np.random.Generator, n_samples: int, exponent: float) -> AudioVector:
    """Gaussian noise with power ∝ 1/f^exponent, RMS 1 (0: white, 1: pink, 2: brown)."""
    spectrum = rng.standard_normal(n_samples // 2 + 1) + 1j * rng.standard_normal(n_samples // 2 + 1)
    frequency = np.maximum(np.arange(spectrum.size), max(1.0, n_samples / 800))
    noise = np.fft.irfft(spectrum * frequency ** (-exponent / 2), n_samples)
    return (noise / np.sqrt(np.square(noise).mean() + 1e-20)).astype(np.float32)


def simulate_room(rng: np.random.Generator, sample_rate: int) -> AudioVector:
    """A small room's impulse response: direct sound, sparse early reflections, a decaying tail.

    Poisson-distributed reflections whose density grows with time squared, as in a shoebox room
    (Polack 1988), with a decay that is faster towards high frequencies.

    Returns
    -------
    AudioVector
        Direct sound first; reverberation time 0.1 to 0.7 s, direct-to-reverberant ratio -3 to 15 dB.
    """
    reverberation_s = rng.uniform(0.1, 0.7)
    n = int(reverberation_s * sample_rate)
    time = np.arange(1, n + 1) / sample_rate
    volume = rng.uniform(15, 150)
    density = 4 * np.pi * 343.0**3 * time**2 / volume / sample_rate
    tail = rng.standard_normal(n) * (rng.random(n) < density) * np.exp(-6.91 * time / reverberation_s)
    bright = np.concatenate([tail[:1], tail[1:] - 0.5 * tail[:-1]])
    dark = np.convolve(tail, [0.25, 0.5, 0.25], mode="same")
    fade = np.exp(-3 * time / reverberation_s * rng.uniform(0.5, 2))
    tail = bright * fade + dark * (1 - fade)
    ratio_db = rng.uniform(-3, 15)
    tail *= 10 ** (-ratio_db / 20) / np.sqrt(np.square(tail).sum() + 1e-20)
    return np.concatenate([[1.0], tail]).astype(np.float32)


def trim_response(response: AudioVector) -> AudioVector:
    """Cut a measured response so that its direct sound comes first, with peak 1."""
    peak = int(np.abs(response).argmax())
    return (response[peak:] / (abs(response[peak]) + 1e-20)).astype(np.float32)


def reverberate(
    speech: AudioVector, response: AudioVector, sample_rate: int
) -> tuple[AudioVector, AudioVector]:
    """Speech in a room, and its target: the same with the early reflections only.

    Parameters
    ----------
    speech : AudioVector
    response : AudioVector
        Direct sound first (see `trim_response`).
    sample_rate : int
        In Hz, of both.

    Returns
    -------
    tuple of AudioVector
        Reverberant speech and early speech, of the length of `speech`, not delayed.
    """
    from scipy.signal import fftconvolve

    early = response[: int(EARLY_S * sample_rate)].copy()
    fade = min(early.size, int(0.01 * sample_rate))
    if response.size > early.size:
        early[early.size - fade :] *= np.linspace(1, 0, fade, dtype=early.dtype)
    wet, target = (
        np.asarray(fftconvolve(speech, part))[: speech.size].astype(np.float32) for part in (response, early)
    )
    return wet, target


def clip(audio: AudioVector, share: float) -> AudioVector:
    """Clip at `share` (0…1) of the peak."""
    limit = float(np.abs(audio).max()) * share
    return np.clip(audio, -limit, limit)
