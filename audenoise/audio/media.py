"""Recordings that libsndfile doesn't read (m4a, mp4, webm …), by FFmpeg's decoders if PyAV is installed."""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import soundfile as sf

MEDIA_SUFFIXES = (
    ".m4a",
    ".m4b",
    ".aac",
    ".wma",
    ".amr",
    ".3gp",
    ".mp4",
    ".mov",
    ".mkv",
    ".avi",
    ".webm",
)
"""Recordings as phones and cameras make them."""
HEAD_BYTES = 12
"""Of a file, by which it is known what kind it is."""

_CUT_S = 0.5  # the last frame may be filled up, and a track may begin a little later than the others
_ASF = bytes.fromhex("3026b2758e66cf11")
_CLOCK = re.compile(r"(\d+):(\d+):([\d.]+)")
_MATROSKA = bytes.fromhex("1a45dfa3")
_TAGS = {name: name for name in ("title", "artist", "comment", "date", "album", "copyright", "genre")}
_TAGS["track"] = "tracknumber"


def is_media(path: Path) -> bool:
    """Whether a file's name is one of `MEDIA_SUFFIXES`, in any case."""
    return path.suffix.lower() in MEDIA_SUFFIXES


def begins_like_media(head: bytes) -> bool:
    """Whether the first `HEAD_BYTES` of a file are those of one of these kinds, whatever its name."""
    return (
        head[4:8] == b"ftyp"  # m4a, mp4, mov, 3gp
        or head.startswith((_MATROSKA, _ASF, b"#!AMR"))
        or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
        or (len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0)  # AAC in ADTS; MP3 has a layer
    )


def can_read_media() -> bool:
    """Whether PyAV is installed."""
    return importlib.util.find_spec("av") is not None


class MediaFile:
    """The first audio track of a file, as far as `AudioReader` asks a `soundfile.SoundFile` for it.

    It can only be read from the beginning. What FFmpeg can't decode is a `soundfile.SoundFileError`.

    Parameters
    ----------
    path : Path

    Attributes
    ----------
    samplerate, channels : int
    format, subtype : str
        Container and coder by FFmpeg's names, in capitals, such as MOV and AAC.
    announced_samples : int
        Samples per channel by the container's word, or 0 if it says nothing that can be relied on.
    """

    extra_info = ""

    def __init__(self, path: Path) -> None:
        import av

        self._waiting: list[np.ndarray] = []
        with _errors():
            # As a file in any case: "12:30.m4a" would be looked for by a protocol named 12.
            self._container = av.open(f"file:{path}", metadata_errors="ignore")
        try:
            with _errors():
                tracks = self._container.streams.audio
                if not tracks:
                    raise sf.SoundFileRuntimeError("it has no audio track")
                self._track = tracks[0]
                self._frames = self._decoded()
                first = next(self._frames, None)
        except BaseException:
            self._container.close()
            raise
        if first is not None:
            self._waiting.append(first)
        self.format = self._container.format.name.split(",")[0].upper()
        self.subtype = self._track.codec_context.name.upper()
        self.samplerate = self._rate if first is not None else int(self._track.rate or 0)
        self.channels = first.shape[1] if first is not None else int(self._track.channels or 0)
        self.announced_samples = round(self._announced_s() * self.samplerate)

    def __enter__(self) -> "MediaFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._frames.close()
        self._container.close()

    def copy_metadata(self) -> dict[str, str]:
        """Tags by libsndfile's names."""
        found = {**self._container.metadata, **self._track.metadata}
        return {_TAGS[key.lower()]: value for key, value in found.items() if key.lower() in _TAGS and value}

    def is_cut(self, n_samples: int) -> bool:
        """Whether clearly fewer samples than announced were found."""
        return n_samples + _CUT_S * self.samplerate < self.announced_samples

    def read(self, out: np.ndarray) -> np.ndarray:
        """Fill (samples, channels) float32 as far as there is audio, and return the part that was filled."""
        done = 0
        with _errors():
            while done < len(out):
                if not self._waiting:
                    rows = next(self._frames, None)
                    if rows is None:
                        break
                    self._waiting.append(rows)
                rows = self._waiting.pop()
                taken = rows[: len(out) - done]
                out[done : done + len(taken)] = taken
                done += len(taken)
                if len(taken) < len(rows):
                    self._waiting.append(rows[len(taken) :])
        return out[:done]

    def _announced_s(self) -> float:
        """Seconds that the container says the track lasts; raw AAC and AMR are guessed from their size."""
        track, seconds = self._track, 0.0
        if self.format == "MOV" and track.duration and track.time_base:
            seconds = float(track.duration * track.time_base)
        elif self.format == "MATROSKA" and (found := _CLOCK.fullmatch(track.metadata.get("DURATION", ""))):
            hours, minutes, rest = map(float, found.groups())
            seconds = 3600 * hours + 60 * minutes + rest
        elif self.format == "MATROSKA" and len(self._container.streams) == 1 and self._container.duration:
            seconds = self._container.duration / 1e6
        return seconds

    def _decoded(self) -> Any:
        """Yield (samples, channels) of each frame."""
        import av

        resampler, layout = None, ""
        for frame in self._container.decode(self._track):
            if resampler is None:
                layout, self._rate = frame.layout.name, frame.sample_rate
                resampler = av.AudioResampler(format="flt", layout=layout, rate=self._rate)
            if (frame.layout.name, frame.sample_rate) != (layout, self._rate):
                raise sf.SoundFileRuntimeError("rate or channels change on the way")
            for part in resampler.resample(frame):
                rows = part.to_ndarray().reshape(part.samples, -1)
                if len(rows):
                    yield rows


@contextmanager
def _errors() -> Iterator[None]:
    """FFmpeg's errors as libsndfile's."""
    from av.error import FFmpegError

    try:
        yield
    except FFmpegError as error:
        raise sf.SoundFileRuntimeError(error.strerror or str(error)) from error
