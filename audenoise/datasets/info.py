"""What a built dataset is and holds: `dataset.json` and the tables of its items."""

import csv
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from audenoise.crops import StoredStft
from audenoise.errors import DataError
from audenoise.sources.parts import write_text

INFO_FILE = "dataset.json"
BUILDING = ".building"
"""Folder inside a dataset that is not finished."""
SAVED_SPEC, SAVED_METADATA = "dataset_spec.pb", "snapshot.metadata"
"""Files in every folder of `tf.data.Dataset.save`: types and shapes; run and number of elements."""
FORMAT_VERSION = 1
COLUMNS = (
    "item", "shard", "clean", "clean_offset_s", "noise", "noise_offset_s", "label", "speaker", "snr_db",
    "noise_ratio", "duration_s", "noisy_peak", "clean_rms_db", "sha256", "samples", "clean_sha256",
)  # fmt: skip
"""Of the tables. `sha256` is that of the noisy spectrogram's bytes, `clean_sha256` that of the clean one's
(older tables have `stored_sha256`: of the noisy one's bytes and then the clean one's); `samples` is the
length at the dataset's rate. `clean` and `noise` are paths of sources, several of them joined by " + ";
`noise` is the noisy recording's where pairs were given. An empty cell means that there is no such thing."""


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False)


class Source(_Entry):
    """A recording that went into a side."""

    path: str
    sha256: str
    kind: Literal["clean", "noise", "noisy", "rir"] = "clean"
    duration_s: float | None = None
    speaker: str | None = None
    label: str | None = None


class Histogram(_Entry):
    """Items by a number: counts[i] of them lie from edges[i] to edges[i + 1]."""

    edges: tuple[float, ...] = ()
    counts: tuple[int, ...] = ()


class SideInfo(_Entry):
    """One side of a dataset."""

    items: Annotated[int, Field(ge=1)]
    hours: float
    shards: Annotated[int, Field(ge=1)]
    bytes: int = 0
    checksum: str = ""
    """SHA-256 of the items' `sha256` and `clean_sha256`, in order."""
    snr_db: Histogram = Histogram()
    labels: dict[str, int] = {}
    """Items of each class of noise."""
    sources: tuple[Source, ...] = ()


class _Stft(_Entry):
    n_fft: int
    hop_length: int
    win_length: int
    window: str


class _Spec(BaseModel):
    model_config = ConfigDict(frozen=True, extra="allow")

    sample_rate: int
    stft: _Stft
    dtype: Literal["float16"] = "float16"
    scale: float
    seed: int = 0


class _Skipped(_Entry):
    path: str
    reason: str


class _File(_Entry):
    format_version: int
    complete: Literal[True]
    spec: _Spec
    sides: dict[Literal["train", "test"], SideInfo]
    skipped: tuple[_Skipped, ...] = ()


def _no_dataset(folder: Path) -> str:
    """What to do with a folder that isn't a built dataset."""
    if not folder.exists():
        return f"{folder}: no such folder; check the path"
    if not any((folder / name).is_file() for name in (SAVED_SPEC, SAVED_METADATA)):
        return f"{folder}: is no dataset ({INFO_FILE} is missing); make one with build-dataset"
    parent = folder.absolute().parent
    if (parent / INFO_FILE).is_file():
        return f"{folder}: is one side of a dataset; name the whole one, {parent}"
    return (
        f"{folder}: holds spectrograms alone, as save_dataset and tf.data.Dataset.save leave them "
        f"({INFO_FILE}, which says what they are, is missing). In Python load_dataset reads them, and "
        "save_dataset makes a dataset of them if it is told their sample_rate, n_fft and hop_length; or make "
        "one with build-dataset"
    )


@dataclass(frozen=True)
class DatasetInfo:
    """A finished dataset.

    Attributes
    ----------
    path : Path
        Its folder.
    stft : StoredStft
        Rate, STFT and scale of its spectrograms.
    spec : dict
        Every parameter it was built with, as in `dataset.json`.
    sides : dict
        "train", and "test" if some was held out, to `SideInfo`.
    skipped : tuple of (str, str)
        Recordings that were left out, with the reason.
    """

    path: Path
    stft: StoredStft
    spec: dict[str, Any]
    sides: dict[str, SideInfo]
    skipped: tuple[tuple[str, str], ...]

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read and check `dataset.json` in a dataset's folder.

        Raises
        ------
        DataError
            If there is no finished dataset, or it comes from another version.
        """
        folder = Path(path)
        file = folder / INFO_FILE
        if not file.is_file():
            if (folder / BUILDING).is_dir():
                raise DataError(
                    f"{folder}: this dataset is not finished; the same build-dataset command continues it"
                )
            raise DataError(_no_dataset(folder))
        try:
            data = json.loads(file.read_text(encoding="utf-8"))
        except OSError as error:
            raise DataError(f"{file}: cannot be read ({error.strerror})") from None
        except ValueError:
            raise DataError(f"{file}: is damaged (no JSON); build the dataset again") from None
        version = data.get("format_version") if isinstance(data, dict) else None
        if version != FORMAT_VERSION:
            raise DataError(
                f"{file}: has format version {version}, this audenoise reads {FORMAT_VERSION}; "
                "build the dataset again"
            )
        try:
            read = _File.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(map(str, first["loc"]))
            raise DataError(f"{file}: {key}: {first['msg']}; build the dataset again") from None
        for side in read.sides:
            if not (folder / side).is_dir():
                raise DataError(f"{folder / side}: is missing; build the dataset again")
        stft = StoredStft(
            sample_rate=read.spec.sample_rate, scale=read.spec.scale, **read.spec.stft.model_dump()
        )
        return cls(
            folder,
            stft,
            data["spec"],
            {str(name): side for name, side in read.sides.items()},
            tuple((each.path, each.reason) for each in read.skipped),
        )

    def side(self, name: str) -> Path:
        """The folder of a side.

        Raises
        ------
        DataError
            If the dataset has no such side.
        """
        if name not in self.sides:
            raise DataError(f"{self.path}: has no side {name!r}, only {', '.join(self.sides)}")
        return self.path / name

    def rows(self, side: str) -> Iterator[dict[str, str]]:
        """The rows of a side's table, see `COLUMNS`; one for each item, in the order of the items.

        Raises
        ------
        DataError
            If the table is missing or has other columns.
        """
        table = self.side(side).with_suffix(".csv")
        try:
            with table.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
                reader = csv.DictReader(file)
                missing = set(COLUMNS[:-2]) - set(reader.fieldnames or ())
                if missing:
                    raise DataError(f"{table}: has no column {sorted(missing)[0]}; build the dataset again")
                yield from reader
        except OSError as error:
            raise DataError(f"{table}: cannot be read ({error.strerror})") from None


def _one_line(entry: Mapping[str, Any]) -> str:
    # Bytes of a path that are no text become escapes, which JSON has for them.
    return json.dumps(entry, ensure_ascii=False).encode("utf-8", "backslashreplace").decode("utf-8")


def write_info(
    folder: Path,
    *,
    spec: Mapping[str, Any],
    inputs: Mapping[str, Any],
    sides: Mapping[str, Mapping[str, Any]],
    skipped: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Write `dataset.json`, which makes a folder a finished dataset; a line for each source and skipped file.

    Parameters
    ----------
    folder : Path
    spec, inputs : mapping
        What was asked for, and of which recordings.
    sides : mapping
        Name → what a `SideInfo` is read from.
    skipped : sequence of mapping
        "path" and "reason".
    """
    lists: list[Sequence[Mapping[str, Any]]] = []

    def hole(entries: Sequence[Mapping[str, Any]]) -> str:
        lists.append(entries)
        return f"@list{len(lists) - 1}@"

    data = {
        "format_version": FORMAT_VERSION,
        "complete": True,
        "spec": spec,
        "inputs": inputs,
        "sides": {name: {**side, "sources": hole(side["sources"])} for name, side in sides.items()},
        "skipped": hole(skipped),
    }
    text = json.dumps(data, indent=2)
    for i, entries in enumerate(lists):
        lines = ",\n".join(f"    {_one_line(each)}" for each in entries)
        text = text.replace(f'"@list{i}@"', f"[\n{lines}\n  ]" if entries else "[]")
    write_text(folder / INFO_FILE, text + "\n")
