"""Find audio files, open them safely and say what they hold."""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import soundfile as sf

from ..errors import AudioFileError
from . import probe
from .chatter import decoder_kept_quiet
from .media import HEAD_BYTES, MEDIA_SUFFIXES, MediaFile, begins_like_media, can_read_media

AUDIO_SUFFIXES = (
    ".wav",
    ".flac",
    ".ogg",
    ".mp3",
    ".opus",
    ".oga",
    ".aiff",
    ".aif",
    ".w64",
    ".rf64",
    ".au",
    ".caf",
)
# A header outside these is damaged or hostile: 1 Hz would make a resampler write 16000 samples for every one
# it reads.
MIN_SAMPLE_RATE, MAX_SAMPLE_RATE = 1_000, 1_000_000
MAX_CHANNELS = 1_024  # libsndfile's own limit

_UNKNOWN_LENGTH = 2**62  # libsndfile answers 2**63 - 1 where the header leaves the length open
_COUNT_BLOCK = 65_536
_NOT_AUDIO = "is not audio that can be read here. Convert it to wav, flac, ogg or mp3."
_NEEDS_MEDIA = (
    "needs FFmpeg's decoders: `pip install av` (or audenoise[media]), or convert it to wav, flac, ogg or mp3."
)
COPY_AGAIN = "Copy or download it again, or convert the readable part with ffmpeg."


@dataclass(frozen=True)
class AudioInfo:
    """What a file holds.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    channels : int
        Number of channels.
    n_samples : int
        Samples per channel, at least 1.
    format, subtype : str
        Container and sample format in libsndfile's words, as in "WAV" and "PCM_16".
    tags : dict of str to str
        Title, artist, comment and so on, by libsndfile's names, as far as there are any.
    """

    sample_rate: int
    channels: int
    n_samples: int
    format: str
    subtype: str
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.n_samples / self.sample_rate


def shown(path: Path) -> str:
    """Return a file name that keeps an error message on one printable line."""
    name = str(path)
    return name if name.isprintable() else ascii(name)


class _SequentialFile(sf.SoundFile):
    """A file that soundfile doesn't seek in by itself.

    After every block `SoundFile.read` seeks to where it already is. In an MP3 the decoder then loses what it
    holds of earlier frames, and the next thousands of samples come out as zeros; in a FLAC file of unknown
    length the seek fails at the end.
    """

    def __init__(self, file: Any) -> None:
        with decoder_kept_quiet() if os.fsencode(file).lower().endswith(b".mp3") else nullcontext():
            super().__init__(_without_resource_fork(file))

    def seekable(self) -> bool:
        return False

    def read(self, *args: Any, **keywords: Any) -> Any:
        with decoder_kept_quiet() if self.format == "MP3" else nullcontext():
            return super().read(*args, **keywords)


AudioFile: TypeAlias = sf.SoundFile | MediaFile


def _without_resource_fork(file: Any) -> Any:
    """The file as it is given; open already where libsndfile would look into its ``._name`` as well.

    macOS lays such files beside recordings on memory sticks, and libsndfile finds no MP3 beside one.
    """
    folder, name = os.path.split(os.fsdecode(file))
    if not os.path.exists(os.path.join(folder, f"._{name}")):
        return file
    return os.open(file, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # closed with it


def can_seek(file: sf.SoundFile) -> bool:
    """Whether libsndfile can go to any sample of a file: it can't in GSM 6.10, as voice mail has it."""
    return sf.SoundFile.seekable(file)


def sndfile_name(path: Path) -> Any:
    """Return a path as soundfile takes it, also where it isn't UTF-8 (soundfile's stubs leave out bytes)."""
    return str(path) if os.name == "nt" else os.fsencode(path)


def find_audio(
    path: str | os.PathLike[str], *, on_error: Callable[[AudioFileError], object] | None = None
) -> list[Path]:
    """List the audio files below a folder.

    Parameters
    ----------
    path : path-like
        A folder, searched recursively (links to folders are followed once), or one file, which is returned
        whatever its suffix. Hidden files and folders (`.name`) are left out.
    on_error : callable, optional
        Called for each folder below `path` that can't be listed; without it, that is an error. Called also
        for each recording of a kind that can't be read without PyAV where that isn't installed (m4a, mp4);
        without it, these are left out.

    Returns
    -------
    list of Path
        Sorted; the suffix is one of `AUDIO_SUFFIXES` in any case, or with PyAV of `MEDIA_SUFFIXES`. Empty if
        the folder has no audio.

    Raises
    ------
    AudioFileError
        If the path is missing or a folder can't be listed.
    """
    root = Path(path)
    if root.is_file():
        return [root]
    if not root.is_dir():
        raise AudioFileError(f"{shown(root)}: no such file or folder. Check the path.")

    def refuse(error: OSError) -> None:
        folder = Path(error.filename)
        problem = AudioFileError(f"{shown(folder)}: can't list this folder ({error.strerror}).")
        if on_error is None or folder == root:
            raise problem from error
        on_error(problem)

    found, seen = [], set()
    readable = AUDIO_SUFFIXES + (MEDIA_SUFFIXES if can_read_media() else ())
    for folder, subfolders, names in os.walk(root, onerror=refuse, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            subfolders.clear()
            continue
        seen.add(real)
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in sorted(names):
            if name.startswith("."):
                continue
            if name.lower().endswith(readable):
                found.append(Path(folder, name))
            elif on_error is not None and name.lower().endswith(MEDIA_SUFFIXES):
                on_error(AudioFileError(f"{shown(Path(folder, name))}: {_NEEDS_MEDIA}"))
    return sorted(found)


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(HEAD_BYTES)


def _opened(path: Path) -> AudioFile:
    if begins_like_media(_head(path)) and can_read_media():
        return MediaFile(path)
    return _SequentialFile(sndfile_name(path))


def audio_info(path: str | os.PathLike[str]) -> AudioInfo:
    """Read the header of an audio file.

    Parameters
    ----------
    path : path-like
        Any format that libsndfile reads, and with PyAV those of `MEDIA_SUFFIXES`. A file whose header leaves
        the length open or says it roughly (an MP3 without a Xing tag, a FLAC written to a pipe, m4a) is
        decoded once to count its samples.

    Returns
    -------
    AudioInfo

    Raises
    ------
    AudioFileError
        If the file is missing, unreadable, empty, not audio, visibly cut short or outside the supported
        rates.
    """
    with open_audio(Path(path)) as (_, info):
        return info


@contextmanager
def open_audio(path: Path) -> Iterator[tuple[AudioFile, AudioInfo]]:
    """Open a file with every check that needs no decoding (see `audio_info`)."""
    _check_readable(path)
    with ExitStack() as stack:
        try:
            file = stack.enter_context(_opened(path))
            info = _inspect(path, file)
        except (RuntimeError, TypeError, ValueError) as error:
            raise AudioFileError(f"{shown(path)}: {_why_not_opened(path, error)}") from error
        except OSError as error:  # what could be read a moment ago was moved, or a disk or network fails
            raise AudioFileError(f"{shown(path)}: can't be read ({error.strerror or error}).") from error
        yield file, info


def _check_readable(path: Path) -> None:
    name = shown(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise AudioFileError(f"{name}: is a folder, not an audio file. Name a file in it.")
        if not stat.S_ISREG(status.st_mode):
            raise AudioFileError(f"{name}: is not a regular file. Save the audio to a file first.")
        with open(path, "rb"):
            pass
    except FileNotFoundError as error:
        raise AudioFileError(f"{name}: {_why_missing(name)}") from error
    except PermissionError as error:
        raise AudioFileError(
            f"{name}: no permission to read it. Change its permissions or copy it."
        ) from error
    except (OSError, ValueError) as error:
        raise AudioFileError(
            f"{name}: can't be read ({getattr(error, 'strerror', None) or error})."
        ) from error
    if status.st_size == 0:
        raise AudioFileError(f"{name}: is empty (0 bytes). Record or copy it again.")


def _why_missing(name: str) -> str:
    if re.match(r"[a-z]+:/", name):
        return "is an address, not a file. Download it first."
    if any(sign in name for sign in "*?["):
        return "no such file. Leave the quotes out, so that the shell looks for the names."
    return "no such file. Check the path."


def _why_not_opened(path: Path, error: Exception) -> str:
    reason = " ".join((getattr(error, "error_string", "") or "").split())
    try:
        head = _head(path)
    except OSError as problem:  # moved away in the meantime
        return f"can't be read ({problem.strerror})."
    if head[:4] in (b"RIFF", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b"caff") or head[:3] == b"ID3":
        return f"has a damaged or unsupported audio header ({reason or 'unknown layout'}). {COPY_AGAIN}"
    if not begins_like_media(head):
        return _NOT_AUDIO
    if not can_read_media():
        return _NEEDS_MEDIA
    return f"has no audio that can be decoded ({reason or error}). {COPY_AGAIN}"


def _inspect(path: Path, file: AudioFile) -> AudioInfo:
    name = shown(path)
    if file.format == "RAW":  # libsndfile takes any bytes named .gsm or .vox for audio
        raise AudioFileError(
            f"{name}: is not audio that can be read here. Convert it to wav, flac, ogg or mp3."
        )
    if not MIN_SAMPLE_RATE <= file.samplerate <= MAX_SAMPLE_RATE:
        raise AudioFileError(
            f"{name}: the header says {file.samplerate} Hz; {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} can be. "
            "Convert it again from its source."
        )
    if not 1 <= file.channels <= MAX_CHANNELS:
        raise AudioFileError(
            f"{name}: the header says {file.channels} channels. Convert it again from its source."
        )
    short = probe.announced_bytes(file.extra_info)
    if short:
        raise AudioFileError(
            f"{name}: is cut short ({short[0] / short[1]:.1%} of its audio is there). {COPY_AGAIN}"
        )
    if file.format == "OGG" and probe.ogg_is_cut(path):
        raise AudioFileError(f"{name}: is cut short (it ends inside an Ogg page). {COPY_AGAIN}")

    n_samples = _count(path) if isinstance(file, MediaFile) else file.frames
    if file.format == "MP3" and not probe.mp3_has_length(path):
        # libsndfile guesses the length from the first frames and never reads past the guess.
        if probe.mp3_samples(path) > n_samples + 2 * 1152:
            raise AudioFileError(
                f"{name}: has no length tag and its end can't be reached. "
                "Add the tag with `ffmpeg -i IN.mp3 -c copy OUT.mp3`."
            )
        n_samples = _count(path)
    elif n_samples > _UNKNOWN_LENGTH:
        n_samples = _count(path)
    if n_samples == 0 and (n_bytes := probe.unannounced_bytes(path)):
        raise AudioFileError(
            f"{name}: the header says 0 samples, but {n_bytes} bytes follow: the recording was broken off. "
            "Repair it with `sox --ignore-length IN.wav OUT.wav`."
        )
    if n_samples == 0:
        raise AudioFileError(f"{name}: holds no samples (zero length). Record or export it again.")
    return AudioInfo(
        file.samplerate, file.channels, n_samples, file.format, file.subtype, file.copy_metadata()
    )


def _count(path: Path) -> int:
    """Count the samples of a file by decoding it."""
    total = 0
    with _opened(path) as file:
        block = np.empty((_COUNT_BLOCK, file.channels), np.float32)
        try:
            while rows := len(file.read(out=block)):
                total += rows
        except sf.SoundFileError as error:
            raise AudioFileError(f"{shown(path)}: is damaged after sample {total}. {COPY_AGAIN}") from error
        if isinstance(file, MediaFile) and file.is_cut(total):
            raise AudioFileError(
                f"{shown(path)}: is cut short ({total / file.announced_samples:.1%} of its audio is there). "
                f"{COPY_AGAIN}"
            )
    return total
