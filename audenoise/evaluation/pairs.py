"""What is evaluated: pairs of a noisy and a clean recording, in folders or in a saved dataset."""

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from typing import Protocol

import numpy as np

from audenoise.array_types import MultichannelAudio
from audenoise.audio import AUDIO_SUFFIXES, audio_info, find_audio, read_audio
from audenoise.crops import StoredStft
from audenoise.errors import DataError
from audenoise.shards import ShardIndex

LABEL_COLUMNS = ("label", "noise_class", "class", "noise_kind", "noise_type", "noise")
"""Where a table says of which class the noise is; the first of these that it has is taken."""


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


@dataclass(frozen=True)
class Label:
    """What a table says about a pair."""

    label: str | None
    snr_db: float | None


def stem_of(name: str) -> str:
    """Return a name without the suffix of an audio file, as it is matched."""
    return name[: -len(PurePath(name).suffix)] if name.lower().endswith(AUDIO_SUFFIXES) else name


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
        pairs.append(Pair(f"{item:06d}", noisy, clean, row.get("label") or None, _number(row.get("snr_db"))))
    return pairs


def read_labels(path: str | os.PathLike[str], *, column: str | None = None) -> dict[str, Label]:
    """Read a table that says of which class each noise is and at which SNR it was mixed.

    Parameters
    ----------
    path : path-like
        CSV with a header: `name` (or `file`, `filename`, `noisy`), and at least one of `snr_db` (or `snr`)
        and a column of `LABEL_COLUMNS`.
    column : str, optional
        The column of the class, in place of the first of `LABEL_COLUMNS`.

    Returns
    -------
    dict
        By name without the suffix of an audio file.

    Raises
    ------
    DataError
        If the table can't be read or lacks these columns.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            rows, there = list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable table: {error}") from error
    name = next((each for each in ("name", "file", "filename", "noisy") if each in there), None)
    snr = next((each for each in ("snr_db", "snr") if each in there), None)
    kind = column or next((each for each in LABEL_COLUMNS if each in there), None)
    if name is None:
        raise DataError(f"{path}: needs a column name. Columns: {', '.join(there)}")
    if column is not None and column not in there:
        raise DataError(f"{path}: has no column {column}. Columns: {', '.join(there)}")
    if snr is None and kind is None:
        raise DataError(
            f"{path}: needs snr_db or one of {', '.join(LABEL_COLUMNS)}. Columns: {', '.join(there)}"
        )
    return {
        stem_of(row[name] or ""): Label(
            row[kind] or None if kind else None, _number(row[snr]) if snr else None
        )
        for row in rows
    }


def apply_labels(pairs: Sequence[Pair], labels: Mapping[str, Label]) -> tuple[list[Pair], list[str]]:
    """Give pairs what a table says about them; return them and the names of those that it doesn't have.

    Matched is the path in the folder, or else the file's name alone.
    """
    labelled, unknown = [], []
    for pair in pairs:
        stem = stem_of(pair.name)
        found = labels.get(stem) or labels.get(PurePath(stem).name)
        if found is None:
            unknown.append(pair.name)
        labelled.append(pair if found is None else replace(pair, label=found.label, snr_db=found.snr_db))
    return labelled, unknown


def _number(cell: str | None) -> float | None:
    try:
        number = float(cell or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None
