"""Change the sample rate, whole signals or block by block (soxr, zero delay, one length law)."""

from collections.abc import Iterable, Iterator

import numpy as np
import soxr

from ..array_types import AudioVector, MultichannelAudio
from ..errors import SignalError


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Return the length law of resampling: n_samples * to_rate / from_rate, rounded, halves up."""
    return (2 * n_samples * to_rate + from_rate) // (2 * from_rate)


class StreamResampler:
    """Resample blocks of any size; their concatenation equals the result for the whole signal.

    Parameters
    ----------
    from_rate, to_rate : int
        In Hz, at least 1.
    channels : int
        Number of channels.

    Examples
    --------
    >>> resampler = StreamResampler(48_000, 16_000, 1)
    >>> block = np.zeros((480, 1), np.float32)
    >>> len(resampler.process(block)) + len(resampler.flush())
    160
    """

    def __init__(self, from_rate: int, to_rate: int, channels: int) -> None:
        if not (from_rate >= 1 and to_rate >= 1 and int(from_rate) == from_rate and int(to_rate) == to_rate):
            raise SignalError(
                f"Sample rates must be whole numbers of Hz from 1. Received: {from_rate}, {to_rate}"
            )
        if channels < 1:
            raise SignalError(f"channels must be at least 1. Received: {channels}")
        self.from_rate, self.to_rate, self.channels = int(from_rate), int(to_rate), channels
        self._soxr = None
        if from_rate != to_rate:
            self._soxr = soxr.ResampleStream(from_rate, to_rate, channels, dtype="float32", quality="HQ")
        self._received = self._sent = 0

    def process(self, block: MultichannelAudio) -> MultichannelAudio:
        """Take (samples, channels), return what is ready: any number of samples, also none."""
        if block.ndim != 2 or block.shape[1] != self.channels:
            raise SignalError(f"block must be (samples, {self.channels}). Received: shape {block.shape}")
        block = np.ascontiguousarray(block, np.float32)
        self._received += len(block)
        if self._soxr is None:
            return block
        ready = self._soxr.resample_chunk(block, False)
        self._sent += len(ready)
        return ready

    def flush(self) -> MultichannelAudio:
        """Return the rest, so that the total is `resampled_length` of all received; then start afresh."""
        missing = resampled_length(self._received, self.from_rate, self.to_rate) - self._sent
        self._received = self._sent = 0
        if self._soxr is None:
            return np.zeros((0, self.channels), np.float32)
        # A few zeros behind the end, which is what soxr assumes there, so that the law's last sample is never
        # missing.
        zeros = np.zeros((2 + 2 * self.from_rate // self.to_rate, self.channels), np.float32)
        rest = self._soxr.resample_chunk(zeros, True)[:missing]
        self._soxr.clear()
        return rest


def resample(
    audio: AudioVector | MultichannelAudio, from_rate: int, to_rate: int
) -> AudioVector | MultichannelAudio:
    """Resample a whole signal with no delay.

    Parameters
    ----------
    audio : AudioVector or MultichannelAudio
        (samples,) or (samples, channels).
    from_rate, to_rate : int
        In Hz.

    Returns
    -------
    AudioVector or MultichannelAudio
        float32 and as many axes as `audio`; the length is round(samples * to_rate / from_rate), halves up.
        One sample can become none.

    Raises
    ------
    SignalError
        If the array has other than one or two axes, or a rate is no positive whole number.
    """
    if audio.ndim not in (1, 2):
        raise SignalError(f"audio must be (samples,) or (samples, channels). Received: shape {audio.shape}")
    columns = audio[:, None] if audio.ndim == 1 else audio
    resampler = StreamResampler(from_rate, to_rate, columns.shape[1])
    result = np.concatenate([resampler.process(columns), resampler.flush()])
    return result[:, 0] if audio.ndim == 1 else result


def resampled_blocks(
    blocks: Iterable[MultichannelAudio], from_rate: int, to_rate: int
) -> Iterator[MultichannelAudio]:
    """Resample a signal that comes in blocks of (samples, channels); no block is empty.

    Raises
    ------
    SignalError
        As `StreamResampler` does.
    """
    resampler = None
    for block in blocks:
        resampler = resampler or StreamResampler(from_rate, to_rate, block.shape[1])
        ready = resampler.process(block)
        if len(ready):
            yield ready
    if resampler is not None and len(rest := resampler.flush()):
        yield rest
