"""Levels: swelling, clipping, compression."""

import numpy as np

from audenoise.array_types import AudioVector

_CONTROL_S = 0.001
_CURVATURE = 2.0


def keep_level(changed: np.ndarray, audio: AudioVector) -> AudioVector:
    """`changed` as float32 at the RMS of `audio`; silence stays silence."""
    before, after = np.square(audio, dtype=np.float64).sum(), np.square(changed, dtype=np.float64).sum()
    return (changed * np.sqrt(before / (after + 1e-20))).astype(np.float32)


def modulate(rng: np.random.Generator, audio: AudioVector, sample_rate: int) -> AudioVector:
    """Let the level swell and fade by up to 20 dB, at about one to five turns a second."""
    turns = max(2, round(audio.size / sample_rate * rng.uniform(1, 5)) + 1)
    gain_db = np.interp(np.linspace(0, turns - 1, audio.size), np.arange(turns), rng.uniform(-20, 0, turns))
    return (audio * 10 ** (gain_db / 20)).astype(audio.dtype)


def clip(audio: AudioVector, share: float) -> AudioVector:
    """Clip at `share` (0…1) of the peak."""
    limit = float(np.abs(audio).max()) * share
    return np.clip(audio, -limit, limit)


def clipping_limit(audio: AudioVector, share: float) -> float:
    """The level that `share` of the samples exceed."""
    place = min(audio.size - 1, int((1 - share) * audio.size))
    return float(np.partition(np.abs(audio), place)[place])


def distort(
    audio: AudioVector, sample_rate: int, *, mode: str, share: float, bias: float = 0.0
) -> AudioVector:
    """Clip the loudest samples.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        Not used; all effects take it.
    mode : str
        ``hard`` leaves what is below the limit alone; ``soft`` is tanh; ``overdrive`` is tanh with more gain
        for one half of the wave than for the other. The soft kinds keep the level.
    share : float
        0…1, of the samples: those above the limit.
    bias : float
        Of ``overdrive``, -1…1: to which side it leans.
    """
    limit = clipping_limit(audio, share)
    if limit <= 0:  # more than the rest is digital silence
        limit = float(np.abs(audio).max()) / 2
        if limit <= 0:
            return audio
    if mode == "hard":
        return np.clip(audio, -limit, limit)
    driven = audio / np.float32(limit)
    if mode == "overdrive":
        driven = _CURVATURE * driven * np.where(driven > 0, 1 + 0.5 * bias, 1 - 0.5 * bias).astype(np.float32)
    return keep_level(np.tanh(driven), audio)


def compress_dynamics(
    audio: AudioVector,
    sample_rate: int,
    *,
    threshold_db: float,
    ratio: float,
    attack_s: float,
    release_s: float,
) -> AudioVector:
    """Make what is loud softer, and all of it as loud as before.

    A feed-forward compressor with a peak detector of 1 ms and a hard knee (Giannoulis, Massberg and Reiss,
    JAES 60(6), 2012). The gain moves along straight lines between milliseconds.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        In Hz.
    threshold_db : float
        Against the peak of the whole.
    ratio : float
        dB above the threshold that become one.
    attack_s, release_s : float
        Time constants.
    """
    size = max(1, round(_CONTROL_S * sample_rate))
    padded = np.pad(np.abs(audio), (0, -audio.size % size))
    peaks = padded.reshape(-1, size).max(axis=1).astype(np.float64)
    top = peaks.max()
    if top == 0:
        return audio
    over = np.maximum(20 * np.log10(peaks / top + 1e-6) - threshold_db, 0) * (1 - 1 / ratio)
    step = size / sample_rate
    attack, release = (1 - np.exp(-step / max(time, 1e-6)) for time in (attack_s, release_s))
    reduction, reductions = 0.0, []
    for wanted in over.tolist():
        reduction += (attack if wanted > reduction else release) * (wanted - reduction)
        reductions.append(reduction)
    centres = (np.arange(len(reductions)) + 0.5) * size
    gain = 10 ** (-np.array(reductions) / 20)
    smooth = np.interp(np.arange(audio.size), centres, gain).astype(np.float32)
    return keep_level(audio * smooth, audio)
