"""Rooms: measured, simulated, and the algorithmic kind of effect units."""

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.degradation.levels import keep_level

EARLY_S = 0.05
"""Reflections this soon after the direct sound support speech and stay in the target (50 ms, as in C50)."""

_COMBS_S = (0.0253, 0.0269, 0.0290, 0.0307, 0.0322, 0.0338, 0.0353, 0.0367)
_ALLPASSES_S = (0.0126, 0.0100, 0.0077, 0.0051)
"""Delays of Freeverb."""


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


def in_room(
    speech: AudioVector, response: AudioVector, sample_rate: int, *, target: str = "dry"
) -> tuple[AudioVector, AudioVector]:
    """Speech in a room at the level of the dry speech, and what enhancement should give back.

    Parameters
    ----------
    speech : AudioVector
    response : AudioVector
        The direct sound is its largest sample; what comes before is left out.
    sample_rate : int
        In Hz, of both.
    target : str
        ``dry`` gives the speech itself back, ``early`` the reflections of the first `EARLY_S` with it.

    Returns
    -------
    tuple of AudioVector
        Of the length of `speech`, not delayed.
    """
    from scipy.signal import oaconvolve

    response = trim_response(response)[: speech.size]
    response = response * np.sign(response[0])  # a recording with swapped poles is no degradation
    if target == "early":
        wet, early = reverberate(speech, response, sample_rate)
    else:
        wet, early = np.asarray(oaconvolve(speech, response))[: speech.size].astype(np.float32), None
    same_level = keep_level(wet, speech)
    if early is None:
        return same_level, speech
    gain = np.sqrt(np.square(same_level, dtype=np.float64).sum() / (np.square(wet).sum() + 1e-20))
    return same_level, early * np.float32(gain)


def reverb_response(
    sample_rate: int, *, decay_s: float, pre_delay_s: float, damping: float, seed: int
) -> AudioVector:
    """The response of a Schroeder reverberator with damped combs (Schroeder 1962, Moorer 1979; Freeverb).

    Eight combs side by side, then four all-passes, computed comb by comb as long as it can be heard.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    decay_s : float
        Time in which low frequencies fall by 60 dB.
    pre_delay_s : float
        Before the first reflection.
    damping : float
        0 (none) to 1: coefficient of the low-pass in the combs' feedback.
    seed : int
        Detunes the delays by up to 10 %, so that no two units sound alike.

    Returns
    -------
    AudioVector
        Without the direct sound, energy 1.
    """
    from scipy.signal import lfilter

    rng = np.random.default_rng(seed)
    n = max(1, int((decay_s + pre_delay_s) * sample_rate))
    total = np.zeros(n, np.float32)
    damping = min(damping, 0.95)
    low_pass = np.array([1 - damping], np.float32), np.array([1, -damping], np.float32)
    for delay_s in _COMBS_S:
        delay = max(1, int(delay_s * rng.uniform(0.9, 1.1) * sample_rate))
        feedback = np.float32(10 ** (-3 * delay / sample_rate / decay_s))
        # Each turn through the loop is the one before, delayed, softened and damped; it spreads slowly.
        pulse = np.zeros(min(delay, 256), np.float32)
        pulse[0] = 1
        for start in range(delay, n, delay):
            room = min(pulse.size, n - start)
            total[start : start + room] += pulse[:room]
            pulse = feedback * np.asarray(lfilter(*low_pass, pulse), np.float32)
    for delay_s in _ALLPASSES_S:
        total = _allpass(total, max(1, int(delay_s * rng.uniform(0.9, 1.1) * sample_rate)))
    lead = min(n - 1, int(pre_delay_s * sample_rate))
    total = np.concatenate([np.zeros(lead, np.float32), total[: n - lead]])
    return (total / np.sqrt(np.square(total, dtype=np.float64).sum() + 1e-20)).astype(np.float32)


def _allpass(audio: AudioVector, delay: int, gain: float = 0.5) -> AudioVector:
    """y[n] = -gain·x[n] + x[n - delay] + gain·y[n - delay], in rows of `delay` samples."""
    rows = np.pad(audio, (0, -audio.size % delay)).reshape(-1, delay)
    result = np.empty_like(rows)
    before_in = before_out = np.zeros(delay, rows.dtype)
    for i, row in enumerate(rows):
        before_out = result[i] = before_in + np.float32(gain) * (before_out - row)
        before_in = row
    return result.reshape(-1)[: audio.size]


def algorithmic_reverb(
    audio: AudioVector, sample_rate: int, *, wet_db: float, **response: float
) -> AudioVector:
    """Add the reverberation of `reverb_response` at `wet_db` against the dry sound; the level is kept."""
    from scipy.signal import oaconvolve

    seed = int(response.pop("seed"))
    tail = reverb_response(sample_rate, seed=seed, **response)[: audio.size]
    wet = np.asarray(oaconvolve(audio, tail))[: audio.size]
    before, after = np.square(audio, dtype=np.float64).sum(), np.square(wet, dtype=np.float64).sum()
    gain = np.sqrt(before / (after + 1e-20)) * 10 ** (wet_db / 20) if after > 0 else 0.0
    return keep_level(audio + wet * np.float32(gain), audio)
