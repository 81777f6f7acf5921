# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalOperand=false, reportArgumentType=false
"""Training a denoiser with Keras `fit`, on TensorFlow or JAX."""

from collections.abc import Callable, Iterator
from pathlib import Path

import keras
import numpy as np

from audenoise.architectures.summary import build_checked
from audenoise.callbacks import AverageWarmUp, EpochWarmUp, Guard, Plateau, Reseed, SaveBest, SaveLast
from audenoise.corpus import TrainingFolders, make_mixers, training_stream
from audenoise.datasets import DatasetInfo
from audenoise.datasets.feeding import (
    DatasetStream,
    check_fit,
    open_side,
    training_reader,
    validation_examples,
)
from audenoise.denoising_model import DenoisingModel, make_optimizer
from audenoise.errors import DataError, SpecError, TrainingError
from audenoise.run_folders import RunState, held, prepare_run
from audenoise.scaling import scaling_of_run
from audenoise.specs import ModelSpec
from audenoise.training_log import DataWait, EpochReport, LogTable, Quality
from audenoise.validation import MEASURES, ValidationScores


def fit(
    spec: ModelSpec,
    batches: Iterator[tuple[np.ndarray, np.ndarray]],
    validation: tuple[np.ndarray, np.ndarray],
    *,
    run: Path,
    state: RunState,
    initial_weights: Path | None = None,
    tensorboard: bool = True,
    verbose: int = 0,
    report: Callable[[str], object] | None = None,
) -> keras.Model:
    """Train a network and keep its best weights in `run`.

    Parameters
    ----------
    spec : ModelSpec
    batches : iterator
        Yields (noisy, clean), (batch, samples) float32 each; its first batch is number
        ``state.epoch * steps_per_epoch``.
    validation : tuple of ndarray
        (noisy, clean), (examples, samples).
    run : Path
        From `prepare_run`.
    state : RunState
        Its epoch is where training goes on.
    initial_weights : Path, optional
        Network weights to start from (fine-tuning).
    tensorboard : bool
        Write TensorBoard logs to ``run/logs`` if TensorFlow is the backend.
    verbose : int
        As in `keras.Model.fit`.
    report : callable, optional
        Called with one line after each epoch.

    Returns
    -------
    keras.Model
        The network with the best weights.

    Raises
    ------
    TrainingError
        On a loss that is no number, a collapsed output, or weights that don't fit.
    """
    recipe = spec.training
    spec, first = scaling_of_run(spec, batches, run=run)
    keras.utils.set_random_seed(recipe.seed)
    model = DenoisingModel(build_checked(spec), spec)
    model.compile(optimizer=make_optimizer(spec), jit_compile=keras.backend.backend() == "jax")
    model(validation[0][:1])
    model.optimizer.build(model.trainable_variables)
    try:
        if state.last:
            model.load_weights(run / state.last)
        elif initial_weights:
            model.network.load_weights(initial_weights)
    except (ValueError, OSError, KeyError) as error:
        source = run / state.last if state.last else initial_weights
        raise TrainingError(
            f"{source}: weights don't fit the spec ({' '.join(str(error).split())[:160]})"
        ) from None
    scores = ValidationScores(*validation, spec.sample_rate, count=recipe.scored_mixtures, report=report)
    best_metric = None if recipe.best_by == "loss" else MEASURES[recipe.best_by]
    if best_metric is not None and best_metric not in scores.baseline:
        raise SpecError(
            f"training.best_by: {recipe.best_by} can't be measured here: its package is missing, or "
            "training.scored_mixtures is 0, or no validation example has speech"
        )
    callbacks: list[keras.callbacks.Callback] = [Reseed(recipe.seed), Guard()]
    if recipe.schedule == "plateau":
        callbacks += [
            EpochWarmUp(
                recipe.learning_rate,
                warmup_steps=recipe.warmup_steps,
                steps_per_epoch=recipe.steps_per_epoch,
            ),
            Plateau(state, recipe.plateau_patience),
        ]
    callbacks.append(SaveLast(run, state))
    if recipe.ema_momentum:
        callbacks += [keras.callbacks.SwapEMAWeights(swap_on_epoch=True), AverageWarmUp()]
    callbacks.append(Quality(scores, recipe.batch_size))
    if report is not None:
        callbacks.append(EpochReport(report, recipe.epochs, scores))
    callbacks += [
        SaveBest(
            run, state, patience=recipe.early_stopping_epochs, metric=best_metric and f"val_{best_metric}"
        ),
        DataWait(batches),
        LogTable(run / "log.csv", state.epoch),
    ]
    if tensorboard and keras.backend.backend() == "tensorflow":
        callbacks.append(keras.callbacks.TensorBoard(run / "logs"))
    failures: list[Exception] = []

    def generate() -> Iterator[tuple[np.ndarray, np.ndarray]]:  # Keras takes generators only
        try:
            yield from first
            yield from batches
        except Exception as error:
            failures.append(error)
            raise

    if state.epoch < recipe.epochs:
        try:
            model.fit(
                generate(),
                shuffle=False,
                epochs=recipe.epochs,
                initial_epoch=state.epoch,
                steps_per_epoch=recipe.steps_per_epoch,
                validation_data=validation,
                validation_batch_size=recipe.batch_size,
                callbacks=callbacks,
                verbose=verbose,
            )
        except Exception:
            if failures:  # TensorFlow wraps what the generator raises in an error of its own
                raise failures[0] from None
            raise
    if state.best_loss is not None:
        model.network.load_weights(run / "best.weights.h5")
    return model.network


def train_from_folders(
    spec: ModelSpec,
    folders: TrainingFolders,
    *,
    run: Path,
    cache: Path | None = None,
    workers: int = 1,
    resume: bool = False,
    initial_weights: Path | None = None,
    report: Callable[[str], object] = print,
) -> RunState:
    """Train on endless mixtures of the recordings in some folders.

    Parameters
    ----------
    spec : ModelSpec
    folders : TrainingFolders
    run : Path
        Where weights, logs and the spec go.
    cache : Path, optional
        Where decoded audio is kept, 115 MB per hour at 16 kHz. Default: ``run/cache``.
    workers : int
        Processes that mix; 0 mixes between the steps.
    resume : bool
        Continue the run in `run` after its last finished epoch.
    initial_weights : Path, optional
        Network weights to start from.
    report : callable
        Called with one line for each recording that is left out, for the data, and after each epoch.

    Returns
    -------
    RunState
        With the best epoch and its validation loss.

    Raises
    ------
    DataError
        If there is nothing to train on.
    TrainingError
        See `fit` and `prepare_run`.
    """
    with held(run):
        state = prepare_run(run, spec, resume=resume)
        mixers = make_mixers(spec, folders, cache=cache or run / "cache", jobs=max(1, workers))
        for line in mixers.skipped:
            report(f"left out: {line}")
        minutes = {kind: pool.seconds / 60 for kind, pool in mixers.train.pools.items()}
        report(f"training on {minutes['speech']:.1f} min of speech and {minutes['noise']:.1f} min of noise")
        validation = mixers.validation.batch(0, spec.training.validation_mixtures)
        stream = training_stream(mixers, spec, workers=workers, epoch=state.epoch)
        try:
            fit(
                spec, stream, validation, run=run, state=state, initial_weights=initial_weights, report=report
            )
        finally:
            stream.close()
    return state


def train_from_dataset(
    spec: ModelSpec,
    dataset: Path,
    *,
    run: Path,
    workers: int = 1,
    resume: bool = False,
    initial_weights: Path | None = None,
    report: Callable[[str], object] = print,
) -> RunState:
    """Train on a dataset that `audenoise build-dataset` has saved, and validate on its held-out side.

    The mixtures are those of the dataset; `spec.mixing` has no say. What is in memory is a few batches,
    whatever the size of the dataset.

    Parameters
    ----------
    spec : ModelSpec
    dataset : Path
        A finished dataset with the rate and the spectrogram of the spec.
    run : Path
        Where weights, logs and the spec go.
    workers : int
        Processes that read; 0 reads between the steps.
    resume, initial_weights, report
        See `train_from_folders`.

    Returns
    -------
    RunState
        With the best epoch and its validation loss.

    Raises
    ------
    DataError
        If the dataset isn't finished, lacks a side, is damaged, or doesn't fit the spec.
    TrainingError
        See `fit` and `prepare_run`.
    """
    info = DatasetInfo.read(dataset)
    check_fit(info, spec)
    if "test" not in info.sides:
        raise DataError(f"{dataset}: has nothing held out to validate on; build it with a --test-split")
    train, test = (open_side(info, side) for side in ("train", "test"))
    with held(run):
        state = prepare_run(run, spec, resume=resume)
        hours = [side.seconds / 3600 for side in (train, test)]
        report(f"training on {hours[0]:.2f} h of mixtures, validating on some of {hours[1]:.2f} h")
        validation = validation_examples(test, spec)
        stream = DatasetStream(
            training_reader(train, spec),
            batch_size=spec.training.batch_size,
            workers=workers,
            first=state.epoch * spec.training.steps_per_epoch,
        )
        try:
            fit(
                spec, stream, validation, run=run, state=state, initial_weights=initial_weights, report=report
            )
        finally:
            stream.close()
    return state
