"""What is wrong with a saved dataset: leaks between its sides, silence, clipping, duplicates, damage.

Every item is read once, some at a time and in parallel; what stays in memory is a few numbers of each.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from audenoise.errors import DataError
from audenoise.workers import map_in_processes

from .feeding import open_side
from .info import DatasetInfo
from .item_checks import ItemCheck, check_part, digest_of, parts_of

SILENT_DBFS = -70.0
"""Below this RMS level there is nothing to hear."""
_NAMED = 6

KINDS = {
    "leak": "leaks between the sides",
    "damaged": "damaged items",
    "silent": "silent items",
    "clipped": "clipped items",
    "duplicate": "duplicates",
}


@dataclass
class Findings:
    """Lines of text for each of `KINDS`, and how many items were read."""

    lines: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    items: int = 0

    @property
    def total(self) -> int:
        return sum(map(len, self.lines.values()))


def find_leaks(info: DatasetInfo) -> list[str]:
    """Speech and noise that is on both sides, by name, by content and by speaker; one line each."""
    if not {"train", "test"} <= info.sides.keys():
        return []
    train, test = (
        [source for source in info.sides[name].sources if source.kind != "rir"] for name in ("train", "test")
    )
    lines = []
    paths = {source.path for source in train}
    contents = {source.sha256: source.path for source in train}
    speakers = {source.speaker for source in train if source.speaker and source.kind == "clean"}
    shared: dict[str, list[str]] = defaultdict(list)
    for source in test:
        if source.path in paths:
            lines.append(f"{source.path}: is on both sides ({source.kind})")
        elif source.sha256 in contents:
            lines.append(f"{source.path} (test): has the content of {contents[source.sha256]} (train)")
        if source.kind == "clean" and source.speaker in speakers and source.speaker:
            shared[source.speaker].append(source.path)
    lines += [
        f"speaker {speaker}: is on both sides; in test with {_some(sorted(paths))}"
        for speaker, paths in sorted(shared.items())
    ]
    return lines


def _some(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def inspect_items(
    info: DatasetInfo, *, jobs: int = 1, progress: Callable[[int], object] = lambda n_items: None
) -> Findings:
    """Read a whole dataset and find what is wrong with it.

    Parameters
    ----------
    info : DatasetInfo
    jobs : int
        Processes; 1 reads in this one.
    progress : callable
        Called with the number of items that have been read since the last call.

    Raises
    ------
    DataError
        If a side can't be read at all: its shards or its table are missing or not what dataset.json says.
    """
    sides = {name: open_side(info, name) for name in info.sides}
    tables = {name: _Table.read(info, name) for name in sides}
    parts = [
        part
        for name, side in sides.items()
        for part in parts_of(name, side, tables[name].samples, chained=tables[name].chained)
    ]
    findings = Findings()
    wanted_clips = bool(info.spec.get("mixing", {}).get("clip"))
    digests = {name: np.zeros(table.samples.size, "S32") for name, table in tables.items()}
    found: list[tuple[str, int, str, str]] = []
    # Processes are not worth their start for a few items.
    parallel = jobs > 1 and len(parts) > 4
    results = map_in_processes(check_part, parts, jobs) if parallel else map(check_part, parts)
    for name, checks in results:
        for each in checks:
            digests[name][each.item] = each.digest.encode()
            found += [(name, each.item, *line) for line in _problems(each, tables[name], wanted_clips)]
        findings.items += len(checks)
        progress(len(checks))
    for name, item, kind, words in sorted(found, key=lambda line: line[1]):
        place = f" in {sides[name].index.files[sides[name].index.shard[item]]}" if kind == "damaged" else ""
        findings.lines[kind].append(f"{name} item {item}{place}: {words}")
    findings.lines["leak"] += find_leaks(info)
    for kind, line in _same_items(tables, digests):
        findings.lines[kind].append(line)
    findings.lines["duplicate"] += _same_sources(info)
    return findings


def _same_sources(info: DatasetInfo) -> Iterator[str]:
    for name, side in info.sides.items():
        paths: dict[str, list[str]] = defaultdict(list)
        for source in side.sources:
            paths[source.sha256].append(source.path)
        for same in paths.values():
            if len(same) > 1:
                yield f"{', '.join(same[:_NAMED])}{_rest(same)} in {name} have the same content"


def _rest(names: list[str]) -> str:
    return f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""


@dataclass
class _Table:
    """Of each item: its length, digests of what is stored and of what it is made of, is it noise alone.

    `chained` says that noisy and clean have one digest together, as in older tables.
    """

    samples: np.ndarray
    stored: np.ndarray
    made_of: np.ndarray
    noise_only: np.ndarray
    chained: bool = False

    @classmethod
    def read(cls, info: DatasetInfo, side: str) -> "_Table":
        items = info.sides[side].items
        table = cls(
            np.zeros(items, np.int64), np.zeros(items, "S32"), np.zeros(items, "S16"), np.zeros(items, bool)
        )
        count = 0
        for row in info.rows(side):
            if count == items:
                count += 1
                break
            try:
                table.samples[count] = int(row["samples"])
            except ValueError:
                raise DataError(f"{info.path / side}.csv: row {count + 1}: samples is no number") from None
            clean = row.get("clean_sha256")
            table.chained = clean is None
            table.stored[count] = digest_of(row["sha256"], clean, row.get("stored_sha256")).encode()
            if row["noise"]:
                key = "|".join(row[name] for name in ("clean", "clean_offset_s", "noise", "noise_offset_s"))
                table.made_of[count] = (
                    hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:16].encode()
                )
            table.noise_only[count] = row["noise_ratio"] != "" and float(row["noise_ratio"]) == 1
            count += 1
        if count != items:
            raise DataError(
                f"{info.path / side}.csv: has not the {items} rows that dataset.json says; build it again"
            )
        return table


def _problems(check: ItemCheck, table: _Table, wanted_clips: bool) -> Iterator[tuple[str, str]]:
    if check.damage:
        yield "damaged", check.damage
        return
    if check.digest.encode() != table.stored[check.item]:
        yield "damaged", "its bytes are not those that were written (sha256 in the table)"
    if check.noisy_dbfs < SILENT_DBFS:
        yield "silent", f"the mixture is silent ({check.noisy_dbfs:.0f} dBFS)"
    elif check.clean_dbfs < SILENT_DBFS and not table.noise_only[check.item]:
        yield "silent", f"the clean speech is silent ({check.clean_dbfs:.0f} dBFS)"
    if check.clean_clipped:
        yield "clipped", "the clean speech has flat tops"
    if check.peak > 1.001:
        yield "clipped", f"the mixture exceeds full scale (peak {check.peak:.2f})"
    elif check.noisy_clipped and not check.clean_clipped and not wanted_clips:
        yield "clipped", "the mixture has flat tops"


def _same_items(tables: dict[str, _Table], digests: dict[str, np.ndarray]) -> Iterator[tuple[str, str]]:
    """Groups of items with the same bytes, or else made of the same pieces of the same recordings.

    What is the same on both sides is a leak, and the worst of all.
    """
    names = list(tables)
    starts = np.cumsum([0, *(table.samples.size for table in tables.values())])
    made_of = [table.made_of for table in tables.values()]

    def side_of(number: int) -> int:
        return int(np.searchsorted(starts, number, side="right")) - 1

    seen: set[int] = set()
    for keys, words in (
        ([digests[name] for name in names], "are the same waveforms"),
        (made_of, "have the same speech and noise at the same offsets"),
    ):
        for group in _equal(np.concatenate(keys)):
            if not set(group) <= seen:
                seen.update(group)
                items = [f"{names[side_of(i)]} item {i - starts[side_of(i)]}" for i in group]
                kind = "leak" if len({side_of(i) for i in group}) > 1 else "duplicate"
                yield kind, f"{', '.join(items[:_NAMED])}{_rest(items)} {words}"


def _equal(keys: np.ndarray) -> list[list[int]]:
    """Indices of equal keys that aren't empty, two or more at a time."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    groups: dict[int, list[int]] = defaultdict(list)
    for i in np.flatnonzero((counts[inverse] > 1) & (keys != b"")):
        groups[int(inverse[i])].append(int(i))
    return sorted(groups.values())
