"""The form in which a dataset keeps spectrograms, and back to waveforms."""

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.crops import StoredStft
from audenoise.spectral import make_window, stft

SCALE = 2.0**15
"""A full-scale constant has magnitude 1 over the window's sum, so 2¹⁵ stays below float16's 65504."""


def to_stored(spectrum: np.ndarray, scale: float = SCALE) -> np.ndarray:
    """Complex spectrogram (..., frames, bins), STFT over the window's sum → (..., frames, bins, 2) float16.

    Numbers beyond float16's range, which need a signal far above full scale, are held at its ends.
    """
    parts = np.ascontiguousarray(spectrum, np.complex64).view(np.float32) * np.float32(scale)
    limit = np.float32(np.finfo(np.float16).max)
    stored = np.clip(parts, -limit, limit, out=parts).astype(np.float16)
    return stored.reshape(*spectrum.shape, 2)


def spectrogram(audio: AudioVector, settings: StoredStft) -> np.ndarray:
    """STFT over the window's sum: (..., samples) → complex64 (..., frames, bins)."""
    window = make_window(settings.window, settings.win_length)
    spectrum = stft(
        audio.astype(np.float32, copy=False),
        n_fft=settings.n_fft,
        hop_length=settings.hop_length,
        win_length=settings.win_length,
        window=settings.window,
    )
    return spectrum.swapaxes(-1, -2) * np.float32(1 / window.sum())


def from_stored(spectra: np.ndarray, settings: StoredStft, n_samples: int) -> np.ndarray:
    """Waveforms of spectra as they are stored: complex (..., frames, bins) → float32 (..., n_samples).

    Parameters
    ----------
    spectra : ndarray
        From a signal's first frame on; complex64, times `settings.scale`.
    settings : StoredStft
    n_samples : int
        `settings.frames(n_samples)` must be the number of frames.
    """
    return settings.to_waveforms(spectra, n_samples)
