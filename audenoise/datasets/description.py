"""What is inside a saved dataset: as a table, as a picture, as recordings to listen to."""

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from audenoise.audio import write_audio
from audenoise.errors import DataError
from audenoise.plotting import AudioTriple

from .feeding import StoredSide, open_side
from .info import DatasetInfo, SideInfo

_CLASSES = 20
_BAR = 24


@dataclass(frozen=True)
class Triple:
    """An item as waveforms."""

    side: str
    item: int
    row: dict[str, str]
    noisy: np.ndarray
    clean: np.ndarray

    @property
    def noise(self) -> np.ndarray:
        """What was added to the clean speech: of a clipped or filtered mixture, all that differs."""
        return self.noisy - self.clean

    def to_audio(self) -> AudioTriple:
        words = [f"{self.side} item {self.item}"]
        if self.row["snr_db"]:
            words.append(f"SNR {float(self.row['snr_db']):.1f} dB")
        words += [self.row[name] for name in ("label", "speaker") if self.row[name]]
        words.append(Path(self.row["clean"]).name)
        return AudioTriple(", ".join(filter(None, words)), self.clean, self.noise, self.noisy)


def describe(info: DatasetInfo) -> Iterator[str]:
    """The lines of a table: what was built, and of each side how much there is of what."""
    stft, names = info.stft, list(info.sides)
    seed = f", seed {info.spec['seed']}" if "seed" in info.spec else ""
    yield f"{info.path}"
    yield (
        f"{stft.sample_rate} Hz, STFT n_fft {stft.n_fft}, hop_length {stft.hop_length}, "
        f"win_length {stft.win_length}, window {stft.window}, {info.spec['dtype']}{seed}"
    )
    sides = [info.sides[name] for name in names]
    yield _row("", names)
    yield _row("items", [f"{side.items}" for side in sides])
    yield _row("hours", [f"{side.hours:.2f}" for side in sides])
    yield _row("shards", [f"{side.shards}" for side in sides])
    yield _row("size, GB", [f"{side.bytes / 1e9:.3f}" for side in sides])
    for kind, what in (
        ("clean", "speech recordings"),
        ("noise", "noise recordings"),
        ("noisy", "noisy recordings"),
        ("rir", "room responses"),
    ):
        counts = [sum(source.kind == kind for source in side.sources) for side in sides]
        if any(counts):
            yield _row(what, [f"{count}" for count in counts])
    yield _row("speakers", [_speakers(side) for side in sides])
    yield from _snr_rows(sides)
    yield from _class_rows(sides)
    if not any(side.sources for side in sides):
        yield "of which recordings it was made is not known: leaks and duplicates show in equal items only"
    if "test" not in info.sides:
        yield "nothing is held out: there is no test side"
    if info.skipped:
        yield f"{len(info.skipped)} recordings were left out when it was built; the first: " + ": ".join(
            info.skipped[0]
        )


def _row(what: str, cells: Sequence[str], bars: Sequence[str] = ()) -> str:
    text = f"  {what:<22}" + "".join(f"{cell:>12}" for cell in cells)
    return f"{text}   {''.join(bars)}".rstrip()


def _speakers(side: SideInfo) -> str:
    known = {source.speaker for source in side.sources if source.speaker}
    return str(len(known)) if known else "unknown"


def _snr_rows(sides: list[SideInfo]) -> Iterator[str]:
    """Each side has the bands from its own lowest to its own highest one."""
    counts = [dict(zip(pairwise(side.snr_db.edges), side.snr_db.counts, strict=False)) for side in sides]
    totals = {band: sum(each.get(band, 0) for each in counts) for each in counts for band in each}
    used = [band for band, total in totals.items() if total]
    for low, high in sorted(totals):
        if used and min(used) <= (low, high) <= max(used):
            bar = "#" * round(_BAR * totals[low, high] / max(totals.values()))
            yield _row(
                f"SNR {low:g} to {high:g} dB", [f"{each.get((low, high), 0)}" for each in counts], [bar]
            )


def _class_rows(sides: list[SideInfo]) -> Iterator[str]:
    totals: dict[str, int] = {}
    for side in sides:
        for label, count in side.labels.items():
            totals[label] = totals.get(label, 0) + count
    order = sorted(totals, key=lambda label: (-totals[label], label))
    for label in order[:_CLASSES]:
        counts = [f"{side.labels.get(label, 0)}" for side in sides]
        shown = label if len(label) <= 15 else f"{label[:14]}…"
        yield _row(f"noise {shown}", counts, ["#" * round(_BAR * totals[label] / totals[order[0]])])
    if len(order) > _CLASSES:
        yield f"  and {len(order) - _CLASSES} more classes of noise"


def random_triples(info: DatasetInfo, count: int, seed: int) -> Iterator[Triple]:
    """Some items of all sides, the same for the same seed, one at a time.

    Raises
    ------
    DataError
        If a side can't be read.
    """
    names = list(info.sides)
    starts = np.cumsum([0, *(info.sides[name].items for name in names)])
    total = int(starts[-1])
    numbers = np.sort(np.random.default_rng(seed).choice(total, min(count, total), replace=False))
    for k, name in enumerate(names):
        wanted = {int(i - starts[k]) for i in numbers if starts[k] <= i < starts[k + 1]}
        if wanted:
            yield from _triples(info, open_side(info, name), name, wanted)


def _triples(info: DatasetInfo, side: StoredSide, name: str, wanted: set[int]) -> Iterator[Triple]:
    for item, row in enumerate(info.rows(name)):
        if item in wanted:
            noisy, clean = side.waveforms(item, int(row["samples"]))
            yield Triple(name, item, row, noisy, clean)


def export_triples(info: DatasetInfo, folder: Path, *, count: int, seed: int) -> list[Path]:
    """Write random items as wav files to listen to: `train-000012-noisy.wav`, `…-clean.wav`, `…-noise.wav`.

    They are 32-bit float, so that nothing is cut off.

    Parameters
    ----------
    info : DatasetInfo
    folder : Path
        New or empty.
    count : int
        Items, three files each.
    seed : int

    Returns
    -------
    list of Path

    Raises
    ------
    DataError
        If the folder holds something, or the dataset can't be read.
    AudioFileError
        If a file can't be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise DataError(f"{folder}: is not empty; choose another folder for the recordings")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    names: list[str] = []
    try:
        partial.mkdir(parents=True)
        for triple in random_triples(info, count, seed):
            for what in ("noisy", "clean", "noise"):
                names.append(f"{triple.side}-{triple.item:06d}-{what}.wav")
                write_audio(
                    partial / names[-1], getattr(triple, what), info.stft.sample_rate, subtype="FLOAT"
                )
        if folder.is_dir():
            folder.rmdir()
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return [folder / name for name in names]
