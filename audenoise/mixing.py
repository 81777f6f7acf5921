"""Mixing speech and noise: by noise ratio, and by SNR over active speech."""

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.errors import SignalError

ACTIVITY_FRAME_S = 0.02
ACTIVITY_RANGE_DB = 40.0
_BLOCK = 8192
"""Samples that are made float64 at a time: few enough for the processor's cache, and for one thread."""


def strongest_channel(audio: np.ndarray) -> int:
    """Of (samples, channels): the mean of several can cancel, and others may be unused."""
    return int(np.square(audio).sum(axis=0).argmax())


def rms(audio: AudioVector) -> float:
    """Root mean square; full scale 1.0, 0.0 for silence."""
    flat, power = audio.reshape(-1), 0.0
    for start in range(0, flat.size, _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.float64)
        power += float(np.dot(block, block))
    return float(np.sqrt(power / flat.size)) if flat.size else 0.0


def active_rms(audio: AudioVector, sample_rate: int = 16000) -> float:
    """RMS over the frames of 20 ms that lie at most 40 dB below the loudest one.

    Pauses would make the same SNR mean different things in different recordings.

    Parameters
    ----------
    audio : AudioVector
        Full scale is 1.0.
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        0.0 if and only if the signal is silent.
    """
    size = max(1, int(ACTIVITY_FRAME_S * sample_rate))
    usable = audio.size // size * size
    if usable == 0:
        return rms(audio)
    power = np.mean(np.square(audio[:usable].reshape(-1, size), dtype=np.float64), axis=1)
    peak = power.max()
    if peak == 0:
        return rms(audio)
    return float(np.sqrt(power[power >= peak * 10 ** (-ACTIVITY_RANGE_DB / 10)].mean()))


def loop_to_length(audio: AudioVector, n_samples: int, offset: int = 0) -> AudioVector:
    """Cut or repeat a recording to `n_samples`, starting at sample `offset`.

    Raises
    ------
    SignalError
        If the recording is empty.
    """
    if audio.size == 0:
        raise SignalError("noise: is empty, so it cannot be looped")
    if offset + n_samples <= audio.size:
        return audio[offset : offset + n_samples]
    begin = offset % audio.size
    looped = np.empty(n_samples, audio.dtype)
    filled = 0
    for part in (audio[begin:], audio[:begin]):
        count = min(part.size, n_samples - filled)
        looped[filled : filled + count] = part[:count]
        filled += count
    while filled < n_samples:  # whole rounds are doubled
        count = min(filled, n_samples - filled)
        looped[filled : filled + count] = looped[:count]
        filled += count
    return looped


def _check_pair(clean: AudioVector, noise: AudioVector) -> None:
    if clean.shape != noise.shape:
        raise SignalError(f"clean and noise must have the same length. Received: {clean.size}, {noise.size}")


def mix_at_ratio(
    clean: AudioVector, noise: AudioVector, noise_ratio: float
) -> tuple[AudioVector, AudioVector]:
    """Mix by noise ratio: noisy = ratio·noise + (1 - ratio)·clean.

    Parameters
    ----------
    clean, noise : AudioVector
        Same length and sample rate.
    noise_ratio : float
        0 (clean only) to 1 (noise only).

    Returns
    -------
    noisy, target : tuple of AudioVector
        The target is (1 - ratio)·clean: the speech as it is inside `noisy`.

    Raises
    ------
    SignalError
        If the lengths differ or the ratio is outside 0…1.
    """
    _check_pair(clean, noise)
    if not 0 <= noise_ratio <= 1:
        raise SignalError(f"noise_ratio must be between 0 and 1. Received: {noise_ratio}")
    target = (1 - noise_ratio) * clean
    return target + noise_ratio * noise, target


def mix_at_snr(
    clean: AudioVector, noise: AudioVector, snr_db: float, *, sample_rate: int = 16000
) -> AudioVector:
    """Add noise to clean speech at a chosen signal-to-noise ratio.

    Only the noise is scaled, so `clean` stays the training target.

    Parameters
    ----------
    clean : AudioVector
        Full scale is 1.0; must not be silent.
    noise : AudioVector
        Same length and sample rate as `clean`; must not be silent.
    snr_db : float
        10 log10(P_clean / P_noise), P_clean over the active speech (see `active_rms`), in dB.
    sample_rate : int
        In Hz; sets the length of the frames that activity is judged by.

    Returns
    -------
    AudioVector
        Same length as `clean`. Not clipped.

    Raises
    ------
    SignalError
        If the lengths differ or either signal is silent.
    """
    _check_pair(clean, noise)
    speech, level = active_rms(clean, sample_rate), rms(noise)
    if speech == 0 or level == 0:
        raise SignalError(f"{'clean' if speech == 0 else 'noise'}: is silent, so no SNR can be set")
    return clean + noise * np.asarray(speech / level * 10 ** (-snr_db / 20), dtype=noise.dtype)
