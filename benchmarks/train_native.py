#!/usr/bin/env python3
# pyright: reportMissingImports=false, reportArgumentType=false
"""Train a network like the standard one several times faster, on a CPU with AVX2 or AVX-512 (Linux, x86-64).

    pip install torch ninja setuptools
    python benchmarks/train_native.py check --spec standard
    python benchmarks/train_native.py train --spec standard --from-run models/standard \\
        --clean speech/ --noise noises/ --valid-clean … --valid-noise … --out runs/mine --steps 6000
    audenoise publish runs/mine models/mine

It is `audenoise train` by another engine: the same spec, mixtures, loss, optimizer and schedule, with PyTorch
and hand-written kernels in place of Keras' step, products in bfloat16 where the processor has AMX
(`training.precision: mixed_bfloat16`).
`check` shows that network, loss and slopes are the same, and how long a step takes. Networks that are unlike
standard are refused: see `native_training/network.py`. The weights kept are those of the last step.
"""

import argparse
import contextlib
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))


def check(options: argparse.Namespace) -> None:
    """Network, loss and slopes beside those of Keras, from random weights; and the time of a step."""
    import keras
    import numpy as np
    import tensorflow as tf
    import torch
    from native_training.fitting import Step, weights_of
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


def train(options: argparse.Namespace) -> None:
    import keras
    from native_training.commands import folders_of, log_of
    from native_training.fitting import Teacher, fit, weights_of
    from native_training.network import Network

    from audenoise.architectures import build_network
    from audenoise.corpus import make_mixers
    from audenoise.errors import SpecError
    from audenoise.growing import start_grown
    from audenoise.mixtures import MixtureStream
    from audenoise.model_folders import WEIGHTS_FILE
    from audenoise.publishing import load_keras_model
    from audenoise.run_folders import held, load_weights, write_text
    from audenoise.specs import dump_spec, grows_from, load_recipe, load_spec, override_training

    spec = load_recipe(options.spec)
    if options.seed is not None:
        spec = override_training(spec, {"seed": options.seed})
    recipe, run = spec.training, options.out
    steps = options.steps or recipe.epochs * recipe.steps_per_epoch
    with held(run), log_of(run) as say, contextlib.ExitStack() as stack:
        keras.utils.set_random_seed(recipe.seed)
        model = build_network(spec)
        if options.from_run:
            best = options.from_run / "best.weights.h5"
            source = best if best.is_file() else options.from_run / WEIGHTS_FILE
            if grows_from(spec, load_spec(options.from_run / "spec.yaml")):
                start_grown(model, source, spec=spec, report=say)
            else:
                load_weights(model, source)
        teacher = None
        if options.teacher:
            master, its_spec = load_keras_model(options.teacher)
            if (its_spec.stft, its_spec.sample_rate) != (spec.stft, spec.sample_rate):
                raise SpecError(f"{options.teacher}: has another spectrogram, so it can't teach this network")
            teacher = Teacher(Network(its_spec, weights_of(master)), options.teacher_share)
        mixers = make_mixers(spec, folders_of(options), cache=options.cache or run / "cache")

        def batches(first: int) -> MixtureStream:
            stream = MixtureStream(
                mixers.train, batch_size=recipe.batch_size, workers=options.workers, first=first
            )
            return stack.enter_context(contextlib.closing(stream))

        write_text(run / "spec.yaml", dump_spec(spec))
        validation = mixers.validation.batch(0, recipe.validation_mixtures)
        fit(spec, model, batches, validation, run=run, steps=steps, teacher=teacher, report=say)
    print(f"{steps} steps, {steps * recipe.batch_size * recipe.crop_s / 3600:.2f} h of audio")


def main() -> None:
    from native_training.commands import add_folders, check_and_train, run

    parser, command = check_and_train(__doc__, check, train, spec="standard")
    command.add_argument(
        "--from-run",
        type=Path,
        help="run or model folder to start from; may have fewer blocks, or none that run backwards",
    )
    command.add_argument("--steps", type=int, help="default: epochs × steps_per_epoch of the spec")
    command.add_argument("--seed", type=int)
    command.add_argument("--teacher", type=Path, help="model folder whose output the target is drawn towards")
    command.add_argument("--teacher-share", type=float, default=0.5, help="how far  [default: 0.5]")
    add_folders(command)
    run(parser)


if __name__ == "__main__":
    main()
