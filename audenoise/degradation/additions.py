"""What is added to a recording: noise and hum."""

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.mixing import active_rms, loop_to_length, mix_at_snr, rms


def coloured_noise(rng: np.random.Generator, n_samples: int, exponent: float) -> AudioVector:
    """Gaussian noise with power ∝ 1/f^exponent, RMS 1 (0: white, 1: pink, 2: brown)."""
    spectrum = rng.standard_normal(n_samples // 2 + 1) + 1j * rng.standard_normal(n_samples // 2 + 1)
    frequency = np.maximum(np.arange(spectrum.size), max(1.0, n_samples / 800))
    noise = np.fft.irfft(spectrum * frequency ** (-exponent / 2), n_samples)
    return (noise / np.sqrt(np.square(noise).mean() + 1e-20)).astype(np.float32)


def add_noise(
    audio: AudioVector, noise: AudioVector, sample_rate: int, *, snr_db: float, start: float = 0.0
) -> AudioVector:
    """Add noise at a ratio to the active speech, see `mix_at_snr`; where either is silent, nothing happens.

    Parameters
    ----------
    audio, noise : AudioVector
        The noise may have any length; it is cut or repeated.
    sample_rate : int
        In Hz.
    snr_db : float
    start : float
        0…1: where in the noise to begin, as a share of what can be left out.
    """
    if noise.size == 0:
        return audio
    spare = noise.size - audio.size
    offset = int(start * (spare if spare > 0 else noise.size - 1))
    piece = loop_to_length(noise, audio.size, offset)
    if active_rms(audio, sample_rate) == 0 or rms(piece) == 0:
        return audio
    return mix_at_snr(audio, piece, snr_db, sample_rate=sample_rate).astype(np.float32)


def add_hum(
    audio: AudioVector,
    sample_rate: int,
    *,
    mains_hz: float,
    level_db: float,
    harmonics: int,
    slope_db: float,
    seed: int,
) -> AudioVector:
    """Add mains hum and its harmonics.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        In Hz.
    mains_hz : float
        50 or 60 in nearly all the world; harmonics above half the sample rate are left out.
    level_db : float
        RMS of the hum against that of the active speech.
    harmonics : int
    slope_db : float
        What each octave of harmonics is below the one before.
    seed : int
        For the phases, and each harmonic's level, which is off the slope by up to 6 dB.
    """
    rng = np.random.default_rng(seed)
    phases, offsets_db = rng.uniform(0, 2 * np.pi, harmonics), rng.uniform(-6, 6, harmonics)
    number = np.arange(1, harmonics + 1)
    number = number[number * mains_hz < 0.49 * sample_rate]
    level = active_rms(audio, sample_rate)
    if not number.size or level == 0:
        return audio
    gains = 10 ** ((offsets_db[: number.size] - slope_db * np.log2(number)) / 20)
    # Powers of one rotating pointer, by Horner's rule: one multiplication a harmonic in place of one sine.
    turn = np.exp(2j * np.pi * mains_hz / sample_rate * np.arange(audio.size)).astype(np.complex64)
    hum = np.zeros(audio.size, np.complex64)
    for gain in (gains * np.exp(1j * phases[: number.size])).astype(np.complex64)[::-1]:
        hum += gain
        hum *= turn
    gain = level * 10 ** (level_db / 20) / np.sqrt(np.square(gains).sum() / 2)
    return (audio + hum.imag * np.float32(gain)).astype(np.float32)
