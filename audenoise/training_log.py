# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalMemberAccess=false, reportArgumentType=false
"""What a training says of itself: a line now and then, and after each epoch metrics, one line, and a row of
`log.csv`."""

import csv
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import keras

from audenoise.durations import in_words
from audenoise.errors import TrainingError
from audenoise.validation import ValidationScores


class Quality(keras.callbacks.Callback):
    """Adds the metrics of held-out examples to the log: `val_si_sdr_db`, `val_estoi`, `val_pesq_wb`.

    It comes after `SwapEMAWeights`, so that the averaged weights are judged: those that are kept.
    """

    def __init__(self, scores: ValidationScores, batch_size: int):
        super().__init__()
        self.scores, self.batch_size = scores, batch_size

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None and self.scores.baseline:
            denoised = self.model.denoise(self.scores.noisy, batch_size=self.batch_size)
            logs.update({f"val_{name}": value for name, value in self.scores.score(denoised).items()})


class Schedule(Protocol):
    """What a recipe says of its length."""

    epochs: int
    steps_per_epoch: int


class StepReport(keras.callbacks.Callback):
    """One line about once a minute within an epoch, for whoever watches a terminal or a log."""

    def __init__(self, report: Callable[[str], object], recipe: Schedule, *, every_s: float = 60.0):
        super().__init__()
        self.report, self.recipe, self.every_s = report, recipe, every_s

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch, self._said, self._first = epoch, time.monotonic(), None

    def on_train_batch_end(self, batch, logs=None):
        now, steps = time.monotonic(), self.recipe.steps_per_epoch
        if self._first is None:  # it compiles the network: the others don't take as long
            self._first = batch, now
        elif now - self._said >= self.every_s and batch + 1 < steps:
            self._said = now
            first, then = self._first
            left_s = (now - then) / (batch - first) * (steps - batch - 1)
            self.report(
                f"epoch {self._epoch + 1}/{self.recipe.epochs}: step {batch + 1}/{steps}, "
                f"loss {float((logs or {})['loss']):.5f}, about {in_words(left_s)} left in this epoch"
            )


class EpochReport(keras.callbacks.Callback):
    """One line after each epoch; the log has the rest."""

    def __init__(self, report: Callable[[str], object], epochs: int, scores: ValidationScores):
        super().__init__()
        self.report, self.epochs, self.scores = report, epochs, scores

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        measured = {name: logs[f"val_{name}"] for name in self.scores.baseline}
        quality = self.scores.in_words(measured) or f"SDR {logs['val_sdr_db']:.2f} dB"
        self.report(
            f"epoch {epoch + 1}/{self.epochs}: loss {logs['loss']:.5f}, validation {logs['val_loss']:.5f} "
            f"with {quality}, {time.monotonic() - self._started:.0f} s"
        )


class DataWait(keras.callbacks.Callback):
    """Adds the share of an epoch's steps that the input kept its consumer waiting: `data_wait`, 0 to 1.

    `fit` reads ahead, so this is an upper bound of what the step itself waited.
    """

    def __init__(self, stream):
        super().__init__()
        self.stream = stream

    def on_epoch_begin(self, epoch, logs=None):
        self._begin = self._end = self._now()

    def on_train_batch_end(self, batch, logs=None):
        self._end = self._now()  # what comes after the last step, such as validation, does not count

    def on_epoch_end(self, epoch, logs=None):
        if logs is not None:
            elapsed, waited = (end - begin for begin, end in zip(self._begin, self._end, strict=True))
            logs["data_wait"] = min(1.0, waited / max(elapsed, 1e-9))

    def _now(self) -> tuple[float, float]:
        return time.perf_counter(), getattr(self.stream, "waited_s", 0.0)


class LogTable(keras.callbacks.Callback):
    """Writes `log.csv`: a row for each epoch, which may have other columns than those of an earlier session.

    Keras's CSVLogger would put values under the wrong names then.
    """

    def __init__(self, path: Path, first_epoch: int):
        super().__init__()
        self.path = path
        self._rows: list[dict[str, object]] = []
        if first_epoch and path.is_file():
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    rows = list(csv.DictReader(file))
                self._rows = [dict(row) for row in rows if int(row["epoch"]) < first_epoch]
            except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
                raise TrainingError(
                    f"{path}: is no log of a training ({error}); move it away to go on without it"
                ) from None

    def on_epoch_end(self, epoch, logs=None):
        self._rows.append({"epoch": epoch, **{name: float(value) for name, value in (logs or {}).items()}})
        names = dict.fromkeys(name for row in self._rows for name in row if name)
        partial = self.path.with_name(f"{self.path.name}.partial")
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(names), restval="", extrasaction="ignore")
            writer.writeheader()
            writer.writerows(self._rows)
        os.replace(partial, self.path)
