"""What the names in well-known corpora say: who speaks, which class of noise, what was cut from what.

A folder follows a layout if nearly all of its audio files have names of its form; a folder of several corpora
side by side is therefore fine.

============  ==========================================================  =================================
layout        names                                                       tell
============  ==========================================================  =================================
librispeech   84/121123/84-121123-0000.flac (LibriTTS: 84_121123_...)     speaker, chapter
voicebank     p226_001.wav (VoiceBank, VCTK)                              speaker
demand        DKITCHEN/ch01.wav                                           class; the 16 channels are one
                                                                          recording
esc50         1-100032-A-0.wav, classes in ../meta/esc50.csv              class; takes of one clip belong
                                                                          together
musan         noise/free-sound/noise-free-sound-0000.wav                  class: music, noise or speech
dns           book_00000_chp_0009_reader_06709_0.wav;                     reader and chapter;
              door_Freesound_validated_416117_0.wav                       class and clip
============  ==========================================================  =================================
"""

import csv
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from audenoise.errors import DataError

_SHARE = 0.9


@dataclass(frozen=True)
class Traits:
    """What a name tells about a recording."""

    speaker: str | None = None
    label: str | None = None
    group: str | None = None
    layout: str | None = None


Recogniser = Callable[[Path], Traits | None]

_LIBRISPEECH = re.compile(r"(\d+)([-_])(\d+)\2\d{4,6}(?:_\d{6})?")
_VOICEBANK = re.compile(r"([ps]\d{3})_\d{3}(?:_mic\d)?")
_DEMAND = re.compile(r"ch\d\d")
_ESC50 = re.compile(r"\d-(\d+)-[A-Z]+-\d+")
_MUSAN = re.compile(r"(music|noise|speech)-[a-z-]+-\d{4}")
_DNS_SPEECH = re.compile(r"(book_\d+_chp_\d+)_reader_(\d+)_\d+.*")
_DNS_NOISE = re.compile(r"(.+)_(Freesound_(?:validated_)?\d+)_\d+")


def _librispeech(path: Path) -> Traits | None:
    found = _LIBRISPEECH.fullmatch(path.stem)
    if not found:
        return None
    speaker, _, chapter = found.groups()
    return Traits(f"librispeech-{speaker}", group=f"librispeech-{speaker}-{chapter}")


def _voicebank(path: Path) -> Traits | None:
    found = _VOICEBANK.fullmatch(path.stem)
    return Traits(f"vctk-{found[1]}") if found else None


def _demand(path: Path) -> Traits | None:
    if not _DEMAND.fullmatch(path.stem) or not path.parent.name.isupper():
        return None
    return Traits(label=path.parent.name, group=f"demand-{path.parent.name}")


def _esc50(path: Path) -> Traits | None:
    found = _ESC50.fullmatch(path.stem)
    return Traits(group=f"esc50-{found[1]}") if found else None


def _musan(path: Path) -> Traits | None:
    found = _MUSAN.fullmatch(path.stem)
    return Traits(label=found[1]) if found and found[1] in path.parent.parts else None


def _dns(path: Path) -> Traits | None:
    if found := _DNS_SPEECH.fullmatch(path.stem):
        return Traits(f"dns-{found[2]}", group=f"dns-{found[1]}")
    if found := _DNS_NOISE.fullmatch(path.stem):
        return Traits(label=found[1], group=found[2])
    return None


LAYOUTS: Mapping[str, Recogniser] = {
    "librispeech": _librispeech,
    "voicebank": _voicebank,
    "demand": _demand,
    "esc50": _esc50,
    "musan": _musan,
    "dns": _dns,
}


def traits_of(paths: Iterable[Path], layout: str = "auto") -> dict[Path, Traits]:
    """What the names say; `layout` as for `find_recordings`."""
    folders: dict[Path, list[Path]] = {}
    for path in paths:
        folders.setdefault(path.parent, []).append(path)
    names = {"auto": tuple(LAYOUTS), "plain": ()}.get(layout, (layout,))
    traits: dict[Path, Traits] = {}
    for folder, files in folders.items():
        traits.update((path, Traits()) for path in files)
        for name in names:
            found = {path: LAYOUTS[name](path) for path in files}
            sure = {path: trait for path, trait in found.items() if trait is not None}
            if len(sure) < (_SHARE * len(files) if layout == "auto" else 1):
                continue
            classes = _esc50_classes(folder) if name == "esc50" else {}
            for path, trait in sure.items():
                label = classes.get(path.name, trait.label)
                traits[path] = Traits(trait.speaker, label, trait.group, name)
            break
    return traits


def _esc50_classes(folder: Path) -> dict[str, str]:
    """File name → category out of meta/esc50.csv, beside the audio folder or in it."""
    for place in (folder.parent, folder):
        table = place / "meta" / "esc50.csv"
        if table.is_file():
            return read_classes(table)
    return {}


def read_table(path: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Rows and column names (in lower case) of a CSV file with a header, separated by , ; or tabs.

    Raises
    ------
    DataError
        If it can't be read.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head = file.readline()
            file.seek(0)
            separator = max(",;\t", key=head.count)
            reader = csv.DictReader(file, delimiter=separator)
            columns = [(name or "").strip().lower() for name in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [{key: (value or "").strip() for key, value in row.items() if key} for row in reader]
    except OSError as error:
        raise DataError(f"{path}: can't be read ({error.strerror})") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: is no CSV file in UTF-8 ({error})") from None
    return rows, columns


def column(path: Path, columns: Iterable[str], names: Iterable[str], *, what: str) -> str:
    """The first of `names` that is a column.

    Raises
    ------
    DataError
        If none is.
    """
    columns = list(columns)
    for name in names:
        if name in columns:
            return name
    raise DataError(
        f"{path}: needs a column for {what}, named {' or '.join(names)}; "
        f"has {', '.join(filter(None, columns)) or 'no header'}"
    )


FILE_COLUMNS = ("filename", "file", "path", "name")


def read_classes(path: Path) -> dict[str, str]:
    """File name (or path, as it stands there) → class, out of a CSV such as ESC-50's meta/esc50.csv.

    Raises
    ------
    DataError
        If it can't be read or lacks a column.
    """
    rows, columns = read_table(path)
    file = column(path, columns, FILE_COLUMNS, what="the file")
    label = column(path, columns, ("category", "label", "class"), what="its class")
    return {row[file]: row[label] for row in rows if row.get(file) and row.get(label)}
