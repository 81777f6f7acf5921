#!/usr/bin/env python3
# pyright: reportMissingImports=false, reportArgumentType=false
"""Train a network like the standard one several times faster, on a CPU with AVX-512 and AMX (Linux, x86-64).

    pip install torch ninja setuptools
    python benchmarks/train_native.py check --spec standard
    python benchmarks/train_native.py train --spec standard --from-run models/standard \\
        --clean speech/ --noise noises/ --valid-clean … --valid-noise … --out runs/mine --steps 6000
    audenoise publish runs/mine models/mine

It is `audenoise train` by another engine: the same spec, mixtures, loss, optimizer and schedule, with PyTorch
and hand-written kernels in place of Keras' step, products in bfloat16 (`training.precision: mixed_bfloat16`).
`check` shows that network, loss and slopes are the same, and how long a step takes. Networks that are unlike
standard are refused: see `native_training/network.py`. The weights kept are those of the last step.
"""

import argparse
import contextlib
import itertools
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

SAVED_EVERY = 250
STATE = "native-state.pt"


def check(options: argparse.Namespace) -> None:
    """Network, loss and slopes beside those of Keras, from random weights; and the time of a step."""
    import keras
    import numpy as np
    import tensorflow as tf
    import torch
    from native_training.loss import Loss, Transform
    from native_training.network import Network

    from audenoise.architectures import build_network
    from audenoise.denoising_model import DenoisingModel, make_optimizer
    from audenoise.layers import SpectralTransform
    from audenoise.losses import denoising_losses
    from audenoise.specs import load_recipe

    spec = load_recipe(options.spec)
    keras.utils.set_random_seed(0)
    reference = build_network(spec)
    rng = np.random.default_rng(0)
    for variable in reference.variables:  # what starts at zero would hide mistakes
        if variable.path.endswith(("bias", "beta", "moving_mean")):
            variable.assign(rng.normal(0, 0.05, variable.shape))
    network, transform = Network(spec, weights_of(reference)), Transform(spec)
    noisy = rng.normal(0, 0.1, (2, 24000)).astype(np.float32)
    clean = (0.5 * noisy + 0.01 * rng.normal(size=noisy.shape)).astype(np.float32)
    keras_transform = SpectralTransform.of(spec.stft, spec.sample_rate)

    def distance(first, second) -> float:
        return float(np.linalg.norm(first - second) / np.linalg.norm(second))

    pair = torch.from_numpy(noisy), torch.from_numpy(clean)
    with torch.no_grad():
        ours = network.eval()(transform.stft(pair[0])).numpy()
    theirs = reference(keras_transform.stft(tf.constant(noisy))).numpy()
    print(f"output in use: differs by {distance(ours, theirs):.1e} of its norm")
    output = network.train()(transform.stft(pair[0]))
    loss, terms = Loss(spec, transform)(*pair, output)
    loss.backward()
    with tf.GradientTape() as tape:
        found = reference(keras_transform.stft(tf.constant(noisy)), training=True)
        expected = denoising_losses(
            tf.constant(noisy), tf.constant(clean), found, transform=keras_transform, weights=spec.loss
        )
    print(
        f"output in training: differs by {distance(output.detach().numpy(), found.numpy()):.1e} of its norm"
    )
    for name, term in {"loss": loss, **terms}.items():
        if name in expected:
            print(f"{name}: {float(term.detach()):.6f}, by Keras {float(expected[name]):.6f}")
    slopes: Any = tape.gradient(expected["loss"], reference.trainable_variables)
    pairs = [
        (network.learnt[variable.path.replace("/", "|")].grad.numpy().ravel(), slope.numpy().ravel())
        for variable, slope in zip(reference.trainable_variables, slopes, strict=True)
    ]
    ours, theirs = (np.concatenate(part) for part in zip(*pairs, strict=True))
    print(f"slopes of {ours.size:,} weights: differ by {distance(ours, theirs):.1e} of their norm")
    recipe = spec.training
    audio = rng.normal(0, 0.1, (recipe.batch_size, round(recipe.crop_s * spec.sample_rate))).astype(
        np.float32
    )
    model = DenoisingModel(reference, spec)
    model.compile(optimizer=make_optimizer(spec), jit_compile=False)
    step, tensor = Step(spec, network, transform), torch.from_numpy(audio)
    medians = [
        _median_s(work)
        for work in (
            lambda: step(tensor, 0.5 * tensor, 1e-5),
            lambda: model.train_on_batch(audio, 0.5 * audio),
        )
    ]
    print(
        f"a step of {audio.size / spec.sample_rate:g} s of audio: {medians[0]:.2f} s with "
        f"{torch.get_num_threads()} threads, by Keras {medians[1]:.2f} s: ratio {medians[1] / medians[0]:.1f}"
    )


def _median_s(work: Callable[[], object]) -> float:
    times = []
    for _ in range(8):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times[3:])


def weights_of(model) -> dict[str, Any]:
    """Path → value of each variable of a Keras network."""
    from audenoise.layers import to_numpy

    return {variable.path: to_numpy(variable) for variable in model.variables}


class Step:
    """One step of AdamW, with the settings of `audenoise.denoising_model`."""

    def __init__(self, spec, network, transform):
        import torch
        from native_training.loss import Loss

        self.network, self.transform = network, transform
        self.loss, self.clip = torch.compile(Loss(spec, transform).__call__), spec.training.clip_norm
        self.parameters = list(network.learnt.values())
        self.optimizer = torch.optim.AdamW(
            self.parameters,
            1.0,
            betas=(0.9, 0.99),
            eps=1e-7,
            weight_decay=spec.training.weight_decay,
            fused=True,
        )

    def __call__(self, noisy, clean, rate: float) -> dict[str, float]:
        import torch

        self.network.train()
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad()
        loss, terms = self.loss(noisy, clean, self.network(self.transform.stft(noisy)))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if not math.isfinite(float(norm)):
            raise SystemExit("the loss is not a number: lower training.learning_rate or training.clip_norm")
        self.optimizer.step()
        return {"loss": float(loss.detach()), **{name: float(term.detach()) for name, term in terms.items()}}


def mean_of(rows: list[dict[str, float]]) -> dict[str, float]:
    return {name: sum(row[name] for row in rows) / len(rows) for name in rows[0]}


def validate(network, transform, loss, examples) -> dict[str, float]:
    import torch

    network.eval()
    rows = []
    with torch.no_grad():
        for noisy, clean in zip(*(part.split(1) for part in examples), strict=True):
            total, terms = loss(noisy, clean, network(transform.stft(noisy)))
            rows.append({"loss": float(total), **{name: float(term) for name, term in terms.items()}})
    return mean_of(rows)


def train(options: argparse.Namespace) -> None:
    import keras
    import torch
    from native_training.loss import Loss, Transform
    from native_training.network import Network

    from audenoise.architectures import build_network
    from audenoise.corpus import TrainingFolders, make_mixers
    from audenoise.denoising_model import rate_of
    from audenoise.growing import start_grown
    from audenoise.mixtures import MixtureStream
    from audenoise.model_folders import WEIGHTS_FILE
    from audenoise.run_folders import RunState, held, load_weights, write_text
    from audenoise.specs import added_blocks, dump_spec, load_recipe, load_spec, override_training

    spec = load_recipe(options.spec)
    if options.seed is not None:
        spec = override_training(spec, {"seed": options.seed})
    recipe, run = spec.training, options.out
    steps = options.steps or recipe.epochs * recipe.steps_per_epoch
    folders = TrainingFolders(
        **{
            name: tuple(getattr(options, name))
            for name in ("clean", "noise", "rir", "valid_clean", "valid_noise")
        }
    )
    with held(run), (run / "log.txt").open("a", buffering=1) as log:

        def say(*words: Any) -> None:
            print(time.strftime("%H:%M:%S"), *words, flush=True)
            print(time.strftime("%H:%M:%S"), *words, file=log)

        keras.utils.set_random_seed(recipe.seed)
        model = build_network(spec)
        if options.from_run:
            best = options.from_run / "best.weights.h5"
            source = best if best.is_file() else options.from_run / WEIGHTS_FILE
            if added_blocks(spec, load_spec(options.from_run / "spec.yaml")):
                start_grown(model, source, spec=spec, report=say)
            else:
                load_weights(model, source)
        network = Network(spec, weights_of(model))
        transform = Transform(spec)
        step, done, seconds = Step(spec, network, transform), 0, 0.0
        if (run / STATE).exists():
            state = torch.load(run / STATE)
            network.load_state_dict(state["network"])
            step.optimizer.load_state_dict(state["optimizer"])
            done, seconds = state["step"], state["seconds"]
            say(f"going on at step {done}")
        mixers = make_mixers(spec, folders, cache=options.cache or run / "cache")
        examples = [torch.tensor(part) for part in mixers.validation.batch(0, recipe.validation_mixtures)]
        loss = Loss(spec, transform)
        write_text(run / "spec.yaml", dump_spec(spec))
        stream = MixtureStream(
            mixers.train, batch_size=recipe.batch_size, workers=options.workers, first=done
        )
        schedule = rate_of(recipe, steps)
        started, rows = time.monotonic() - seconds, []
        with contextlib.closing(stream):
            for noisy, clean in itertools.islice(stream, max(0, steps - done)):
                rate = float(schedule(done)) if callable(schedule) else schedule
                rows.append(step(torch.from_numpy(noisy.copy()), torch.from_numpy(clean.copy()), rate))
                done += 1
                if done % 100 == 0:
                    shown = {name: round(value, 5) for name, value in mean_of(rows).items()}
                    say(f"step {done} of {steps}, rate {rate:.2e}", shown)
                    rows = []
                if done % SAVED_EVERY and done != steps:
                    continue
                seconds = time.monotonic() - started
                kept = {"network": network.state_dict(), "optimizer": step.optimizer.state_dict()}
                torch.save({**kept, "step": done, "seconds": seconds}, run / f"{STATE}.partial")
                os.replace(run / f"{STATE}.partial", run / STATE)
                if done % (4 * SAVED_EVERY) and done != steps:
                    continue
                found = validate(network, transform, loss, examples)
                say(
                    f"validation after step {done}:", {name: round(value, 5) for name, value in found.items()}
                )
                trained = network.weights()
                for variable in model.variables:
                    if variable.path in trained:
                        variable.assign(trained[variable.path])
                model.save_weights(run / "partial.weights.h5")
                os.replace(run / "partial.weights.h5", run / "best.weights.h5")
                epoch = round(done / recipe.steps_per_epoch)
                RunState(epoch=epoch, best_epoch=epoch, best_loss=found["loss"], seconds=seconds).write(run)
    print(f"{done} steps, {done * recipe.batch_size * recipe.crop_s / 3600:.2f} h of audio")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    for name, action in (("check", check), ("train", train)):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("--spec", default="standard", help="spec file, or the name of a recipe")
        command.add_argument("--threads", type=int, default=os.cpu_count())
    command.add_argument(
        "--from-run", type=Path, help="run or model folder to start from; may have fewer blocks"
    )
    command.add_argument("--out", type=Path, required=True, help="run folder; goes on with what is there")
    command.add_argument("--steps", type=int, help="default: epochs × steps_per_epoch of the spec")
    command.add_argument("--seed", type=int)
    command.add_argument("--workers", type=int, default=1)
    command.add_argument("--cache", type=Path)
    for kind in ("clean", "noise", "rir", "valid-clean", "valid-noise"):
        needed = kind in ("clean", "noise")
        command.add_argument(f"--{kind}", type=Path, action="append", default=[], required=needed)
    options = parser.parse_args()

    import torch

    from audenoise.errors import AudenoiseError

    torch.set_num_threads(options.threads)
    try:
        options.action(options)
    except AudenoiseError as error:
        raise SystemExit(f"train_native.py: {error}") from None


if __name__ == "__main__":
    main()
