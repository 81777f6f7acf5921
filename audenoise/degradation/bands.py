"""Bandwidth: filters of several families, and lower sample rates."""

from functools import lru_cache
from typing import Any, cast

import numpy as np

from audenoise.array_types import AudioVector

_RIPPLE_DB, _STOP_DB = 1.0, 50.0
_FIR_WIDTH, _BRICKWALL_WIDTH = 0.15, 0.01
"""Width of the transition, as a share of the cutoff."""


def band_limit(audio: AudioVector, *, low_hz: float, high_hz: float, sample_rate: int) -> AudioVector:
    """Butterworth band limits; a limit at 0 Hz or at half the sample rate is none."""
    from scipy.signal import butter, sosfilt

    nyquist = sample_rate / 2
    if low_hz > 0:
        audio = np.asarray(sosfilt(butter(2, low_hz / nyquist, "highpass", output="sos"), audio))
    if high_hz < nyquist:
        audio = np.asarray(sosfilt(butter(8, high_hz / nyquist, output="sos"), audio))
    return audio.astype(np.float32)


@lru_cache(maxsize=128)
def _prototype(family: str, order: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Analogue low-pass that is 3 dB below its maximum at 1 rad/s: zeros, poles, gain."""
    from scipy import signal
    from scipy.optimize import brentq

    zeros, poles, gain = {
        "butterworth": lambda: signal.buttap(order),
        "chebyshev1": lambda: signal.cheb1ap(order, _RIPPLE_DB),
        "chebyshev2": lambda: signal.cheb2ap(order, _STOP_DB),
        "elliptic": lambda: signal.ellipap(order, _RIPPLE_DB, _STOP_DB),
        "bessel": lambda: signal.besselap(order, norm="mag"),
    }[family]()

    def excess(rates: Any) -> np.ndarray:
        return np.abs(signal.freqs_zpk(zeros, poles, gain, rates)[1]) - np.sqrt(0.5)

    grid = np.geomspace(0.01, 10, 2001)
    beyond = int(np.argmax(excess(grid) < 0))
    corner = cast(float, brentq(lambda rate: excess([rate])[0], grid[beyond - 1], grid[beyond]))
    zeros, poles, gain = signal.lp2lp_zpk(zeros, poles, gain, 1 / corner)
    return np.asarray(zeros), np.asarray(poles), float(gain)


def _digital(family: str, order: int, *, corner_hz: float, sample_rate: int, high_pass: bool) -> np.ndarray:
    from scipy import signal

    warped = 2 * np.tan(np.pi * corner_hz / sample_rate)
    change = signal.lp2hp_zpk if high_pass else signal.lp2lp_zpk
    return signal.zpk2sos(*signal.bilinear_zpk(*change(*_prototype(family, order), warped), 1))


def _magnitude(family: str, frequency: np.ndarray, corner_hz: float) -> np.ndarray:
    """Of a linear-phase low-pass: half a cosine in amplitude, with -3 dB at the corner."""
    width = corner_hz * (_FIR_WIDTH if family == "fir" else _BRICKWALL_WIDTH)
    place = np.clip((frequency - corner_hz) / width + 0.5, 0, 1)
    return np.cos(np.pi / 2 * place).astype(np.float32)


def filter_band(
    audio: AudioVector,
    sample_rate: int,
    *,
    family: str,
    order: int,
    cutoff_hz: float,
    high_pass_hz: float,
    zero_phase: bool,
) -> AudioVector:
    """Keep the band between `high_pass_hz` and `cutoff_hz`, at each of which 3 dB are lost.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        In Hz.
    family : str
        ``butterworth``, ``chebyshev1`` (1 dB of ripple), ``chebyshev2`` and ``elliptic`` (-50 dB beyond),
        ``bessel``; or ``fir`` and ``brickwall``, which are linear-phase and have no order.
    order : int
        Of a recursive filter; its high-pass is a Butterworth of at most the fourth.
    cutoff_hz, high_pass_hz : float
        At or above 0.98 of half the sample rate, or at 0 Hz: none.
    zero_phase : bool
        Apply a recursive filter by its magnitude alone. Otherwise its phase is minimal: no pure delay, but
        some milliseconds of group delay at the edge.
    """
    from scipy.fft import irfft, next_fast_len, rfft
    from scipy.signal import freqz_sos, sosfilt

    low_pass = 0 < cutoff_hz < 0.49 * sample_rate
    high_pass = 0 < high_pass_hz < 0.49 * sample_rate
    recursive = family not in ("fir", "brickwall")
    sections = []
    if low_pass and recursive:
        sections.append(
            _digital(family, order, corner_hz=cutoff_hz, sample_rate=sample_rate, high_pass=False)
        )
    if high_pass:
        size = min(order, 4)
        sections.append(
            _digital("butterworth", size, corner_hz=high_pass_hz, sample_rate=sample_rate, high_pass=True)
        )
    if sections and recursive and not zero_phase:
        return np.asarray(sosfilt(np.concatenate(sections), audio)).astype(np.float32)
    if not low_pass and not sections:
        return audio
    edge = max(
        10 * sample_rate / high_pass_hz if high_pass else 0, 20 * sample_rate / cutoff_hz if low_pass else 0
    )
    n = cast(int, next_fast_len(audio.size + int(edge), real=True))
    gain = np.ones(n // 2 + 1, np.float32)
    if low_pass and not recursive:
        gain *= _magnitude(family, np.fft.rfftfreq(n, 1 / sample_rate), cutoff_hz)
    if sections:
        # Joined by straight lines between points that lie close where the response is steep.
        corner = 2 * np.pi * min(cutoff_hz / sample_rate, 0.45)
        near = np.linspace(0.9 * corner, 1.1 * corner, 1024)
        coarse = np.sort(np.concatenate([[0], np.geomspace(1e-4, np.pi, 2048), near]))
        response = np.abs(freqz_sos(np.concatenate(sections), cast(Any, coarse))[1])
        gain *= np.interp(np.linspace(0, np.pi, gain.size), coarse, response).astype(np.float32)
    return np.asarray(irfft(np.asarray(rfft(audio, n)) * gain, n))[: audio.size].astype(np.float32)


def at_rate(audio: AudioVector, from_rate: float, to_rate: float, *, quality: str = "HQ") -> AudioVector:
    """Resample with no delay (soxr); the end is that of a signal with silence behind it, so nothing is lost.

    Returns
    -------
    AudioVector
        At least ceil(samples * to_rate / from_rate) samples.
    """
    import soxr

    padding = 2 + int(2 * from_rate / to_rate)
    return soxr.resample(np.pad(audio, (0, padding)).astype(np.float32), from_rate, to_rate, quality)


def fit(audio: AudioVector, n_samples: int) -> AudioVector:
    """Cut, or filled up with zeros."""
    return audio[:n_samples] if audio.size >= n_samples else np.pad(audio, (0, n_samples - audio.size))


def resample_and_back(
    audio: AudioVector, sample_rate: int, *, rate_hz: int, quick: bool = False
) -> AudioVector:
    """Go through a lower sample rate; one that isn't lower changes nothing.

    Parameters
    ----------
    audio : AudioVector
    sample_rate, rate_hz : int
        In Hz.
    quick : bool
        Cubic interpolation with no filter, which folds what lies above half of `rate_hz` back below it.
    """
    if rate_hz >= sample_rate:
        return audio
    quality = "QQ" if quick else "HQ"
    low = at_rate(audio, sample_rate, rate_hz, quality=quality)
    return fit(at_rate(low, rate_hz, sample_rate, quality=quality), audio.size)
