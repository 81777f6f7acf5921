"""Levels over time and frequency, computed by blocks: an hour takes no more memory than a minute."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audenoise.array_types import Audio, SpectrogramMatrix
from audenoise.audio import AudioReader, resampled_blocks, resampled_length
from audenoise.errors import SignalError

RANGE_DB = 80.0
WINDOW_S = 0.032
FLOOR_DB = -120.0
MAX_COLUMNS = 1600  # about the pixels of a printed panel: more would be averaged away in drawing
_FRAMES_PER_COLUMN = (
    8  # of a long file; the others are skipped, so that the cost of an hour is that of minutes
)
_BLOCK_S = 2.0


@dataclass(frozen=True)
class LevelSpectrogram:
    """Levels ready to draw: `level_db` is (frequency, columns) in dB; a sine of full scale is at 0 dB."""

    level_db: SpectrogramMatrix
    duration_s: float
    sample_rate: int


def read_level_spectrogram(path: Path, *, sample_rate: int | None = None) -> LevelSpectrogram:
    """Of a file, at its own rate or at another, in Hz."""
    with AudioReader(path) as reader:
        own = reader.info.sample_rate
        rate = sample_rate or own
        blocks = reader.blocks(max(1, round(_BLOCK_S * own)))
        n_samples = resampled_length(reader.info.n_samples, own, rate)
        return level_spectrogram(resampled_blocks(blocks, own, rate), n_samples, rate)


def level_spectrogram(blocks: Iterable[np.ndarray], n_samples: int, sample_rate: int) -> LevelSpectrogram:
    """Mean power of the frames in each column, from blocks of shape (samples, channels)."""
    win_length = max(2, 2 * round(WINDOW_S * sample_rate / 2))
    window = np.hanning(win_length + 1)[:-1]
    n_frames = max(1, min(-(-n_samples // (win_length // 4)), MAX_COLUMNS * _FRAMES_PER_COLUMN))
    n_columns = min(n_frames, MAX_COLUMNS)
    # Frames stay inside the recording, or the cut at its ends would show as a bright line; one that is
    # shorter than a window lies in the middle of it.
    centres = np.arange(n_frames) * n_samples // n_frames
    starts = np.clip(centres - win_length // 2, 0, max(0, n_samples - win_length))
    lead = max(0, win_length - n_samples) // 2
    columns = np.arange(n_frames) * n_columns // n_frames
    power = np.zeros((win_length // 2 + 1, n_columns))
    for frame, column in zip(_frames(blocks, starts, win_length, lead), columns, strict=True):
        spectrum = np.fft.rfft(frame * window[:, np.newaxis], axis=0)
        power[:, column] += np.mean(spectrum.real**2 + spectrum.imag**2, axis=1)
    power /= np.bincount(columns, minlength=n_columns) * (window.sum() / 2) ** 2
    level_db = 10 * np.log10(np.maximum(power, 10 ** (FLOOR_DB / 10)))
    return LevelSpectrogram(level_db, n_samples / sample_rate, sample_rate)


def _frames(
    blocks: Iterable[np.ndarray], starts: np.ndarray, win_length: int, lead: int
) -> Iterator[np.ndarray]:
    """Yield (win_length, channels) from each start, rising, in a stream that begins with `lead` zeros."""
    waiting = iter(starts.tolist())
    start = next(waiting, None)
    buffer, origin = np.zeros((lead, 0)), 0
    for block in _with_tail(blocks, win_length):
        if buffer.shape[1] != block.shape[1]:
            buffer = np.zeros((len(buffer), block.shape[1]))
        buffer = np.concatenate([buffer, block])
        while start is not None and start + win_length <= origin + len(buffer):
            yield buffer[start - origin : start - origin + win_length]
            start = next(waiting, None)
        if start is None:
            return
        dropped = max(0, min(len(buffer), start - origin))
        buffer, origin = buffer[dropped:], origin + dropped


def _with_tail(blocks: Iterable[np.ndarray], n_samples: int) -> Iterator[np.ndarray]:
    n_channels = 1
    for block in blocks:
        n_channels = block.shape[1]
        yield block
    yield np.zeros((n_samples, n_channels))


def shared_limits_db(spectrograms: list[LevelSpectrogram]) -> tuple[float, float]:
    loudest = max(float(item.level_db.max()) for item in spectrograms)
    # A tenth of a dB over a step is rounding or an onset, and not worth 5 dB of the scale.
    top = 5.0 * float(np.ceil((loudest - 0.1) / 5.0)) if loudest > FLOOR_DB else 0.0
    return top - RANGE_DB, top


def two_axes(audio: Audio, sample_rate: int) -> np.ndarray:
    samples = np.asarray(audio)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise SignalError(
            f"audio must be (samples,) or (samples, channels), not empty. Received: {samples.shape}"
        )
    if sample_rate < 1:
        raise SignalError(f"sample_rate must be at least 1 Hz. Received: {sample_rate}")
    return samples[:, np.newaxis] if samples.ndim == 1 else samples
