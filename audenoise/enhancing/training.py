# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false
"""Training an enhancer: reconstruction first, then against discriminators."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import keras
import numpy as np

from audenoise.corpus import TrainingFolders
from audenoise.encoder_weights import start_from_encoder
from audenoise.enhancer_pairs import PairBatch, make_pairs
from audenoise.enhancing.judging import Judge, Referee
from audenoise.enhancing.runs import (
    BEST_FILE,
    average_is_young,
    averaged,
    load_game,
    prepare_enhancer_run,
    restart_average,
    save_game,
    save_weights,
    start_from,
    weights_to_start_from,
)
from audenoise.enhancing.sides import ADVERSARIAL_TERMS, Game
from audenoise.errors import TrainingError
from audenoise.mixtures import MixtureStream
from audenoise.run_folders import RunState, held, is_finished, refuse_pretraining
from audenoise.specs.enhancer import EnhancerSpec
from audenoise.training_log import LogTable, StepReport


def play_epoch(
    game: Game,
    spec: EnhancerSpec,
    batches: Iterator[PairBatch],
    *,
    epoch: int,
    referee: Referee,
    steps: StepReport | None = None,
) -> dict[str, float]:
    """One epoch of steps; what the log says of it.

    The discriminators make their step before the generator does, on the same batch, from step
    ``schedule.adversarial_from_step`` on.
    """
    recipe = spec.training
    generator, discriminators = game.generator_side, game.discriminator_side
    sums: dict[str, float] = {}
    n_adversarial = 0
    waited, first = getattr(batches, "waited_s", 0.0), time.perf_counter()
    if steps is not None:
        steps.on_epoch_begin(epoch)
    for i in range(recipe.steps_per_epoch):
        batch = next(batches)
        adversarial = epoch * recipe.steps_per_epoch + i >= spec.schedule.adversarial_from_step
        generator.play(adversarial)
        if adversarial:
            _take_step(discriminators, batch, "discriminator", sums, referee)
        _take_step(generator, batch, "generator", sums, referee)
        n_adversarial += adversarial
        if steps is not None:
            steps.on_train_batch_end(i, {"loss": sums["loss"] / (i + 1)})
    elapsed = max(time.perf_counter() - first, 1e-9)
    logs = {}
    for name, total in sums.items():
        with_both = name.startswith("discriminator_") or name in ADVERSARIAL_TERMS
        if not with_both or n_adversarial:
            logs[name] = total / (n_adversarial if with_both else recipe.steps_per_epoch)
    logs["data_wait"] = min(1.0, (getattr(batches, "waited_s", 0.0) - waited) / elapsed)
    return logs


def _take_step(side: Any, batch: PairBatch, name: str, sums: dict[str, float], referee: Referee) -> None:
    """One step of one side; what it brought is added to the sums of the epoch."""
    side.reset_metrics()
    logs = side.train_on_batch(batch.inputs(), batch.targets(), return_dict=True)
    referee.check_step(logs, name)
    prefix = "" if name == "generator" else "discriminator_"
    for key, value in logs.items():
        sums[prefix + key] = sums.get(prefix + key, 0.0) + float(value)


def fit_enhancer(
    spec: EnhancerSpec,
    batches: Iterator[PairBatch],
    validation: PairBatch,
    *,
    run: Path,
    state: RunState,
    source: Path | None = None,
    encoder: Path | None = None,
    report: Callable[[str], object] | None = None,
) -> keras.Model:
    """Train generator and discriminators, and keep the generator's best averaged weights in `run`.

    Parameters
    ----------
    spec : EnhancerSpec
    batches : iterator
        Its first batch is number ``state.epoch * steps_per_epoch``.
    validation : PairBatch
    run : Path
        From `prepare_enhancer_run`.
    state : RunState
        Its epoch is where training goes on.
    source : Path, optional
        A run or a generator's weights to start from, see `start_from`.
    encoder : Path, optional
        An encoder to start the generator from, see `start_from_encoder`.
    report : callable, optional
        Called with one line after each epoch, and about once a minute within one.

    Returns
    -------
    keras.Model
        The generator with the best weights.

    Raises
    ------
    TrainingError
        On a loss that is no number, when one side has won, or on weights that don't fit. What was trained
        until then is kept.
    """
    recipe = spec.training
    keras.utils.set_random_seed(recipe.seed)
    game = Game(spec)
    if state.last:
        load_game(game, run, state)
    else:
        if source is not None:
            start_from(game, source)
        if encoder is not None:
            start_from_encoder(game.generator, encoder, report)
        restart_average(game)
        if source is not None or encoder is not None:
            save_game(game, run, state)  # so that it can go on before its first epoch is done
    judge, referee = Judge(spec, validation, report), Referee(recipe.balance_epochs)
    table = LogTable(run / "log.csv", state.epoch)
    steps = None if report is None else StepReport(report, recipe)
    started = time.monotonic() - state.seconds
    for epoch in range(state.epoch, recipe.epochs):
        begun = time.monotonic()
        if average_is_young(game):
            restart_average(game)
        logs = play_epoch(game, spec, batches, epoch=epoch, referee=referee, steps=steps)
        with averaged(game):
            logs |= judge.score(game)
            logs["seconds"] = time.monotonic() - begun
            improved = _is_best(spec, state, logs, epoch)
            if improved:
                save_weights(game.generator, run / BEST_FILE)
            if recipe.examples_every and (epoch + 1) % recipe.examples_every == 0:
                judge.write_examples(game, run / "examples" / f"epoch-{epoch + 1}")
        state.epoch, state.seconds = epoch + 1, time.monotonic() - started
        table.on_epoch_end(epoch, logs)
        save_game(game, run, state)
        if report is not None:
            report(_line(spec, epoch, logs))
        referee.check_epoch(logs)
    if (run / BEST_FILE).exists():
        game.generator.load_weights(run / BEST_FILE)
    return game.generator


def _is_best(spec: EnhancerSpec, state: RunState, logs: dict[str, float], epoch: int) -> bool:
    """Whether an epoch is the best; one with discriminators is judged against such epochs only.

    They trade a little of the distance for detail, so that the best without them would win for ever.
    """
    recipe, from_step = spec.training, spec.schedule.adversarial_from_step
    score = logs[f"val_{recipe.scored_by}"]
    first_adversarial = from_step // recipe.steps_per_epoch
    restarted = epoch >= first_adversarial > state.best_epoch - 1
    better = recipe.best_by == "last" or state.best_loss is None or restarted or score < state.best_loss
    if better:
        state.best_loss = score if np.isfinite(score) else None
        state.best_epoch = epoch + 1
    return better


def _line(spec: EnhancerSpec, epoch: int, logs: dict[str, float]) -> str:
    parts = [
        f"epoch {epoch + 1}/{spec.training.epochs}: loss {logs['loss']:.4f}",
        f"spectral distance {logs['val_spectral_distance']:.3f}",
        f"mel {logs['val_mel_distance']:.2f} dB",
    ]
    if "discriminator_accuracy" in logs:
        parts.append(
            f"discriminators {100 * logs['discriminator_accuracy']:.0f} % right "
            f"(loss {logs['discriminator_loss']:.3f})"
        )
    return ", ".join([*parts, f"{logs['seconds']:.0f} s"])


def train_enhancer(
    spec: EnhancerSpec,
    folders: TrainingFolders,
    *,
    run: Path,
    cache: Path | None = None,
    denoiser: str | Path | None = None,
    workers: int = 1,
    resume: bool = False,
    source: Path | None = None,
    encoder: Path | None = None,
    report: Callable[[str], object] = print,
) -> RunState:
    """Train on endless pairs made of the recordings in some folders.

    Parameters
    ----------
    spec : EnhancerSpec
    folders : TrainingFolders
        `noise` and `rir` may be empty.
    run : Path
        Where weights, logs, examples and the spec go.
    cache : Path, optional
        Where decoded audio is kept, 346 MB per hour at 48 kHz. Default: ``run/cache``.
    denoiser : str or Path, optional
        The model that a share of the inputs goes through first; none for null.
    workers : int
        Processes that make pairs; 0 makes them between the steps.
    resume : bool
        Continue the run in `run` after its last finished epoch.
    source : Path, optional
        A run, a published enhancer or a generator's weights to start from.
    encoder : Path, optional
        An encoder to start the generator from, as far as it fits.
    report : callable
        Called with one line for what is left out, for the data, after each epoch, and about once a minute
        within one.

    Returns
    -------
    RunState
        With the best epoch and its score.

    Raises
    ------
    DataError
        If there is nothing to train on.
    TrainingError
        See `fit_enhancer` and `prepare_enhancer_run`.
    """
    with held(run):
        refuse_pretraining(run)
        state = prepare_enhancer_run(run, spec, resume=resume, report=report)
        if is_finished(state, spec.training.epochs, report):
            return state
        if source is not None and not state.last:
            weights_to_start_from(source)  # what can't be used is said before hours of decoding
        pairs = make_pairs(
            spec, folders, cache=cache or run / "cache", denoiser=denoiser, jobs=max(1, workers)
        )
        _report_skipped(pairs.skipped, report)
        report(f"training on {pairs.train.speech.seconds / 60:.1f} min of full-band speech")
        validation = pairs.validation.batch(0, spec.training.validation_pairs)
        source_of_pairs: Any = pairs.train
        stream: Any = MixtureStream(
            source_of_pairs,
            batch_size=spec.training.batch_size,
            workers=workers,
            first=state.epoch * spec.training.steps_per_epoch,
        )
        try:
            fit_enhancer(
                spec,
                stream,
                validation,
                run=run,
                state=state,
                source=source,
                encoder=encoder,
                report=report,
            )
        except KeyboardInterrupt:
            if state.epoch:
                report(f"stopped after epoch {state.epoch}; --resume goes on")
            raise
        finally:
            stream.close()
    if state.epoch == 0:
        raise TrainingError(f"{run}: no epoch was trained")
    return state


def _report_skipped(skipped: list[str], report: Callable[[str], object], most: int = 5) -> None:
    for line in skipped[:most]:
        report(f"left out: {line}")
    if len(skipped) > most:
        report(f"left out: {len(skipped) - most} more")
