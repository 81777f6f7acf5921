#!/usr/bin/env python3
# pyright: reportMissingImports=false, reportArgumentType=false, reportAttributeAccessIssue=false, reportCallIssue=false
"""Train an enhancer faster on a CPU (Linux), most with AMX: the first stage up to three times.

    pip install torch
    python benchmarks/train_enhancer_native.py check --spec SPEC
    python benchmarks/train_enhancer_native.py train --spec SPEC --from models/enhancer/model.weights.h5 \\
        --clean speech/ --noise noises/ --valid-clean … --valid-noise … --out runs/mine --steps 3000

It is `audenoise train-enhancer` by another engine: the same spec, pairs, losses, optimizers, schedule and
average of the weights, with PyTorch in place of Keras' step and products in bfloat16 where the processor has
them. `check` shows that losses and slopes of both sides are the same, and how long a step takes. The weights
kept are the average after the last step. The discriminators take part from `schedule.adversarial_from_step`
on.
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
WON_FOR = 5  # hundreds of steps: what an epoch is to `training.balance_epochs`


def check(options: argparse.Namespace) -> None:
    """Loss and slopes beside those of Keras, from weights that hide nothing; and the time of a step."""
    import numpy as np
    import tensorflow as tf
    import torch
    from native_training.discriminators import Opponents, discriminator_loss, generator_terms, loudness_gain
    from native_training.enhancer import Generator, Loss, Step
    from native_training.fitting import weights_of

    from audenoise.enhancing.sides import Game
    from audenoise.specs.enhancer import load_enhancer_spec

    spec, rng = load_enhancer_spec(options.spec), np.random.default_rng(0)
    game = Game(spec)
    for variable in game.generator.variables:
        variable.assign(variable.numpy() + rng.normal(0, 0.02, variable.shape))
    side, generator = game.generator_side, Generator(spec, weights_of(game.generator))
    loss, opponents = Loss(spec, generator), Opponents(game.discriminators, weights_of(game.discriminators))

    def batch(size: int) -> list[Any]:
        degraded = rng.normal(0, 0.1, (size, spec.crop_samples))
        frames = side.transform.frames(spec.crop_samples)
        pitch = np.stack([rng.uniform(0, 4, (size, frames)), rng.integers(0, 2, (size, frames))], -1)
        target = 0.6 * degraded + 0.02 * rng.normal(size=degraded.shape)
        ends = np.resize([0.7, 1.0, 0.5], (size, frames)) * spec.sample_rate / 2
        parts = degraded, target, rng.normal(size=(size, frames, 4)), pitch, ends
        return [part.astype(np.float32) for part in parts]

    degraded, target, conditioning, pitch, end_hz = parts = batch(2)
    inputs = {"degraded": degraded, "conditioning": conditioning, "end_hz": end_hz}
    inputs = {name: tf.constant(part) for name, part in inputs.items()}
    targets = {"target": tf.constant(target), "pitch": tf.constant(pitch)}
    side.adversarial = True
    for metric in side.metrics:
        metric.reset_state()
    other = game.discriminator_side
    with tf.GradientTape(persistent=True) as tape:
        outputs = side(inputs, training=True)
        expected = side.compute_loss(inputs, targets, outputs)
        theirs = other.compute_loss(inputs, targets, outputs)
    slopes = {
        "generator": tape.gradient(expected, game.generator.trainable_variables),
        "discriminators": tape.gradient(theirs, game.discriminators.trainable_variables),
    }
    own_parts = list(map(torch.tensor, parts))
    found, own_terms, audio = loss(*own_parts)
    gain = loudness_gain(own_parts[1])
    real, fake = (opponents(part * gain) for part in (own_parts[1], audio.detach()))
    own_theirs, _ = discriminator_loss(real, fake, spec.loss.kind)
    own_theirs.backward()
    with opponents.held():
        added = generator_terms(opponents(own_parts[1] * gain), opponents(audio * gain), spec.loss.kind)
    found = found + sum(getattr(spec.loss, name) * value for name, value in added.items())
    found.backward()
    by_keras = {name: metric.result() for name, metric in side.means.items()}
    both = {"loss": (found, expected), "loss of the discriminators": (own_theirs, theirs)}
    both |= {name: (value, by_keras[name]) for name, value in (own_terms | added).items()}
    for name, (own, value) in both.items():
        print(f"{name}: {float(own.detach()):.6f}, by Keras {float(value):.6f}")
    for name, module in (("generator", generator), ("discriminators", opponents)):
        variables = getattr(game, name).trainable_variables
        own = [module.learnt[variable.path.replace("/", "|")].grad.numpy().ravel() for variable in variables]
        first, second = np.concatenate(own), np.concatenate([part.numpy().ravel() for part in slopes[name]])
        distance = np.linalg.norm(first - second) / np.linalg.norm(second)
        print(f"slopes of the {name}, {first.size:,} weights: differ by {distance:.1e} of their norm")
    parts = batch(spec.training.batch_size)
    inputs, targets = (
        {"degraded": parts[0], "conditioning": parts[2], "end_hz": parts[4]},
        {"target": parts[1], "pitch": parts[3]},
    )
    step, tensors = Step(spec, generator, loss, opponents), list(map(torch.tensor, parts))

    def by_keras_alone() -> None:
        side.train_on_batch(inputs, targets)

    def by_keras_both() -> None:
        other.train_on_batch(inputs, targets)
        side.train_on_batch(inputs, targets)

    for name, own_step, adversarial in (
        ("of the generator alone", lambda: step(tensors, 1e-6), False),
        ("of both sides", lambda: step(tensors, 1e-6, 1e-6), True),
    ):
        side.play(adversarial)
        times = []
        for work in (own_step, by_keras_both if adversarial else by_keras_alone):
            took = []
            for _ in range(7):
                started = time.perf_counter()
                work()
                took.append(time.perf_counter() - started)
            times.append(statistics.median(took[3:]))
        print(
            f"a step {name}, {parts[0].size / spec.sample_rate:g} s of audio: {times[0]:.2f} s with "
            f"{torch.get_num_threads()} threads, by Keras {times[1]:.2f} s: ratio {times[1] / times[0]:.1f}"
        )


def train(options: argparse.Namespace) -> None:
    import keras
    import torch
    from native_training.commands import folders_of, log_of
    from native_training.discriminators import Opponents
    from native_training.enhancer import Generator, Loss, Step
    from native_training.fitting import STATE, keep_state, mean_of, weights_of

    from audenoise.enhancer_pairs import make_pairs
    from audenoise.enhancing.judging import Judge, Referee
    from audenoise.enhancing.runs import BEST_FILE, save_weights, start_from
    from audenoise.enhancing.sides import Game, make_optimizer
    from audenoise.mixtures import MixtureStream
    from audenoise.run_folders import RunState, held, write_text
    from audenoise.specs.enhancer import dump_enhancer_spec, load_enhancer_spec

    spec, run = load_enhancer_spec(options.spec), options.out
    recipe, from_step = spec.training, spec.schedule.adversarial_from_step

    def schedule_of(rate: float) -> Any:
        whole = recipe.model_copy(update={"epochs": 1, "steps_per_epoch": options.steps})
        whole = spec.model_copy(update={"training": whole})
        return make_optimizer(whole, rate, average=False)._learning_rate

    schedule, others = map(schedule_of, (recipe.learning_rate, recipe.discriminator_learning_rate))
    with held(run), log_of(run) as say, contextlib.ExitStack() as stack:
        keras.utils.set_random_seed(recipe.seed)
        game = Game(spec)
        if options.source:
            start_from(game, options.source)
        generator = Generator(spec, weights_of(game.generator))
        opponents = None
        if from_step < options.steps:
            opponents = Opponents(game.discriminators, weights_of(game.discriminators))
        step, done, seconds = Step(spec, generator, Loss(spec, generator), opponents), 0, 0.0
        if (run / STATE).exists():
            kept = torch.load(run / STATE)
            generator.load_state_dict(kept["generator"])
            step.optimizer.load_state_dict(kept["optimizer"])
            step.averages = kept["averages"]
            if opponents is not None and "opponents" in kept:
                opponents.load_state_dict(kept["opponents"])
                step.opponents_descent.optimizer.load_state_dict(kept["opponents_optimizer"])
            done, seconds = kept["step"], kept["seconds"]
            say(f"going on at step {done}")
        pairs = make_pairs(
            spec, folders_of(options), cache=options.cache or run / "cache", denoiser=options.denoiser, jobs=1
        )
        say(f"{pairs.train.speech.seconds / 60:.1f} min of full-band speech, {len(pairs.skipped)} left out")
        judge = Judge(spec, pairs.validation.batch(0, recipe.validation_pairs), say)
        referee = Referee(WON_FOR)
        write_text(run / "spec.yaml", dump_enhancer_spec(spec))
        stream: Any = MixtureStream(
            pairs.train, batch_size=recipe.batch_size, workers=options.workers, first=done
        )
        stack.enter_context(contextlib.closing(stream))
        started, rows = time.monotonic() - seconds, []
        for batch in itertools.islice(stream, max(0, options.steps - done)):
            tensors = [torch.from_numpy(part.copy()) for part in batch]
            opponents_rate = float(others(done)) if done >= from_step else None
            rows.append(step(tensors, float(schedule(done)), opponents_rate))
            done += 1
            if done % 100 == 0 or done == from_step:
                shown = {name: round(value, 4) for name, value in mean_of(rows).items()}
                say(f"step {done} of {options.steps} {shown}")
                referee.check_epoch(shown)
                rows = []
            if done % SAVED_EVERY and done != options.steps:
                continue
            seconds = time.monotonic() - started
            kept = {"generator": generator.state_dict(), "optimizer": step.optimizer.state_dict()}
            kept |= {"averages": step.averages, "step": done, "seconds": seconds}
            if opponents is not None:
                kept |= {
                    "opponents": opponents.state_dict(),
                    "opponents_optimizer": step.opponents_descent.optimizer.state_dict(),
                }
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
