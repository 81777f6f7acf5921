"""What a search is after: a score to raise, and a budget that no trial may exceed."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from audenoise.errors import AudenoiseError

METRICS = {"si_sdr": "si_sdr_db", "estoi": "estoi", "pesq": "pesq_wb"}
"""Names on the command line, and those of the scores."""
_MULTIPLIERS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Objective:
    """A weighted sum of validation metrics, to be raised: weights by the names of the scores.

    Examples
    --------
    >>> objective = Objective.parse(["pesq", "si_sdr=0.05"])
    >>> objective.score({"pesq_wb": 2.0, "si_sdr_db": 10.0, "estoi": 0.8})
    2.5
    >>> str(objective)
    'pesq + 0.05 si_sdr'
    """

    weights: tuple[tuple[str, float], ...]

    @classmethod
    def parse(cls, texts: Sequence[str]) -> "Objective":
        """From ``METRIC`` or ``METRIC=WEIGHT`` each; si_sdr in dB, estoi 0 to 1, pesq 1 to 4.6.

        Raises
        ------
        AudenoiseError
            If a metric is unknown or given twice, or a weight is no number other than 0.
        """
        weights: dict[str, float] = {}
        for text in texts:
            name, _, number = text.partition("=")
            if name not in METRICS or METRICS[name] in weights:
                state = "is given twice" if name in METRICS else f"must be one of {', '.join(METRICS)}"
                raise AudenoiseError(
                    f"--objective {text}: {name!r} {state}, with a weight if you like: pesq=2"
                )
            try:
                weights[METRICS[name]] = float(number) if number else 1.0
            except ValueError:
                weights[METRICS[name]] = math.nan
            if not math.isfinite(weights[METRICS[name]]) or not weights[METRICS[name]]:
                raise AudenoiseError(f"--objective {text}: the weight must be a number other than 0")
        return cls(tuple(weights.items()))

    def score(self, scores: Mapping[str, float]) -> float:
        """Not a number where a metric is missing."""
        return math.fsum(weight * scores.get(name, math.nan) for name, weight in self.weights)

    def __str__(self) -> str:
        short = {column: name for name, column in METRICS.items()}
        return " + ".join(
            short[name] if weight == 1 else f"{weight:g} {short[name]}" for name, weight in self.weights
        )


@dataclass(frozen=True)
class Cost:
    """Of a network: parameters, and multiply-accumulates per second of audio."""

    parameters: int
    macs_per_second: int


@dataclass(frozen=True)
class Budget:
    """Upper limits of the cost; None is no limit."""

    parameters: int | None = None
    macs_per_second: int | None = None

    def exceeded(self, cost: Cost) -> str | None:
        """What is over, in words, or None."""
        found = []
        for limit, value, unit in (
            (self.parameters, cost.parameters, "parameters"),
            (self.macs_per_second, cost.macs_per_second, "MAC/s"),
        ):
            if limit is not None and value > limit:
                found.append(f"{in_short(value)} {unit} of {in_short(limit)}")
        return f"over budget: {', '.join(found)}" if found else None


def parse_amount(text: str) -> int:
    """A count such as ``50000``, ``50k``, ``30M`` or ``1.5G``.

    Raises
    ------
    AudenoiseError
        If it is none.

    Examples
    --------
    >>> parse_amount("1.5M")
    1500000
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([kMG]?)", text.strip())
    amount = round(float(found[1]) * _MULTIPLIERS[found[2]]) if found else 0
    if amount < 1:
        raise AudenoiseError(f"{text}: must be a count such as 50000, 50k, 30M or 1.5G")
    return amount


def in_short(value: float) -> str:
    """A count in three digits: 31234567 is 31.2 M."""
    for letter, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:g}"
