"""Does a noisy recording hold the clean one it is said to hold, and is it in time?"""

from dataclasses import dataclass

import numpy as np
from scipy import fft

from audenoise.array_types import AudioVector
from audenoise.errors import SignalError

_WHITENING = 0.7
"""Exponent of the magnitude that the cross-spectrum is divided by: 0 is plain correlation, 1 the phase
transform (Knapp and Carter 1976), which is sharper but hears noise as loud as speech."""


@dataclass(frozen=True)
class Alignment:
    """How two recordings lie to each other.

    Attributes
    ----------
    delay : int
        Samples that the second lags the first, -max_delay to max_delay.
    contrast : float
        Peak of the generalised cross-correlation over its RMS. Unrelated speech gives 4 to 9, speech in noise
        at -15 dB SNR still 19.
    """

    delay: int
    contrast: float


def estimate_delay(first: AudioVector, second: AudioVector, max_delay: int) -> Alignment:
    """Find the constant delay of one recording against another by generalised cross-correlation.

    Parameters
    ----------
    first, second : AudioVector
        Same rate; the lengths may differ.
    max_delay : int
        Samples, at least 1.

    Raises
    ------
    SignalError
        If one is empty or `max_delay` below 1.

    Examples
    --------
    >>> audio = np.random.default_rng(0).standard_normal(8000).astype(np.float32)
    >>> estimate_delay(audio, np.concatenate([np.zeros(37, np.float32), audio]), 100).delay
    37
    """
    if not first.size or not second.size or max_delay < 1:
        raise SignalError("delay: needs two signals and max_delay of at least 1")
    size = fft.next_fast_len(max(first.size, second.size) + max_delay, real=True)
    cross = np.conj(np.asarray(fft.rfft(first, size))) * np.asarray(fft.rfft(second, size))
    magnitude: np.ndarray = np.abs(cross)
    cross /= (magnitude + 1e-9 * magnitude.max() + 1e-30) ** _WHITENING
    correlation = np.asarray(fft.irfft(cross, size))
    lags = np.concatenate([correlation[-max_delay:], correlation[: max_delay + 1]])
    best = int(np.abs(lags).argmax())
    spread = float(np.sqrt(np.square(correlation, dtype=np.float64).mean()))
    return Alignment(best - max_delay, float(abs(lags[best])) / (spread + 1e-30))
