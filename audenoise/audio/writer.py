"""Write audio in blocks, all or nothing."""

import importlib
import importlib.util
import os
import secrets
import shutil
import stat
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile as sf

from ..array_types import AudioVector, MultichannelAudio
from ..errors import AudioFileError, SignalError
from ..locks import YOUNG_S
from .info import (
    MAX_CHANNELS,
    MAX_SAMPLE_RATE,
    MIN_SAMPLE_RATE,
    AudioInfo,
    shown,
    sndfile_name,
)

_FORMATS = {
    ".wav": ("WAV", "PCM_16"),
    ".flac": ("FLAC", "PCM_16"),
    ".ogg": ("OGG", "VORBIS"),
    ".oga": ("OGG", "VORBIS"),
    ".opus": ("OGG", "OPUS"),
    ".mp3": ("MP3", "MPEG_LAYER_III"),
    ".aiff": ("AIFF", "PCM_16"),
    ".aif": ("AIFF", "PCM_16"),
    ".w64": ("W64", "PCM_16"),
    ".rf64": ("RF64", "PCM_16"),
    ".au": ("AU", "PCM_16"),
    ".caf": ("CAF", "PCM_16"),
}
_INTEGER_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_SAMPLE_BYTES = {"PCM_U8": 1, "PCM_S8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
# Only what keeps the length exactly: the ADPCM and GSM codecs fill up their last block.
_SUBTYPES = (*_SAMPLE_BYTES, "ULAW", "ALAW", "VORBIS", "OPUS", "MPEG_LAYER_III")
# What to write where the source's sample format doesn't exist in the target container, in order of
# preference.
_NEAREST = {
    "PCM_U8": ("PCM_S8",),
    "PCM_S8": ("PCM_U8",),
    "PCM_32": ("PCM_24",),
    "DOUBLE": ("FLOAT", "PCM_24"),
}
_NEAREST["FLOAT"] = ("PCM_24",)
_MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
_OPUS_RATES = (8000, 12000, 16000, 24000, 48000)
_VORBIS_MAX_RATE = 200_000  # libvorbis crashes at 250 kHz, and with more than 255 channels
_WAV_MAX_BYTES = 2**32 - 2**16  # sizes in a WAV header have 32 bits; the rest is room for the header
_ROUNDING = 2.0**-16  # half a step of 16 bits: what computing with a full-scale signal leaves of it
_WRITE_BLOCK = 65_536  # libsndfile's Vorbis encoder keeps a whole write on the stack


def output_format(path: str | os.PathLike[str], source: AudioInfo | None = None) -> tuple[str, str]:
    """Choose container and sample format for an output file.

    Parameters
    ----------
    path : path-like
        Its suffix decides the container.
    source : AudioInfo, optional
        Keep the sample format of this input where the container has it, or the nearest that it has.

    Returns
    -------
    format, subtype : str
        In libsndfile's words, for `AudioWriter`.

    Raises
    ------
    AudioFileError
        If the suffix is none that can be written.
    """
    path = Path(path)
    if path.suffix.lower() not in _FORMATS:
        raise AudioFileError(
            f"{shown(path)}: can't write this kind of file. Use one of {' '.join(sorted(_FORMATS))}."
        )
    container, subtype = _FORMATS[path.suffix.lower()]
    if source is None:
        return container, subtype
    if container == "WAV" and source.format == "WAVEX":
        container = "WAVEX"
    for kept in (source.subtype, *_NEAREST.get(source.subtype, ())):
        if _holds(container, kept) and path.suffix.lower() != ".opus":
            return container, kept
    return container, subtype


def _holds(container: str, subtype: str) -> bool:
    if container == "AIFF" and subtype in ("PCM_U8", "PCM_S8", "ULAW", "ALAW"):
        return False  # libsndfile counts the byte that pads an odd number of bytes as a sample
    if subtype == "MPEG_LAYER_III" and container != "MP3":
        return False
    return (
        container in sf.available_formats() and subtype in _SUBTYPES and sf.check_format(container, subtype)
    )


def can_write(format: str, subtype: str) -> bool:
    """Whether a file of this container and sample format, in libsndfile's words, can be a result here."""
    containers = {"WAVEX", *(container for container, _ in _FORMATS.values())}
    return format in containers and _holds(format, subtype)


def check_output(
    path: str | os.PathLike[str], *, sample_rate: int, channels: int, format: str, subtype: str
) -> None:
    """Refuse what a container or codec can't carry, before anything is written.

    Parameters
    ----------
    path : path-like
        For the message.
    sample_rate, channels : int
        In Hz, and their number.
    format, subtype : str
        As `output_format` returns them.

    Raises
    ------
    AudioFileError
        With the limit and the formats to use instead.
    """
    name = shown(Path(path))
    if not _holds(format, subtype):
        raise AudioFileError(
            f"{name}: {format} can't hold {subtype or 'such'} samples here. Choose another subtype or suffix."
        )
    limit, codec = MAX_CHANNELS, subtype if subtype in ("VORBIS", "OPUS") else format
    rates_fit = MIN_SAMPLE_RATE <= sample_rate <= MAX_SAMPLE_RATE
    rates = f"{MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz"
    if codec == "MP3":
        limit, rates_fit, rates = 2, sample_rate in _MP3_RATES, f"{', '.join(map(str, _MP3_RATES))} Hz"
    elif codec == "OPUS":
        limit, rates_fit, rates = 255, sample_rate in _OPUS_RATES, f"{', '.join(map(str, _OPUS_RATES))} Hz"
    elif codec == "VORBIS":
        limit, rates_fit, rates = (
            255,
            rates_fit and sample_rate <= _VORBIS_MAX_RATE,
            f"up to {_VORBIS_MAX_RATE} Hz",
        )
    elif codec == "FLAC":
        limit = 8
        rates_fit = rates_fit and (
            sample_rate <= 65_535 or (sample_rate <= 655_350 and sample_rate % 10 == 0)
        )
        rates = "up to 65535 Hz, and multiples of 10 up to 655350 Hz"
    if not 1 <= channels <= limit:
        raise AudioFileError(
            f"{name}: {codec} holds 1 to {limit} channels, not {channels}. Write .wav instead."
        )
    if not rates_fit:
        raise AudioFileError(
            f"{name}: {codec} holds {rates}, not {sample_rate}. Write .wav or .flac instead."
        )


class AudioWriter:
    """Write a file in blocks; it appears under its name, complete, only at the end.

    The blocks go to a hidden temporary file in the same folder. Leaving the `with` block normally checks it,
    syncs it to the disk and gives it its name; leaving by an error or Ctrl-C removes it. Integer samples are
    rounded without dither, so that what `AudioReader` read from integers of up to 24 bits is written back bit
    for bit.

    Parameters
    ----------
    path : path-like
        The folder must exist.
    sample_rate : int
        In Hz.
    channels : int
        Number of channels.
    format, subtype : str, optional
        Container and sample format in libsndfile's words; by default chosen from the suffix
        (`output_format`).
    n_samples : int, optional
        Expected length, so that a WAV that would pass 4 GiB is written as RF64.
    overwrite : bool
        Replace an existing file; without it, one is an error.
    tags : mapping of str to str, optional
        As in `AudioInfo`; what the container can't hold is left out, and so is the name of the software.
    irreplaceable : bool
        There is nothing to make the file from again, as with a recording from a microphone: until it is
        complete it is called ``NAME.unfinished-….SUFFIX``, so that what a killed process leaves can be found
        and opened. What was written is kept whatever goes wrong, see `kept`.

    Attributes
    ----------
    n_written : int
        Samples per channel so far.
    n_clipped : int
        Samples, over all channels, that were beyond ±1 by more than rounding and were clipped. Floating-point
        files aren't clipped.
    clipped_peak : float
        Magnitude of the largest of them; 0 without any.
    kept : Path or None
        Where the samples lie once the writer is closed, those of an irreplaceable recording after an error
        too; None if they are gone.

    Raises
    ------
    AudioFileError
        If the format can't carry the rate or the channels, the file exists, or the disk is full or refuses.

    Examples
    --------
    >>> with AudioWriter("clean.wav", sample_rate=16_000, channels=1) as writer:  # doctest: +SKIP
    ...     writer.write(np.zeros((16_000, 1), np.float32))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        sample_rate: int,
        channels: int,
        format: str | None = None,
        subtype: str | None = None,
        n_samples: int | None = None,
        overwrite: bool = False,
        tags: Mapping[str, str] | None = None,
        irreplaceable: bool = False,
    ) -> None:
        self.path = Path(path)
        self._tags = {name: text for name, text in (tags or {}).items() if name != "software"}
        if format is None:
            format, default = output_format(self.path)
        else:
            format = format.upper()
            default = sf.default_subtype(format) if format in sf.available_formats() else None
        self.format, self.subtype = format, (subtype or default or "").upper()
        check_output(
            self.path, sample_rate=sample_rate, channels=channels, format=self.format, subtype=self.subtype
        )
        self.sample_rate, self.channels, self.overwrite = sample_rate, channels, overwrite
        self._row_bytes = _SAMPLE_BYTES.get(self.subtype, 0) * channels
        if self.format in ("WAV", "WAVEX") and self._row_bytes * (n_samples or 0) > _WAV_MAX_BYTES:
            self.format = "RF64"
        self._check_target()
        self.n_written = self.n_clipped = 0
        self.clipped_peak = 0.0
        self.kept: Path | None = None
        self._irreplaceable = irreplaceable
        self._file: sf.SoundFile | None = None
        unique = secrets.token_hex(8)
        self._temporary = self.path.with_name(
            f"{self.path.stem}.unfinished-{unique}{self.path.suffix}"
            if irreplaceable
            else f".audenoise-{unique}.part"
        )
        self._held: int | None = None

    def __enter__(self) -> "AudioWriter":
        try:
            # Made here and not by libsndfile, to fail if it exists and to hear the reason of a refusal.
            self._held = os.open(self._temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
            if not _lock(self._held):
                os.close(self._held)
                self._held = None
            self._file = sf.SoundFile(
                sndfile_name(self._temporary),
                "w",
                samplerate=self.sample_rate,
                channels=self.channels,
                format=self.format,
                subtype=self.subtype,
            )
            for name, text in self._tags.items():
                with suppress(sf.SoundFileError):
                    setattr(self._file, name, text)
        except BaseException as error:
            self._discard()
            raise self._translated(error) from error
        return self

    def write(self, block: AudioVector | MultichannelAudio) -> None:
        """Append a block.

        Parameters
        ----------
        block : AudioVector or MultichannelAudio
            Floating point, (samples, channels), or (samples,) for one channel; full scale 1.0. Not changed.

        Raises
        ------
        SignalError
            If the shape is wrong, or a sample is NaN or infinite.
        AudioFileError
            If the disk is full or refuses, or a WAV passes 4 GiB.
        """
        if self._file is None:
            raise SignalError("AudioWriter is not open. Use it in a `with` statement.")
        rows = block[:, None] if block.ndim == 1 and self.channels == 1 else block
        if rows.ndim != 2 or rows.shape[1] != self.channels or not np.issubdtype(rows.dtype, np.floating):
            raise SignalError(
                f"block must be floating point, (samples, {self.channels}). "
                f"Received: {block.dtype} {block.shape}"
            )
        if (
            self.format in ("WAV", "WAVEX", "AIFF")
            and self._row_bytes * (self.n_written + len(rows)) > _WAV_MAX_BYTES
        ):
            raise AudioFileError(
                f"{shown(self.path)}: {self.format} ends at 4 GiB. Write .w64 or .flac instead."
            )
        for start in range(0, len(rows), _WRITE_BLOCK):
            encoded = self._encoded(rows[start : start + _WRITE_BLOCK])
            try:
                self._file.write(encoded)
            except (RuntimeError, OSError, AssertionError) as error:
                raise self._translated(error) from error
            self.n_written += len(encoded)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._commit()
            elif self._irreplaceable and self.n_written:
                with suppress(AudioFileError, RuntimeError, OSError):
                    self._commit()
        except AudioFileError:
            raise
        except (RuntimeError, OSError) as failure:
            raise self._translated(failure) from failure
        finally:
            self._discard()

    def _encoded(self, rows: np.ndarray) -> np.ndarray:
        """Samples in the type that libsndfile stores without scaling them: it multiplies floats by 2^(n-1) -
        1."""
        if self.subtype == "DOUBLE":
            encoded = np.ascontiguousarray(rows, np.float64)
        else:
            encoded = np.ascontiguousarray(rows, np.float32)
        if not np.isfinite(encoded).all():
            raise SignalError(f"{shown(self.path)}: a sample to write is NaN or infinite.")
        if self.subtype in ("FLOAT", "DOUBLE"):
            return encoded
        peak = float(np.abs(encoded).max(initial=0.0))
        beyond = peak > 1.0
        if peak > 1.0 + _ROUNDING:
            self.n_clipped += int(np.count_nonzero(np.abs(encoded) > 1.0 + _ROUNDING))
            self.clipped_peak = max(self.clipped_peak, peak)
        bits = _INTEGER_BITS.get(self.subtype)
        if bits is None:
            return np.clip(encoded, -1.0, 1.0) if beyond else encoded
        full = 2.0 ** (bits - 1)
        levels = np.rint(rows * np.float64(full))
        return np.clip(levels, -full, full - 1).astype(np.int32) << (32 - bits)

    def _commit(self) -> None:
        if self._file is None:
            raise SignalError("AudioWriter is not open. Use it in a `with` statement.")
        file, self._file = self._file, None
        file.close()
        if self.n_written == 0:
            raise AudioFileError(f"{shown(self.path)}: no samples were written, so no file was made.")
        # libsndfile doesn't report a failure to write the last buffer or the header, so look at what is
        # there.
        if sf.info(sndfile_name(self._temporary)).frames != self.n_written:
            raise self._translated(OSError("the file came out incomplete"))
        descriptor = os.open(self._temporary, os.O_RDWR)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        if self.overwrite:
            if self.path.exists():
                shutil.copymode(self.path, self._temporary)
            os.replace(self._temporary, self.path)
        else:
            try:
                # Unlike a rename, this fails if somebody else made the file meanwhile.
                os.link(self._temporary, self.path)
            except OSError:  # that, or a file system without links
                self._check_target()
                os.replace(self._temporary, self.path)
        self.kept = self.path

    def _check_target(self) -> None:
        name = shown(self.path)
        if self.path.is_dir():
            raise AudioFileError(f"{name}: is a folder. Name a file in it.")
        if os.path.lexists(self.path) and not self.overwrite:
            raise AudioFileError(
                f"{name}: exists already and is kept. Choose another name, or ask to overwrite it."
            )
        if not self.path.parent.is_dir():
            raise AudioFileError(f"{name}: its folder doesn't exist. Make the folder first.")

    def _discard(self) -> None:
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except RuntimeError:
            pass  # the file is being thrown away
        finally:
            if self._irreplaceable and self.n_written and self.kept is None:
                self.kept = self._temporary
            else:
                # On a read-only disk removing fails even where there is nothing to remove.
                with suppress(OSError):
                    self._temporary.unlink()
            held, self._held = self._held, None
            if held is not None:
                os.close(held)

    def _translated(self, error: BaseException) -> BaseException:
        if not isinstance(error, (RuntimeError, OSError, AssertionError, ValueError)):
            return error
        if isinstance(error, PermissionError):
            return AudioFileError(
                f"{shown(self.path)}: no permission to write in its folder. Choose another folder."
            )
        total, _, free = shutil.disk_usage(self.path.parent)
        if total and free < 2**20:  # what is no disk, such as /proc, has no room at all
            return AudioFileError(f"{shown(self.path)}: the disk is full. Free some space and run again.")
        reason = " ".join(str(getattr(error, "strerror", None) or error).split()).rstrip(".")
        reason = reason or "the system refused"
        return AudioFileError(
            f"{shown(self.path)}: can't be written ({reason}; {free / 2**20:.0f} MiB free). "
            "Check the disk, its quota and the folder's permissions."
        )


def remove_left_parts(folder: Path) -> None:
    """Remove what killed processes have left of files that they were writing into a folder.

    A file that is being written is locked by its process, and the system lets go of the lock when that ends,
    however it does. Without such locks, on Windows and on some network disks, nothing is removed; nor is what
    was written to within the last minute, should the lock of another machine not be seen from here.
    """
    with suppress(OSError):
        for part in folder.glob(".audenoise-*.part"):
            with suppress(OSError):
                status = part.lstat()
                if not stat.S_ISREG(status.st_mode) or time.time() - status.st_mtime < YOUNG_S:
                    continue
                descriptor = os.open(part, os.O_RDWR | getattr(os, "O_NOFOLLOW", 0))
                try:
                    if _lock(descriptor):
                        part.unlink()
                finally:
                    os.close(descriptor)


def _lock(descriptor: int) -> bool:
    """Lock an open file until it is closed, if that can be done and nobody else has."""
    if importlib.util.find_spec("fcntl") is None:
        return False
    fcntl: Any = importlib.import_module("fcntl")
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def write_audio(
    path: str | os.PathLike[str],
    audio: AudioVector | MultichannelAudio,
    sample_rate: int,
    *,
    subtype: str | None = None,
    overwrite: bool = False,
) -> None:
    """Write a whole signal, (samples,) or (samples, channels), as `AudioWriter` does."""
    channels = 1 if audio.ndim == 1 else audio.shape[-1]
    with AudioWriter(
        path,
        sample_rate=sample_rate,
        channels=channels,
        subtype=subtype,
        n_samples=len(audio),
        overwrite=overwrite,
    ) as writer:
        writer.write(audio)
