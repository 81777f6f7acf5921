# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false
"""Between epochs: checkpoints that survive a kill, and a stop with a clear word when training fails."""

import dataclasses
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from audenoise.errors import TrainingError

COLLAPSE_DB = -40.0
"""An output this far below the clean speech is silence, not denoising."""


@dataclasses.dataclass
class RunState:
    """What a run folder knows beside its weights."""

    epoch: int = 0
    best_epoch: int = 0
    best_loss: float | None = None
    seconds: float = 0.0
    last: str | None = None

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


def _save_weights(model: keras.Model, path: Path) -> None:
    # HDF5 crashes the process when the disk fills up under it, so the room is checked first.
    n_bytes = sum(4 * int(np.prod(v.shape)) for v in model.variables)
    optimizer = getattr(model, "optimizer", None)
    if optimizer is not None:
        n_bytes += sum(4 * int(np.prod(v.shape)) for v in optimizer.variables)
    needed, free = 1.2 * n_bytes + 500_000, shutil.disk_usage(path.parent).free
    if free < needed:
        raise TrainingError(
            f"{path}: the disk is full ({free / 1e6:.1f} of {needed / 1e6:.1f} MB). Free some space, "
            "then go on with --resume."
        )
    partial = path.with_name(f"partial-{path.name}")
    try:
        model.save_weights(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class SaveLast(keras.callbacks.Callback):
    """After each epoch: weights, optimizer and epoch, so that a kill loses one epoch at most."""

    def __init__(self, run: Path, state: RunState):
        super().__init__()
        self.run, self.state = run, state

    def on_train_begin(self, logs=None):
        self._started = time.monotonic() - self.state.seconds

    def on_epoch_end(self, epoch, logs=None):
        previous = self.state.last
        name = f"last-{epoch + 1}.weights.h5"
        _save_weights(self.model, self.run / name)
        self.state.epoch, self.state.last = epoch + 1, name
        self.state.seconds = time.monotonic() - self._started
        self.state.write(self.run)
        if previous and previous != name:
            (self.run / previous).unlink(missing_ok=True)


class SaveBest(keras.callbacks.Callback):
    """Keeps the averaged weights of the epoch with the lowest validation loss; stops when it stays behind."""

    def __init__(self, run: Path, state: RunState, patience: int | None):
        super().__init__()
        self.run, self.state, self.patience = run, state, patience

    def on_epoch_end(self, epoch, logs=None):
        loss = float((logs or {})["val_loss"])
        if self.state.best_loss is None or loss < self.state.best_loss:
            _save_weights(self.model.network, self.run / "best.weights.h5")
            self.state.best_loss, self.state.best_epoch = loss, epoch + 1
            self.state.write(self.run)
        elif self.patience and epoch + 1 - self.state.best_epoch >= self.patience:
            print(f"no better validation loss for {self.patience} epochs: stopped")
            self.model.stop_training = True


class AverageWarmUp(keras.callbacks.Callback):
    """Restarts the weight average from the current weights until it has seen twice its own length of steps.

    Keras starts the average at the random weights, which a momentum of 0.999 remembers for thousands of
    steps. It comes after `SwapEMAWeights`, which puts the current weights back when an epoch begins; at the
    end of one it would replace the averages that were validated and are about to be saved.
    """

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        if int(optimizer.iterations) * (1 - optimizer.ema_momentum) > 2:
            return
        pairs = zip(self.model.trainable_variables, optimizer._model_variables_moving_average, strict=True)
        for variable, average in pairs:
            average.assign(np.array(keras.ops.convert_to_numpy(variable)))  # JAX would share the memory


class EpochWarmUp(keras.callbacks.Callback):
    """Raises the learning rate from epoch to epoch, for schedules that change it between epochs only.

    A rate that changes with every step belongs into the optimizer's schedule, which leaves none to a plateau.
    """

    def __init__(self, rate: float, *, warmup_steps: int, steps_per_epoch: int):
        super().__init__()
        self.rate, self.warmup_steps, self.steps_per_epoch = rate, warmup_steps, steps_per_epoch

    def on_epoch_begin(self, epoch, logs=None):
        middle = (epoch + 0.5) * self.steps_per_epoch
        before = epoch > 0 and middle - self.steps_per_epoch < self.warmup_steps
        if before or middle < self.warmup_steps:
            self.model.optimizer.learning_rate = self.rate * min(1.0, middle / self.warmup_steps)


class Reseed(keras.callbacks.Callback):
    """Random state (of dropout) from the seed and the epoch: Keras does not save it with the weights."""

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed

    def on_epoch_begin(self, epoch, logs=None):
        states = [v for v in self.model.variables if v.path.endswith("seed_generator_state")]
        for i, state in enumerate(states):
            state.assign(np.random.SeedSequence((self.seed, epoch, i)).generate_state(2) >> 1)


class Guard(keras.callbacks.Callback):
    """Stops with a clear word on a loss that is no number, or on silence that lasts.

    A compressed mask starts near silence, so an output that grows louder from epoch to epoch may go on.
    """

    def __init__(self):
        super().__init__()
        self._level_db = float("-inf")

    def on_train_batch_end(self, batch, logs=None):
        # Reading the loss waits for the step, so not at every one.
        if batch % 20 == 0 and not np.isfinite((logs or {}).get("loss", 0.0)):
            raise TrainingError(
                "the loss is not a number: lower training.learning_rate or training.clip_norm"
            )

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if not np.isfinite(logs.get("val_loss", 0.0)):
            raise TrainingError("the validation loss is not a number: lower training.learning_rate")
        level_db = logs.get("val_level_db", 0.0)
        louder, self._level_db = level_db > self._level_db + 1, level_db
        if level_db < COLLAPSE_DB and not louder:
            raise TrainingError(
                f"the output has collapsed to silence ({level_db:.0f} dB below the speech): lower "
                "training.learning_rate, or check that the clean folder holds speech"
            )


class EpochReport(keras.callbacks.Callback):
    """One line after each epoch; the log has the rest."""

    def __init__(self, report: Callable[[str], object], epochs: int):
        super().__init__()
        self.report, self.epochs = report, epochs

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        self.report(
            f"epoch {epoch + 1}/{self.epochs}: loss {logs['loss']:.5f}, validation {logs['val_loss']:.5f} "
            f"with SDR {logs['val_sdr_db']:.2f} dB, {time.monotonic() - self._started:.0f} s"
        )


class DataWait(keras.callbacks.Callback):
    """Adds the share of the epoch that the input pipeline kept its consumer waiting: `data_wait`, 0 to 1.

    `fit` reads ahead, so this is an upper bound of what the step itself waited.
    """

    def __init__(self, stream):
        super().__init__()
        self.stream = stream

    def on_epoch_begin(self, epoch, logs=None):
        self._mark = time.perf_counter(), getattr(self.stream, "waited_s", 0.0)

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            elapsed = time.perf_counter() - self._mark[0]
            logs["data_wait"] = (getattr(self.stream, "waited_s", 0.0) - self._mark[1]) / max(elapsed, 1e-9)
