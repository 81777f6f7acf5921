"""The mean of several runs over one signal, whose frames begin at different samples.

Each run makes its own errors where a frame cuts a sound in an unlucky place; their mean has less of them
(test-time shifts as in Défossez et al., Demucs, 2019).
"""

import numpy as np

from audenoise.errors import SignalError
from audenoise.stream import DenoiserStream, check_layout, samples_of

MAX_SHIFTS = 8  # more gain nothing that is heard
_AS_IT_IS = np.float32(1.0)


def check_shifts(shifts: object) -> int:
    """A number of shifts. Raises `SignalError` for what is none."""
    if isinstance(shifts, bool) or not (isinstance(shifts, int) and 1 <= shifts <= MAX_SHIFTS):
        raise SignalError(f"shifts must be a whole number from 1 to {MAX_SHIFTS}. Received: {shifts!r}")
    return shifts


class ShiftedStream:
    """As `DenoiserStream`, for whole signals: one stream whose channels are the signal's, each several times.

    Parameters
    ----------
    stream : DenoiserStream
        Of `shifts` times the signal's channels.
    shifts : int
        Runs, whose frames begin one after another in equal parts of a hop.
    hop_s : float
        From one frame to the next, in seconds.
    """

    def __init__(self, stream: DenoiserStream, shifts: int, *, hop_s: float) -> None:
        self._stream, self._channels = stream, stream.channels // shifts
        self._delays = [round(i * hop_s * stream.sample_rate / shifts) for i in range(shifts)]
        self._longest, self._flat = self._delays[-1], False
        self._begin()

    def _begin(self) -> None:
        self._past = np.zeros((self._longest, self._channels), np.float32)
        self._ready = np.zeros((0, self._stream.channels), np.float32)
        self._n_received = 0

    def expect(self, n_samples: int) -> None:
        """As `DenoiserStream.expect`."""
        self._stream.expect(n_samples + self._longest)

    def process(self, block: np.ndarray) -> np.ndarray:
        """As `DenoiserStream.process`."""
        check_layout(block)
        columns = block[:, None] if block.ndim == 1 else block
        if columns.shape[1] != self._channels:
            raise SignalError(f"this stream takes (samples, {self._channels}). Received: shape {block.shape}")
        samples = samples_of(columns, _AS_IT_IS, self._n_received)
        self._flat = block.ndim == 1
        self._n_received += len(samples)
        try:
            return self._mean(self._stream.process(self._delayed(samples)))
        except BaseException:
            self._begin()  # as the stream inside does
            raise

    def flush(self) -> np.ndarray:
        """As `DenoiserStream.flush`."""
        if not self._n_received:
            return np.zeros((0,) if self._flat else (0, self._channels), np.float32)
        rest = self._stream.process(self._delayed(np.zeros((self._longest, self._channels), np.float32)))
        result = self._mean(np.concatenate([rest, self._stream.flush()]))
        self._begin()
        return result

    def _delayed(self, samples: np.ndarray) -> np.ndarray:
        """The channels once for each delay."""
        whole = np.concatenate([self._past, samples])
        self._past = whole[len(whole) - self._longest :]
        starts = [self._longest - delay for delay in self._delays]
        return np.concatenate([whole[start : start + len(samples)] for start in starts], axis=1)

    def _mean(self, denoised: np.ndarray) -> np.ndarray:
        """The mean of what is there of every run."""
        self._ready = np.concatenate([self._ready, denoised])
        count = max(0, len(self._ready) - self._longest)
        runs = self._ready.reshape(len(self._ready), len(self._delays), self._channels)
        total = sum(runs[delay : delay + count, i] for i, delay in enumerate(self._delays))
        self._ready = self._ready[count:]
        mean = np.asarray(total, np.float32) / np.float32(len(self._delays))
        return mean[:, 0] if self._flat else mean
