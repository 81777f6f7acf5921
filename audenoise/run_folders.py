"""The folder of a training run: its spec, and what it knows beside its weights."""

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from audenoise.errors import TrainingError, brief
from audenoise.locks import only_one
from audenoise.specs import ModelSpec, dump_spec, load_spec, same_network
from audenoise.specs.explain import short

ENCODER_FILE = "encoder.weights.h5"
"""The best weights of a pre-training, of the encoder alone; no other run has them."""
_LISTED = 6


@dataclasses.dataclass
class RunState:
    """What a run folder knows beside its weights."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    seconds: float = 0.0
    last: str | None = None
    best_score: float | None = None
    """Of the best epoch, where the spec's `training.best_by` names a metric."""
    plateau: dict[str, float] = dataclasses.field(default_factory=dict)
    """Counters of the plateau schedule."""
    new_rate: bool = False
    """Whether the spec has another learning rate than the last epoch had."""

    def write(self, run: Path) -> None:
        partial = run / "state.json.partial"
        partial.write_text(json.dumps(dataclasses.asdict(self), indent=1))
        os.replace(partial, run / "state.json")

    @classmethod
    def read(cls, run: Path) -> "RunState":
        try:
            return cls(**json.loads((run / "state.json").read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise TrainingError(
                f"{run / 'state.json'}: cannot be read ({error}); start without --resume"
            ) from None


@contextmanager
def held(run: Path) -> Iterator[None]:
    """Train in this folder, for this process alone.

    Raises
    ------
    TrainingError
        If another process does, or if the folder can't be made.
    """
    refusal = TrainingError(f"{run}: another training is running there; wait for it or choose another --out")
    with ExitStack() as stack:
        try:
            run.mkdir(parents=True, exist_ok=True)
            stack.enter_context(only_one(run / ".lock", refusal))
        except OSError as error:
            raise TrainingError(f"{run}: can't be made or written ({error.strerror})") from error
        yield


def load_weights(model: Any, weights: Path) -> None:
    """Load weights into a Keras model, or raise `TrainingError` with what doesn't fit."""
    try:
        model.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        reason = brief(error)
        raise TrainingError(f"{weights}: weights don't fit the spec ({reason})") from None


def refuse_pretraining(run: Path) -> None:
    """Raise `TrainingError` if a folder that is to hold a training holds a pre-training."""
    if (run / ENCODER_FILE).is_file():
        raise TrainingError(
            f"{run}: holds a pre-training; start from it with --from-encoder {run} and another --out"
        )


def begin_run(run: Path, spec: str) -> RunState:
    """Create the run folder, with the text of its spec.

    Raises
    ------
    TrainingError
        If it holds a finished epoch. A run that ended before, by a wrong folder say, has nothing to lose.
    """
    if (run / "state.json").exists() and RunState.read(run).epoch > 0:
        raise TrainingError(
            f"{run}: holds a run already; add --resume to continue it, or choose another --out"
        )
    run.mkdir(parents=True, exist_ok=True)
    write_text(run / "spec.yaml", spec)
    state = RunState()
    state.write(run)
    return state


def state_to_resume(run: Path) -> RunState:
    """Raise `TrainingError` if there is none."""
    if not (run / "state.json").exists():
        raise TrainingError(f"{run}: holds no run to resume; leave --resume out to start one")
    return RunState.read(run)


def cannot_go_on(run: Path, state: RunState, what: str) -> TrainingError:
    """Of a run whose spec has another network, or what else `what` names."""
    if state.epoch == 0:
        return TrainingError(
            f"{run}: has no finished epoch, and its spec another {what}; leave --resume out to start anew"
        )
    return TrainingError(
        f"{run / 'spec.yaml'}: differs from the given spec in its {what}; it cannot be resumed"
    )


def prepare_run(
    run: Path, spec: ModelSpec, *, resume: bool, report: Callable[[str], object] | None = None
) -> RunState:
    """Create the run folder, or check that it can be continued with this spec.

    A run may go on with other settings than before: they are reported in one line, and the former spec is
    kept as ``spec-epoch-N.yaml``, where N is the last epoch that it held for. A run that has all the epochs
    of the spec is left as it is.

    Raises
    ------
    TrainingError
        If the folder already holds a finished epoch and `resume` is false, or holds no run and it is true.
    """
    if not resume:
        return begin_run(run, dump_spec(spec))
    state = state_to_resume(run)
    stored = load_spec(run / "spec.yaml")
    if not same_network(stored, spec):
        raise cannot_go_on(run, state, "network")
    spec = spec.with_scaling_of(stored)
    if state.epoch >= spec.training.epochs or not keep_former(
        run, stored, spec, epoch=state.epoch, report=report
    ):
        return state
    other_loss = stored.loss != spec.loss
    state.new_rate = state.new_rate or stored.training.learning_rate != spec.training.learning_rate
    if state.new_rate:
        state.plateau = {}
    if state.epoch and _scoring(stored) != _scoring(spec):
        # Neither a loss nor a score can be compared with one of another kind, or of other mixtures.
        state.best_loss = state.best_score = None
        if other_loss:
            state.plateau = {}
            if (run / "log.csv").exists():
                os.replace(run / "log.csv", run / f"log-to-epoch-{state.epoch}.csv")
    state.write(run)
    write_text(run / "spec.yaml", dump_spec(spec))
    return state


def _scoring(spec: ModelSpec) -> tuple[Any, ...]:
    """What must stay for losses and scores of epochs to be comparable."""
    recipe = spec.training
    sizes = recipe.crop_s, recipe.validation_mixtures, recipe.scored_mixtures
    return spec.loss, spec.mixing, recipe.best_by, sizes


def is_finished(state: RunState, epochs: int, report: Callable[[str], object] | None = None) -> bool:
    """Whether a run has all its epochs; if so, that is reported."""
    finished = state.epoch >= epochs
    if finished and report is not None:
        report(f"all {state.epoch} epochs are done; --epochs N trains longer")
    return finished


def keep_former(
    run: Path,
    before: BaseModel,
    after: BaseModel,
    *,
    epoch: int,
    report: Callable[[str], object] | None = None,
) -> bool:
    """Whether a run goes on with other settings than before; if so, they are reported, and its ``spec.yaml``
    is kept as that of the epochs until now."""
    changes = changed_settings(before, after)
    if not changes:
        return False
    if report is not None:
        more = f" and {len(changes) - _LISTED} more" if len(changes) > _LISTED else ""
        report(f"going on with other settings than before: {', '.join(changes[:_LISTED])}{more}")
    former = run / f"spec-epoch-{epoch}.yaml"
    if epoch and not former.exists():  # else what came since has not held for an epoch
        write_text(former, (run / "spec.yaml").read_text(encoding="utf-8"))
    return True


def write_text(path: Path, text: str) -> None:
    """Write a file in one step."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def changed_settings(before: BaseModel, after: BaseModel) -> list[str]:
    """What differs between two specs of a kind, key by key.

    Examples
    --------
    >>> from audenoise.specs import load_recipe, override_training
    >>> two, four = (override_training(load_recipe("standard"), {"batch_size": size}) for size in (2, 4))
    >>> changed_settings(two, four)
    ['training.batch_size 2 → 4']
    """
    old, new = (_by_key(spec.model_dump(mode="json")) for spec in (before, after))
    return [
        f"{key} {short(old.get(key))} → {short(new.get(key))}"
        for key in {**old, **new}
        if old.get(key) != new.get(key)
    ]


def _by_key(section: dict[str, Any], start: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in section.items():
        found |= _by_key(value, f"{start}{key}.") if isinstance(value, dict) else {start + key: value}
    return found
