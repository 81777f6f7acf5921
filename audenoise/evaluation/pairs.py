"""What is evaluated: pairs of a noisy and a clean recording, in folders or in a saved dataset."""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Protocol

import numpy as np

from audenoise.array_types import MultichannelAudio
from audenoise.audio import AUDIO_SUFFIXES, MEDIA_SUFFIXES, audio_info, find_audio, read_audio
from audenoise.crops import StoredStft
from audenoise.errors import DataError
from audenoise.shards import ShardIndex


@dataclass(frozen=True)
class Extent:
    """Length and rate of a recording."""

    n_samples: int
    sample_rate: int

    @property
    def duration_s(self) -> float:
        return self.n_samples / self.sample_rate


class Source(Protocol):
    """A recording that another process can be sent to read."""

    def extent(self) -> Extent: ...

    def read(self, start_s: float, stop_s: float) -> tuple[MultichannelAudio, int]:
        """Samples (samples, channels) from one time to another, as far as there are any, and their rate."""
        ...


@dataclass(frozen=True)
class FileSource:
    """An audio file."""

    path: Path

    def extent(self) -> Extent:
        info = audio_info(self.path)
        return Extent(info.n_samples, info.sample_rate)

    def read(self, start_s: float, stop_s: float) -> tuple[MultichannelAudio, int]:
        extent = self.extent()
        start = min(extent.n_samples, round(start_s * extent.sample_rate))
        stop = min(extent.n_samples, round(stop_s * extent.sample_rate))
        if stop <= start:
            return np.zeros((0, 1), np.float32), extent.sample_rate
        return read_audio(self.path, start=start, n_samples=stop - start)


@dataclass(frozen=True)
class StoredSource:
    """One half of an item of a saved dataset: `index` holds this item alone, `half` is 0 for noisy."""

    index: ShardIndex
    stft: StoredStft
    n_samples: int
    half: int

    def extent(self) -> Extent:
        return Extent(self.n_samples, self.stft.sample_rate)

    def read(self, start_s: float, stop_s: float) -> tuple[MultichannelAudio, int]:
        rate = self.stft.sample_rate
        audio = self.stft.to_waveforms(self.index.read(0)[self.half], self.n_samples)
        return audio[round(start_s * rate) : round(stop_s * rate), np.newaxis], rate


@dataclass(frozen=True)
class Pair:
    """A noisy recording, its clean twin, and what is known about the noise.

    Attributes
    ----------
    name : str
        Path of the noisy file below its folder, with "/"; number of the item in a dataset.
    noisy, clean : Source
    label : str or None
        Class of the noise.
    snr_db : float or None
        What the pair was mixed at.
    """

    name: str
    noisy: Source
    clean: Source
    label: str | None = None
    snr_db: float | None = None


@dataclass(frozen=True)
class Left:
    """A recording or pair that was left out, and why."""

    name: str
    reason: str


def stem_of(name: str) -> str:
    """Return a name without the suffix of an audio file, as it is matched."""
    is_one = name.lower().endswith(AUDIO_SUFFIXES + MEDIA_SUFFIXES)
    return name[: -len(PurePath(name).suffix)] if is_one else name


def files_by_stem(folder: Path) -> tuple[dict[str, Path], list[Left]]:
    """Audio files below a folder by their path in it without the suffix; and files whose name is taken."""
    found: dict[str, Path] = {}
    left: list[Left] = []
    for path in find_audio(folder):
        other = found.setdefault(stem_of(path.relative_to(folder).as_posix()), path)
        if other != path:
            left.append(Left(str(path), f"has the name of {other.name} but for the suffix, which was taken"))
    return found, left


def find_pairs(noisy: str | os.PathLike[str], clean: str | os.PathLike[str]) -> tuple[list[Pair], list[Left]]:
    """Match noisy recordings with clean ones.

    Parameters
    ----------
    noisy, clean : path-like
        Two folders, whose files match by their path in the folder without the suffix; or two files.

    Returns
    -------
    pairs : list of Pair
        Sorted by name.
    left : list of Left
        Recordings without a twin.

    Raises
    ------
    DataError
        If both are the same, one is a file and the other a folder, or nothing matches.
    AudioFileError
        If one is missing or can't be listed.
    """
    noisy, clean = Path(noisy), Path(clean)
    if os.path.realpath(noisy) == os.path.realpath(clean):
        raise DataError(f"{noisy}: is given as noisy and as clean; name two folders or two files")
    if noisy.is_file() and clean.is_file():
        return [Pair(noisy.name, FileSource(noisy), FileSource(clean))], []
    for file, folder in ((noisy, clean), (clean, noisy)):
        if file.is_file() and folder.is_dir():
            raise DataError(f"{file}: is a file and {folder} a folder; name two files or two folders")
    sides, left = [], []
    for root, other in ((noisy, clean), (clean, noisy)):
        files, doubles = files_by_stem(root)
        left += doubles
        if other.is_relative_to(root):  # the other side lies in a folder of this one
            files = {stem: path for stem, path in files.items() if not path.is_relative_to(other)}
        sides.append(files)
    both = sorted(sides[0].keys() & sides[1].keys())
    for files, others, root in ((sides[0], sides[1], clean), (sides[1], sides[0], noisy)):
        left += [Left(str(files[stem]), f"has no twin in {root}") for stem in sorted(files.keys() - others)]
    if not both:
        raise DataError(
            f"{noisy} and {clean}: no file of one has the name of a file of the other (suffixes may differ)"
        )
    pairs = [
        Pair(
            sides[0][stem].relative_to(noisy).as_posix(),
            FileSource(sides[0][stem]),
            FileSource(sides[1][stem]),
        )
        for stem in both
    ]
    return pairs, left


def paired_folders(folder: Path) -> tuple[Path, Path] | None:
    """The folders of noisy and of clean recordings in one, or None if there are none.

    They are named alike but for "noisy" and "clean", as in VoiceBank+DEMAND: of several such, the one with
    "test" in its name.

    Raises
    ------
    DataError
        If there are several, none or some of them for testing.
    """
    if not folder.is_dir():
        return None
    there = {path.name.lower(): path for path in sorted(folder.iterdir()) if path.is_dir()}
    found = {
        name: (path, there[twin])
        for name, path in there.items()
        if "noisy" in name and (twin := name.replace("noisy", "clean")) in there
    }
    tests = [name for name in found if "test" in name]
    chosen = tests if len(found) > 1 else list(found)
    if found and len(chosen) != 1:
        raise DataError(f"{folder}: holds {', '.join(found)}; name the noisy and the clean folder to take")
    return found[chosen[0]] if chosen else None


def stored_pairs(index: ShardIndex, stft: StoredStft, rows: Iterable[Mapping[str, str]]) -> list[Pair]:
    """The items of one side of a saved dataset, with the class and SNR that its table gives.

    Parameters
    ----------
    index : ShardIndex
    stft : StoredStft
        Both as `audenoise.datasets.feeding.open_side` returns them.
    rows : iterable of mapping
        As `DatasetInfo.rows` yields them, one for each item.
    """
    pairs = []
    for item, row in enumerate(rows):
        one = replace(
            index,
            files=(index.files[index.shard[item]],),
            shard=np.zeros(1, np.int64),
            offsets=index.offsets[item : item + 1],
            frames=index.frames[item : item + 1],
        )
        n_samples = int(row.get("samples") or 0) or round(float(row["duration_s"]) * stft.sample_rate)
        noisy, clean = (StoredSource(one, stft, n_samples, half) for half in (0, 1))
        pairs.append(
            Pair(f"{item:06d}", noisy, clean, row.get("label") or None, number_in(row.get("snr_db")))
        )
    return pairs


def number_in(cell: str | None) -> float | None:
    """The number in a cell of a table; None if there is none, or none that is finite."""
    try:
        number = float(cell or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
