"""The Fourier transform as two matrices, so that any runtime that multiplies can do it.

A graph that takes and gives audio needs no transform written again in each language. A window of 512 samples
costs 0.26 million multiply-accumulates per frame and direction.
"""

import numpy as np

from audenoise.errors import ModelError
from audenoise.presets import Preset, StftSettings
from audenoise.spectral import make_window


def delay_samples(stft: StftSettings) -> int:
    """Samples by which audio comes out of an exported graph later than it goes in: window less hop."""
    return stft.win_length - stft.hop_length


def analysis_matrix(stft: StftSettings) -> np.ndarray:
    """(win_length, 2 * bins) float32: samples of a frame → real and imaginary part of bin after bin.

    Window and division by its sum are in it.
    """
    window = make_window(stft.window, stft.win_length)
    return _interleaved(window[:, None] / window.sum() * np.conj(_waves(stft)))


def synthesis_matrix(stft: StftSettings) -> np.ndarray:
    """(2 * bins, win_length) float32: the inverse, with the window that makes overlap-add exact."""
    window = make_window(stft.window, stft.win_length)
    overlaps = -(-stft.win_length // stft.hop_length)
    squares = np.zeros(overlaps * stft.hop_length)
    squares[: stft.win_length] = window**2
    total = squares.reshape(overlaps, -1).sum(axis=0)
    weight = np.full(stft.n_fft // 2 + 1, 2.0)
    weight[[0, -1]] = 1.0  # all others stand for a negative frequency too
    scale = (window / np.tile(total, overlaps)[: stft.win_length] * window.sum() / stft.n_fft)[:, None]
    # The real part of X·e^{iωt} is Re X cos ωt - Im X sin ωt.
    return _interleaved(scale * weight * np.conj(_waves(stft))).T.copy()


def check_exportable(preset: Preset) -> None:
    """Raise `ModelError` if the frames of a model don't overlap."""
    if delay_samples(preset.stft) < 1:
        raise ModelError(f"{preset.folder}: its frames don't overlap (hop_length = win_length); not exported")


def _waves(stft: StftSettings) -> np.ndarray:
    """e^{2πi k t / n_fft}: (win_length, bins)."""
    product = np.outer(np.arange(stft.win_length), np.arange(stft.n_fft // 2 + 1)) % stft.n_fft
    return np.exp(2j * np.pi * product / stft.n_fft)


def _interleaved(matrix: np.ndarray) -> np.ndarray:
    parts = np.stack([np.real(matrix), np.imag(matrix)], axis=-1)
    return parts.reshape(len(matrix), -1).astype(np.float32)
