"""What an evaluation found, and what it comes to: means, intervals, groups of files."""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np

from audenoise.errors import DataError

FORMAT_VERSION = 1
DEFAULT_EDGES_DB = (-5.0, 0.0, 5.0, 10.0, 15.0, 20.0)
MAX_SINGLE_VALUES = 10
"""SNRs up to this many get a band each; more are gathered in bands."""
MIN_SCORES = 5
"""Fewer have no interval: Student's factor is 12.7 for two scores, which says nothing about them."""
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Interval:
    """Mean of some files' scores, and how far the 95 % confidence interval reaches to either side of it.

    Attributes
    ----------
    mean : float
        Not a number if there are no scores.
    half_width : float
        Student's t: t(0.975, n - 1) · s / √n. Not a number for fewer than `MIN_SCORES` scores. It takes the
        files for independent draws; files that share a speaker or a noise are less than that.
    n : int
        Scores.
    """

    mean: float
    half_width: float
    n: int


def student_interval(values: Iterable[float]) -> Interval:
    """Mean and 95 % interval of some scores.

    Examples
    --------
    >>> interval = student_interval([1.0, 2.0, 3.0, 4.0, 5.0])
    >>> interval.mean, round(interval.half_width, 3), interval.n
    (3.0, 1.963, 5)
    """
    scores = np.fromiter(values, np.float64)
    if scores.size < MIN_SCORES:
        return Interval(float(scores.mean()) if scores.size else math.nan, math.nan, scores.size)
    from scipy.special import stdtrit

    deviation = scores.std(ddof=1) / math.sqrt(scores.size)
    return Interval(float(scores.mean()), float(stdtrit(scores.size - 1, 0.975) * deviation), scores.size)


@dataclass(frozen=True)
class PairInfo:
    """A pair that was scored.

    Attributes
    ----------
    name : str
    duration_s : float
    label : str or None
        Class of the noise.
    snr_db : float or None
        What it was mixed at, where that is known.
    measured_snr_db : float or None
        Energy of the clean recording over that of its difference to the noisy one.
    """

    name: str
    duration_s: float
    label: str | None = None
    snr_db: float | None = None
    measured_snr_db: float | None = None


@dataclass(frozen=True)
class SystemScores:
    """What one system got.

    Attributes
    ----------
    name, kind : str
        As in `System`.
    delay_s : float
        Constant delay that was removed: the median over all pairs.
    scores : dict
        Pair → metric → score. A pair or metric that couldn't be scored is not in it.
    delays_s : dict
        Pair → delay of its own, where there was output to find it in.
    failures : dict
        Pair → why (some of) its scores are missing.
    """

    name: str
    kind: str
    delay_s: float
    scores: dict[str, dict[str, float]] = field(default_factory=dict)
    delays_s: dict[str, float] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def values(self, metric: str, names: Sequence[str] | None = None) -> list[float]:
        """Scores of one metric for the pairs named, or all, as far as they have one."""
        chosen = self.scores if names is None else [name for name in names if name in self.scores]
        return [self.scores[name][metric] for name in chosen if metric in self.scores[name]]

    def interval(self, metric: str, names: Sequence[str] | None = None) -> Interval:
        """Mean and 95 % interval of one metric."""
        return student_interval(self.values(metric, names))

    def gain(self, other: "SystemScores", metric: str, names: Sequence[str] | None = None) -> Interval:
        """Mean and 95 % interval of the difference to another system, pair by pair.

        Narrower than the difference of two means, since most of the spread is that between recordings.
        """
        return student_interval(
            scores[metric] - other.scores[name][metric]
            for name, scores in self.scores.items()
            if (names is None or name in names) and metric in scores and metric in other.scores.get(name, {})
        )


@dataclass(frozen=True)
class Evaluation:
    """Scores of some systems over some pairs.

    Attributes
    ----------
    pairs : tuple of PairInfo
    systems : tuple of SystemScores
        The noisy input is the first.
    metrics : tuple of str
        Names of the scores, in the order of the tables.
    left : tuple of (str, str)
        Recordings that were left out altogether, with the reason.
    notes : tuple of str
        What a reader must know to judge the numbers.
    """

    pairs: tuple[PairInfo, ...]
    systems: tuple[SystemScores, ...]
    metrics: tuple[str, ...]
    left: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def noisy(self) -> SystemScores:
        """The input as a system that does nothing."""
        return self.systems[0]

    def system(self, name: str) -> SystemScores:
        """Return a system by its name.

        Raises
        ------
        DataError
            If there is no such one.
        """
        for system in self.systems:
            if system.name == name:
                return system
        raise DataError(f"no system {name}, only {', '.join(each.name for each in self.systems)}")

    def by_snr(self, edges_db: Sequence[float] = ()) -> dict[str, list[str]]:
        """Names of the pairs in each band of SNR, from low to high.

        Parameters
        ----------
        edges_db : sequence of float
            Ends of the bands, a value on an edge belonging to the band above. By default every SNR that was
            mixed at is a band. Where there are more than ten, or some have more than one decimal, since they
            were drawn, or some pairs lack it, the bands are 5 dB wide, of the SNR that is measured where none
            is given.
        """
        known = {
            pair.name: pair.measured_snr_db if pair.snr_db is None else pair.snr_db for pair in self.pairs
        }
        given = {pair.snr_db for pair in self.pairs}
        bands: dict[str, list[str]] = {}
        chosen = all(value is not None and value == round(value, 1) for value in given)
        if not edges_db and chosen and len(given) <= MAX_SINGLE_VALUES:
            for name, value in sorted(known.items(), key=lambda item: item[1] or 0.0):
                bands.setdefault(f"{value:g} dB", []).append(name)
            return bands
        edges = sorted(edges_db or DEFAULT_EDGES_DB)
        titles = [
            f"below {edges[0]:g} dB",
            *(f"{low:g} to {high:g} dB" for low, high in pairwise(edges)),
            f"{edges[-1]:g} dB and above",
        ]
        for number, title in enumerate(titles):
            inside = [
                name
                for name, value in known.items()
                if value is not None and int(np.searchsorted(edges, value, side="right")) == number
            ]
            if inside:
                bands[title] = inside
        if nowhere := [name for name, value in known.items() if value is None]:
            bands[UNKNOWN] = nowhere
        return bands

    def by_label(self) -> dict[str, list[str]]:
        """Names of the pairs of each class of noise, sorted; empty if no pair has a class."""
        classes: dict[str, list[str]] = {}
        for pair in self.pairs:
            classes.setdefault(UNKNOWN if pair.label is None else pair.label, []).append(pair.name)
        return {} if set(classes) <= {UNKNOWN} else dict(sorted(classes.items()))

    def to_dict(self, edges_db: Sequence[float] = ()) -> dict[str, Any]:
        """Everything, as JSON can hold it: what was found, and the means.

        `systems` has the keys of the JSON of ``benchmarks/quality.py``, so ``publish --scores`` takes it.
        """
        groups = {"by_snr_db": self.by_snr(edges_db), "by_label": self.by_label()}
        systems = []
        for system in self.systems:
            entry: dict[str, Any] = {
                "name": system.name,
                "kind": system.kind,
                "delay_ms": 1000 * system.delay_s,
                "mean": self._means(system, None),
                "interval_95": self._widths(system, None),
                "gain": {
                    metric: {"mean": gain.mean, "interval_95": _or_none(gain.half_width)}
                    for metric in self.metrics
                    if (gain := system.gain(self.noisy, metric)).n
                },
            }
            for key, bands in groups.items():
                entry[key] = {band: self._means(system, names) for band, names in bands.items()}
                entry[f"{key}_interval_95"] = {
                    band: self._widths(system, names) for band, names in bands.items()
                }
            entry |= {
                "pairs": system.scores,
                "delays_ms": {name: 1000 * delay for name, delay in system.delays_s.items()},
                "failures": system.failures,
            }
            systems.append(entry)
        return {
            "format_version": FORMAT_VERSION,
            "metrics": list(self.metrics),
            "pairs": [asdict(pair) for pair in self.pairs],
            "systems": systems,
            "left_out": [{"name": name, "reason": reason} for name, reason in self.left],
            "notes": list(self.notes),
        }

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read the JSON that `audenoise evaluate --json` wrote.

        Raises
        ------
        DataError
            If the file can't be read or is something else.
        """
        try:
            data = json.loads(Path(path).read_text(encoding="utf-8"))
            return cls._from_dict(data)
        except OSError as error:
            raise DataError(f"{path}: can't be read ({error.strerror})") from None
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{path}: is no evaluation written by audenoise ({type(error).__name__})"
            ) from None

    @classmethod
    def _from_dict(cls, data: Mapping[str, Any]) -> Self:
        if data["format_version"] != FORMAT_VERSION:
            raise ValueError("another version")
        return cls(
            tuple(PairInfo(**pair) for pair in data["pairs"]),
            tuple(
                SystemScores(
                    each["name"],
                    each["kind"],
                    each["delay_ms"] / 1000,
                    each["pairs"],
                    {name: delay / 1000 for name, delay in each["delays_ms"].items()},
                    each["failures"],
                )
                for each in data["systems"]
            ),
            tuple(data["metrics"]),
            tuple((each["name"], each["reason"]) for each in data["left_out"]),
            tuple(data["notes"]),
        )

    def _means(self, system: SystemScores, names: Sequence[str] | None) -> dict[str, float]:
        found = {metric: system.interval(metric, names) for metric in self.metrics}
        return {metric: interval.mean for metric, interval in found.items() if interval.n}

    def _widths(self, system: SystemScores, names: Sequence[str] | None) -> dict[str, float]:
        found = {metric: system.interval(metric, names) for metric in self.metrics}
        return {metric: interval.half_width for metric, interval in found.items() if interval.n >= MIN_SCORES}


def _or_none(number: float) -> float | None:
    return None if math.isnan(number) else number
