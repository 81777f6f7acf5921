"""Short-time Fourier transform and its relatives in NumPy: the reference that everything else is checked
against.

Frame k covers the input's samples from k * hop - (win - hop) on, win samples long; what lies outside the
input is zero. So every sample, the first and the last too, is covered by as many frames as one in the middle,
and the inverse recovers all of them. A frame shorter than `n_fft` is followed by zeros. Spectra are
(frequency, frames).
"""

from functools import lru_cache

import numpy as np

from .array_types import AudioVector, ComplexSpectrogramMatrix, SpectrogramMatrix
from .errors import SignalError

_COSINE_TERMS = {
    "rectangular": (1.0,),
    "hann": (0.5, 0.5),
    "hamming": (0.54, 0.46),
    "blackman": (0.42, 0.5, 0.08),
}
WINDOWS = ("sqrt_hann", *_COSINE_TERMS)


@lru_cache(maxsize=32)
def make_window(name: str, win_length: int) -> np.ndarray:
    """Return a periodic window.

    Parameters
    ----------
    name : str
        One of `WINDOWS`. "sqrt_hann" is the square root of "hann": with hop = win / 2 its squares add up to
        one.
    win_length : int
        Samples, at least 1.

    Returns
    -------
    np.ndarray
        float64, (win_length,), read-only.

    Raises
    ------
    SignalError
        If the name is unknown or the length below 1.
    """
    if name not in WINDOWS:
        raise SignalError(f"window must be one of {', '.join(WINDOWS)}. Received: {name}")
    if win_length < 1:
        raise SignalError(f"win_length must be at least 1. Received: {win_length}")
    if name == "sqrt_hann":
        window = np.sin(np.pi * np.arange(win_length) / win_length)
    else:
        angle = 2 * np.pi * np.arange(win_length) / win_length
        window = sum((-1) ** k * a * np.cos(k * angle) for k, a in enumerate(_COSINE_TERMS[name]))
        window = np.maximum(window, 0.0)  # Blackman's first point comes out as -1e-17
    window.flags.writeable = False
    return window


@lru_cache(maxsize=32)
def _synthesis_window(name: str, win_length: int, hop_length: int) -> np.ndarray:
    """Window over the sum of the squares of all windows that overlap it: overlap-add becomes least squares.

    Frames reach so far beyond the ends of the signal that this sum is the same there as in the middle.
    """
    window = make_window(name, win_length)
    overlaps = -(-win_length // hop_length)
    squares = np.zeros(overlaps * hop_length)
    squares[:win_length] = window**2
    total = squares.reshape(overlaps, hop_length).sum(axis=0)
    if total.min() < 1e-8 * total.max():
        raise SignalError(
            f"Window {name} of {win_length} with hop {hop_length} can't be inverted, as some samples get no "
            "weight. Use a smaller hop_length."
        )
    synthesis = window / np.tile(total, overlaps)[:win_length]
    synthesis.flags.writeable = False
    return synthesis


def frame_count(n_samples: int, *, hop_length: int, win_length: int) -> int:
    """Return the number of frames of a signal: ceil((n_samples + win_length - hop_length) / hop_length)."""
    return -(-(n_samples + win_length - hop_length) // hop_length)


def _checked_sizes(n_fft: int, hop_length: int, win_length: int | None) -> int:
    win_length = n_fft if win_length is None else win_length
    if not 1 <= hop_length <= win_length <= n_fft:
        raise SignalError(
            "1 <= hop_length <= win_length <= n_fft is needed. "
            f"Received: hop_length={hop_length}, win_length={win_length}, n_fft={n_fft}"
        )
    return win_length


def _checked_audio(audio: np.ndarray) -> np.ndarray:
    if audio.ndim < 1 or audio.shape[-1] < 1 or audio.dtype not in (np.float32, np.float64):
        raise SignalError(
            f"audio must be float32 or float64 with at least 1 sample. Received: {audio.dtype} {audio.shape}"
        )
    if not np.isfinite(audio).all():
        raise SignalError("audio holds NaN or infinite samples.")
    return audio


def _analyse(
    padded: np.ndarray, n_frames: int, n_fft: int, hop_length: int, window: np.ndarray
) -> np.ndarray:
    """Frames of (..., samples) from its first sample on, transformed: (..., frequency, frames).

    The result is a view of (..., frames, frequency) memory, so swapping the axes back costs nothing.
    """
    frames = np.lib.stride_tricks.sliding_window_view(padded, len(window), axis=-1)[..., ::hop_length, :]
    windowed = frames[..., :n_frames, :] * window.astype(padded.dtype)
    return np.fft.rfft(windowed, n_fft, axis=-1).swapaxes(-1, -2)


def _synthesise(spectrum: np.ndarray, n_fft: int, hop_length: int, window: np.ndarray) -> np.ndarray:
    """Overlap-add of all frames, from the first one's first sample to the last one's last: (..., samples)."""
    real = np.float32 if spectrum.dtype == np.complex64 else np.float64
    frames = np.fft.irfft(spectrum.swapaxes(-1, -2), n_fft, axis=-1)[..., : len(window)] * window.astype(real)
    *batch, n_frames, win_length = frames.shape
    overlaps = -(-win_length // hop_length)
    if win_length < overlaps * hop_length:
        frames = np.concatenate(
            [frames, np.zeros((*batch, n_frames, overlaps * hop_length - win_length), real)], axis=-1
        )
    pieces = frames.reshape(*batch, n_frames, overlaps, hop_length)
    total = np.zeros((*batch, n_frames + overlaps - 1, hop_length), real)
    for piece in range(overlaps):
        total[..., piece : piece + n_frames, :] += pieces[..., piece, :]
    return total.reshape(*batch, -1)[..., : (n_frames - 1) * hop_length + win_length]


def stft(
    audio: AudioVector,
    *,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: str = "sqrt_hann",
) -> ComplexSpectrogramMatrix:
    """Short-time Fourier transform: the plain FFT of windowed frames, without scaling.

    Parameters
    ----------
    audio : AudioVector
        float32 or float64, at least 1 sample; may have batch axes in front, (..., samples).
    n_fft : int
        FFT length in samples.
    hop_length : int
        Samples between frames.
    win_length : int, optional
        Samples per frame, `n_fft` by default.
    window : str
        See `make_window`.

    Returns
    -------
    ComplexSpectrogramMatrix
        (..., n_fft // 2 + 1, frames) with `frame_count` frames; complex64 for float32 input.

    Raises
    ------
    SignalError
        If the sizes don't fit together, or the audio is empty, not floating point or not finite.

    Examples
    --------
    >>> spectrum = stft(np.ones(1000, np.float32), n_fft=512, hop_length=256)
    >>> spectrum.shape
    (257, 5)
    >>> float(np.abs(istft(spectrum, n_samples=1000, n_fft=512, hop_length=256) - 1).max()) < 1e-5
    True
    """
    win_length = _checked_sizes(n_fft, hop_length, win_length)
    audio = _checked_audio(audio)
    n_samples = audio.shape[-1]
    n_frames = frame_count(n_samples, hop_length=hop_length, win_length=win_length)
    before = win_length - hop_length
    after = (n_frames - 1) * hop_length + win_length - before - n_samples
    padded = np.pad(audio, [(0, 0)] * (audio.ndim - 1) + [(before, after)])
    return _analyse(padded, n_frames, n_fft, hop_length, make_window(window, win_length))


def istft(
    spectrum: ComplexSpectrogramMatrix,
    *,
    n_samples: int,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: str = "sqrt_hann",
) -> AudioVector:
    """Signal whose transform is nearest to `spectrum` in the least-squares sense (Griffin and Lim, 1984).

    Parameters
    ----------
    spectrum : ComplexSpectrogramMatrix
        (..., n_fft // 2 + 1, frames), as `stft` returns it.
    n_samples : int
        Length of the signal; `frame_count` of it must be the number of frames.
    n_fft, hop_length, win_length, window
        As given to `stft`.

    Returns
    -------
    AudioVector
        (..., n_samples), float32 for complex64 input. `istft(stft(x))` is x within 1e-5 at every sample.

    Raises
    ------
    SignalError
        If the sizes don't fit together or the window and hop can't be inverted.
    """
    win_length = _checked_sizes(n_fft, hop_length, win_length)
    n_frames = frame_count(n_samples, hop_length=hop_length, win_length=win_length)
    if n_samples < 1 or spectrum.shape[-2:] != (n_fft // 2 + 1, n_frames):
        raise SignalError(
            f"spectrum must be (..., {n_fft // 2 + 1}, {n_frames}) for {n_samples} samples. "
            f"Received: {spectrum.shape}"
        )
    start = win_length - hop_length
    samples = _synthesise(spectrum, n_fft, hop_length, _synthesis_window(window, win_length, hop_length))
    return samples[..., start : start + n_samples]


class StreamingStft:
    """`stft` block by block: the frames of all calls, side by side, are those of the whole signal.

    Parameters
    ----------
    n_fft, hop_length, win_length, window
        As for `stft`.
    batch_shape : tuple of int
        Axes in front of the samples, as in (channels,).
    """

    def __init__(
        self,
        *,
        n_fft: int,
        hop_length: int,
        win_length: int | None = None,
        window: str = "sqrt_hann",
        batch_shape: tuple[int, ...] = (),
    ) -> None:
        self.n_fft, self.hop_length, self.batch_shape = n_fft, hop_length, batch_shape
        self.win_length = _checked_sizes(n_fft, hop_length, win_length)
        self._window = make_window(window, self.win_length)
        self._reset()

    def _reset(self) -> None:
        self._pending = np.zeros((*self.batch_shape, self.win_length - self.hop_length), np.float32)
        self.n_samples = 0

    def process(self, block: np.ndarray) -> np.ndarray:
        """Take (*batch_shape, samples), any number of them; return the complete frames, possibly none.

        The result is complex64, (*batch_shape, frequency, frames), a view of (..., frames, frequency) memory.
        """
        if block.shape[:-1] != self.batch_shape:
            raise SignalError(f"block must be ({self.batch_shape}, samples). Received: shape {block.shape}")
        self.n_samples += block.shape[-1]
        self._pending = np.concatenate([self._pending, block.astype(np.float32, copy=False)], axis=-1)
        n_frames = max(0, (self._pending.shape[-1] - self.win_length) // self.hop_length + 1)
        return self._take(n_frames)

    def flush(self) -> np.ndarray:
        """Return the frames that reach beyond the end, and start afresh. None if nothing was received."""
        n_frames = 0
        if self.n_samples:
            # Every frame that begins before the end: one per hop, begun or whole, of what is pending.
            n_frames = -(-self._pending.shape[-1] // self.hop_length)
            missing = (n_frames - 1) * self.hop_length + self.win_length - self._pending.shape[-1]
            zeros = np.zeros((*self.batch_shape, max(0, missing)), np.float32)
            self._pending = np.concatenate([self._pending, zeros], axis=-1)
        frames = self._take(n_frames)
        self._reset()
        return frames

    def _take(self, n_frames: int) -> np.ndarray:
        if n_frames == 0:
            return np.zeros((*self.batch_shape, 0, self.n_fft // 2 + 1), np.complex64).swapaxes(-1, -2)
        frames = _analyse(self._pending, n_frames, self.n_fft, self.hop_length, self._window)
        self._pending = self._pending[..., n_frames * self.hop_length :].copy()
        return frames


class StreamingIstft:
    """`istft` block by block: the samples of all calls, one after the other, are those of the whole spectrum.

    A sample comes out once the last frame that covers it is in: win_length samples after the first of them.

    Parameters
    ----------
    n_fft, hop_length, win_length, window, batch_shape
        As for `StreamingStft`.
    """

    def __init__(
        self,
        *,
        n_fft: int,
        hop_length: int,
        win_length: int | None = None,
        window: str = "sqrt_hann",
        batch_shape: tuple[int, ...] = (),
    ) -> None:
        self.n_fft, self.hop_length, self.batch_shape = n_fft, hop_length, batch_shape
        self.win_length = _checked_sizes(n_fft, hop_length, win_length)
        self._window = _synthesis_window(window, self.win_length, hop_length)
        self._reset()

    def _reset(self) -> None:
        self._tail = np.zeros((*self.batch_shape, self.win_length - self.hop_length), np.float32)
        self._before = (
            self.win_length - self.hop_length
        )  # samples before the signal's first, still to be dropped
        self.n_samples = 0

    def process(self, spectrum: np.ndarray) -> np.ndarray:
        """Take (*batch_shape, frequency, frames), any number of frames; return the samples that are complete.

        The result is float32, (*batch_shape, samples).
        """
        if spectrum.shape[:-1] != (*self.batch_shape, self.n_fft // 2 + 1):
            raise SignalError(
                f"spectrum must be ({self.batch_shape}, {self.n_fft // 2 + 1}, frames). "
                f"Received: {spectrum.shape}"
            )
        n_frames = spectrum.shape[-1]
        if n_frames == 0:
            return np.zeros((*self.batch_shape, 0), np.float32)
        samples = _synthesise(
            spectrum.astype(np.complex64, copy=False), self.n_fft, self.hop_length, self._window
        )
        samples[..., : self._tail.shape[-1]] += self._tail
        complete = n_frames * self.hop_length
        self._tail = samples[..., complete:].copy()
        dropped = min(self._before, complete)
        self._before -= dropped
        self.n_samples += complete - dropped
        return samples[..., dropped:complete]

    def flush(self, spectrum: np.ndarray | None = None, *, n_samples: int) -> np.ndarray:
        """Take the last frames, return the last samples, and start afresh.

        Parameters
        ----------
        spectrum : np.ndarray, optional
            At least the frames that came out of `StreamingStft.flush`: they reach beyond the end of the
            signal.
        n_samples : int
            Length of the whole signal.

        Returns
        -------
        np.ndarray
            (*batch_shape, samples): with it, the total is `n_samples`.

        Raises
        ------
        SignalError
            If the frames received are too few for `n_samples`, or more samples have come out already.
        """
        sent = self.n_samples
        parts = [] if spectrum is None else [self.process(spectrum)]
        rest = np.concatenate([*parts, self._tail[..., self._before :]], axis=-1)
        missing = n_samples - sent
        if not 0 <= missing <= rest.shape[-1]:
            raise SignalError(
                f"{sent} samples have come out and {rest.shape[-1]} more are there, which doesn't fit "
                f"a signal of {n_samples}. Pass all frames, and the last ones to flush."
            )
        self._reset()
        return rest[..., :missing]


def _hz_to_mel(frequency_hz: np.ndarray) -> np.ndarray:
    """Slaney's scale: 3 mel per 200 Hz up to 1 kHz, then 27 mel per factor 6.4."""
    linear = np.minimum(frequency_hz, 1000.0) * 3 / 200
    return linear + np.log(np.maximum(frequency_hz, 1000.0) / 1000.0) * 27 / np.log(6.4)


def _mel_to_hz(mel: np.ndarray) -> np.ndarray:
    return np.minimum(mel, 15.0) * 200 / 3 * np.exp(np.maximum(mel - 15.0, 0.0) * np.log(6.4) / 27)


def mel_filterbank(
    *, sample_rate: int, n_fft: int, n_mels: int = 80, fmin_hz: float = 0.0, fmax_hz: float | None = None
) -> SpectrogramMatrix:
    """Triangular filters, evenly spaced on Slaney's mel scale, each of unit area in Hz (librosa's default).

    Parameters
    ----------
    sample_rate : int
        In Hz.
    n_fft : int
        FFT length in samples.
    n_mels : int
        Number of filters.
    fmin_hz, fmax_hz : float
        Lowest and highest frequency in Hz; half the sample rate by default.

    Returns
    -------
    SpectrogramMatrix
        float32, (n_mels, n_fft // 2 + 1).

    Raises
    ------
    SignalError
        If the band is empty, or so many filters were asked for that one falls between two FFT bins.
    """
    fmax_hz = sample_rate / 2 if fmax_hz is None else fmax_hz
    if n_mels < 1 or not 0 <= fmin_hz < fmax_hz <= sample_rate / 2:
        raise SignalError(
            "n_mels >= 1 and 0 <= fmin_hz < fmax_hz <= sample_rate / 2 are needed. "
            f"Received: n_mels={n_mels}, fmin_hz={fmin_hz}, fmax_hz={fmax_hz}, sample_rate={sample_rate}"
        )
    bins = np.arange(n_fft // 2 + 1) * sample_rate / n_fft
    low, high = _hz_to_mel(np.array([fmin_hz, fmax_hz]))
    edges = _mel_to_hz(np.linspace(low, high, n_mels + 2))
    rising = (bins - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - bins) / np.diff(edges)[1:, None]
    filters = np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    empty = np.flatnonzero(~filters.any(axis=1))
    if empty.size:
        raise SignalError(
            f"n_mels={n_mels} is too many for n_fft={n_fft}: filter {empty[0]} holds no FFT bin. "
            "Use fewer filters or a larger n_fft."
        )
    return filters.astype(np.float32)


def mel_spectrogram(spectrogram: SpectrogramMatrix, filterbank: SpectrogramMatrix) -> SpectrogramMatrix:
    """Weigh a magnitude or power spectrogram, (..., frequency, frames), into (..., mels, frames)."""
    if spectrogram.shape[-2] != filterbank.shape[1]:
        raise SignalError(
            f"spectrogram must have {filterbank.shape[1]} frequencies. Received: {spectrogram.shape[-2]}"
        )
    return filterbank @ spectrogram


def mel_to_spectrogram(
    mel: SpectrogramMatrix, filterbank: SpectrogramMatrix, *, n_iterations: int = 100
) -> SpectrogramMatrix:
    """Find a non-negative spectrogram whose mel spectrogram is near to `mel`.

    Multiplicative updates (Lee and Seung, 2001), which never increase the squared error, from the
    pseudo-inverse.

    Parameters
    ----------
    mel : SpectrogramMatrix
        (..., mels, frames), not negative.
    filterbank : SpectrogramMatrix
        (mels, frequency), from `mel_filterbank`.
    n_iterations : int
        Number of updates.

    Returns
    -------
    SpectrogramMatrix
        (..., frequency, frames), not negative. Many spectrograms share a mel spectrogram: this is one of
        them.
    """
    if mel.shape[-2] != filterbank.shape[0] or (mel < 0).any():
        raise SignalError(f"mel must be (..., {filterbank.shape[0]}, frames) and not negative.")
    start = np.linalg.pinv(filterbank) @ mel
    # An update can't leave zero, so begin a little above it wherever a filter reaches.
    reached = np.any(filterbank > 0, axis=0)[:, None]
    estimate = np.where(reached, np.maximum(start, 1e-3 * np.abs(start).mean() + 1e-20), 0.0)
    target = filterbank.T @ mel
    for _ in range(n_iterations):
        estimate = estimate * target / np.maximum(filterbank.T @ (filterbank @ estimate), 1e-30)
    return estimate.astype(mel.dtype, copy=False)


def amplitude_to_db(amplitude: np.ndarray, *, floor_db: float = -200.0) -> np.ndarray:
    """Return 20 log10(amplitude), `floor_db` for all below it, zero too. Amplitudes aren't negative."""
    return np.maximum(20.0 * np.log10(np.maximum(amplitude, 10.0 ** (floor_db / 20.0))), floor_db)


def db_to_amplitude(level_db: np.ndarray, *, floor_db: float = -200.0) -> np.ndarray:
    """Invert `amplitude_to_db`: 10^(level_db / 20), and zero at `floor_db` and below."""
    return np.where(level_db <= floor_db, 0.0, 10.0 ** (level_db / 20.0)).astype(level_db.dtype, copy=False)


def griffin_lim(
    magnitude: SpectrogramMatrix,
    *,
    n_samples: int,
    n_fft: int,
    hop_length: int,
    win_length: int | None = None,
    window: str = "hann",
    n_iterations: int = 32,
    momentum: float = 0.99,
    seed: int = 0,
) -> AudioVector:
    """Find a signal from the magnitudes of its transform (fast Griffin-Lim: Perraudin, Balazs and
    Sondergaard, 2013).

    Parameters
    ----------
    magnitude : SpectrogramMatrix
        (..., n_fft // 2 + 1, frames), as `abs(stft(...))`. Overlaps of 75 % and more give good results.
    n_samples : int
        Length of the signal.
    n_fft, hop_length, win_length, window
        As given to `stft`.
    n_iterations : int
        Projections; 0 gives random phase.
    momentum : float
        0 is the algorithm of Griffin and Lim (1984), whose error never grows; values near 1 converge faster.
    seed : int
        For the first phase, which is random.

    Returns
    -------
    AudioVector
        (..., n_samples). Its sign and the offset of its phases are arbitrary.
    """
    sizes = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length, "window": window}
    random = np.random.default_rng(seed).random(magnitude.shape, dtype=np.float32)
    spectrum = magnitude * np.exp(2j * np.pi * random).astype(np.result_type(magnitude, np.complex64))
    previous = np.zeros_like(spectrum)
    for _ in range(n_iterations):
        consistent = stft(istft(spectrum, n_samples=n_samples, **sizes), **sizes)
        ahead = consistent + momentum * (consistent - previous)
        previous = consistent
        spectrum = magnitude * ahead / np.maximum(np.abs(ahead), 1e-12)
    return istft(spectrum, n_samples=n_samples, **sizes)
