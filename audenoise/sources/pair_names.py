"""Which noisy file belongs to which clean one: by a table, or by the names of files and folders."""

import os
import re
from collections.abc import Iterable
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
    snr_db: float | None = None


def _key(path: Path, root: Path) -> str:
    found = re.search(r"fileid_(\d+)$", path.stem)
    if found:
        return f"fileid {int(found[1])}"
    name = path.relative_to(root).with_suffix("").as_posix().lower()
    return re.sub(r"(^|[_./-])(noisy|clean)(?=[_./-]|$)", r"\1", name).strip("_-")


_LOG_LINE = re.compile(r"(\S+?)(?:\.wav)?\s+(\S+)\s+([+-]?\d{1,3}(?:\.\d+)?)(?:\s*dB)?", re.IGNORECASE)


def noise_logs(noisy: Path) -> list[Path]:
    """VoiceBank+DEMAND's logs for a folder of noisy recordings, beside it or in a folder logfiles.

    ``log_testset.txt`` is for noisy_testset_wav, ``log_trainset_28spk.txt`` for noisy_trainset_28spk_wav; for
    a noisy_trainset_wav, which doesn't say how many speakers it has, all logs of training sets are.
    """
    logs = [
        log
        for place in (noisy.parent, noisy.parent / "logfiles", noisy.parent.parent / "logfiles")
        for log in sorted(place.glob("log_*set*.txt"))
    ]
    folder, parts = noisy.name.lower(), {log: log.stem.lower().removeprefix("log_") for log in logs}
    exact = [log for log in logs if parts[log] in folder]
    return exact or [log for log in logs if parts[log].split("_")[0] in folder and "spk" not in folder]


def read_noise_logs(logs: Iterable[Path]) -> tuple[dict[str, tuple[str, float]], list[Skipped]]:
    """Name (lower case, no suffix) → class of noise and SNR in dB; and the logs that have other lines.

    Such lines, and those of a name that was there before, are left out; a log is text with lines such as
    ``p226_001 cafe 10``.
    """
    found: dict[str, tuple[str, float]] = {}
    problems = []
    for log in logs:
        bad = []
        try:
            with log.open(encoding="utf-8-sig", errors="replace") as file:
                for number, line in enumerate(file, 1):
                    match = _LOG_LINE.fullmatch(line.strip())
                    if match and (name := match[1].lower()) not in found:
                        found[name] = match[2], float(match[3])
                    elif line.strip():
                        bad.append(number)
        except OSError as error:
            problems.append(Skipped(log, f"can't be read ({error.strerror})"))
        if bad:
            more = f" (and {len(bad) - 1} lines more)" if len(bad) > 1 else ""
            problems.append(Skipped(log, f"line {bad[0]}{more} is no new name with a noise and an SNR"))
    return found, problems


def match_folders(noisy: Path, clean: Path, side: str | None) -> tuple[list[NamedPair], list[Skipped]]:
    """Files of two folders that are named alike; and those of both that have no partner.

    Class of noise and SNR are those of VoiceBank+DEMAND's logs, where there are such: see `noise_logs`.
    """
    mixed, bad_logs = read_noise_logs(noise_logs(noisy))
    partners: dict[str, list[Path]] = {}
    for path in find_audio(clean):
        partners.setdefault(_key(path, clean), []).append(path)
    named, skipped, used = [], [], set()
    for path in find_audio(noisy):
        found = partners.get(_key(path, noisy), [])
        used.update(found)
        if len(found) == 1:
            label, snr_db = mixed.get(path.stem.lower(), (None, None))
            named.append(NamedPair(path, found[0], side, label=label, snr_db=snr_db))
        else:
            reason = f"{len(found)} clean recordings have its name" if found else "has no clean recording"
            skipped.append(Skipped(path, f"{reason} in {clean}"))
    left = [path for paths in partners.values() for path in paths if path not in used]
    skipped += [Skipped(path, f"has no noisy recording in {noisy}") for path in left]
    return named, skipped + bad_logs


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
