"""Read audio, whole or in blocks."""

import os
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

import numpy as np
import soundfile as sf

from ..array_types import AudioVector, MultichannelAudio
from ..errors import AudioFileError, SignalError
from . import probe
from .info import COPY_AGAIN, AudioFile, AudioInfo, can_seek, open_audio, shown
from .media import MediaFile
from .resampling import resample

_READ_BLOCK = 65_536
_MP3_RUN_UP = 32 * 1152
_OGG_RUN_UP = 16_384  # samples: two of Vorbis's longest blocks, and more than the 80 ms that Opus needs


class AudioReader:
    """Read an audio file in blocks, in memory that doesn't grow with the file.

    Parameters
    ----------
    path : path-like
        Any format that `audio_info` reads.

    Attributes
    ----------
    info : AudioInfo
        Set once the reader is entered.

    Raises
    ------
    AudioFileError
        On entering, for all that `audio_info` refuses.

    Examples
    --------
    >>> with AudioReader("speech.wav") as reader:  # doctest: +SKIP
    ...     for block in reader.blocks(65_536):
    ...         print(block.shape)
    """

    info: AudioInfo

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._file: AudioFile | None = None
        self._position: int | None = None  # the next sample of the file, None after an error
        self._stack = ExitStack()

    def __enter__(self) -> "AudioReader":
        self._file, self.info = self._stack.enter_context(open_audio(self.path))
        self._position = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file = None
        self._stack.close()

    def blocks(
        self, block_samples: int, *, start: int = 0, n_samples: int | None = None
    ) -> Generator[MultichannelAudio, None, None]:
        """Yield consecutive blocks.

        Parameters
        ----------
        block_samples : int
            Samples per block, at least 1; the last block may be shorter.
        start : int
            First sample, from 0 to `info.n_samples` - 1.
        n_samples : int, optional
            Samples to read in all; by default, and at most, up to the end.

        Yields
        ------
        MultichannelAudio
            New float32 arrays, (samples, channels), full scale 1.0; floating-point files may exceed it.

        Raises
        ------
        AudioFileError
            If the file ends before its announced length, can't be decoded, or holds NaN or infinite samples.
        SignalError
            If the reader isn't open or a number is out of range.
        """
        if self._file is None:
            raise SignalError("AudioReader is not open. Use it in a `with` statement.")
        if block_samples < 1:
            raise SignalError(f"block_samples must be at least 1. Received: {block_samples}")
        if not 0 <= start < self.info.n_samples or (n_samples is not None and n_samples < 1):
            raise SignalError(
                f"{shown(self.path)}: start must be 0 to {self.info.n_samples - 1} and n_samples at least 1. "
                f"Received: start={start}, n_samples={n_samples}"
            )
        stop = self.info.n_samples if n_samples is None else min(self.info.n_samples, start + n_samples)
        position = start
        while position < stop:
            file = self._at(self._file, position)  # another run may have moved it
            asked = min(block_samples, stop - position)
            rows = self._read(file, asked, position)
            if not np.isfinite(rows).all():
                bad = position + int(np.isfinite(rows).all(axis=1).argmin())
                raise AudioFileError(
                    f"{shown(self.path)}: sample {bad} ({bad / self.info.sample_rate:.3f} s) is NaN or "
                    "infinite. Export the file again from its source."
                )
            position += asked
            yield rows

    def _at(self, file: AudioFile, start: int) -> AudioFile:
        """The file where its next sample is `start`: itself, or opened again where it can't go back."""
        if start == self._position:
            return file
        if isinstance(file, MediaFile) or not can_seek(file):
            if self._position is None or start < self._position:
                self._stack.close()
                file = self.__enter__()._file or file
            before = self._position or 0
        else:
            before = self._run_up(start)
            try:
                file.seek(before)
            except sf.SoundFileError as error:
                raise self._damaged(before) from error
        while before < start:
            before += len(self._read(file, min(_READ_BLOCK, start - before), before))
        return file

    def _run_up(self, start: int) -> int:
        """Where to seek to and read on from, so that sample `start` is as in a run from the beginning."""
        if self.info.format == "MP3":
            # After a seek the first frames come out as zeros, for they need bits of those before them.
            return max(0, start - _MP3_RUN_UP)
        if self.info.format == "OGG":
            # Opus needs a run-up too. And where the last page of a Vorbis stream is cut to the recording's
            # end, libsndfile lands too early in it by as much.
            page = probe.ogg_last_page_start(self.path) if self.info.subtype == "VORBIS" else start
            return max(0, min(start, page) - _OGG_RUN_UP)
        return start

    def _damaged(self, position: int) -> AudioFileError:
        return AudioFileError(
            f"{shown(self.path)}: is damaged or cut short somewhere after "
            f"{position / self.info.sample_rate:.1f} s. {COPY_AGAIN}"
        )

    def _read(self, file: AudioFile, n_samples: int, position: int) -> MultichannelAudio:
        rows = np.empty((n_samples, self.info.channels), np.float32)
        self._position = None
        try:
            rows = file.read(out=rows)
            position += len(rows)
        except sf.SoundFileError as error:
            raise self._damaged(position) from error
        if len(rows) < n_samples:
            raise AudioFileError(
                f"{shown(self.path)}: is cut short: {position} of {self.info.n_samples} samples can be read. "
                f"{COPY_AGAIN}"
            )
        self._position = position
        return rows


def read_audio(
    path: str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    mono: bool = False,
    start: int = 0,
    n_samples: int | None = None,
) -> tuple[AudioVector | MultichannelAudio, int]:
    """Read a file, or a part of it, into memory.

    Parameters
    ----------
    path : path-like
        Any format that `audio_info` reads.
    sample_rate : int, optional
        Resample to this rate in Hz; by default the file's rate is kept.
    mono : bool
        Average the channels.
    start, n_samples : int
        The part to read, counted at the file's own rate, as in `AudioReader.blocks`.

    Returns
    -------
    audio : AudioVector or MultichannelAudio
        float32, (samples,) if `mono` else (samples, channels). The length is the number of samples read, or
        `resampled_length` of it.
    sample_rate : int
        The rate of `audio`, in Hz.

    Raises
    ------
    AudioFileError, SignalError
        As `AudioReader` and `resample` do.
    """
    with AudioReader(path) as reader:
        parts = [
            block.mean(axis=1, dtype=np.float32) if mono else block
            for block in reader.blocks(_READ_BLOCK, start=start, n_samples=n_samples)
        ]
        rate = reader.info.sample_rate
    audio = np.concatenate(parts)
    if sample_rate is None or sample_rate == rate:
        return audio, rate
    return resample(audio, rate, sample_rate), sample_rate
