"""The form in which a dataset keeps spectrograms, and back to waveforms."""

import numpy as np
from scipy import fft

from audenoise.array_types import AudioVector
from audenoise.crops import StoredStft
from audenoise.spectral import make_window, stft

SCALE = 2.0**15
"""A full-scale constant has magnitude 1 over the window's sum, so 2¹⁵ stays below float16's 65504."""
_BLOCK = 128
"""Frames that are transformed at a time: few enough for all of it to stay in the processor's cache."""


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


_SIGN, _MAGNITUDE = np.uint32(0x8000), np.uint32(0x7FFF)
"""Of a float16's bits."""
_REBASE = np.float32(2.0 ** (15 - 127))
"""From float32's exponent to float16's. What float16 has as a subnormal number becomes one of float32."""
_HALF, _SHIFT = np.uint32(0x1000), np.uint32(13)
"""Half of what float16's last bit is worth in a float32's bits, and how many bits float32 has below it."""


def round_to_half(numbers: np.ndarray, out: np.ndarray, scratch: np.ndarray | None = None) -> None:
    """`out[:] = numbers`, rounded to the nearest, with whole-number arithmetic; both contiguous.

    NumPy converts one number at a time, three times as slowly, and far more slowly where they are all but
    zero. Here a number half-way between two is rounded away from zero. `numbers` are float32 within float16's
    range, and are overwritten. `scratch` is uint32, at least as many.
    """
    np.multiply(numbers, _REBASE, out=numbers)
    bits = numbers.view(np.uint32).reshape(-1)
    sign = np.empty(bits.size, np.uint32) if scratch is None else scratch[: bits.size]
    np.right_shift(bits, np.uint32(16), out=sign)
    sign &= _SIGN
    bits += _HALF
    bits >>= _SHIFT
    bits &= _MAGNITUDE
    bits |= sign
    out.reshape(-1).view(np.uint16)[...] = bits


class Encoder:
    """`to_stored(spectrogram(audio))` for one signal after the other, three times as fast.

    The windowed frames, their transform and the rounding to float16 are done block by block, and all signals
    go through the same memory.

    Parameters
    ----------
    settings : StoredStft

    Examples
    --------
    >>> settings = StoredStft(16000, 512, 256, 512, "sqrt_hann", SCALE)
    >>> audio = np.sin(np.arange(2000, dtype=np.float32))
    >>> stored = Encoder(settings).encode(audio)
    >>> stored.shape, float(np.abs(stored - to_stored(spectrogram(audio, settings))).max()) <= 8.0
    ((9, 257, 2), True)
    """

    def __init__(self, settings: StoredStft) -> None:
        self.settings = settings
        window = make_window(settings.window, settings.win_length)
        self._window = (window * (settings.scale / window.sum())).astype(np.float32)
        self._frames = np.empty((_BLOCK, settings.win_length), np.float32)
        self._stored = np.empty(0, np.float16)
        self._padded = np.empty(0, np.float32)
        self._scratch = np.empty(_BLOCK * 2 * (settings.n_fft // 2 + 1), np.uint32)

    def encode(self, audio: AudioVector) -> np.ndarray:
        """A waveform (samples,), float32 within ±1.9 → (frames, bins, 2) float16.

        The result is overwritten by the next call.
        """
        stft = self.settings
        n_frames, bins = stft.frames(audio.size), stft.n_fft // 2 + 1
        padded = self._padded_with(audio, (n_frames - 1) * stft.hop_length + stft.win_length)
        frames = np.lib.stride_tricks.sliding_window_view(padded, stft.win_length)[:: stft.hop_length]
        if self._stored.size < 2 * n_frames * bins:
            self._stored = np.empty(2 * n_frames * bins, np.float16)
        stored = self._stored[: 2 * n_frames * bins].reshape(n_frames, bins, 2)
        for start in range(0, n_frames, _BLOCK):
            block = frames[start : start + _BLOCK]
            windowed = np.multiply(block, self._window, out=self._frames[: len(block)])
            spectrum = np.asarray(fft.rfft(windowed, stft.n_fft, axis=-1))
            numbers = spectrum.view(np.float32).reshape(-1, bins, 2)
            round_to_half(numbers, stored[start : start + _BLOCK], self._scratch)
        return stored

    def _padded_with(self, audio: AudioVector, size: int) -> np.ndarray:
        """The waveform with zeros around it, as `spectral.stft` pads."""
        if self._padded.size < size:
            self._padded = np.empty(size, np.float32)
        before = self.settings.win_length - self.settings.hop_length
        padded = self._padded[:size]
        padded[:before] = 0
        padded[before : before + audio.size] = audio
        padded[before + audio.size :] = 0
        return padded
