#!/usr/bin/env python3
# pyright: reportMissingImports=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Train an enhancer's generator by reconstruction, almost three times faster on a CPU with AMX (Linux).

    pip install torch
    python benchmarks/train_enhancer_native.py check --spec SPEC
    python benchmarks/train_enhancer_native.py train --spec SPEC --from models/enhancer/model.weights.h5 \\
        --clean speech/ --noise noises/ --valid-clean … --valid-noise … --out runs/mine --steps 3000
    audenoise train-enhancer … --spec enhancer-adversarial --from runs/mine/best.weights.h5

It is the first stage of `audenoise train-enhancer` by another engine: the same spec, pairs, loss, optimizer,
schedule and average of the weights, with PyTorch in place of Keras' step and products in bfloat16. `check`
shows that loss and slopes are the same, and how long a step takes. The weights kept are the average after the
last step. Discriminators are trained by `audenoise train-enhancer`.
"""

import argparse
import contextlib
import itertools
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

SAVED_EVERY, JUDGED_EVERY = 250, 1000


def check(options: argparse.Namespace) -> None:
    """Loss and slopes beside those of Keras, from weights that hide nothing; and the time of a step."""
    import numpy as np
    import tensorflow as tf
    import torch
    from native_training.enhancer import Generator, Loss, Step
    from native_training.fitting import weights_of

    from audenoise.enhancing.sides import Game
    from audenoise.specs.enhancer import load_enhancer_spec

    spec, rng = load_enhancer_spec(options.spec), np.random.default_rng(0)
    game = Game(spec)
    for variable in game.generator.variables:
        variable.assign(variable.numpy() + rng.normal(0, 0.02, variable.shape))
    side, generator = game.generator_side, Generator(spec, weights_of(game.generator))
    loss = Loss(spec, generator)

    def batch(size: int) -> list[Any]:
        degraded = rng.normal(0, 0.1, (size, spec.crop_samples))
        frames = side.transform.frames(spec.crop_samples)
        pitch = np.stack([rng.uniform(0, 4, (size, frames)), rng.integers(0, 2, (size, frames))], -1)
        target = 0.6 * degraded + 0.02 * rng.normal(size=degraded.shape)
        parts = degraded, target, rng.normal(size=(size, frames, 4)), pitch
        return [part.astype(np.float32) for part in parts]

    degraded, target, conditioning, pitch = parts = batch(2)
    inputs = {"degraded": tf.constant(degraded), "conditioning": tf.constant(conditioning)}
    targets = {"target": tf.constant(target), "pitch": tf.constant(pitch)}
    with tf.GradientTape() as tape:
        terms = side.terms(inputs, targets, side(inputs, training=True))
        expected = sum(side.loss_weights_[name] * value for name, value in terms.items())
    slopes: Any = tape.gradient(expected, game.generator.trainable_variables)
    found, own_terms = loss(*map(torch.tensor, parts))
    found.backward()
    for name, value in {"loss": expected, **terms}.items():
        own = found if name == "loss" else own_terms[name]
        print(f"{name}: {float(own.detach()):.6f}, by Keras {float(value):.6f}")
    own = [
        generator.learnt[variable.path.replace("/", "|")].grad.numpy().ravel()
        for variable in game.generator.trainable_variables
    ]
    first, second = np.concatenate(own), np.concatenate([slope.numpy().ravel() for slope in slopes])
    distance = np.linalg.norm(first - second) / np.linalg.norm(second)
    print(f"slopes of {first.size:,} weights: differ by {distance:.1e} of their norm")
    parts = batch(spec.training.batch_size)
    inputs, targets = (
        {"degraded": parts[0], "conditioning": parts[2]},
        {"target": parts[1], "pitch": parts[3]},
    )
    step, tensors, times = Step(spec, generator, loss), list(map(torch.tensor, parts)), []
    for work in (lambda: step(tensors, 1e-6), lambda: side.train_on_batch(inputs, targets)):
        took = []
        for _ in range(7):
            started = time.perf_counter()
            work()
            took.append(time.perf_counter() - started)
        times.append(statistics.median(took[3:]))
    print(
        f"a step of {parts[0].size / spec.sample_rate:g} s of audio: {times[0]:.2f} s with "
        f"{torch.get_num_threads()} threads, by Keras {times[1]:.2f} s: ratio {times[1] / times[0]:.1f}"
    )


def train(options: argparse.Namespace) -> None:
    import keras
    import torch
    from native_training.commands import folders_of, log_of
    from native_training.enhancer import Generator, Loss, Step
    from native_training.fitting import STATE, keep_state, mean_of, weights_of

    from audenoise.enhancer_pairs import make_pairs
    from audenoise.enhancing.judging import Judge
    from audenoise.enhancing.runs import BEST_FILE, save_weights, start_from
    from audenoise.enhancing.sides import Game, make_optimizer
    from audenoise.mixtures import MixtureStream
    from audenoise.run_folders import RunState, held, write_text
    from audenoise.specs.enhancer import dump_enhancer_spec, load_enhancer_spec

    spec, run = load_enhancer_spec(options.spec), options.out
    recipe = spec.training.model_copy(update={"epochs": 1, "steps_per_epoch": options.steps})
    schedule: Any = make_optimizer(
        spec.model_copy(update={"training": recipe}), recipe.learning_rate, average=False
    )._learning_rate
    with held(run), log_of(run) as say, contextlib.ExitStack() as stack:
        keras.utils.set_random_seed(recipe.seed)
        game = Game(spec)
        if options.source:
            start_from(game, options.source)
        generator = Generator(spec, weights_of(game.generator))
        step, done, seconds = Step(spec, generator, Loss(spec, generator)), 0, 0.0
        if (run / STATE).exists():
            kept = torch.load(run / STATE)
            generator.load_state_dict(kept["generator"])
            step.optimizer.load_state_dict(kept["optimizer"])
            step.averages = kept["averages"]
            done, seconds = kept["step"], kept["seconds"]
            say(f"going on at step {done}")
        pairs = make_pairs(
            spec, folders_of(options), cache=options.cache or run / "cache", denoiser=options.denoiser, jobs=1
        )
        say(f"{pairs.train.speech.seconds / 60:.1f} min of full-band speech, {len(pairs.skipped)} left out")
        judge = Judge(spec, pairs.validation.batch(0, recipe.validation_pairs), say)
        write_text(run / "spec.yaml", dump_enhancer_spec(spec))
        stream: Any = MixtureStream(
            pairs.train, batch_size=recipe.batch_size, workers=options.workers, first=done
        )
        stack.enter_context(contextlib.closing(stream))
        started, rows = time.monotonic() - seconds, []
        for batch in itertools.islice(stream, max(0, options.steps - done)):
            tensors = [
                torch.from_numpy(part.copy())
                for part in (batch.degraded, batch.target, batch.conditioning, batch.pitch)
            ]
            rows.append(step(tensors, float(schedule(done))))
            done += 1
            if done % 100 == 0:
                shown = {name: round(value, 4) for name, value in mean_of(rows).items()}
                say(f"step {done} of {options.steps} {shown}")
                rows = []
            if done % SAVED_EVERY and done != options.steps:
                continue
            seconds = time.monotonic() - started
            kept = {"generator": generator.state_dict(), "optimizer": step.optimizer.state_dict()}
            kept |= {"averages": step.averages, "step": done, "seconds": seconds}
            keep_state(run, kept)
            if done % JUDGED_EVERY and done != options.steps:
                continue
            averages = dict(zip(generator.learnt, step.averages, strict=True))
            for variable in game.generator.variables:
                variable.assign(averages[variable.path.replace("/", "|")].numpy())
            found = judge.score(game)
            say(f"validation after step {done}: { {name: round(v, 4) for name, v in found.items()} }")
            save_weights(game.generator, run / BEST_FILE)
            epoch = max(1, round(done / spec.training.steps_per_epoch))
            score = found["val_spectral_distance"]
            RunState(epoch=epoch, best_epoch=epoch, best_loss=score, seconds=seconds).write(run)


def main() -> None:
    from native_training.commands import add_folders, check_and_train, run

    parser, command = check_and_train(__doc__, check, train, spec="enhancer")
    command.add_argument("--from", dest="source", type=Path, help="run, or weights, to start from")
    command.add_argument("--steps", type=int, required=True)
    command.add_argument("--denoiser", default="standard", help="what a share of the inputs goes through")
    add_folders(command, needed=("clean",))
    run(parser)


if __name__ == "__main__":
    main()
