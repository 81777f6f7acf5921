"""What an enhancer is told about its input beside the spectrum: pitch, rhythm and loudness, frame by frame.

NumPy only. Frame k is centred on sample k * hop_length and depends on nothing further away than `CONTEXT_S`,
so a long file can be cut anywhere at a multiple of the hop.
"""

import math
from functools import lru_cache
from typing import cast

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.errors import SignalError
from audenoise.specs.enhancer import MAX_HOP_S
from audenoise.spectral import make_window, mel_filterbank

COLUMNS = ("pitch_octaves", "voicing", "onset", "loudness")
CONTEXT_S = 0.12
"""A frame depends on no sample further from its centre than this."""
PITCH_FLOOR_HZ = 50.0
PITCH_CEILING_HZ = 550.0
VOICED = 0.5
"""A frame whose voicing is below this has no pitch."""

_RATES_HZ = (5500, 10000)
_WINDOW_S = 0.03
_THRESHOLD = 0.15
_FLOOR = 1e-8  # power of what is not heard, -80 dBFS
_ONSET_LAG_S = 0.01
_SPECTRUM_S = 0.02
_ONSET_DB = 20.0
_BANDS = 40
_ROWS = 512


def conditioning_features(
    audio: AudioVector, sample_rate: int, *, hop_length: int, n_frames: int
) -> np.ndarray:
    """Pitch, voicing, onset strength and loudness.

    Parameters
    ----------
    audio : AudioVector
        Full scale is 1.0; silence is assumed outside.
    sample_rate : int
        In Hz, at least 4000.
    hop_length : int
        Samples between frames, at most `MAX_HOP_S`.
    n_frames : int
        Frames wanted; `audio.size // hop_length + 1` of them have their centre within the audio.

    Returns
    -------
    ndarray
        float32, (n_frames, 4), columns as in `COLUMNS`: the fundamental in octaves above 50 Hz (0 where
        unvoiced), see `pitch`; voicing, 0…1; `onset_strength`, 0 for steady sounds and about 1 for a syllable
        that begins; loudness, A-weighted, 0 (-80 dB or less) to 1 (a full-scale sine at 1 kHz) and beyond.

    Raises
    ------
    SignalError
        If the audio is not one channel of finite floats, or a number is out of range.

    Examples
    --------
    >>> tone = 0.3 * np.sin(2 * np.pi * 200 * np.arange(16000) / 16000).astype(np.float32)
    >>> conditioning_features(tone, 16000, hop_length=160, n_frames=101)[50].round(2).tolist()[:2]
    [2.0, 1.0]
    """
    if audio.ndim != 1 or audio.dtype.kind != "f" or not np.isfinite(audio).all():
        raise SignalError(
            f"audio must be one channel of finite floats. Received: {audio.dtype} of shape {audio.shape}"
        )
    if sample_rate < 4000 or not 1 <= hop_length <= MAX_HOP_S * sample_rate or n_frames < 0:
        raise SignalError(
            f"sample_rate >= 4000, 1 <= hop_length <= {MAX_HOP_S:g} s and n_frames >= 0 are needed. "
            f"Received: sample_rate={sample_rate}, hop_length={hop_length}, n_frames={n_frames}"
        )
    if n_frames == 0:
        return np.zeros((0, len(COLUMNS)), np.float32)
    frequency_hz, voicing = pitch(audio, sample_rate, hop_length=hop_length, n_frames=n_frames)
    onset, loudness = _rhythm(audio, sample_rate, hop_length=hop_length, n_frames=n_frames)
    octaves = np.where(voicing >= VOICED, np.log2(np.maximum(frequency_hz, 1) / PITCH_FLOOR_HZ), 0)
    return np.stack([octaves, voicing, onset, loudness], axis=1).astype(np.float32)


def _around(audio: AudioVector, *, before: int, end: int) -> AudioVector:
    """Samples -before … end - 1, with silence outside the audio."""
    kept = audio[: max(0, end)].astype(np.float32, copy=False)
    return np.pad(kept, (before, max(0, end - kept.size)))


def _step(sample_rate: int, hop_length: int) -> int:
    """Step between the samples that pitch is found from: 5.5 to 10 kHz, and best a divisor of the hop."""
    low, high = max(1, math.ceil(sample_rate / _RATES_HZ[1])), max(1, sample_rate // _RATES_HZ[0])
    return max(range(low, high + 1), key=lambda step: math.gcd(step, hop_length) / step)


@lru_cache(maxsize=16)
def _low_pass(step: int, sample_rate: int) -> np.ndarray:
    """Linear-phase filter before every `step`-th sample is taken; also without what is below voices."""
    from scipy.signal import firwin

    half = round(0.004 * sample_rate)
    cutoff = min(0.4 * sample_rate / step, 1800.0)
    return np.asarray(firwin(2 * half + 1, cutoff, fs=sample_rate), np.float32)


def pitch(
    audio: AudioVector, sample_rate: int, *, hop_length: int, n_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Fundamental frequency and voicing by YIN (de Cheveigné and Kawahara, JASA 111(4), 2002).

    All frames at once. Works on the band below 1.8 kHz at a low rate; the frames' difference functions come
    from FFTs, the dip is placed between samples by a parabola.

    Parameters
    ----------
    audio : AudioVector
    sample_rate : int
        In Hz.
    hop_length, n_frames : int
        See `conditioning_features`.

    Returns
    -------
    frequency_hz : ndarray
        (n_frames,), between `PITCH_FLOOR_HZ` and `PITCH_CEILING_HZ`; the best guess where there is no voice.
    voicing : ndarray
        (n_frames,), 0…1: one less the depth of the dip, and 0 for what is not heard.
    """
    from scipy.signal import upfirdn

    step = _step(sample_rate, hop_length)
    rate = sample_rate / step
    longest, shortest = int(np.ceil(rate / PITCH_FLOOR_HZ)) + 1, max(2, int(rate / PITCH_CEILING_HZ))
    window = round(_WINDOW_S * rate)
    span = (window + longest) * step
    # Summed sample by sample, not by an FFT, so that where the audio was cut changes no rounding; only the
    # samples that some frame looks at are computed.
    low_pass = _low_pass(step, sample_rate)
    half, grid = low_pass.size // 2, math.gcd(step, hop_length)
    lead = half + -2 * half % grid
    end = (n_frames - 1) * hop_length + span - span // 2 + half
    padded = _around(audio, before=span // 2 + lead, end=end)
    filtered = upfirdn(low_pass, padded, 1, grid)[(lead + half) // grid :].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(filtered, span // grid)
    frames = frames[:: hop_length // grid, :: step // grid][:n_frames]
    found = [
        _yin(np.ascontiguousarray(frames[i : i + _ROWS], np.float32), window, shortest=shortest)
        for i in range(0, n_frames, _ROWS)
    ]
    lag = np.concatenate([lag for lag, _ in found])
    return rate / np.maximum(lag, 1), np.concatenate([voicing for _, voicing in found])


def _yin(frames: np.ndarray, window: int, *, shortest: int) -> tuple[np.ndarray, np.ndarray]:
    """Period in samples and voicing of each row of `window` + longest lag samples."""
    from scipy.fft import irfft, next_fast_len, rfft

    n_lags = frames.shape[1] - window
    size = cast(int, next_fast_len(frames.shape[1], real=True))
    head = frames[:, :window]
    spectrum = np.asarray(rfft(frames, size))
    products = np.asarray(irfft(spectrum * np.conj(np.asarray(rfft(head, size))), size))[:, : n_lags + 1]
    energy = np.cumsum(np.pad(np.square(frames, dtype=np.float64), ((0, 0), (1, 0))), axis=1)
    power = energy[:, window:] - energy[:, : n_lags + 1]
    difference = np.maximum(power[:, :1] + power - 2 * products, 0)[:, 1:] + window * _FLOOR
    lags = np.arange(1, n_lags + 1)
    normal = difference * lags / np.cumsum(difference, axis=1)  # normal[:, i] is of lag i + 1
    inner = normal[:, shortest - 1 : -1]
    dip = (inner <= normal[:, shortest - 2 : -2]) & (inner < normal[:, shortest:])
    # The first dip that is nearly as deep as the deepest, so that no multiple of the period is taken for it.
    deepest = np.where(dip, inner, 2.0).min(axis=1, keepdims=True)
    good = dip & (inner <= np.maximum(_THRESHOLD, deepest + 0.02))
    place = np.where(good.any(axis=1), good.argmax(axis=1), inner.argmin(axis=1)) + shortest - 1
    row = np.arange(len(frames))
    left, middle, right = (difference[row, np.clip(place + k, 0, n_lags - 1)] for k in (-1, 0, 1))
    bend = left - 2 * middle + right
    shift = np.where(bend > 0, 0.5 * (left - right) / np.where(bend > 0, bend, 1), 0)
    return place + 1 + np.clip(shift, -0.5, 0.5), np.clip(1 - normal[row, place], 0, 1)


@lru_cache(maxsize=16)
def _weights(sample_rate: int, n_fft: int) -> tuple[np.ndarray, np.ndarray]:
    """Mel bands that sum a power spectrum, (bins, bands), and A-weighting in power, (bins,) (IEC 61672)."""
    bands = mel_filterbank(sample_rate=sample_rate, n_fft=n_fft, n_mels=min(_BANDS, n_fft // 16))
    square = np.fft.rfftfreq(n_fft, 1 / sample_rate) ** 2
    weight = 12194**2 * square**2
    weight = weight / (
        (square + 20.6**2) * np.sqrt((square + 107.7**2) * (square + 737.9**2)) * (square + 12194**2)
    )
    return (bands / bands.sum(axis=1, keepdims=True)).T.copy(), (10**0.2 * weight**2).astype(np.float32)


def _rhythm(
    audio: AudioVector, sample_rate: int, *, hop_length: int, n_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Onset strength and loudness, (n_frames,) each.

    Onset strength is spectral flux: by how much the mel bands have risen within 10 ms (or a hop), in units of
    20 dB; those that have fallen count nothing.
    """
    from scipy.fft import next_fast_len, rfft

    lag = max(1, round(_ONSET_LAG_S * sample_rate / hop_length))
    window = make_window("hann", max(64, round(_SPECTRUM_S * sample_rate))).astype(np.float32)
    n_fft = cast(int, next_fast_len(window.size + window.size % 2, real=True))
    n_fft += n_fft % 2
    before = window.size // 2 + lag * hop_length
    padded = _around(audio, before=before, end=(n_frames - 1) * hop_length + window.size)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window.size)[::hop_length][: n_frames + lag]
    bands, weight = _weights(sample_rate, n_fft)
    # A full-scale sine adds up to 1/2 of the spectrum's power, a sound of power 1 to 1.
    scale = np.float32(2 / (n_fft * np.square(window).sum()))
    levels, loudness = [], []
    for i in range(0, len(frames), _ROWS):
        spectrum = np.asarray(rfft(frames[i : i + _ROWS] * window, n_fft))
        power = (np.square(np.real(spectrum)) + np.square(np.imag(spectrum))) * scale
        levels.append(10 * np.log10(power @ bands * bands.shape[0] + _FLOOR))
        loudness.append(10 * np.log10(2 * (power @ weight) + _FLOOR))
    level = np.concatenate(levels)
    flux = np.maximum(level[lag:] - level[:-lag], 0).mean(axis=1) / _ONSET_DB
    return flux, np.concatenate(loudness)[lag:] / 80 + 1
