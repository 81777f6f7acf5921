#!/usr/bin/env python3
"""Does pre-training on speech alone pay, where there is little speech to make pairs of?

    python benchmarks/pretraining.py --clean CLEAN --noise NOISE --valid-clean DIR --valid-noise DIR
        --out OUT [--unpaired DIR] [--labelled 20] [--spec standard] [--minutes 60] [--seeds 2]

The same network is trained from --labelled recordings of CLEAN with and without an encoder that was
pre-trained on all of --unpaired (CLEAN without it), for equally many steps and from equal seeds; with
--longer also without, for as many steps as pre-training and training take together. How many steps there are
is found from --minutes by measuring some. Validation is the same for all. Prints Markdown; OUT keeps the runs
and goes on where it was broken off.
"""

import argparse
import csv
import json
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from audenoise.audio import find_audio
from audenoise.corpus import TrainingFolders
from audenoise.encoder_weights import start_from_encoder
from audenoise.errors import AudenoiseError
from audenoise.pretraining import pretrain
from audenoise.run_folders import RunState
from audenoise.specs import ModelSpec, load_recipe, override_training
from audenoise.training import train_from_folders

EPOCHS = 4
PROBED_STEPS = 8
COLUMNS = {
    "val_loss": ("loss", 1, 4), "val_si_sdr_db": ("SI-SDR dB", 1, 2), "val_estoi": ("ESTOI %", 100, 2),
    "val_pesq_wb": ("WB-PESQ", 1, 3),
}  # fmt: skip


class Experiment:
    """Runs under one folder, each made once."""

    def __init__(self, arguments: argparse.Namespace):
        self.out, self.workers = arguments.out, arguments.workers
        self.spec = load_recipe(arguments.spec)
        files = find_audio(arguments.clean)
        if len(files) < arguments.labelled:
            raise AudenoiseError(
                f"--labelled {arguments.labelled}: {arguments.clean} holds {len(files)} recordings"
            )
        chosen = np.linspace(0, len(files) - 1, arguments.labelled).astype(int)
        self.folders = TrainingFolders(
            tuple(files[i] for i in chosen),
            (arguments.noise,),
            (),
            (arguments.valid_clean,),
            (arguments.valid_noise,),
        )
        self.unpaired = arguments.unpaired or arguments.clean
        self.valid = arguments.valid_clean

    def with_steps(self, steps: int, seed: int, *, epochs: int = EPOCHS) -> ModelSpec:
        recipe: dict[str, Any] = {"epochs": epochs, "steps_per_epoch": max(1, steps // epochs), "seed": seed}
        # The average of the weights is as long as a fiftieth of the run.
        recipe["ema_momentum"] = min(self.spec.training.ema_momentum, 1 - 50 / max(100, steps))
        return override_training(self.spec, {**recipe, "warmup_steps": steps // 10})

    def _resumed(self, run: Path) -> tuple[bool, bool]:
        """Whether there is something to go on from, and whether it is finished."""
        if not (run / "state.json").is_file():
            return False, False
        state = RunState.read(run)
        return state.epoch > 0, state.epoch >= EPOCHS

    def pretrained(self, name: str, steps: int, **options: Any) -> Path:
        run = self.out / name
        begun, done = self._resumed(run)
        if not done:
            pretrain(
                self.with_steps(steps, 0, **options),
                [self.unpaired],
                run=run,
                valid=[self.valid],
                cache=self.out / "cache",
                workers=self.workers,
                resume=begun,
                report=say,
            )
        return run

    def trained(
        self, name: str, steps: int, seed: int, *, encoder: Path | None = None, **options: Any
    ) -> Path:
        run = self.out / name
        begun, done = self._resumed(run)
        if not done:
            start = None if encoder is None else partial(start_from_encoder, source=encoder, report=say)
            train_from_folders(
                self.with_steps(steps, seed, **options),
                self.folders,
                run=run,
                cache=self.out / "cache",
                workers=self.workers,
                resume=begun,
                initial_weights=start,
                report=say,
            )
        return run

    def seconds_per_step(self) -> tuple[float, float]:
        """Of pre-training and of training, with their validation spread over the steps."""
        file = self.out / "probe.json"
        if not file.is_file():
            self.pretrained("probe-encoder", 2 * PROBED_STEPS, epochs=2)
            self.trained("probe", 2 * PROBED_STEPS, 0, epochs=2)
            found = []
            for name in ("probe-encoder", "probe"):
                state = RunState.read(self.out / name)
                last = float(rows(self.out / name)[-1].get("seconds", 0) or 0)
                # The first epoch compiles.
                found.append(max(last, state.seconds / 4) / PROBED_STEPS)
            file.write_text(json.dumps(found))
        first, second = json.loads(file.read_text())
        return first, second


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "log.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def table(experiment: Experiment, arms: dict[str, list[Path]]) -> tuple[str, dict[str, Any]]:
    """After each epoch, the mean over seeds, and at the end how far the seeds lie apart."""
    summary: dict[str, Any] = {}
    shown = [name for name in COLUMNS if name in rows(next(iter(arms.values()))[0])[-1]]
    lines = [
        f"| encoder | steps | {' | '.join(COLUMNS[name][0] for name in shown)} |",
        "|---|---:|" + "---:|" * len(shown),
    ]
    for arm, runs in arms.items():
        logs = [rows(run) for run in runs]
        summary[arm] = {name: [[float(row[name]) for row in log] for log in logs] for name in shown}
        for epoch in range(min(map(len, logs))):
            cells = []
            for name in shown:
                _, scale, digits = COLUMNS[name]
                values = [scale * float(log[epoch][name]) for log in logs]
                apart = f" ± {(max(values) - min(values)) / 2:.{digits}f}" if len(values) > 1 else ""
                cells.append(f"{np.mean(values):.{digits}f}{apart}")
            spec = json.loads((runs[0].parent / f"{runs[0].name}.json").read_text())
            lines.append(f"| {arm} | {(epoch + 1) * spec['steps'] // EPOCHS} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n", summary


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    for name in ("--clean", "--noise", "--valid-clean", "--valid-noise", "--out"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--unpaired", type=Path, help="speech to pre-train on (default: all of CLEAN)")
    parser.add_argument("--labelled", type=int, default=20, help="recordings to make pairs of (default: 20)")
    parser.add_argument("--spec", default="standard")
    parser.add_argument("--minutes", type=float, default=60.0, help="wall time for all (default: 60)")
    parser.add_argument("--seeds", type=int, default=2, help="trainings of each kind (default: 2)")
    parser.add_argument("--longer", action="store_true", help="also as many steps without pre-training")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    try:
        started = time.monotonic()
        arguments.out.mkdir(parents=True, exist_ok=True)
        experiment = Experiment(arguments)
        of_pretraining, of_training = experiment.seconds_per_step()
        left = 60 * arguments.minutes - (time.monotonic() - started)
        kinds = 2 * arguments.seeds + (2 * arguments.seeds if arguments.longer else 0)
        plan = arguments.out / "plan.json"
        if not plan.is_file():
            steps = int(left / (of_pretraining + kinds * of_training)) // EPOCHS * EPOCHS
            plan.write_text(json.dumps(max(EPOCHS, steps)))
        steps = json.loads(plan.read_text())
        say(f"{steps} steps of pre-training, and {steps} of each training")
        encoder = experiment.pretrained("encoder", steps)
        arms: dict[str, list[Path]] = {"new": [], "pre-trained": []}
        if arguments.longer:
            arms["new, twice as long"] = []
        for seed in range(1, arguments.seeds + 1):
            for arm, runs in arms.items():
                count = 2 * steps if "twice" in arm else steps
                name = f"{arm.replace(', ', '-').replace(' ', '-')}-{seed}"
                (arguments.out / f"{name}.json").write_text(json.dumps({"steps": count}))
                start = encoder if arm == "pre-trained" else None
                runs.append(experiment.trained(name, count, seed, encoder=start))
    except AudenoiseError as error:
        print(f"pretraining.py: {error}", file=sys.stderr)
        return 1
    scored, summary = table(experiment, arms)
    text = (
        f"{arguments.labelled} recordings to make pairs of, {steps} steps of pre-training, "
        f"{arguments.seeds} seed(s); means, ± half the distance between the seeds\n\n{scored}"
    )
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text, encoding="utf-8")
    if arguments.json:
        content = {"steps": steps, "labelled": arguments.labelled, "arms": summary}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
