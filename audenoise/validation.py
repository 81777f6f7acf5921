"""Quality on held-out examples while a network is trained: SI-SDR, ESTOI and PESQ beside the loss."""

import importlib.util
import math
from collections.abc import Callable

import numpy as np

from audenoise.errors import SignalError
from audenoise.metrics import score_pair

MEASURES = {"si_sdr": "si_sdr_db", "estoi": "estoi", "pesq": "pesq_wb"}
"""Names in `training.best_by` and those of the metrics, which are the columns of the log after `val_`."""
_LABELS = {"si_sdr_db": "SI-SDR", "estoi": "ESTOI", "pesq_wb": "WB-PESQ"}
_PACKAGES = {"estoi": "pystoi", "pesq_wb": "pesq"}
_SHOWN = {"si_sdr_db": (1.0, 2, " dB"), "estoi": (100.0, 1, " %"), "pesq_wb": (1.0, 2, "")}
"""Factor, digits and unit, as `audenoise evaluate` has them."""


def score_in_words(name: str, value: float) -> str:
    """A metric by the name of its column, and its value.

    >>> score_in_words("estoi", 0.312)
    'ESTOI 31.2 %'
    """
    factor, digits, unit = _SHOWN[name]
    return f"{_LABELS[name]} {factor * value:.{digits}f}{unit}"


class ValidationScores:
    """The first examples of a validation set that can be scored, and the scores of their noisy input.

    An example whose clean part has no speech that a metric can work with is left out of that metric's mean.

    Parameters
    ----------
    noisy, clean : ndarray, shape (examples, samples)
        Float, full scale 1.0.
    sample_rate : int
        In Hz.
    count : int
        Examples to score; PESQ and ESTOI take about 40 ms each for 4 s of audio.
    report : callable, optional
        Called with one line where a metric's package is missing, and with one for the noisy input.

    Attributes
    ----------
    noisy : ndarray, shape (count or fewer, samples)
        What the network is to denoise.
    baseline : dict of str to float
        Mean of each metric over the noisy input. Its keys are the metrics that are measured.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> clean, noise = rng.standard_normal((2, 3, 8000))
    >>> scores = ValidationScores(clean + 0.1 * noise, clean, 8000, count=2)
    >>> round(scores.score(clean[:2] + 0.01 * noise[:2])["si_sdr_db"] - scores.baseline["si_sdr_db"])
    20
    """

    def __init__(
        self,
        noisy: np.ndarray,
        clean: np.ndarray,
        sample_rate: int,
        *,
        count: int,
        report: Callable[[str], object] | None = None,
    ):
        self.sample_rate = sample_rate
        missing = [name for name, package in _PACKAGES.items() if importlib.util.find_spec(package) is None]
        metrics = [name for name in MEASURES.values() if name not in missing] if count else []
        chosen: list[int] = []
        scores: list[dict[str, float]] = []
        for i in range(len(noisy) if metrics else 0):
            found = {name: self._score(name, clean[i], noisy[i]) for name in metrics}
            # inf where nothing is to be taken out: such an example would be the whole mean.
            found = {name: value for name, value in found.items() if math.isfinite(value)}
            if "si_sdr_db" in found:
                chosen.append(i)
                scores.append(found)
            if len(chosen) == count:
                break
        self.noisy, self._clean = noisy[chosen], clean[chosen]
        self._rows = {name: [k for k, row in enumerate(scores) if name in row] for name in metrics}
        self._rows = {name: rows for name, rows in self._rows.items() if rows}
        self.baseline = {
            name: float(np.mean([scores[k][name] for k in rows])) for name, rows in self._rows.items()
        }
        if report is not None and count:
            if missing:
                labels = " and no ".join(f"{_LABELS[name]} ({_PACKAGES[name]})" for name in missing)
                report(f"validation measures no {labels}: pip install audenoise[metrics]")
            if self.baseline:
                examples = "example" if len(chosen) == 1 else "examples"
                report(f"noisy input of {len(chosen)} validation {examples}: {self.in_words(self.baseline)}")
            else:
                report("validation by the loss alone: no held-out example has speech to measure")

    def _score(self, name: str, clean: np.ndarray, estimate: np.ndarray) -> float:
        try:
            return score_pair(clean, estimate, self.sample_rate, metrics=[name])[name]
        except SignalError:
            return math.nan

    def score(self, denoised: np.ndarray) -> dict[str, float]:
        """Mean of each metric over the estimates of `noisy`.

        Not a number where an estimate is so silent that nothing can be measured.
        """
        return {
            name: float(np.mean([self._score(name, self._clean[k], denoised[k]) for k in rows]))
            for name, rows in self._rows.items()
        }

    def in_words(self, scores: dict[str, float]) -> str:
        """Scores as text, with the gain over the noisy input."""
        parts = []
        for name, value in scores.items():
            factor, digits, _ = _SHOWN[name]
            gain = factor * (value - self.baseline[name])
            change = f" ({gain:+.{digits}f})" if scores is not self.baseline else ""
            parts.append(score_in_words(name, value) + change)
        return ", ".join(parts)
