"""The folder of a training run: its spec, and what it knows beside its weights."""

import dataclasses
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from audenoise.errors import TrainingError, brief
from audenoise.locks import only_one
from audenoise.specs import ModelSpec, dump_spec, load_spec, same_network

ENCODER_FILE = "encoder.weights.h5"
"""The best weights of a pre-training, of the encoder alone; no other run has them."""


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


def prepare_run(run: Path, spec: ModelSpec, *, resume: bool) -> RunState:
    """Create the run folder, or check that it can be continued with this spec.

    Raises
    ------
    TrainingError
        If the folder already holds a finished epoch and `resume` is false, or holds no run and it is true.
    """
    state_file = run / "state.json"
    if not resume:
        # A run that ended before its first epoch, by a wrong folder say, has nothing to lose.
        if state_file.exists() and RunState.read(run).epoch > 0:
            raise TrainingError(
                f"{run}: holds a run already; add --resume to continue it, or choose another --out"
            )
        run.mkdir(parents=True, exist_ok=True)
        (run / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
        state = RunState()
        state.write(run)
        return state
    if not state_file.exists():
        raise TrainingError(f"{run}: holds no run to resume; leave --resume out to start one")
    stored = load_spec(run / "spec.yaml")
    if not same_network(stored, spec):
        raise TrainingError(
            f"{run / 'spec.yaml'}: differs from the given spec in its network; it cannot be resumed"
        )
    spec = spec.with_scaling_of(stored)
    state = RunState.read(run)
    other_loss = stored.loss != spec.loss
    if state.epoch and (other_loss or stored.training.best_by != spec.training.best_by):
        # Neither a loss nor a score can be compared with one of another kind.
        state.best_loss = state.best_score = None
        if other_loss:
            state.plateau = {}
            if (run / "log.csv").exists():
                os.replace(run / "log.csv", run / f"log-to-epoch-{state.epoch}.csv")
        state.write(run)
    (run / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
    return state
