"""Cut pieces out of recordings at a dataset's rate, without decoding more than is needed."""

import os
from collections.abc import Callable
from math import gcd
from pathlib import Path

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.audio import read_audio, resample, resampled_length
from audenoise.errors import SignalError
from audenoise.mixing import strongest_channel

from .recordings import Recording

_CONTEXT_S = 0.05
"""Read on both sides of a piece, for the resampling filter."""
SILENCE = 1e-5
"""RMS of what counts as silent: -100 dBFS."""


def length_at(recording: Recording, sample_rate: int) -> int:
    """Samples that a recording has at another rate."""
    return resampled_length(recording.n_samples, recording.sample_rate, sample_rate)


def read_parallel(
    first: Recording,
    second: Recording,
    *,
    start: int,
    n_samples: int,
    sample_rate: int,
    delays: tuple[int, int],
) -> tuple[AudioVector, AudioVector]:
    """Read the same piece of two parallel recordings, as `read_excerpt`.

    Of several channels it is the strongest of the first; where the second has as many, the same of it.
    """
    chosen: list[tuple[int, int]] = []

    def choose(audio: np.ndarray) -> int:
        chosen.append((strongest_channel(audio), audio.shape[1]))
        return chosen[0][0] if chosen[0][1] == audio.shape[1] else chosen[-1][0]

    parts = [
        read_excerpt(each, start, n_samples, sample_rate=sample_rate, delay=delay, choose=choose)
        for each, delay in zip((first, second), delays, strict=True)
    ]
    return parts[0], parts[1]


def read_excerpt(
    recording: Recording,
    start: int,
    n_samples: int,
    *,
    sample_rate: int,
    delay: int = 0,
    choose: Callable[[np.ndarray], int] = strongest_channel,
) -> AudioVector:
    """Read a piece of a recording, at any rate, as one channel.

    The piece is the same as that of the whole recording resampled, but for the resampling filter's tails.

    Parameters
    ----------
    recording : Recording
    start, n_samples : int
        The piece, counted at `sample_rate`.
    sample_rate : int
        Of the result, in Hz.
    delay : int
        The file counts as beginning this many of its own samples later (earlier if negative, with zeros).
    choose : callable, optional
        Which channel of (samples, channels) it is to be. Default: the strongest.

    Returns
    -------
    AudioVector
        float32, (n_samples,); zeros behind the recording's end.

    Raises
    ------
    AudioFileError
        If the file can't be read or decoded.
    SignalError
        If start or n_samples is out of range.
    """
    if start < 0 or n_samples < 1:
        raise SignalError(f"start must be at least 0, n_samples at least 1. Received: {start}, {n_samples}")
    rate = recording.sample_rate
    # Blocks of `down` samples of the file are `up` of the result: a cut between blocks shifts nothing.
    up, down = sample_rate // gcd(rate, sample_rate), rate // gcd(rate, sample_rate)
    context = -(-round(_CONTEXT_S * rate) // down)
    first_block = max(0, start // up - context)
    last_block = -(-(start + n_samples) // up) + context
    first = first_block * down + delay
    begin = min(max(0, first), recording.n_samples - 1)
    end = min(max(begin + 1, last_block * down + delay), recording.n_samples)
    audio, _ = read_audio(recording.path, start=begin, n_samples=end - begin)
    channel = audio[:, choose(audio)]
    if first < 0:
        channel = np.concatenate([np.zeros(-first, np.float32), channel])
    if rate != sample_rate:
        channel = resample(channel, rate, sample_rate)
    offset = start - first_block * up
    piece = channel[offset : offset + n_samples]
    if piece.size < n_samples:
        piece = np.concatenate([piece, np.zeros(n_samples - piece.size, np.float32)])
    return np.ascontiguousarray(piece, np.float32)


class DecodedCache:
    """Decoded recordings in a folder, as plain float32, which all processes of this machine share.

    Noise is cut again and again: reading a part of a decoded file costs next to nothing, and what is read
    often stays in the system's memory.

    Parameters
    ----------
    folder : Path
        Made if missing.
    sample_rate : int
        In Hz.
    """

    def __init__(self, folder: Path, sample_rate: int) -> None:
        self.folder, self.sample_rate = folder, sample_rate
        folder.mkdir(parents=True, exist_ok=True)

    def cut(self, number: int, recording: Recording, *, start: int, n_samples: int) -> AudioVector:
        """Up to `n_samples` from `start` on, as far as the recording goes; `number` names it here."""
        path = self.folder / f"{number}.f32"
        if not path.is_file():
            audio = read_excerpt(
                recording, 0, max(1, length_at(recording, self.sample_rate)), sample_rate=self.sample_rate
            )
            partial = path.with_suffix(f".partial{os.getpid()}")
            try:
                audio.tofile(partial)
                os.replace(partial, path)
            finally:
                partial.unlink(missing_ok=True)
        return np.fromfile(path, np.float32, n_samples, offset=4 * start)
