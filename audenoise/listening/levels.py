"""Programme loudness after ITU-R BS.1770: how loud a recording is to an ear, in LUFS."""

import numpy as np
from scipy.signal import lfilter

from audenoise.array_types import Audio
from audenoise.errors import SignalError

BLOCK_S, STEP_S = 0.4, 0.1
ABSOLUTE_GATE_LUFS, RELATIVE_GATE_LU = -70.0, -10.0
_OFFSET_DB = -0.691  # makes 997 Hz of full scale in one channel -3.01 LUFS


def loudness_lufs(audio: Audio, sample_rate: int) -> float:
    """Integrated loudness with gates (ITU-R BS.1770-5; EBU R 128).

    Parameters
    ----------
    audio : Audio, shape (samples,) or (samples, channels)
        One or two channels, full scale 1.0. One that is shorter than a block of 0.4 s is one block.
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        Minus infinity if no block is above -70 LUFS.

    Raises
    ------
    SignalError
        If the audio is empty or has more channels.

    Examples
    --------
    >>> time = np.arange(48000) / 48000
    >>> round(loudness_lufs(np.sin(2 * np.pi * 997 * time), 48000), 2)
    -3.01
    """
    samples = np.asarray(audio, np.float64)
    samples = samples[:, np.newaxis] if samples.ndim == 1 else samples
    if samples.ndim != 2 or not len(samples) or samples.shape[1] > 2:
        raise SignalError(f"loudness needs one or two channels, not empty. Received: shape {samples.shape}")
    for numerator, denominator in k_weighting(sample_rate):
        samples = lfilter(numerator, denominator, samples, axis=0)
    squares = np.concatenate([[0.0], np.cumsum(np.sum(np.square(samples), axis=1))])
    block = min(len(samples), round(BLOCK_S * sample_rate))
    starts = np.arange(0, len(samples) - block + 1, max(1, round(STEP_S * sample_rate)))
    powers = (squares[starts + block] - squares[starts]) / block
    loud = powers[powers > _power(ABSOLUTE_GATE_LUFS)]
    if not loud.size:
        return -np.inf
    threshold = loud.mean() * 10 ** (RELATIVE_GATE_LU / 10)
    return _OFFSET_DB + 10 * float(np.log10(loud[loud > threshold].mean()))


def _power(lufs: float) -> float:
    return 10 ** ((lufs - _OFFSET_DB) / 10)


def k_weighting(sample_rate: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Numerators and denominators of the two filters: a head's shelf, and a high pass.

    The standard tabulates them at 48 kHz. These come from the analogue filters behind the table, which
    Mansbridge, Finn and Reiss (2012) found, by the bilinear transform; at 48 kHz they are those of the table.
    """
    gain_db, shelf_q, shelf_hz = 3.999843853973347, 0.7071752369554196, 1681.974450955533
    high_q, high_hz = 0.5003270373238773, 38.13547087602444
    k = np.tan(np.pi * shelf_hz / sample_rate)
    high = 10 ** (gain_db / 20)
    band = high**0.4996667741545416
    norm = 1 + k / shelf_q + k * k
    shelf = (
        np.array([high + band * k / shelf_q + k * k, 2 * (k * k - high), high - band * k / shelf_q + k * k])
        / norm,
        np.array([1.0, 2 * (k * k - 1) / norm, (1 - k / shelf_q + k * k) / norm]),
    )
    k = np.tan(np.pi * high_hz / sample_rate)
    norm = 1 + k / high_q + k * k
    pass_high = (
        np.array([1.0, -2.0, 1.0]),
        np.array([1.0, 2 * (k * k - 1) / norm, (1 - k / high_q + k * k) / norm]),
    )
    return [shelf, pass_high]
