"""What tells whether an enhancer gave back the timbre, the upper band and the melody of a voice.

A reference and an estimate are one-channel arrays of one length, full scale 1.0, aligned in time, as in
`audenoise.metrics`. Lower is better for all.
"""

from collections.abc import Iterator

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.conditioning import VOICED, pitch
from audenoise.errors import SignalError
from audenoise.metrics import log_spectral_distance, valid_pair
from audenoise.spectral import make_window, mel_filterbank

_FLOOR = 1e-8
_ROWS = 256
_WINDOW_S, _HOP_S = 0.04, 0.01
_PITCH_HOP_S = 0.01
_GROSS = 0.2
"""By which share a pitch must be off to be called grossly wrong (Rabiner et al., 1976)."""


def mel_distance(
    reference: AudioVector, estimate: AudioVector, sample_rate: int, *, n_mels: int = 80
) -> float:
    """Mean absolute difference between two mel spectrograms in dB.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)
    sample_rate : int
        In Hz, at least 4000.
    n_mels : int
        Bands from 0 Hz to half the sample rate.

    Returns
    -------
    float
        In dB, over all bands and all frames of 40 ms every 10 ms; 0 for equal signals. Mean powers in a band
        are floored at -80 dB of full scale.

    Raises
    ------
    SignalError
        If the lengths differ, a sample isn't finite, the reference is silent or shorter than a frame.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(8000)
    >>> round(mel_distance(noise, 10 * noise, 16000), 6)
    20.0
    """
    reference, estimate = valid_pair(reference, estimate)
    window, n_fft, hop_length = _frame_sizes(reference, sample_rate, "a mel distance")
    bands = mel_filterbank(sample_rate=sample_rate, n_fft=n_fft, n_mels=n_mels).T.astype(np.float64)
    bands /= bands.sum(axis=0)
    total, count = 0.0, 0
    for pair in _powers(reference, estimate, n_fft=n_fft, hop_length=hop_length, window=window):
        # As much as noise of the same power in all bands has.
        scale = 1 / np.square(window).sum()
        levels = [10 * np.log10(np.maximum(power @ bands * scale, _FLOOR)) for power in pair]
        total += float(np.abs(levels[0] - levels[1]).sum())
        count += levels[0].size
    return total / count


def band_log_spectral_distance(
    reference: AudioVector,
    estimate: AudioVector,
    sample_rate: int,
    *,
    low_hz: float,
    high_hz: float | None = None,
    n_fft: int = 2048,
    hop_length: int = 512,
) -> float:
    """Log-spectral distance in one band: what was made up above it, or whether what lay below it was kept.

    `audenoise.metrics.log_spectral_distance` with the bins of a band alone.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)
    sample_rate : int
        In Hz.
    low_hz, high_hz : float
        Bins at `low_hz` and above, and below `high_hz`; None is up to half the sample rate, and with it.
    n_fft, hop_length : int
        Length and step of the Hann window, in samples. The last incomplete frame is left out.

    Returns
    -------
    float
        Mean over frames of the root mean square over the band of log10(P_reference / P_estimate), powers
        floored at 1e-8; times 10 is dB.

    Raises
    ------
    SignalError
        If the lengths differ, a sample isn't finite, the reference is silent or shorter than `n_fft`, or no
        bin lies in the band.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(16000)
    >>> round(band_log_spectral_distance(noise, 10 * noise, 16000, low_hz=4000), 6)
    2.0
    """
    if n_fft < 2:
        raise SignalError(f"n_fft must be at least 2. Received: {n_fft}")
    frequency = np.fft.rfftfreq(n_fft, 1 / sample_rate)
    kept = (frequency >= low_hz) & (frequency < (np.inf if high_hz is None else high_hz))
    if not kept.any():
        raise SignalError(
            f"no bin lies from low_hz to high_hz at {sample_rate} Hz. Received: low_hz={low_hz}, "
            f"high_hz={high_hz}"
        )
    return log_spectral_distance(reference, estimate, n_fft=n_fft, hop_length=hop_length, bins=kept)


def pitch_error(reference: AudioVector, estimate: AudioVector, sample_rate: int) -> dict[str, float]:
    """How far the fundamental frequency is off, every 10 ms, by `audenoise.conditioning.pitch`.

    Parameters
    ----------
    reference, estimate : AudioVector, shape (samples,)
    sample_rate : int
        In Hz, at least 4000.

    Returns
    -------
    dict of float
        ``f0_cents``: root mean square difference in cents over frames that are voiced in both and not
        grossly off; ``f0_gross``: share of frames voiced in both that are off by more than 20 %;
        ``voicing_error``: share of all frames that are voiced in one alone. The first two are NaN where no
        such frame is.

    Raises
    ------
    SignalError
        If the lengths differ, a sample isn't finite, or the reference is silent.

    Examples
    --------
    >>> time = np.arange(16000) / 16000
    >>> low, high = (np.sin(2 * np.pi * f * time) for f in (200.0, 200.0 * 2 ** (1 / 12)))
    >>> abs(pitch_error(low, high, 16000)["f0_cents"] - 100) < 1
    True
    """
    reference, estimate = valid_pair(reference, estimate)
    hop_length = max(1, round(_PITCH_HOP_S * sample_rate))
    n_frames = reference.size // hop_length + 1
    (first, first_voicing), (second, second_voicing) = (
        pitch(audio, sample_rate, hop_length=hop_length, n_frames=n_frames) for audio in (reference, estimate)
    )
    voiced = first_voicing >= VOICED, second_voicing >= VOICED
    both = voiced[0] & voiced[1]
    ratio = second[both] / first[both]
    gross = np.abs(ratio - 1) > _GROSS
    cents = 1200 * np.log2(ratio[~gross])
    return {
        "f0_cents": float(np.sqrt(np.square(cents).mean())) if cents.size else float("nan"),
        "f0_gross": float(gross.mean()) if gross.size else float("nan"),
        "voicing_error": float((voiced[0] != voiced[1]).mean()),
    }


def _frame_sizes(audio: np.ndarray, sample_rate: int, purpose: str) -> tuple[np.ndarray, int, int]:
    size = round(_WINDOW_S * sample_rate)
    if sample_rate < 4000 or audio.size < size:
        raise SignalError(
            f"{purpose} needs {_WINDOW_S:g} s of audio at 4000 Hz or more. Received: {audio.size} samples at "
            f"{sample_rate} Hz"
        )
    return make_window("hann", size), size + size % 2, max(1, round(_HOP_S * sample_rate))


def _powers(
    reference: np.ndarray, estimate: np.ndarray, *, n_fft: int, hop_length: int, window: np.ndarray
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Power spectra of both, (some frames, bins) at a time; the last incomplete frame is left out."""
    views = [
        np.lib.stride_tricks.sliding_window_view(audio, window.size)[::hop_length]
        for audio in (reference, estimate)
    ]
    for start in range(0, len(views[0]), _ROWS):
        first, second = (
            np.square(np.abs(np.fft.rfft(view[start : start + _ROWS] * window, n_fft))) for view in views
        )
        yield first, second
