# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false
"""The folder of an enhancer's training: what is saved after each epoch, resumed, and started from."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import numpy as np

from audenoise.callbacks import _save_weights as save_weights
from audenoise.enhancing.sides import Game
from audenoise.errors import TrainingError
from audenoise.layers import to_numpy
from audenoise.model_folders import WEIGHTS_FILE
from audenoise.run_folders import (
    RunState,
    begin_run,
    cannot_go_on,
    keep_former,
    load_weights,
    state_to_resume,
    write_text,
)
from audenoise.specs.enhancer import EnhancerSpec, dump_enhancer_spec, load_enhancer_spec, same_enhancer

BEST_FILE = "best.weights.h5"
"""The generator's averaged weights of the best epoch."""
_AVERAGE_AGE = 2.0


def prepare_enhancer_run(
    run: Path, spec: EnhancerSpec, *, resume: bool, report: Callable[[str], object] | None = None
) -> RunState:
    """Create the run folder, or check that it can be continued with this spec, as `prepare_run` does.

    Raises
    ------
    TrainingError
        If the folder already holds a finished epoch and `resume` is false, or holds no run and it is true, or
        its networks are others.
    """
    if not resume:
        return begin_run(run, dump_enhancer_spec(spec))
    state = state_to_resume(run)
    stored = load_enhancer_spec(run / "spec.yaml")
    if not same_enhancer(stored, spec):
        raise cannot_go_on(run, state, "generator or discriminators")
    if state.epoch >= spec.training.epochs or not keep_former(
        run, stored, spec, epoch=state.epoch, report=report
    ):
        return state
    if state.epoch and _scoring(stored) != _scoring(spec):
        state.best_loss = None
        state.write(run)
    write_text(run / "spec.yaml", dump_enhancer_spec(spec))
    return state


def _scoring(spec: EnhancerSpec) -> tuple[Any, ...]:
    """What must stay for scores of epochs to be comparable."""
    recipe = spec.training
    return spec.pairs, spec.degradation, recipe.crop_s, recipe.validation_pairs, recipe.scored_by


def save_game(game: Game, run: Path, state: RunState) -> None:
    """Write both sides and both optimizers; the state names the new file when it is whole, and only then is
    the old one removed, so that a kill loses one epoch at most."""
    previous = state.last
    optimizers = (game.generator_optimizer, game.discriminator_optimizer)
    n_bytes = sum(4 * int(np.prod(v.shape)) for part in (game, *optimizers) for v in part.variables)
    if (free := shutil.disk_usage(run).free) < 1.2 * n_bytes + 1_000_000:  # HDF5 crashes on a full disk
        raise TrainingError(
            f"{run}: the disk is full ({free / 1e6:.1f} MB left for {n_bytes / 1e6:.1f} MB of weights). Free "
            "some space, then go on with --resume."
        )
    state.last = f"last-{state.epoch}.weights.h5"
    save_weights(game, run / state.last)
    state.write(run)
    if previous and previous != state.last:
        (run / previous).unlink(missing_ok=True)


def load_game(game: Game, run: Path, state: RunState) -> None:
    """Go on exactly where a run was.

    Raises
    ------
    TrainingError
        If the file is missing, damaged or of other networks.
    """
    load_weights(game, run / (state.last or "none"))


def weights_to_start_from(source: Path) -> tuple[Path, bool]:
    """File of weights, and whether it holds the discriminators too.

    Parameters
    ----------
    source : Path
        The folder of a run, or of a published model, or a file of a generator's weights, such as
        ``best.weights.h5`` of a run.

    Raises
    ------
    TrainingError
        If it is a folder that is neither, or a run without a finished epoch.
    """
    if not source.is_dir():
        return source, False
    if (source / "state.json").is_file():
        state = RunState.read(source)
        if not state.last:
            raise TrainingError(f"{source}: has no finished epoch to start from")
        return source / state.last, True
    if (source / WEIGHTS_FILE).is_file():
        return source / WEIGHTS_FILE, False
    raise TrainingError(f"{source}: is neither the folder of a run nor of a published enhancer")


def start_from(game: Game, source: Path) -> None:
    """Fine-tune: take the weights of another run's networks, or of a generator alone.

    Parameters
    ----------
    game : Game
    source : Path
        As for `weights_to_start_from`. Of a run, generator and discriminators are taken as the last epoch
        left them.

    Raises
    ------
    TrainingError
        If there is no such run, model or file, or its networks are others.
    """
    weights, of_both = weights_to_start_from(source)
    if not of_both:
        load_weights(game.generator, weights)
        return
    load_weights(game, weights)
    for side in (game.generator_side, game.discriminator_side):
        side.optimizer.iterations.assign(0)
        for variable in side.optimizer.variables[1:]:
            variable.assign(np.zeros(variable.shape, "float32"))
    restart_average(game)


def _averages(game: Game) -> list[tuple[keras.Variable, keras.Variable]]:
    optimizer = game.generator_optimizer
    pairs = zip(game.generator.trainable_variables, optimizer._model_variables_moving_average, strict=True)
    return list(pairs)


def restart_average(game: Game) -> None:
    """Let the average of the generator's weights begin at what they are now."""
    for variable, average in _averages(game):
        average.assign(np.array(to_numpy(variable)))  # a copy: JAX would share the memory


def average_is_young(game: Game) -> bool:
    """Whether the average still remembers weights that were random."""
    optimizer = game.generator_optimizer
    return int(to_numpy(optimizer.iterations)) * (1 - optimizer.ema_momentum) <= _AVERAGE_AGE


@contextmanager
def averaged(game: Game) -> Iterator[None]:
    """Inside, the generator has its averaged weights."""
    pairs = _averages(game)
    current = [np.array(to_numpy(variable)) for variable, _ in pairs]
    for variable, average in pairs:
        variable.assign(np.array(to_numpy(average)))
    try:
        yield
    finally:
        for (variable, _), value in zip(pairs, current, strict=True):
            variable.assign(value)
