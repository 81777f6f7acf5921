"""What there is to do: which metrics, which pairs, in which parts."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from audenoise.errors import AudenoiseError, DataError
from audenoise.metrics import METRICS, missing_packages

from .pairs import FileSource, Left, Pair, files_by_stem, stem_of
from .scoring import PART_S, PartJob
from .systems import System

DEFAULT_METRICS = ("pesq_wb", "estoi", "stoi", "si_sdr_db", "snr_gain_db", "lsd", "dnsmos")
"""`snr_gain_db` is the SNR of the output less that of the input; the others are of `audenoise.metrics`."""
METRIC_NAMES = ("snr_gain_db", *METRICS)

_LENGTH_TOLERANCE_S = 0.1


@dataclass(frozen=True)
class Planned:
    """A pair whose headers were read."""

    pair: Pair
    duration_s: float
    sample_rate: int
    noisy_rate: int
    difference_s: float


def choose_metrics(wanted: Sequence[str] | None) -> tuple[tuple[str, ...], dict[str, str]]:
    """Metrics to compute, and those left out because a package is missing, with its name.

    Raises
    ------
    DataError
        For an unknown metric.
    AudenoiseError
        If one that was asked for can't be computed here.
    """
    unknown = [name for name in wanted or () if name not in METRIC_NAMES]
    if unknown:
        raise DataError(f"metrics must be among {', '.join(METRIC_NAMES)}. Received: {', '.join(unknown)}")
    names = tuple(dict.fromkeys(wanted or DEFAULT_METRICS))
    missing = missing_packages(names)
    if wanted and missing:
        name, package = next(iter(missing.items()))
        raise AudenoiseError(f"{name} needs the package {package}: pip install 'audenoise[metrics]'")
    return tuple(name for name in names if name not in missing), missing


def columns_of(metric: str) -> tuple[str, ...]:
    return tuple(f"dnsmos_{kind}" for kind in ("ovrl", "sig", "bak")) if metric == "dnsmos" else (metric,)


def plan_pairs(pairs: Sequence[Pair]) -> tuple[list[Planned], list[Left]]:
    """Read the headers of pairs; those that can't be read, or differ in length, are left out."""
    planned, gone = [], []
    for pair in pairs:
        try:
            noisy, clean = pair.noisy.extent(), pair.clean.extent()
        except AudenoiseError as error:
            gone.append(Left(pair.name, str(error)))
            continue
        difference_s = noisy.duration_s - clean.duration_s
        if abs(difference_s) > _LENGTH_TOLERANCE_S:
            lengths = f"noisy lasts {noisy.duration_s:.2f} s and clean {clean.duration_s:.2f} s"
            gone.append(Left(pair.name, f"{lengths}: not the same recording"))
            continue
        duration_s = min(noisy.duration_s, clean.duration_s)
        planned.append(Planned(pair, duration_s, clean.sample_rate, noisy.sample_rate, difference_s))
    return planned, gone


def finished_files(systems: Sequence[System]) -> dict[str, dict[str, Path] | Path]:
    """For each folder of another program's results, its files by stem; or the file itself."""
    found: dict[str, dict[str, Path] | Path] = {}
    for system in systems:
        if system.kind == "folder" and system.source is not None:
            path = Path(system.source)
            found[system.name] = path if path.is_file() else files_by_stem(path)[0]
    return found


def parts_of(
    plan: Planned,
    *,
    systems: tuple[System, ...],
    metrics: tuple[str, ...],
    finished: Mapping[str, dict[str, Path] | Path],
) -> Iterator[PartJob]:
    """The work on one pair: parts of equal length, at most `PART_S`. `finished` is of `finished_files`."""
    stem = stem_of(plan.pair.name)
    here = {}
    for name, files in finished.items():
        path = files if isinstance(files, Path) else files.get(stem)
        if path is not None:
            here[name] = FileSource(path)
    n_parts = max(1, math.ceil(plan.duration_s / PART_S))
    for number in range(n_parts):
        start, stop = plan.duration_s * number / n_parts, plan.duration_s * (number + 1) / n_parts
        yield PartJob(plan.pair, start, stop, systems, metrics, here)
