# pyright: reportMissingImports=false
"""A trial of `audenoise tune` by the native kernels: what runs in its process."""

from pathlib import Path
from typing import Any

import keras

from audenoise.architectures.summary import build_checked
from audenoise.run_folders import RunState
from audenoise.specs import ModelSpec
from audenoise.tuning import trial_run
from audenoise.tuning.request import TrialRequest
from native_training import fitting
from native_training.commands import log_of


def fit(
    spec: ModelSpec, batches: Any, validation: Any, *, run: Path, state: RunState, **_: Any
) -> keras.Model:
    """As `audenoise.training.fit`, with the weights of the last step."""
    recipe = spec.training
    keras.utils.set_random_seed(recipe.seed)
    network = build_checked(spec)
    with log_of(run, echo=False) as say:
        reached = fitting.fit(
            spec,
            network,
            lambda done: batches,  # from the epoch of the state on, which is saved with every epoch
            validation,
            run=run,
            steps=recipe.epochs * recipe.steps_per_epoch,
            saved_every=recipe.steps_per_epoch,
            validated_every=recipe.steps_per_epoch,
            report=say,
        )
    state.epoch, state.seconds = reached.epoch, reached.seconds
    return network


def work(request: TrialRequest) -> dict[str, Any]:
    """As `audenoise.tuning.trial_run.work`."""
    import torch

    torch.set_num_threads(1)
    return trial_run.work(request, fit)
