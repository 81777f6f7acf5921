"""What the answers come to: means and shares with 95 % confidence intervals, as a table and a picture."""

import math
import os
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.stats import binomtest, t

from audenoise.errors import DataError

from .answers import HIDDEN_REFERENCE_AT_LEAST, MISSED_SHARE, Answers
from .pages import MUSHRA


@dataclass(frozen=True)
class ConditionScore:
    """A condition of a MUSHRA test.

    Attributes
    ----------
    name : str
    mean : float
        From 0 to 100.
    low, high : float
        Ends of the 95 % interval, not numbers where there is but one unit.
    n_units : int
        Listeners, or recordings where there is one listener.
    """

    name: str
    mean: float
    low: float
    high: float
    n_units: int


@dataclass(frozen=True)
class PairScore:
    """Two conditions of an ABX test.

    Attributes
    ----------
    pair : (str, str)
    correct, total : int
        Questions.
    low, high : float
        Ends of the 95 % interval of the share (Clopper and Pearson 1934).
    p_value : float
        Probability of so many right answers, or more, by guessing.
    """

    pair: tuple[str, str]
    correct: int
    total: int
    low: float
    high: float
    p_value: float


@dataclass(frozen=True)
class Result:
    """What a test found.

    Attributes
    ----------
    kind : str
    n_listeners, n_recordings : int
    unit : str
        What the intervals take for independent: "listeners" or "recordings"; "questions" for ABX.
    conditions : tuple of ConditionScore
        Best first.
    pairs : tuple of PairScore
    left_out : tuple of str
        Why, for each listener who isn't counted.
    """

    kind: str
    n_listeners: int
    n_recordings: int
    unit: str
    conditions: tuple[ConditionScore, ...] = ()
    pairs: tuple[PairScore, ...] = ()
    left_out: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "kind": self.kind,
            "listeners": self.n_listeners,
            "recordings": self.n_recordings,
            "intervals_over": self.unit,
            "conditions": [
                {
                    "name": each.name,
                    "mean": each.mean,
                    "interval_95": _or_none(each.low, each.high),
                    "n": each.n_units,
                }
                for each in self.conditions
            ],
            "pairs": [
                {
                    "pair": list(each.pair),
                    "correct": each.correct,
                    "total": each.total,
                    "interval_95": [each.low, each.high],
                    "p_value": each.p_value,
                }
                for each in self.pairs
            ],
            "left_out": list(self.left_out),
        }


def score_answers(answers: Sequence[Answers], *, keep_all: bool = False) -> Result:
    """Sum up a test.

    The mean of a condition is that of its listeners' means. Its interval is Student's over the listeners, who
    are the sample; for a single listener it is over the recordings, and says nothing about other people.

    Parameters
    ----------
    answers : sequence of Answers
        Of one test.
    keep_all : bool
        Count also those who rated the hidden reference below 90 in more than 15 % of the trials, whom ITU-R
        BS.1534-3 leaves out.

    Raises
    ------
    DataError
        If nobody is left.
    """
    if answers[0].kind != MUSHRA:
        return _score_abx(answers)
    kept, left_out = [], []
    for number, each in enumerate(answers, 1):
        missed = each.reference_missed()
        if missed > MISSED_SHARE and not keep_all:
            left_out.append(
                f"{each.listener or f'listener {number}'}: rated the hidden reference below "
                f"{HIDDEN_REFERENCE_AT_LEAST} in {missed:.0%} of the trials"
            )
        else:
            kept.append(each)
    if not kept:
        raise DataError(f"no listener is left ({left_out[0]}); --keep-all counts them all the same")
    single = len(kept) == 1
    scores = []
    for condition in kept[0].conditions:
        values: dict[Any, list[float]] = defaultdict(list)
        for number, each in enumerate(kept):
            for rating in each.ratings:
                if rating.condition == condition:
                    values[rating.recording if single else number].append(rating.score)
        means = [float(np.mean(each)) for each in values.values()]
        mean, half = float(np.mean(means)), _half_width(means)
        scores.append(ConditionScore(condition, mean, mean - half, mean + half, len(means)))
    scores.sort(key=lambda score: -score.mean)
    recordings = {rating.recording for each in kept for rating in each.ratings}
    unit = "recordings" if single else "listeners"
    return Result(MUSHRA, len(kept), len(recordings), unit, tuple(scores), (), tuple(left_out))


def _half_width(values: Sequence[float]) -> float:
    if len(values) < 2:
        return math.nan
    return float(t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / math.sqrt(len(values)))


def _score_abx(answers: Sequence[Answers]) -> Result:
    counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for each in answers:
        for choice in each.choices:
            counts[choice.pair][0] += choice.correct
            counts[choice.pair][1] += 1
    pairs = []
    for pair, (correct, total) in counts.items():
        test = binomtest(correct, total, 0.5, alternative="greater")
        interval = binomtest(correct, total, 0.5).proportion_ci(0.95, method="exact")
        pairs.append(
            PairScore(pair, correct, total, float(interval.low), float(interval.high), float(test.pvalue))
        )
    order = answers[0].conditions.index
    pairs.sort(key=lambda score: tuple(map(order, score.pair)))
    recordings = {choice.recording for each in answers for choice in each.choices}
    return Result(answers[0].kind, len(answers), len(recordings), "questions", (), tuple(pairs))


def table(result: Result) -> str:
    """Lines for the console."""
    lines = [
        f"{result.kind.upper()}: {result.n_listeners} listeners, {result.n_recordings} recordings; "
        f"95 % intervals over {result.unit}"
    ]
    width = max(
        [len(each.name) for each in result.conditions] + [len(_versus(each)) for each in result.pairs]
    )
    for each in result.conditions:
        interval = "" if math.isnan(each.low) else f"  {each.low:5.1f} to {each.high:5.1f}"
        lines.append(f"{each.name:{width}}  {each.mean:5.1f}{interval}")
    for each in result.pairs:
        lines.append(
            f"{_versus(each):{width}}  {each.correct} of {each.total} right, "
            f"{each.correct / each.total:4.0%}  {each.low:4.0%} to {each.high:4.0%}  p {each.p_value:.2g}"
        )
    if result.unit == "recordings":
        lines.append("One listener: the intervals say nothing about other people.")
    return "\n".join([*lines, *(f"left out: {line}" for line in result.left_out)]) + "\n"


def save_picture(result: Result, png_path: str | os.PathLike[str]) -> None:
    """Draw the table.

    Raises
    ------
    AudenoiseError
        If the picture can't be written.
    """
    from matplotlib.figure import Figure

    from audenoise.plotting import plot_intervals, save_figure

    rows = len(result.conditions) or len(result.pairs)
    figure = Figure(figsize=(8.0, 1.6 + 0.5 * rows), dpi=150, layout="constrained")
    axes = figure.subplots()
    if result.conditions:
        points = [(each.mean, each.high - each.mean) for each in result.conditions]
        groups, label = (
            [each.name for each in result.conditions],
            "MUSHRA score: mean, 95 % confidence interval",
        )
        plot_intervals(axes, groups, {"": points}, score_label=label, horizontal=True, first_style=1)
        axes.set_xlim(0, 100)
    else:
        # The interval of a share isn't symmetric.
        shares = [100 * each.correct / each.total for each in result.pairs]
        lows = [share - 100 * each.low for share, each in zip(shares, result.pairs, strict=True)]
        highs = [100 * each.high - share for share, each in zip(shares, result.pairs, strict=True)]
        groups = [_versus(each) for each in result.pairs]
        empty = [(math.nan, math.nan)] * rows
        label = "right answers, %, with the 95 % confidence interval; 50 % is guessing"
        plot_intervals(axes, groups, {"": empty}, score_label=label, horizontal=True)
        axes.errorbar(shares, range(rows), xerr=[lows, highs], fmt="o", color="#0072b2", capsize=3)
        axes.axvline(50, color="0.4", linewidth=0.9, linestyle="--")
        axes.set_xlim(0, 102)
    save_figure(figure, png_path)


def _versus(score: PairScore) -> str:
    return f"{score.pair[0]} / {score.pair[1]}"


def _or_none(low: float, high: float) -> list[float] | None:
    return None if math.isnan(low) else [low, high]
