"""Evaluate systems over pairs, in several processes."""

import os
import statistics
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from tqdm import tqdm

from audenoise.errors import DataError
from audenoise.workers import map_in_processes

from .notes import notes_on
from .pairs import Left, Pair
from .planning import Planned, choose_metrics, columns_of, finished_files, parts_of, plan_pairs
from .results import Evaluation, PairInfo, SystemScores
from .scoring import PartJob, PartResult, PartScores, score_part
from .systems import NOISY, System

_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def evaluate(
    pairs: Sequence[Pair],
    systems: Sequence[System],
    *,
    metrics: Sequence[str] | None = None,
    left: Sequence[Left] = (),
    notes: Sequence[str] = (),
    jobs: int = 1,
    ray: str | None = None,
    strict: bool = False,
    progress: bool = False,
) -> Evaluation:
    """Denoise pairs with every system and score what comes out, beside the noisy input.

    A recording is denoised whole, or in parts of equal length where it is longer than `PART_S`, and its score
    is the mean over the parts. PESQ and STOI are means over stretches of at most `SEGMENT_S`. Scores are
    taken at the clean recording's rate, those of PESQ and DNSMOS at 16 kHz; other outputs are resampled.
    Channels are scored one by one, or their mean where noisy and clean have different numbers. Each system's
    constant delay, the median over all pairs, is removed; what it didn't return counts as silence; nothing is
    scaled.

    Parameters
    ----------
    pairs : sequence of Pair
        Names must differ.
    systems : sequence of System
        The noisy input comes by itself. Names must differ.
    metrics : sequence of str, optional
        Of `METRIC_NAMES`; default: `DEFAULT_METRICS`, as far as their packages are installed.
    left : sequence of Left
        What was left out before, for the report.
    notes : sequence of str
        For the report.
    jobs : int
        Processes. The result doesn't depend on it.
    ray : str, optional
        Address of a Ray cluster, whose cores do the work in place of these: see `cluster.map_on_cluster`.
    strict : bool
        Make everything that would be left out an error.
    progress : bool
        Show a progress bar on stderr.

    Raises
    ------
    DataError
        If nothing can be scored; with `strict`, if anything can't.
    AudenoiseError
        If a metric that was asked for needs a package that isn't installed.
    """
    chosen, missing = choose_metrics(metrics)
    columns = [name for metric in chosen for name in columns_of(metric)]
    everyone = (NOISY, *(system for system in systems if system != NOISY))
    names = [system.name for system in everyone]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise DataError(f"{twice}: names two systems; give each another name")
    if not chosen:
        raise DataError("no metric is left to compute: pip install 'audenoise[metrics]'")
    if len({pair.name for pair in pairs}) < len(pairs):
        raise DataError("two pairs have the same name; give each another one")
    planned, gone = plan_pairs(pairs)
    gone = [*left, *gone]
    if strict and gone:
        raise DataError(f"{gone[0].name}: {gone[0].reason} (strict; {len(gone)} left out in all)")

    # The input's own SNR is needed for the gain and for the bands.
    measured = tuple(dict.fromkeys(name for name in (*chosen, "snr_db") if name != "snr_gain_db"))
    finished = finished_files(everyone)
    parts = [
        part
        for plan in planned
        for part in parts_of(plan, systems=everyone, metrics=measured, finished=finished)
    ]
    engine = jobs, ray
    results = _run_all(parts, engine, progress=progress, strict=strict)
    delays = _constant_delays(results, everyone)
    again = list(_to_score_again(results, delays, everyone))
    if again:
        corrected = _run_all([job for _, job in again], engine, progress=False, strict=strict)
        for (key, _), result in zip(again, corrected, strict=True):
            for name, scores in result.systems.items():
                scores.delay_s = results[key].systems[name].delay_s  # the same, but for the cut at the end
                results[key].systems[name] = scores

    scored, infos = _gathered(planned, results, everyone, delays)
    for plan in planned:
        if plan.pair.name not in infos:
            reason = next(result.unusable for result in results if result.job.pair.name == plan.pair.name)
            gone.append(Left(plan.pair.name, reason))
    if not infos:
        reason = f": {gone[0].name}: {gone[0].reason}" if gone else ""
        raise DataError(f"no pair can be scored{reason}")
    input_snr = {name: scores.get("snr_db") for name, scores in scored[0].scores.items()}
    scored = [_with_gains(system, input_snr, columns) for system in scored]
    return Evaluation(
        tuple(replace(info, measured_snr_db=input_snr.get(name)) for name, info in infos.items()),
        tuple(scored),
        tuple(columns),
        tuple((each.name, each.reason) for each in gone),
        (*notes, *notes_on(planned, results=results, scored=scored, missing=missing)),
    )


def _with_gains(
    system: SystemScores, input_snr: Mapping[str, float | None], columns: Sequence[str]
) -> SystemScores:
    """The scores that were asked for: the SNR is measured in any case."""
    found = {}
    for name, scores in system.scores.items():
        own, before = scores.get("snr_db"), input_snr.get(name)
        gain = {} if own is None or before is None else {"snr_gain_db": own - before}
        kept = {column: value for column in columns if (value := (scores | gain).get(column)) is not None}
        if kept:
            found[name] = kept
    return replace(system, scores=found)


def _run_all(
    parts: Sequence[PartJob], engine: tuple[int, str | None], *, progress: bool, strict: bool
) -> list[PartResult]:
    """Results in the order of the parts, however they are shared out."""
    results: list[PartResult | None] = [None] * len(parts)
    with (
        _one_thread_each(),
        closing(_in_any_order(list(enumerate(parts)), *engine)) as done,
        tqdm(total=len(parts), unit=" parts", desc="evaluate", disable=not progress, leave=False) as bar,
    ):
        for number, result in done:
            if strict:
                _refuse(result)
            results[number] = result
            bar.update()
    return [result for result in results if result is not None]


def _in_any_order(
    items: list[tuple[int, PartJob]], jobs: int, ray: str | None
) -> Generator[tuple[int, PartResult], None, None]:
    if ray is None and (jobs == 1 or len(items) < 2):
        yield from map(_numbered, items)
    else:
        yield from map_in_processes(_numbered, items, min(jobs, len(items)), ray=ray, lost=_lost_part)


def _lost_part(item: tuple[int, PartJob], reason: str) -> tuple[int, PartResult]:
    number, job = item
    return number, PartResult(job, unusable=reason)


def _numbered(item: tuple[int, PartJob]) -> tuple[int, PartResult]:
    number, job = item
    return number, score_part(job)


def _refuse(result: PartResult) -> None:
    name = result.job.pair.name
    if result.unusable:
        raise DataError(f"{name}: {result.unusable} (strict)")
    for system, scores in result.systems.items():
        if scores.problems:
            raise DataError(f"{name}, {system}: {scores.problems[0]} (strict)")


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that are started inside do their maths in one thread each, or they fight for the cores."""
    added = [name for name in _THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(added, "1"))
    try:
        yield
    finally:
        for name in added:
            del os.environ[name]


def _constant_delays(results: Sequence[PartResult], systems: Sequence[System]) -> dict[str, float]:
    usable = [result for result in results if not result.unusable]
    found = {
        system.name: _known_delays(result.systems[system.name] for result in usable) for system in systems
    }
    return {name: statistics.median_low(delays) if delays else 0.0 for name, delays in found.items()}


def _known_delays(parts: Iterable[PartScores]) -> list[float]:
    """Where there was output to find one in: a missing file says nothing about its system's delay."""
    return [part.delay_s for part in parts if part.delay_s is not None]


def _to_score_again(
    results: Sequence[PartResult], delays: Mapping[str, float], systems: Sequence[System]
) -> Iterator[tuple[int, PartJob]]:
    """Parts that were scored with another delay than the constant one, and the systems concerned."""
    for key, result in enumerate(results):
        if result.unusable:
            continue
        rate = result.sample_rate
        other = tuple(
            system
            for system in systems
            if (own := result.systems[system.name].delay_s) is not None
            and round(own * rate) != round(delays[system.name] * rate)
        )
        if other:
            yield key, replace(result.job, systems=other, delays_s=dict(delays))


def _gathered(
    planned: Sequence[Planned],
    results: Sequence[PartResult],
    systems: Sequence[System],
    delays: Mapping[str, float],
) -> tuple[list[SystemScores], dict[str, PairInfo]]:
    """Means over the parts of each pair, which are of equal length."""
    parts: dict[str, list[PartResult]] = {}
    for result in results:
        if not result.unusable:
            parts.setdefault(result.job.pair.name, []).append(result)
    infos = {
        plan.pair.name: PairInfo(plan.pair.name, plan.duration_s, plan.pair.label, plan.pair.snr_db)
        for plan in planned
        if plan.pair.name in parts
    }
    scored = []
    for system in systems:
        total = SystemScores(system.name, system.kind, delays[system.name])
        for name in infos:
            mine = [part.systems[system.name] for part in parts[name]]
            metrics = dict.fromkeys(metric for part in mine for metric in part.scores)
            means = {
                metric: statistics.fmean(part.scores[metric] for part in mine if metric in part.scores)
                for metric in metrics
            }
            if means:
                total.scores[name] = means
            if own := _known_delays(mine):
                total.delays_s[name] = statistics.median_low(own)
            if problems := list(dict.fromkeys(problem for part in mine for problem in part.problems)):
                total.failures[name] = "; ".join(problems)
        scored.append(total)
    return scored, infos
