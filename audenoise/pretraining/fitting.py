# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalOperand=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false
"""Pre-training from folders of speech: the run, its course, and the best encoder."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import keras
import numpy as np

from audenoise.callbacks import FinishEpoch, SaveBest
from audenoise.denoising_model import optimizer_of, with_loss_scale
from audenoise.encoder_weights import ENCODER_FILE, stored_spec
from audenoise.enhancing.runs import prepare_enhancer_run
from audenoise.errors import SpecError, TrainingError
from audenoise.layers import ops, to_numpy
from audenoise.masking import make_unpaired
from audenoise.mixtures import MixtureStream
from audenoise.pretraining.model import PretrainingModel, in_db, recipe_of, trivial_errors
from audenoise.run_folders import RunState, cannot_go_on, held, is_finished, load_weights, prepare_run
from audenoise.scaling import measure_scaling
from audenoise.specs import ModelSpec, dump_spec
from audenoise.specs.enhancer import EnhancerSpec
from audenoise.training import run_epochs, usual_callbacks
from audenoise.training_log import DataWait, LogTable, StepReport

Batch = tuple[np.ndarray, np.ndarray]
"""Audio (batch, samples), and what is hidden of it (batch, frames, bands)."""


_WORDS = {"reconstruction": "what is hidden", "next_frame": "the next frame"}


class PretrainingReport(keras.callbacks.Callback):
    """One line after each epoch, in dB."""

    def __init__(self, report: Callable[[str], object], epochs: int, names: tuple[str, ...]):
        super().__init__()
        self.report, self.epochs, self.names = report, epochs, names

    def on_epoch_begin(self, epoch, logs=None):
        self._started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        parts = [f"{_WORDS[name]} off by {in_db(logs[f'val_{name}']):.2f} dB" for name in self.names]
        self.report(
            f"epoch {epoch + 1}/{self.epochs}: loss {logs['loss']:.4f}, validation {logs['val_loss']:.4f} "
            f"with {', '.join(parts)}, {time.monotonic() - self._started:.0f} s"
        )


def fit_encoder(
    spec: ModelSpec | EnhancerSpec,
    batches: Iterator[Batch],
    validation: Batch,
    *,
    run: Path,
    state: RunState,
    report: Callable[[str], object] | None = None,
) -> PretrainingModel:
    """Pre-train an encoder and keep its best weights in `run`.

    Parameters
    ----------
    spec : ModelSpec or EnhancerSpec
        With the scaling of its input, if it has one, already measured.
    batches : iterator
        Its first batch is number ``state.epoch * steps_per_epoch``.
    validation : tuple of ndarray
        A batch that is always the same.
    run : Path
        From `prepare_pretraining`.
    state : RunState
        Its epoch is where training goes on.
    report : callable, optional
        Called with a line for what trivial predictors reach, and one after each epoch.

    Returns
    -------
    PretrainingModel
        Its encoder has the best weights.

    Raises
    ------
    TrainingError
        On a loss that is no number, or weights that don't fit.
    """
    recipe = recipe_of(spec).training
    keras.utils.set_random_seed(recipe.seed)
    model = PretrainingModel(spec)
    model.compile(
        optimizer=with_loss_scale(optimizer_of(recipe), recipe.precision),
        jit_compile=keras.backend.backend() == "jax",
    )
    model(_inputs(*(part[:1] for part in validation)))  # builds the heads
    model.optimizer.build(model.trainable_variables)
    if state.last:
        load_weights(model, run / state.last)
    callbacks = usual_callbacks(recipe, run, state, saves=True)
    if report is not None:
        mels = to_numpy(model.mels(ops.convert_to_tensor(validation[0])))
        trivial = trivial_errors(mels, validation[1], ahead_frames=spec.pretraining.ahead_frames)
        for name in model.names:
            errors = {kind: in_db(error) for kind, error in trivial[name].items()}
            report(
                f"{_WORDS[name]}, guessed as each band's median: off by {errors['constant']:.2f} dB; as what "
                f"was last seen of it: {errors['repeat']:.2f} dB"
            )
        callbacks += [StepReport(report, recipe), PretrainingReport(report, recipe.epochs, model.names)]
    callbacks += [
        SaveBest(run, state, patience=recipe.early_stopping_epochs, file=ENCODER_FILE),
        DataWait(batches),
        LogTable(run / "log.csv", state.epoch),
        FinishEpoch(run, state),
    ]
    run_epochs(
        model,
        recipe,
        ((_inputs(*batch),) for batch in batches),
        state=state,
        validation_data=(_inputs(*validation),),
        validation_batch_size=recipe.batch_size,
        callbacks=callbacks,
        verbose=0,
    )
    if state.best_loss is not None:
        model.network.load_weights(run / ENCODER_FILE)
    return model


def _inputs(audio: np.ndarray, hidden: np.ndarray) -> dict[str, np.ndarray]:
    return {"audio": audio, "hidden": hidden}


def prepare_pretraining(
    run: Path,
    spec: ModelSpec | EnhancerSpec,
    *,
    resume: bool,
    report: Callable[[str], object] | None = None,
) -> RunState:
    """Create the run folder, or check that it can be continued with this spec, as `prepare_run` does.

    Raises
    ------
    TrainingError
        If the folder holds a run already and `resume` is false, holds none and it is true, or holds one of
        another network, another pre-training, or no pre-training.
    """
    if resume and (run / "state.json").is_file():
        stored = stored_spec(run)
        state = RunState.read(run)
        if type(stored) is not type(spec):
            raise cannot_go_on(run, state, "network")
        if stored.pretraining != spec.pretraining:
            raise cannot_go_on(run, state, "section pretraining")
        if state.epoch and not (run / ENCODER_FILE).is_file():
            raise TrainingError(f"{run}: holds no pre-training; choose another --out")
    if isinstance(spec, EnhancerSpec):
        return prepare_enhancer_run(run, spec, resume=resume, report=report)
    return prepare_run(run, spec, resume=resume, report=report)


def pretrain(
    spec: ModelSpec | EnhancerSpec,
    speech: Sequence[Path],
    *,
    run: Path,
    rir: Sequence[Path] = (),
    valid: Sequence[Path] = (),
    cache: Path | None = None,
    workers: int = 1,
    resume: bool = False,
    report: Callable[[str], object] = print,
) -> RunState:
    """Pre-train the encoder of a spec on recordings of speech alone.

    Parameters
    ----------
    spec : ModelSpec or EnhancerSpec
        Its sections `pretraining` and `training` say how; `mixing` how recordings are varied.
    speech : sequence of Path
        Folders or files.
    run : Path
        Where weights, log and spec go.
    rir : sequence of Path
        Measured room responses.
    valid : sequence of Path
        Speech to validate on. Without it, one recording in twenty is held out.
    cache : Path, optional
        Where decoded audio is kept. Default: ``run/cache``.
    workers : int
        Processes that make batches; 0 makes them between the steps.
    resume : bool
        Continue the run in `run` after its last finished epoch.
    report : callable
        Called with one line for each recording that is left out, for the data, and after each epoch.

    Returns
    -------
    RunState

    Raises
    ------
    DataError
        If there is nothing to train on.
    TrainingError
        See `fit_encoder` and `prepare_pretraining`.
    """
    plan, hop = recipe_of(spec), spec.stft.hop_length
    n_frames = plan.training.crop_s * spec.sample_rate / hop
    if n_frames <= spec.pretraining.ahead_frames:
        raise SpecError(
            f"pretraining.ahead_frames: must be less than the {n_frames:.0f} frames of training.crop_s. "
            f"Received: {spec.pretraining.ahead_frames}"
        )
    with held(run):
        state = prepare_pretraining(run, spec, resume=resume, report=report)
        if is_finished(state, plan.training.epochs, report):
            return state
        data = make_unpaired(
            speech,
            sample_rate=spec.sample_rate,
            stft=spec.stft,
            mixing=plan.mixing,
            training=plan.training,
            pretraining=spec.pretraining,
            rir=rir,
            valid=valid,
            cache=cache or run / "cache",
            jobs=max(1, workers),
        )
        for line in data.skipped:
            report(f"left out: {line}")
        report(f"pre-training on {data.minutes:.1f} min of speech")
        if not plan.causal:
            report(
                "the encoder is not causal: it is to fill in what is hidden, and not to say what comes next"
            )
        validation = data.validation.batch(0, plan.training.validation_mixtures)
        if isinstance(spec, ModelSpec) and not spec.is_fitted:
            measured = measure_scaling(spec, [(validation[0], validation[0])])
            spec = spec.with_scaling(measured.input.scaling, None)
            (run / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
        stream = MixtureStream(
            data.train,
            batch_size=plan.training.batch_size,
            workers=workers,
            first=state.epoch * plan.training.steps_per_epoch,
        )
        with closing(stream):
            fit_encoder(spec, stream, validation, run=run, state=state, report=report)
    return state
