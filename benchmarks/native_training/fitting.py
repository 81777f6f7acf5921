# pyright: reportMissingImports=false, reportArgumentType=false
"""Train a network by the native kernels, and keep it in a run folder like those of `audenoise train`."""

import itertools
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from audenoise.callbacks import _save_weights as save_weights
from audenoise.denoising_model import rate_of
from audenoise.errors import TrainingError
from audenoise.layers import to_numpy
from audenoise.run_folders import RunState
from audenoise.specs import ModelSpec
from native_training.loss import Loss, Transform
from native_training.network import Network

STATE = "native-state.pt"


def _product_type() -> torch.dtype:
    flags = Path("/proc/cpuinfo").read_text().split() if sys.platform == "linux" else []
    return torch.bfloat16 if {"amx_bf16", "avx512_bf16"} & {*flags} else torch.float32


PRODUCTS = _product_type()
"""Of the enhancer's and the discriminators' products: bfloat16 where the processor has it."""


def weights_of(model) -> dict[str, Any]:
    """Path → value of each variable of a Keras network."""
    return {variable.path: to_numpy(variable) for variable in model.variables}


def parameters_of(weights: Mapping[str, np.ndarray]) -> torch.nn.ParameterDict:
    """What `weights_of` gives, to be learnt; with | in the paths where Keras has /."""
    return torch.nn.ParameterDict(
        {
            path.replace("/", "|"): torch.nn.Parameter(torch.tensor(np.asarray(value, np.float32)))
            for path, value in weights.items()
        }
    )


class Descent:
    """AdamW with the clipping of a spec's `training`, one step at a time.

    Parameters
    ----------
    parameters : list of torch.nn.Parameter
    recipe : TrainingSpec or EnhancerTrainingSpec
    betas : tuple of float
    """

    def __init__(self, parameters: list[torch.nn.Parameter], recipe: Any, betas: tuple[float, float]):
        self.parameters, self.clip = parameters, recipe.clip_norm
        self.optimizer = torch.optim.AdamW(
            parameters, 1.0, betas=betas, eps=1e-7, weight_decay=recipe.weight_decay, fused=True
        )

    def take(self, find_loss: Callable[[], tuple[Any, dict[str, Any]]], rate: float) -> dict[str, float]:
        """A step against the slope of a loss; the loss and its terms."""
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss, terms = find_loss()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if not math.isfinite(float(norm)):
            raise TrainingError(
                "the loss is not a number: lower training.learning_rate or training.clip_norm"
            )
        self.optimizer.step()
        return {"loss": float(loss.detach()), **{name: float(term.detach()) for name, term in terms.items()}}


class Teacher(NamedTuple):
    """A trained network, and its share of what another one is to give."""

    network: Network
    share: float


class Step(Descent):
    """One step with the settings of `audenoise.denoising_model`.

    With a teacher, the target lies between the clean speech and what the teacher makes of the mixture: nearer
    to what can be known, so the slopes waver less from one batch to the next.
    """

    def __init__(
        self, spec: ModelSpec, network: Network, transform: Transform, teacher: Teacher | None = None
    ):
        super().__init__(list(network.learnt.values()), spec.training, (0.9, 0.99))
        self.network, self.transform, self.teacher = network, transform, teacher
        self.loss = torch.compile(Loss(spec, transform).__call__)

    def __call__(self, noisy, clean, rate: float) -> dict[str, float]:
        self.network.train()
        heard = self.transform.stft(noisy)
        if self.teacher is not None:
            with torch.no_grad():
                taught = self.transform.istft(self.teacher.network.eval()(heard), clean.shape[1])
            clean = torch.lerp(clean, taught, self.teacher.share)
        return self.take(lambda: self.loss(noisy, clean, self.network(heard)), rate)


def keep_state(run: Path, state: dict[str, Any]) -> None:
    """Write what a training goes on from, whole or not at all."""
    torch.save(state, run / f"{STATE}.partial")
    os.replace(run / f"{STATE}.partial", run / STATE)


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def validate(network: Network, transform: Transform, loss: Loss, examples) -> dict[str, float]:
    """Mean of each loss term over (noisy, clean) tensors, (examples, samples) each."""
    network.eval()
    rows = []
    with torch.no_grad():
        for noisy, clean in zip(*(part.split(1) for part in examples), strict=True):
            total, terms = loss(noisy, clean, network(transform.stft(noisy)))
            rows.append({"loss": float(total), **{name: float(term) for name, term in terms.items()}})
    return mean_of(rows)


def fit(
    spec: ModelSpec,
    model: Any,
    stream: Callable[[int], Iterator[tuple[np.ndarray, np.ndarray]]],
    validation: tuple[np.ndarray, np.ndarray],
    *,
    run: Path,
    steps: int,
    teacher: Teacher | None = None,
    saved_every: int = 250,
    validated_every: int = 1000,
    report: Callable[[str], object] = lambda line: None,
) -> RunState:
    """Train a Keras network's weights, or go on with the state that lies in the run folder.

    Parameters
    ----------
    spec : ModelSpec
    model : keras.Model
        From `audenoise.architectures.build_network`; gets the weights of the last step.
    stream : callable
        Step → batches from that step on, (noisy, clean), (batch, samples) float32 each. Closed by the caller.
    validation : tuple of ndarray
        (noisy, clean), (examples, samples).
    run : Path
    steps : int
        Length of the schedule.
    teacher : Teacher, optional
        For the same spectrogram.
    saved_every, validated_every : int
        Steps; the last step is saved and validated in any case.
    report : callable
        Called with one line.

    Returns
    -------
    RunState
        Of the last step.

    Raises
    ------
    SpecError
        If the spec is unlike those that the kernels know.
    TrainingError
        If the loss is no number.
    """
    network, transform = Network(spec, weights_of(model)), Transform(spec)
    step, done, seconds = Step(spec, network, transform, teacher), 0, 0.0
    if (run / STATE).exists():
        kept = torch.load(run / STATE)
        network.load_state_dict(kept["network"])
        step.optimizer.load_state_dict(kept["optimizer"])
        done, seconds = kept["step"], kept["seconds"]
        report(f"going on at step {done}")
    recipe = spec.training
    examples = [torch.tensor(part) for part in validation]
    loss, schedule = Loss(spec, transform), rate_of(recipe, steps)
    started, rows, state = time.monotonic() - seconds, [], RunState()
    for noisy, clean in itertools.islice(stream(done), max(0, steps - done)):
        rate = float(schedule(done)) if callable(schedule) else schedule
        rows.append(step(torch.from_numpy(noisy.copy()), torch.from_numpy(clean.copy()), rate))
        done += 1
        if done % 100 == 0:
            shown = {name: round(value, 5) for name, value in mean_of(rows).items()}
            report(f"step {done} of {steps}, rate {rate:.2e} {shown}")
            rows = []
        if done % saved_every and done != steps:
            continue
        seconds = time.monotonic() - started
        kept = {"network": network.state_dict(), "optimizer": step.optimizer.state_dict()}
        keep_state(run, {**kept, "step": done, "seconds": seconds})
        if done % validated_every and done != steps:
            continue
        found = validate(network, transform, loss, examples)
        shown = {name: round(value, 5) for name, value in found.items()}
        report(f"validation after step {done}: {shown}")
        trained = network.weights()
        for variable in model.variables:
            if variable.path in trained:
                variable.assign(trained[variable.path])
        save_weights(model, run / "best.weights.h5")
        epoch = round(done / recipe.steps_per_epoch)
        state = RunState(epoch=epoch, best_epoch=epoch, best_loss=found["loss"], seconds=seconds, last=STATE)
        state.write(run)
    return state
