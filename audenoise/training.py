# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalOperand=false, reportArgumentType=false
"""Training a denoiser with Keras `fit`, on TensorFlow or JAX."""

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from audenoise.architectures.summary import build_checked
from audenoise.callbacks import (
    AverageWarmUp,
    EpochWarmUp,
    FinishEpoch,
    Guard,
    Plateau,
    Reseed,
    SaveBest,
    SaveLast,
    SwapAverages,
    keep_start,
)
from audenoise.corpus import TrainingFolders, make_mixers
from audenoise.datasets import DatasetInfo
from audenoise.datasets.feeding import (
    DatasetStream,
    check_fit,
    open_side,
    training_reader,
    validation_examples,
)
from audenoise.denoising_model import DenoisingModel, make_optimizer, precision, with_loss_scale
from audenoise.devices import ONE_DEVICE, Devices, StopTogether, undistributed
from audenoise.durations import in_words
from audenoise.errors import DataError, SpecError, TrainingError
from audenoise.layers import to_numpy
from audenoise.mixtures import BatchShare, BatchSource, MixtureStream
from audenoise.run_folders import RunState, held, is_finished, prepare_run, refuse_pretraining
from audenoise.scaling import scaling_of_run
from audenoise.specs import ModelSpec, TrainingSpec, parse_spec, spec_to_dict
from audenoise.training_log import DataWait, EpochReport, LogTable, Quality, StepReport
from audenoise.validation import MEASURES, ValidationScores

WeightSource = Callable[[keras.Model], object]


def fit(
    spec: ModelSpec,
    batches: Iterator[tuple[np.ndarray, np.ndarray]],
    validation: tuple[np.ndarray, np.ndarray],
    *,
    run: Path,
    state: RunState,
    devices: Devices = ONE_DEVICE,
    initial_weights: Path | WeightSource | None = None,
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
        ``state.epoch * steps_per_epoch``. With several hosts, this one's part of each batch.
    validation : tuple of ndarray
        (noisy, clean), (examples, samples).
    run : Path
        From `prepare_run`.
    state : RunState
        Its epoch is where training goes on.
    devices : Devices
        From `find_devices`.
    initial_weights : Path or callable, optional
        Network weights to start from (fine-tuning), or what gives them to a new network.
    tensorboard : bool
        Write TensorBoard logs to ``run/logs`` if TensorFlow is the backend.
    verbose : int
        As in `keras.Model.fit`.
    report : callable, optional
        Called with one line after each epoch, and about once a minute within one.

    Returns
    -------
    keras.Model
        The network with the best weights.

    Raises
    ------
    TrainingError
        On a loss that is no number, a collapsed output, or weights that don't fit.
    """
    with devices.scope(), devices.together():
        return _fit(
            spec,
            batches,
            validation,
            run=run,
            state=state,
            devices=devices,
            initial_weights=initial_weights,
            tensorboard=tensorboard,
            verbose=verbose,
            report=report if devices.is_first else None,
        )


def _fit(
    spec: ModelSpec,
    batches: Iterator[tuple[np.ndarray, np.ndarray]],
    validation: tuple[np.ndarray, np.ndarray],
    *,
    run: Path,
    state: RunState,
    devices: Devices,
    initial_weights: Path | WeightSource | None,
    tensorboard: bool,
    verbose: int,
    report: Callable[[str], object] | None,
) -> keras.Model:
    recipe = spec.training
    first: Iterator[tuple[np.ndarray, np.ndarray]] = iter(())

    def measured() -> dict[str, Any]:
        nonlocal first
        fitted, first = scaling_of_run(spec, batches, run=run)
        return spec_to_dict(fitted)

    spec = parse_spec(devices.on_first(measured))
    keras.utils.set_random_seed(recipe.seed)
    with precision(recipe.precision):
        network = build_checked(spec)
    model = DenoisingModel(network, spec, devices)
    optimizer = make_optimizer(spec)
    devices.prepare(network, optimizer)
    model.compile(
        optimizer=with_loss_scale(optimizer, recipe.precision), jit_compile=keras.backend.backend() == "jax"
    )
    model(keras.KerasTensor((1, validation[0].shape[1]), "float32"))
    model.optimizer.build(model.trainable_variables)
    try:
        if state.last:
            with devices.file_of_first(run / state.last) as file, undistributed():
                model.load_weights(file)
            go_on_with(optimizer, recipe, state)
        elif initial_weights:
            with undistributed():
                if callable(initial_weights):
                    initial_weights(model.network)
                else:
                    model.network.load_weights(initial_weights)
    except (ValueError, OSError, KeyError) as error:
        source = run / state.last if state.last else initial_weights
        raise TrainingError(
            f"{source}: weights don't fit the spec ({' '.join(str(error).split())[:160]})"
        ) from None
    if initial_weights and not state.last and devices.is_first:
        keep_start(model, run, state)
    scores = ValidationScores(*validation, spec.sample_rate, count=recipe.scored_mixtures, report=report)
    best_metric = None if recipe.best_by == "loss" else MEASURES[recipe.best_by]
    if best_metric is not None and best_metric not in scores.baseline:
        raise SpecError(
            f"training.best_by: {recipe.best_by} can't be measured here: its package is missing, or "
            "training.scored_mixtures is 0, or no validation example has speech"
        )
    callbacks = usual_callbacks(recipe, run, state, saves=devices.is_first)
    if devices.is_first:
        callbacks.append(Quality(scores, recipe.batch_size))
        if report is not None:
            callbacks += [StepReport(report, recipe), EpochReport(report, recipe.epochs, scores)]
        best = SaveBest(
            run, state, patience=recipe.early_stopping_epochs, metric=best_metric and f"val_{best_metric}"
        )
        callbacks += [best, DataWait(batches), LogTable(run / "log.csv", state.epoch)]
        if tensorboard and keras.backend.backend() == "tensorflow":
            callbacks.append(keras.callbacks.TensorBoard(run / "logs"))
        callbacks.append(FinishEpoch(run, state))
    if devices.hosts > 1:
        callbacks.append(StopTogether(devices))
    run_epochs(
        model,
        recipe,
        itertools.chain(first, batches),
        state=state,
        validation_data=devices.examples(validation, recipe.batch_size),
        validation_batch_size=recipe.batch_size // devices.hosts,
        callbacks=callbacks,
        verbose=verbose,
    )
    if devices.on_first(lambda: {"has_best": state.best_loss is not None})["has_best"]:
        with devices.file_of_first(run / "best.weights.h5") as file, undistributed():
            model.network.load_weights(file)
    return model.network


def go_on_with(optimizer: Any, recipe: TrainingSpec, state: RunState) -> None:
    """Let a run that goes on have the steps that are done, and a rate that the spec has changed.

    Keras restores nothing of an optimizer that has other variables now, with another schedule say.
    """
    if int(to_numpy(optimizer.iterations)) == 0:
        optimizer.iterations.assign(state.epoch * recipe.steps_per_epoch)
    if state.new_rate and not isinstance(
        optimizer._learning_rate, keras.optimizers.schedules.LearningRateSchedule
    ):
        optimizer.learning_rate = recipe.learning_rate


def usual_callbacks(
    recipe: TrainingSpec, run: Path, state: RunState, *, saves: bool
) -> list[keras.callbacks.Callback]:
    """What comes first between epochs: seeds, the guard, the schedule, the last state, averaged weights.

    `saves` says whether this process writes to `run`.
    """
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
    if saves:
        callbacks.append(SaveLast(run))
    if recipe.ema_momentum:
        callbacks += [SwapAverages(swap_on_epoch=True), AverageWarmUp()]
    return callbacks


def run_epochs(
    model: keras.Model, recipe: TrainingSpec, batches: Iterator[Any], *, state: RunState, **options: Any
) -> None:
    """The epochs that are left, by `fit` with some options of its own; what a batch raises comes through."""
    failures: list[Exception] = []

    def generate() -> Iterator[Any]:  # Keras takes generators only
        try:
            yield from batches
        except Exception as error:
            failures.append(error)
            raise

    if state.epoch >= recipe.epochs:
        return
    try:
        model.fit(
            generate(),
            shuffle=False,
            epochs=recipe.epochs,
            initial_epoch=state.epoch,
            steps_per_epoch=recipe.steps_per_epoch,
            **options,
        )
    except Exception:
        if failures:  # TensorFlow wraps what the generator raises in an error of its own
            raise failures[0] from None
        raise


def train_from_folders(
    spec: ModelSpec,
    folders: TrainingFolders,
    *,
    run: Path,
    cache: Path | None = None,
    workers: int = 1,
    resume: bool = False,
    initial_weights: Path | WeightSource | None = None,
    devices: Devices = ONE_DEVICE,
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
    initial_weights : Path or callable, optional
        See `fit`.
    devices : Devices
        From `find_devices`. Of several hosts, the first alone reads and writes `run`; the others keep decoded
        audio there if no `cache` is named.
    report : callable
        Called with one line for each recording that is left out, for settings that a resumed run had
        otherwise, for the data, after each epoch, and about once a minute within one.

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
    devices.check(spec)
    with _opened(run, spec, resume=resume, devices=devices, report=report) as state:
        if is_finished(state, spec.training.epochs, report if devices.is_first else None):
            return state
        mixers = make_mixers(spec, folders, cache=cache or run / "cache", jobs=max(1, workers))
        for line in mixers.skipped:
            report(f"left out: {line}")
        amounts = {kind: in_words(pool.seconds) for kind, pool in mixers.train.pools.items()}
        if devices.is_first:
            report(f"training on {amounts['speech']} of speech and {amounts['noise']} of noise")
        validation = mixers.validation.batch(0, spec.training.validation_mixtures)
        _train_on(
            MixtureStream,
            mixers.train,
            spec,
            validation=validation,
            run=run,
            state=state,
            workers=workers,
            devices=devices,
            initial_weights=initial_weights,
            report=report,
        )
    return state


def train_from_dataset(
    spec: ModelSpec,
    dataset: Path,
    *,
    run: Path,
    workers: int = 1,
    resume: bool = False,
    initial_weights: Path | WeightSource | None = None,
    devices: Devices = ONE_DEVICE,
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
    resume, initial_weights, devices, report
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
    devices.check(spec)
    with _opened(run, spec, resume=resume, devices=devices, report=report) as state:
        if is_finished(state, spec.training.epochs, report if devices.is_first else None):
            return state
        if devices.is_first:
            amounts = [in_words(side.seconds) for side in (train, test)]
            report(f"training on {amounts[0]} of mixtures, validating on some of {amounts[1]}")
        validation = validation_examples(test, spec)
        _train_on(
            DatasetStream,
            training_reader(train, spec),
            spec,
            validation=validation,
            run=run,
            state=state,
            workers=workers,
            devices=devices,
            initial_weights=initial_weights,
            report=report,
        )
    return state


def _train_on(
    kind: type[MixtureStream],
    source: Any,
    spec: ModelSpec,
    *,
    validation: tuple[np.ndarray, np.ndarray],
    run: Path,
    state: RunState,
    workers: int,
    devices: Devices,
    initial_weights: Path | WeightSource | None,
    report: Callable[[str], object],
) -> None:
    """Fit on a stream of this host's part of the batches that a source gives."""
    stream = kind(
        _share(source, devices),
        batch_size=spec.training.batch_size // devices.hosts,
        workers=workers,
        first=state.epoch * spec.training.steps_per_epoch,
    )
    with closing(stream):
        fit(
            spec,
            stream,
            validation,
            run=run,
            state=state,
            devices=devices,
            initial_weights=initial_weights,
            report=report,
        )


@contextmanager
def _opened(
    run: Path, spec: ModelSpec, *, resume: bool, devices: Devices, report: Callable[[str], object]
) -> Iterator[RunState]:
    """The state of a run, which the first host alone opens."""
    with ExitStack() as stack:

        def prepare() -> dict[str, Any]:
            stack.enter_context(held(run))
            refuse_pretraining(run)
            return dataclasses.asdict(prepare_run(run, spec, resume=resume, report=report))

        yield RunState(**devices.on_first(prepare))


def _share(source: BatchSource, devices: Devices) -> BatchSource:
    return source if devices.hosts == 1 else BatchShare(source, devices.host, devices.hosts)
