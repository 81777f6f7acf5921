# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalOperand=false, reportArgumentType=false
"""Training a denoiser with Keras `fit`, on TensorFlow or JAX."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops

from audenoise.architectures.summary import build_checked
from audenoise.callbacks import (
    AverageWarmUp,
    DataWait,
    EpochReport,
    EpochWarmUp,
    Guard,
    Reseed,
    RunState,
    SaveBest,
    SaveLast,
)
from audenoise.corpus import TrainingFolders, make_mixers, training_stream
from audenoise.errors import TrainingError
from audenoise.layers import SpectralTransform, to_numpy
from audenoise.losses import denoising_losses
from audenoise.specs import ModelSpec, dump_spec, load_spec, same_network


@keras.saving.register_keras_serializable("audenoise")
class DenoisingModel(keras.Model):
    """A network with its spectrogram and its loss: audio in, denoised spectrum out.

    Parameters
    ----------
    network : keras.Model
        From `audenoise.architectures.build_network`.
    spec : ModelSpec
    """

    def __init__(self, network: keras.Model, spec: ModelSpec):
        super().__init__(name="denoising")
        self.network, self.spec = network, spec
        self.transform = SpectralTransform(
            n_fft=spec.stft.n_fft,
            hop_length=spec.stft.hop_length,
            win_length=spec.stft.window_samples,
            window=spec.stft.window,
            sample_rate=spec.sample_rate,
        )
        names = ("magnitude", "complex", "consistency", "waveform", "envelope")
        self.term_means = {
            name: keras.metrics.Mean(name=name) for name in names if getattr(spec.loss, name)
        } | {"sdr": keras.metrics.Mean(name="sdr_db")}
        self.level = keras.metrics.Mean(name="level_db")

    def call(self, audio, training=None):
        """(batch, samples) → (batch, frames, bins, 2)."""
        return self.network(self.transform.stft(audio), training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        terms = denoising_losses(x, y, y_pred, transform=self.transform, weights=self.spec.loss)
        for name, mean in self.term_means.items():
            mean.update_state(-terms[name] if name == "sdr" else terms[name])
        reference = self.transform.stft(y)
        energies = [ops.mean(ops.square(part), (1, 2, 3)) + 1e-14 for part in (y_pred, reference)]
        ratios = 10 / np.log(10) * ops.log(energies[0] / energies[1])
        self.level.update_state(ratios, sample_weight=ops.cast(energies[1] > 1e-10, ratios.dtype))
        return terms["loss"]

    def denoise(self, audio: np.ndarray) -> np.ndarray:
        """(batch, samples) → the same; for small arrays, such as in validation."""
        spectrum = self(ops.convert_to_tensor(audio), training=False)
        return to_numpy(self.transform.istft(spectrum, audio.shape[1]))


def make_optimizer(spec: ModelSpec) -> keras.optimizers.Optimizer:
    """AdamW with the spec's schedule, clipping and weight averaging."""
    recipe = spec.training
    total = recipe.epochs * recipe.steps_per_epoch
    warmup = min(recipe.warmup_steps, total // 10)
    rate: Any = recipe.learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            initial_learning_rate=recipe.learning_rate / 100 if warmup else recipe.learning_rate,
            decay_steps=max(1, total - warmup),
            alpha=1e-3,
            warmup_target=recipe.learning_rate if warmup else None,
            warmup_steps=warmup,
        )
    return keras.optimizers.AdamW(
        rate,
        weight_decay=recipe.weight_decay,
        beta_2=0.99,
        global_clipnorm=recipe.clip_norm,
        use_ema=recipe.ema_momentum > 0,
        ema_momentum=recipe.ema_momentum or 0.99,
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
    state = RunState.read(run)
    if stored.loss != spec.loss and state.epoch:
        # Another loss: neither its values nor the columns of the log can be compared with what was before.
        state.best_loss = None
        if (run / "log.csv").exists():
            os.replace(run / "log.csv", run / f"log-to-epoch-{state.epoch}.csv")
        state.write(run)
    (run / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
    return state


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
    callbacks: list[keras.callbacks.Callback] = [Reseed(recipe.seed), Guard(), SaveLast(run, state)]
    if recipe.schedule == "plateau":
        callbacks += [
            EpochWarmUp(
                recipe.learning_rate,
                warmup_steps=recipe.warmup_steps,
                steps_per_epoch=recipe.steps_per_epoch,
            ),
            keras.callbacks.ReduceLROnPlateau(factor=0.5, patience=recipe.plateau_patience, min_lr=1e-6),
        ]
    if recipe.ema_momentum:
        callbacks += [keras.callbacks.SwapEMAWeights(swap_on_epoch=True), AverageWarmUp()]
    if report is not None:
        callbacks.append(EpochReport(report, recipe.epochs))
    callbacks += [SaveBest(run, state, recipe.early_stopping_epochs), DataWait(batches)]
    callbacks.append(keras.callbacks.CSVLogger(run / "log.csv", append=state.epoch > 0))
    if tensorboard and keras.backend.backend() == "tensorflow":
        callbacks.append(keras.callbacks.TensorBoard(run / "logs"))
    failures: list[Exception] = []

    def generate() -> Iterator[tuple[np.ndarray, np.ndarray]]:  # Keras takes generators only
        try:
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
    state = prepare_run(run, spec, resume=resume)
    mixers = make_mixers(spec, folders, cache=cache or run / "cache", jobs=max(1, workers))
    for line in mixers.skipped:
        report(f"left out: {line}")
    minutes = {kind: pool.seconds / 60 for kind, pool in mixers.train.pools.items()}
    report(f"training on {minutes['speech']:.1f} min of speech and {minutes['noise']:.1f} min of noise")
    validation = mixers.validation.batch(0, spec.training.validation_mixtures)
    stream = training_stream(mixers, spec, workers=workers, epoch=state.epoch)
    try:
        fit(spec, stream, validation, run=run, state=state, initial_weights=initial_weights, report=report)
    finally:
        stream.close()
    return state
