"""Which noisy file belongs to which clean one: by a table, or by the names of files and folders."""

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path

from audenoise.audio import find_audio
from audenoise.errors import DataError

from .layouts import column, read_table
from .recordings import Skipped


@dataclass(frozen=True)
class NamedPair:
    """Two files that are said to belong together, and what else is said of them."""

    noisy: Path
    clean: Path
    side: str | None = None
    speaker: str | None = None
    label: str | None = None


def _key(path: Path, root: Path) -> str:
    found = re.search(r"fileid_(\d+)$", path.stem)
    if found:
        return f"fileid {int(found[1])}"
    name = path.relative_to(root).with_suffix("").as_posix().lower()
    return re.sub(r"(^|[_./-])(noisy|clean)(?=[_./-]|$)", r"\1", name).strip("_-")


def match_folders(noisy: Path, clean: Path, side: str | None) -> tuple[list[NamedPair], list[Skipped]]:
    """Files of two folders that are named alike; and those of both that have no partner."""
    partners: dict[str, list[Path]] = {}
    for path in find_audio(clean):
        partners.setdefault(_key(path, clean), []).append(path)
    named, skipped, used = [], [], set()
    for path in find_audio(noisy):
        found = partners.get(_key(path, noisy), [])
        used.update(found)
        if len(found) == 1:
            named.append(NamedPair(path, found[0], side))
        else:
            reason = f"{len(found)} clean recordings have its name" if found else "has no clean recording"
            skipped.append(Skipped(path, f"{reason} in {clean}"))
    left = [path for paths in partners.values() for path in paths if path not in used]
    return named, skipped + [Skipped(path, f"has no noisy recording in {noisy}") for path in left]


def folder_pairs(root: Path) -> tuple[list[NamedPair], list[Skipped]]:
    """Files of all folders below `root` that are named alike but for "noisy" and "clean".

    The side is that of the folder's name if any of them has "test" in it.
    """
    named, skipped = [], []
    for folder, subfolders, _ in os.walk(root):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        for name in list(subfolders):
            if "noisy" not in name.lower():
                continue
            partner = next(
                (other for other in subfolders if other.lower() == name.lower().replace("noisy", "clean")),
                None,
            )
            if partner is None:
                continue
            noisy = Path(folder, name)
            side = "test" if "test" in noisy.relative_to(root).as_posix().lower() else "train"
            more, bad = match_folders(noisy, Path(folder, partner), side)
            named += more
            skipped += bad
            subfolders.remove(name)
            subfolders.remove(partner)
    if {each.side for each in named} == {"train"}:
        named = [replace(each, side=None) for each in named]
    return named, skipped


def table_pairs(table: Path) -> tuple[list[NamedPair], list[Skipped]]:
    """The rows of a CSV file, see `find_pairs`.

    Raises
    ------
    DataError
        Names the column or line that is wrong.
    """
    rows, columns = read_table(table)
    noisy = column(table, columns, ("noisy", "noisy_path"), what="the noisy recording")
    clean = column(table, columns, ("clean", "clean_path"), what="the clean recording")
    side = next((name for name in ("side", "split", "set") if name in columns), None)
    named, seen = [], set()
    for number, row in enumerate(rows, 2):
        if not row.get(noisy) or not row.get(clean):
            raise DataError(f"{table}: line {number} lacks the noisy or the clean path")
        path = Path(os.path.abspath(table.parent / row[noisy]))
        if path in seen:
            raise DataError(f"{table}: line {number} names {row[noisy]} again")
        seen.add(path)
        where = row[side].lower() if side and row.get(side) else None
        if where not in (None, "train", "test"):
            raise DataError(f"{table}: line {number}: {side} must be train or test. Received: {where}")
        named.append(
            NamedPair(
                path,
                Path(os.path.abspath(table.parent / row[clean])),
                where,
                row.get("speaker") or None,
                row.get("label") or None,
            )
        )
    return named, []
