"""Rules that a person gives: who speaks in a recording, and which classes of noise to take."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from audenoise.errors import DataError

from .layouts import FILE_COLUMNS, column, read_classes, read_table

if TYPE_CHECKING:
    from .recordings import Recording


@dataclass(frozen=True)
class SpeakerRule:
    """Who speaks: by a folder's name, a pattern in the path, or a table.

    Attributes
    ----------
    text : str
        ``folder`` or ``folder:2``: the first or second folder below the one that was given.
        ``FILE.csv``: a table with a column for the file (filename, file, path or name) and one for the
        speaker (speaker, speaker_id or client_id). Anything else is a regular expression that is searched in
        the path below the given folder; its first group, or one named `speaker`, is the speaker.

    Raises
    ------
    DataError
        If the text is no such rule.

    Examples
    --------
    >>> SpeakerRule(r"^(?P<speaker>[a-z]+)_").find("anna_003.wav")
    'anna'
    >>> SpeakerRule("folder:2").find("session1/ben/7.wav")
    'ben'
    """

    text: str

    def __post_init__(self) -> None:
        if not self._is_table and self._level is None:
            try:
                groups = re.compile(self.text).groups
            except re.error as error:
                raise DataError(f"speakers: {self.text!r} is no regular expression ({error})") from None
            if not groups:
                raise DataError(
                    f"speakers: {self.text!r} needs a group in parentheses that is the speaker; "
                    "or give folder, folder:N or FILE.csv"
                )

    @property
    def _is_table(self) -> bool:
        return self.text.lower().endswith((".csv", ".tsv"))

    @property
    def _level(self) -> int | None:
        found = re.fullmatch(r"folder(?::([1-9]\d?))?", self.text)
        return int(found[1] or 1) if found else None

    def find(self, name: str) -> str | None:
        """The speaker in a path below the given folder (with slashes), by folder or pattern."""
        if self._level is not None:
            parts = name.split("/")
            return parts[self._level - 1] if len(parts) > self._level else None
        found = re.search(self.text, name)
        if not found:
            return None
        return found.groupdict().get("speaker") or found[1]

    def apply(self, recordings: Sequence["Recording"], roots: Mapping[Path, Path]) -> list["Recording"]:
        """The recordings with their speakers; `roots` says below which folder each was found.

        Raises
        ------
        DataError
            If the rule says nothing about some recording.
        """
        find = self._lookup()
        result = [replace(each, speaker=find(each.path, roots[each.path])) for each in recordings]
        unknown = [each.path for each in result if not each.speaker]
        if unknown:
            raise DataError(
                f"speakers: the rule {self.text} names no speaker for {len(unknown)} of {len(result)} "
                f"recordings, such as {unknown[0]}"
            )
        return result

    def _lookup(self) -> Callable[[Path, Path], str | None]:
        if not self._is_table:
            return lambda path, root: self.find(_below(path, root))
        table = Path(self.text)
        rows, columns = read_table(table)
        file = column(table, columns, FILE_COLUMNS, what="the file")
        speaker = column(table, columns, ("speaker", "speaker_id", "client_id"), what="the speaker")
        speakers = {row[file]: row[speaker] for row in rows if row.get(file)}
        return lambda path, root: by_file(speakers, path, root)


def _below(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def by_file(table: Mapping[str, str], path: Path, root: Path) -> str | None:
    """What a table says about a file that it may name in several ways."""
    names = (str(path), _below(path, root), path.name, path.stem)
    return next((table[name] for name in names if name in table), None)


@dataclass(frozen=True)
class LabelRule:
    """Which classes of noise to take.

    Attributes
    ----------
    include, exclude : tuple of str
        Classes; with none to include, all are.
    table : Path or None
        CSV that says the class of each file, such as ESC-50's meta/esc50.csv. A file is named by its path
        below the folder that was given, by its absolute path, or by its name.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    table: Path | None = None

    def apply(self, recordings: Sequence["Recording"], roots: Mapping[Path, Path]) -> list["Recording"]:
        """The recordings of the wanted classes; `roots` says below which folder each was found.

        Raises
        ------
        DataError
            If a class isn't there, or nothing is left.
        """
        result = list(recordings)
        if self.table is not None:
            classes = read_classes(self.table)
            named = [replace(each, label=by_file(classes, each.path, roots[each.path])) for each in result]
            if result and not any(each.label for each in named):
                raise DataError(f"{self.table}: names none of the {len(result)} recordings of noise")
            result = [
                each if each.label else replace(each, label=old.label)
                for each, old in zip(named, result, strict=True)
            ]
        there = sorted({each.label or "" for each in result})
        for name in (*self.include, *self.exclude):
            if name not in there:
                near = difflib.get_close_matches(name, there, n=1)
                hint = f"did you mean {near[0]}?" if near else f"there are {_listed(there)}"
                raise DataError(f"noise class {name!r} isn't there; {hint}")
        kept = [
            each
            for each in result
            if (not self.include or each.label in self.include) and each.label not in self.exclude
        ]
        if result and not kept:
            raise DataError("no noise is left after leaving classes out")
        return kept


def _listed(names: Sequence[str], most: int = 12) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
