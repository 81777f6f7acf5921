"""What happens in the process of a trial: train, or go on where an earlier process was stopped, and score."""

import contextlib
import errno
import math
import os
import shutil
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras

from audenoise.denoising_model import DenoisingModel
from audenoise.errors import AudenoiseError
from audenoise.run_folders import RunState, prepare_run
from audenoise.specs import ModelSpec, load_spec, parse_spec, same_network
from audenoise.training import fit
from audenoise.tuning.hypermodel import cost_of
from audenoise.tuning.memory import device_peak_mb, own_peak_mb
from audenoise.tuning.request import TrialRequest
from audenoise.validation import ValidationScores


def work(request: TrialRequest, fit: Callable[..., keras.Model] = fit) -> dict[str, Any]:
    """What the process sends back; failures of any kind are answers too."""
    answer: dict[str, Any]
    try:
        answer = train_and_score(request, fit)
    except Exception as error:
        answer = {"status": "failed", "message": _explained(error), "disk_full": _disk_is_full(error)}
        if not isinstance(error, AudenoiseError):
            with contextlib.suppress(OSError):
                (request.run / "error.txt").write_text(traceback.format_exc(), encoding="utf-8")
    for name, memory in (("peak_memory_mb", own_peak_mb()), ("device_memory_mb", device_peak_mb())):
        if memory:
            answer[name] = memory
    return answer


def _disk_is_full(error: Exception) -> bool:
    return "disk is full" in str(error) or getattr(error, "errno", None) == errno.ENOSPC


def _explained(error: Exception) -> str:
    text = " ".join(str(error).split())
    if (
        isinstance(error, MemoryError)
        or "ResourceExhausted" in type(error).__name__
        or "RESOURCE_EXHAUSTED" in text
    ):
        return f"out of memory: {text[:160]}"
    return text if isinstance(error, AudenoiseError) else f"{type(error).__name__}: {text[:240]}"


def train_and_score(request: TrialRequest, fit: Callable[..., keras.Model] = fit) -> dict[str, Any]:
    """Train in this process, or go on where an earlier one has stopped, and score the best weights.

    Parameters
    ----------
    request : TrialRequest
    fit : callable
        Trains, as `audenoise.training.fit` does; what it keeps in the run folder is its own affair, but it
        sets `RunState.last`.

    Returns
    -------
    dict
        Status, score, scores, cost, seconds and epochs.

    Raises
    ------
    AudenoiseError
        If the spec is over budget, the training fails, or the output can't be scored.
    """
    spec, base = parse_spec(request.spec), parse_spec(request.base)
    cost = cost_of(spec)
    answer: dict[str, Any] = {"parameters": cost.parameters, "macs_per_second": cost.macs_per_second}
    over = request.budget.exceeded(cost)
    if over:
        return {**answer, "status": "failed", "message": over}
    try:
        state = open_run(request)
        validation = request.data.validation(base)
        stream = request.data.stream(spec, state.epoch)
        try:
            network = fit(spec, stream, validation, run=request.run, state=state, tensorboard=False)
        finally:
            stream.close()
        scored = ValidationScores(*validation, spec.sample_rate, count=len(validation[0]))
        denoised = DenoisingModel(network, spec).denoise(scored.noisy, batch_size=spec.training.batch_size)
        scores = scored.score(denoised)
    except Exception as error:
        if _disk_is_full(error) or not isinstance(error, AudenoiseError | MemoryError):
            raise
        return {**answer, "status": "failed", "message": _explained(error)}
    score = request.objective.score(scores)
    answer |= {"scores": scores, "epochs": state.epoch, "seconds": state.seconds}
    if math.isnan(score):
        return {
            **answer,
            "status": "failed",
            "message": "the score is not a number: its output can't be measured",
        }
    return {**answer, "status": "completed", "score": score}


def open_run(request: TrialRequest) -> RunState:
    """Begin the run of a trial, or go on with what lies in its folder or with a shorter trial.

    Returns
    -------
    RunState
        Epoch 0 if there was nothing, or nothing that fits the spec.
    """
    spec, run = parse_spec(request.spec), request.run
    if request.previous is not None and not (run / "state.json").exists():
        _copy_run(request.previous, run)
    kept = _readable_state(run)
    if kept is None or not (run / "spec.yaml").is_file() or not _same(run, spec):
        shutil.rmtree(run, ignore_errors=True)  # a first epoch that was never finished, or of another spec
        return prepare_run(run, spec, resume=False)
    return prepare_run(run, spec, resume=True)


def _readable_state(run: Path) -> RunState | None:
    try:
        state = RunState.read(run)
    except AudenoiseError:
        return None
    whole = state.epoch > 0 and state.best_loss is not None and state.last and (run / state.last).is_file()
    return state if whole and (run / "best.weights.h5").is_file() else None


def _same(run: Path, spec: ModelSpec) -> bool:
    try:
        return same_network(load_spec(run / "spec.yaml"), spec)
    except AudenoiseError:
        return False


def _copy_run(source: Path, run: Path) -> None:
    """Begin with the weights of a shorter trial, if they are here."""
    if not (source / "state.json").is_file():
        return
    shutil.rmtree(run, ignore_errors=True)
    partial = run.with_name(f"{run.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(source, partial, ignore=shutil.ignore_patterns("result.json", "error.txt"))
    os.replace(partial, run)
