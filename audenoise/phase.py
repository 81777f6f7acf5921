"""Griffin-Lim block by block: a phase that fits denoised magnitudes, for signals of any length."""

import numpy as np

from audenoise.spectral import istft, stft

N_ITERATIONS = 32
MOMENTUM = 0.99


class PhaseStream:
    """Frames in, the same magnitudes with a phase that suits them out.

    Fast Griffin-Lim (Perraudin, Balazs and Sondergaard, 2013).

    It begins with the phase of the frames received, so that where the magnitudes were left alone nothing
    changes, and no sign or offset is arbitrary. A block of frames is worked on together with those before it,
    which stay as they were sent out, and some after it, which are only looked at. Blocks begin at fixed
    frames, however the frames arrive.

    Parameters
    ----------
    n_fft, hop_length, win_length, window
        As for `audenoise.spectral.stft`.
    channels : int
    block_frames : int
        At least 1; what is kept in memory is a block and its surroundings.

    Attributes
    ----------
    delay_frames : int
        Frames by which the output trails the input at most.
    """

    def __init__(
        self, *, n_fft: int, hop_length: int, win_length: int, window: str, channels: int, block_frames: int
    ) -> None:
        self._sizes = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length, "window": window}
        self._overlap = -(-win_length // hop_length) - 1  # frames that begin before one has ended
        self._context = 2 * (self._overlap + 1)
        self._block = block_frames
        self._shape = (channels, n_fft // 2 + 1, 0)
        self.delay_frames = self._block + self._context - 1
        self._reset()

    def _reset(self) -> None:
        # The last frames that were sent out, then those that wait.
        self._frames = np.zeros(self._shape, np.complex64)
        self._n_past = 0

    def process(self, frames: np.ndarray) -> np.ndarray:
        """Take (channels, frequency, frames), any number of frames; return those that are ready."""
        self._frames = np.concatenate([self._frames, frames], axis=2)
        ready = [np.zeros(self._shape, np.complex64)]
        while self._frames.shape[2] - self._n_past >= self._block + self._context:
            ready.append(self._take(self._block))
        return np.concatenate(ready, axis=2)

    def flush(self) -> np.ndarray:
        """Return the frames that are left, and start afresh."""
        left = self._frames.shape[2] - self._n_past
        frames = self._take(left) if left else np.zeros(self._shape, np.complex64)
        self._reset()
        return frames

    def _take(self, n_frames: int) -> np.ndarray:
        past = self._n_past
        shown = self._frames[..., : past + n_frames + self._context]
        # What reaches beyond the frames that are known counts as silence, which is only true at the end.
        cut_off = self._overlap if shown.shape[2] > past + n_frames else 0
        fitted = self._fitted(shown, past, cut_off)
        self._frames[..., past : past + n_frames] = fitted[..., past : past + n_frames]
        sent = self._frames[..., past : past + n_frames].copy()
        dropped = max(0, past + n_frames - self._context)
        self._frames = self._frames[..., dropped:]
        self._n_past = past + n_frames - dropped
        return sent

    def _fitted(self, spectrum: np.ndarray, n_first: int, n_last: int) -> np.ndarray:
        """Phases of all but the first and last frames, which stay."""
        n_samples = (spectrum.shape[2] + 1) * self._sizes["hop_length"] - self._sizes["win_length"]
        if n_samples < 1:
            return spectrum
        magnitude, first, last = np.abs(spectrum), slice(n_first), slice(spectrum.shape[2] - n_last, None)
        given = spectrum
        previous = np.zeros_like(spectrum)
        for _ in range(N_ITERATIONS):
            consistent = stft(istft(spectrum, n_samples=n_samples, **self._sizes), **self._sizes)
            ahead = consistent + np.float32(MOMENTUM) * (consistent - previous)
            previous = consistent
            spectrum = magnitude * ahead / np.maximum(np.abs(ahead), np.float32(1e-30))
            for part in (first, last):
                spectrum[..., part] = given[..., part]
        return spectrum
