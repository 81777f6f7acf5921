#!/usr/bin/env python3
"""Throughput of the degradation chain and of the conditioning features, per core.

    python benchmarks/degradation.py [--sample-rate 48000] [--crop-s 2] [--draws 60] [--markdown OUT]

Each effect alone on crops as training cuts them, with parameters drawn anew for each, then the whole default
chain, then the features. What counts is processor time of this one process, so that other work on the machine
does not show; hours of audio per minute of it, and times real time.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

# The thread counts have to be set before numpy is imported.
if __name__ == "__main__":
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

import numpy as np

from audenoise import degradation
from audenoise.conditioning import conditioning_features
from audenoise.specs.degradation import DegradationSpec


def speech_like(duration_s: float, sample_rate: int, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes like syllables, (samples,) float32."""
    rng = np.random.default_rng(seed)
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    loudness = np.maximum(np.sin(2 * np.pi * 3 * time_s), 0.02)
    return (rng.standard_normal(time_s.size) * 0.1 * loudness).astype(np.float32)


def times_real_time(work: Callable[[int], object], duration_s: float, count: int) -> float:
    """Of `count` turns of work on `duration_s` of audio each, after one that warms up."""
    work(0)
    started = time.process_time()
    for i in range(count):
        work(i)
    return count * duration_s / max(1e-9, time.process_time() - started)


def measure(sample_rate: int, crop_s: float, draws: int) -> dict[str, dict[str, float]]:
    audio, noise = speech_like(crop_s, sample_rate), speech_like(crop_s + 1, sample_rate, 1)
    responses = [degradation.simulate_room(np.random.default_rng(i), sample_rate) for i in range(3)]
    found: dict[str, dict[str, float]] = {}

    def note(name: str, probability: float, speed: float) -> None:
        found[name] = {"probability": probability, "times_real_time": speed, "hours_per_minute": speed / 60}
        print(f"{name:16} {probability:5.2f} {speed:9.0f} x {speed / 60:7.1f} h/min", file=sys.stderr)

    def chain(spec: DegradationSpec) -> Callable[[int], object]:
        def work(number: int) -> object:
            rng = np.random.default_rng(number)
            drawn = degradation.draw(spec, rng, sample_rate=sample_rate, n_samples=audio.size)
            return degradation.apply(drawn, audio, sample_rate, noise=noise, responses=responses)

        return work

    default = DegradationSpec()
    for effect in default.effects:
        alone = DegradationSpec(effects=(effect.model_copy(update={"probability": 1.0}),))
        note(effect.kind, effect.probability, times_real_time(chain(alone), crop_s, draws))
    runs = [times_real_time(chain(default), crop_s, 5 * draws) for _ in range(3)]
    note("default chain", 1.0, statistics.median(runs))
    hop = sample_rate // 100
    frames = audio.size // hop + 1

    def features(_: int) -> object:
        return conditioning_features(audio, sample_rate, hop_length=hop, n_frames=frames)

    note("conditioning", 1.0, times_real_time(features, crop_s, draws))
    return found


def table(found: dict[str, dict[str, float]]) -> str:
    lines = ["| effect | probability | hours per minute and core | × real time |", "|---|---|---|---|"]
    for name, row in found.items():
        hours, speed = row["hours_per_minute"], row["times_real_time"]
        lines.append(f"| {name} | {row['probability']:g} | {hours:.1f} | {speed:.0f} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sample-rate", type=int, default=48000, help="in Hz")
    parser.add_argument("--crop-s", type=float, default=2.0, help="length of a crop")
    parser.add_argument(
        "--draws", type=int, default=60, help="crops for each effect; five times for the chain"
    )
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found = measure(arguments.sample_rate, arguments.crop_s, arguments.draws)
    print(table(found))
    if arguments.markdown:
        arguments.markdown.write_text(table(found), encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
