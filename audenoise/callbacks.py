# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false
"""Between epochs: checkpoints that survive a kill, and a stop with a clear word when training fails."""

import os
import shutil
import time
from pathlib import Path

import keras
import numpy as np

from audenoise.devices import undistributed
from audenoise.errors import TrainingError
from audenoise.layers import to_numpy
from audenoise.run_folders import RunState

COLLAPSE_DB = -40.0
"""An output this far below the clean speech is silence, not denoising."""


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
        with undistributed():
            model.save_weights(partial)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


class SaveLast(keras.callbacks.Callback):
    """After each epoch: weights and optimizer, before the averages take the weights' place.

    They count as soon as `FinishEpoch` has noted them.
    """

    def __init__(self, run: Path):
        super().__init__()
        self.run = run

    def on_epoch_end(self, epoch, logs=None):
        _save_weights(self.model, self.run / _last(epoch))


def keep_start(model: keras.Model, run: Path, state: RunState) -> None:
    """Keep what a run starts from, so that it can go on before its first epoch is done."""
    _save_weights(model, run / _last(-1))
    state.last = _last(-1)
    state.write(run)


def _last(epoch: int) -> str:
    return f"last-{epoch + 1}.weights.h5"


class FinishEpoch(keras.callbacks.Callback):
    """Notes that an epoch is done. It comes last of all.

    A kill loses one epoch at most, and never its best weights or its row in the log alone: what was not noted
    is done again, with all that belongs to it.
    """

    def __init__(self, run: Path, state: RunState):
        super().__init__()
        self.run, self.state = run, state

    def on_train_begin(self, logs=None):
        self._started = time.monotonic() - self.state.seconds

    def on_epoch_end(self, epoch, logs=None):
        self.state.epoch, self.state.last, self.state.new_rate = epoch + 1, _last(epoch), False
        self.state.seconds = time.monotonic() - self._started
        self.state.write(self.run)
        for old in self.run.glob("last-*.weights.h5"):
            if old.name != self.state.last:
                old.unlink(missing_ok=True)


class SaveBest(keras.callbacks.Callback):
    """Keeps the averaged weights of the best epoch; stops when none is better for `patience` epochs.

    The best is that of the lowest validation loss, or of the highest `metric`, a column such as
    `val_si_sdr_db`.
    """

    def __init__(
        self,
        run: Path,
        state: RunState,
        *,
        patience: int | None,
        metric: str | None = None,
        file: str = "best.weights.h5",
    ):
        super().__init__()
        self.run, self.state, self.patience, self.metric = run, state, patience, metric
        self.file = file

    def on_epoch_end(self, epoch, logs=None):
        logs, state = logs or {}, self.state
        loss, score = float(logs["val_loss"]), None
        better = state.best_loss is None or loss < state.best_loss
        if self.metric is not None:
            score = float(logs[self.metric])
            better = state.best_loss is None or state.best_score is None or score > state.best_score
            score = score if np.isfinite(score) else None
        if better:
            _save_weights(self.model.network, self.run / self.file)
            state.best_loss, state.best_score, state.best_epoch = loss, score, epoch + 1
        elif self.patience and epoch + 1 - state.best_epoch >= self.patience:
            what = f"validation {self.metric.removeprefix('val_')}" if self.metric else "validation loss"
            print(f"no better {what} for {self.patience} epochs: stopped")
            self.model.stop_training = True


class Plateau(keras.callbacks.ReduceLROnPlateau):
    """Halves the learning rate when the validation loss stops falling, and knows after a resume for how long.

    It comes before `SaveLast`, so that the rate of an epoch is saved with its weights.
    """

    def __init__(self, state: RunState, patience: int):
        super().__init__(monitor="val_loss", factor=0.5, patience=patience, min_lr=1e-6)
        self.state = state

    def on_train_begin(self, logs=None):
        super().on_train_begin(logs)
        for name, value in self.state.plateau.items():
            setattr(self, name, value)

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(epoch, logs)
        names = ("best", "wait", "cooldown_counter")
        self.state.plateau = {name: float(getattr(self, name)) for name in names}


class SwapAverages(keras.callbacks.SwapEMAWeights):
    """Keras' swap of weights and averages; on JAX the arrays themselves change hands.

    By way of NumPy, weights and averages would share memory for a while, and several hosts would have to
    agree on each byte of what they read.
    """

    def _backend_swap_variables(self, optimizer):
        pairs = zip(optimizer._trainable_variables, optimizer._model_variables_moving_average, strict=True)
        for variable, average in pairs:
            current, mean = variable.value, average.value
            variable.assign(mean)
            average.assign(current)


class AverageWarmUp(keras.callbacks.Callback):
    """Restarts the weight average from the current weights until it has seen twice its own length of steps.

    Keras starts the average at the random weights, which a momentum of 0.999 remembers for thousands of
    steps. It comes after `SwapEMAWeights`, which puts the current weights back when an epoch begins; at the
    end of one it would replace the averages that were validated and are about to be saved.
    """

    def on_epoch_begin(self, epoch, logs=None):
        optimizer = self.model.optimizer
        optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of one that scales the loss
        if int(to_numpy(optimizer.iterations)) * (1 - optimizer.ema_momentum) > 2:
            return
        pairs = zip(self.model.trainable_variables, optimizer._model_variables_moving_average, strict=True)
        for variable, average in pairs:
            # A copy, or JAX would share the memory; not by way of NumPy, or hosts would compare each byte.
            jax = keras.backend.backend() == "jax"
            average.assign(keras.ops.copy(variable.value) if jax else to_numpy(variable))


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

    A compressed mask starts near silence, and a network that predicts levels learns their mean first, so an
    output that grows louder from epoch to epoch may go on, and one whose loss falls. The weight average
    follows late: no word before `patience_steps`.
    """

    def __init__(self, *, patience_steps: int = 500):
        super().__init__()
        self.patience_steps = patience_steps
        self._level_db, self._loss = float("-inf"), float("inf")

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
        falling, self._loss = logs.get("val_loss", 0.0) < 0.98 * self._loss, logs.get("val_loss", 0.0)
        early = int(to_numpy(self.model.optimizer.iterations)) < self.patience_steps
        if level_db < COLLAPSE_DB and not (louder or falling or early):
            raise TrainingError(
                f"the output has collapsed to silence ({level_db:.0f} dB below the speech): lower "
                "training.learning_rate, or check that the clean folder holds speech"
            )
