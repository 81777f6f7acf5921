"""The work on one part of one pair: denoise it with every system, find the delay, score."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from audenoise.array_types import MultichannelAudio
from audenoise.audio import resample
from audenoise.errors import AudenoiseError, SignalError
from audenoise.metrics import SILENCE_RMS, estimate_delay_samples, remove_delay, score_pair

from .pairs import FileSource, Pair
from .systems import System, run_system

PART_S = 120.0
"""Longest stretch that is denoised and scored at once, which bounds memory."""
SEGMENT_S = 30.0
"""Longest stretch that PESQ and STOI get: PESQ is made for about 10 s, and breaks beyond 50 utterances."""
LONGEST_DELAY_S = 0.3
"""Delays are looked for up to this."""

_SEGMENTED = {"pesq_wb", "stoi", "estoi"}


@dataclass(frozen=True)
class PartJob:
    """One part of a pair.

    Attributes
    ----------
    pair : Pair
    start_s, stop_s : float
    systems : tuple of System
    metrics : tuple of str
        Of `audenoise.metrics.METRICS`.
    finished : mapping
        Name of a system of kind "folder" → its file for this pair.
    delays_s : mapping or None
        Name of a system → delay to remove; without it, each system's own in this part.
    """

    pair: Pair
    start_s: float
    stop_s: float
    systems: tuple[System, ...]
    metrics: tuple[str, ...]
    finished: Mapping[str, FileSource] = field(default_factory=dict)
    delays_s: Mapping[str, float] | None = None


@dataclass
class PartScores:
    """What one system got for a part."""

    scores: dict[str, float] = field(default_factory=dict)
    delay_s: float | None = None  # nothing to find one in
    problems: list[str] = field(default_factory=list)
    missing_s: float = 0.0


@dataclass
class PartResult:
    """All systems' scores of a part; `unusable` says why there are none."""

    job: PartJob
    sample_rate: int = 0
    systems: dict[str, PartScores] = field(default_factory=dict)
    unusable: str = ""


def score_part(job: PartJob) -> PartResult:
    """Read, denoise and score one part; what goes wrong is told in the result."""
    try:
        clean, rate = job.pair.clean.read(job.start_s, job.stop_s)
        noisy, noisy_rate = job.pair.noisy.read(job.start_s, job.stop_s)
        if not (np.isfinite(clean).all() and np.isfinite(noisy).all()):
            raise SignalError("has NaN or infinite samples")
    except AudenoiseError as error:
        return PartResult(job, unusable=str(error))
    if clean.shape[0] == 0 or noisy.shape[0] == 0 or _rms(clean) <= SILENCE_RMS:
        return PartResult(job, rate, unusable="the clean recording is silent")
    noisy, clean = same_channels(noisy, clean)
    return PartResult(
        job,
        rate,
        {system.name: _score(job, system, (noisy, noisy_rate), (clean, rate)) for system in job.systems},
    )


def _score(
    job: PartJob, system: System, noisy: tuple[MultichannelAudio, int], clean: tuple[MultichannelAudio, int]
) -> PartScores:
    result = PartScores()
    reference, rate = clean
    try:
        denoised, denoised_rate = denoised_part(job, system, noisy)
        estimate = denoised if denoised_rate == rate else resample(denoised, denoised_rate, rate)
        estimate, reference = same_channels(estimate, reference)
        n_samples = len(reference)
        result.missing_s = max(0, n_samples - len(estimate)) / rate
        try:
            own = estimate_delay_samples(
                reference.mean(axis=1),
                _fitted(estimate, n_samples).mean(axis=1),
                max_delay_samples=int(LONGEST_DELAY_S * rate),
            )
            result.delay_s = own / rate
        except SignalError:
            own = 0  # silent output: the scores will say so
        delay = own if job.delays_s is None else round(job.delays_s[system.name] * rate)
        shifted = np.stack([remove_delay(channel, delay) for channel in estimate.T], axis=1)
        aligned = _fitted(shifted, n_samples)
    except AudenoiseError as error:
        result.problems.append(str(error))
        return result
    for metric in job.metrics:
        try:
            for name, score in _mean_scores(metric, reference, aligned, rate).items():
                if math.isfinite(score):
                    result.scores[name] = score
                else:
                    result.problems.append(f"{name}: is {score}")
        except SignalError as error:
            result.problems.append(f"{metric}: {error}")
    return result


def denoised_part(
    job: PartJob, system: System, noisy: tuple[MultichannelAudio, int]
) -> tuple[MultichannelAudio, int]:
    """A system's output for a part, and its rate; finished files a little longer, for they may be late.

    Raises
    ------
    AudenoiseError
        If the system fails, or its file is missing or can't be read.
    """
    if system.kind != "folder":
        return run_system(system, *noisy), noisy[1]
    if system.name not in job.finished:
        raise SignalError(f"{system.source}: has no file for this pair")
    audio, rate = job.finished[system.name].read(job.start_s, job.stop_s + LONGEST_DELAY_S)
    if len(audio) == 0:
        raise SignalError(f"{job.finished[system.name].path}: ends before {job.start_s:.1f} s")
    return audio, rate


def same_channels(
    first: MultichannelAudio, second: MultichannelAudio
) -> tuple[MultichannelAudio, MultichannelAudio]:
    """Both with as many channels: averaged to one where the numbers differ."""
    if first.shape[1] == second.shape[1]:
        return first, second
    return first.mean(axis=1, keepdims=True), second.mean(axis=1, keepdims=True)


def _mean_scores(
    metric: str, reference: MultichannelAudio, estimate: MultichannelAudio, rate: int
) -> dict[str, float]:
    """Mean over channels, and over stretches of up to `SEGMENT_S` for metrics made for short ones."""
    n_segments = 1
    if metric in _SEGMENTED:
        n_segments = max(1, math.ceil(len(reference) / (SEGMENT_S * rate)))
    bounds = [len(reference) * k // n_segments for k in range(n_segments + 1)]
    found: list[dict[str, float]] = []
    problem: SignalError | None = None
    for channel in range(reference.shape[1]):
        for start, stop in pairwise(bounds):
            try:
                found.append(
                    score_pair(
                        reference[start:stop, channel], estimate[start:stop, channel], rate, metrics=[metric]
                    )
                )
            except SignalError as error:  # such as a long pause in which PESQ finds no speech
                problem = error
    if not found:
        raise problem or SignalError("there is nothing to score")
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def _fitted(audio: MultichannelAudio, n_samples: int) -> MultichannelAudio:
    return np.pad(audio[:n_samples], ((0, max(0, n_samples - len(audio))), (0, 0)))


def _rms(audio: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(audio, dtype=np.float64))))
