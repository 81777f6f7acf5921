#!/usr/bin/env python3
"""How the cost of predict and build-dataset grows with cores and with the size of a corpus.

    python benchmarks/scale.py [--minutes 10] [--jobs 1,2] [--sizes 1,10,100] [--limit-s 3600]
                               [--commands predict,build-dataset] [--recordings DIR --noise DIR]
                               [--model NAME] [--ray ADDRESS]

A corpus of --minutes is taken --sizes times over: predict gets further names of the same files, build-dataset
as many mixtures of each, since it leaves out what is there twice. Without --recordings the corpus is pink
noise in files of 30 s, 16 kHz, 16 bit: what is in a recording hardly changes what it costs. Each row is one
run of the command, its start and its end included. Prints Markdown.
"""

import argparse
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from sounds import pink

from audenoise.audio import audio_info, find_audio
from audenoise.datasets.building import cores

RATE = 16_000
FILE_S = 30.0
COMMANDS = ("predict", "build-dataset")


@dataclass(frozen=True)
class Row:
    """One run: hours of audio in, what it took, what it left on disk."""

    command: str
    size: int
    jobs: str
    hours: float
    seconds: float
    n_bytes: int

    @property
    def hours_per_minute(self) -> float:
        return self.hours / (self.seconds / 60)

    def cells(self) -> list[str]:
        return [
            self.command,
            f"×{self.size}",
            self.jobs,
            f"{self.hours:.3g}",
            f"{self.seconds:.1f}",
            f"{self.hours_per_minute:.3g}",
            f"{self.n_bytes / 1e6 / self.hours:.0f}",
        ]


def write_noise(folder: Path, minutes: float, *, seed: int) -> None:
    """Pink noise that swells and fades like speech does."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    left_s = minutes * 60
    for number in range(math.ceil(left_s / FILE_S)):
        n_samples = round(min(FILE_S, left_s - number * FILE_S) * RATE)
        swell = 0.55 + 0.45 * np.sin(2 * np.pi * 0.7 * np.arange(n_samples) / RATE)
        audio = pink(rng, n_samples, RATE) * swell
        soundfile.write(folder / f"{number:05d}.wav", 0.3 * audio / np.abs(audio).max(), RATE)


def repeated(source: Path, target: Path, times: int) -> float:
    """The recordings of a folder `times` times over. Returns their hours in all."""
    hours = 0.0
    for path in find_audio(source):
        info = audio_info(path)
        hours += info.n_samples / info.sample_rate / 3600
        for number in range(times):
            copy = target / f"{number:03d}" / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, copy)
            except OSError:  # on another disk
                shutil.copyfile(path, copy)
    return hours * times


def run(command: str, arguments: list[str], *, limit_s: float) -> float:
    """Seconds that the command took."""
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "audenoise", command, *arguments, "-q"],
        timeout=limit_s,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{command} failed: {done.stderr.strip()}")
    return time.perf_counter() - started


def measure(
    command: str, folders: dict[str, Path], size: int, *, jobs: str, options: argparse.Namespace
) -> tuple[float, int]:
    """Seconds, and bytes of the result."""
    out = folders["out"]
    if command == "predict":
        arguments = [str(folders["corpus"]), "-o", str(out)]
        arguments += ["--model", options.model] if options.model else []
    else:
        arguments = ["--clean", str(folders["recordings"]), "--noise", str(folders["noise"])]
        arguments += ["--out", str(out), "--test-split", "0", "--mixtures", str(size)]
    arguments += ["--ray", options.ray] if options.ray else ["--jobs", jobs]
    try:
        seconds = run(command, arguments, limit_s=options.limit_s)
        return seconds, sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    finally:
        shutil.rmtree(out, ignore_errors=True)


def table(rows: list[Row]) -> str:
    names = ["command", "corpus", "cores", "hours", "seconds", "hours per minute", "result MB per hour"]
    lines = [names, ["---"] * 2 + ["---:"] * 5, *(row.cells() for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="of the corpus at ×1 (default: 10)")
    parser.add_argument("--jobs", default="1,2", help="processes, with commas (default: 1,2)")
    parser.add_argument("--sizes", default="1,10,100", help="repetitions, with commas (default: 1,10,100)")
    parser.add_argument("--commands", default=",".join(COMMANDS), help="default: %(default)s")
    parser.add_argument("--recordings", type=Path, help="folder to take in place of noise")
    parser.add_argument("--noise", type=Path, help="folder of noises for build-dataset")
    parser.add_argument("--model", help="for predict (default: standard)")
    parser.add_argument("--ray", help="a cluster in place of --jobs")
    parser.add_argument("--limit-s", type=float, default=3600.0, help="for one run (default: 3600)")
    options = parser.parse_args()
    commands = options.commands.split(",")
    if unknown := set(commands) - set(COMMANDS):
        parser.error(f"--commands must be among {', '.join(COMMANDS)}. Received: {', '.join(unknown)}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="audenoise-scale-") as folder:
        work = Path(folder)
        recordings, noise = options.recordings, options.noise
        if recordings is None:
            recordings = work / "recordings"
            write_noise(recordings, options.minutes, seed=1)
        if noise is None:
            noise = work / "noise"
            write_noise(noise, min(5.0, max(0.1, options.minutes)), seed=2)
        for size in map(int, options.sizes.split(",")):
            folders = {
                "recordings": recordings,
                "noise": noise,
                "corpus": work / "corpus",
                "out": work / "out",
            }
            hours = repeated(recordings, folders["corpus"], size)
            for command in commands:
                for jobs in [options.ray] if options.ray else options.jobs.split(","):
                    seconds, n_bytes = measure(command, folders, size, jobs=jobs, options=options)
                    rows.append(Row(command, size, jobs, hours, seconds, n_bytes))
                    print(" ".join(rows[-1].cells()), file=sys.stderr)
            shutil.rmtree(folders["corpus"])
    print(f"{cores()} cores here.\n\n{table(rows)}")


if __name__ == "__main__":
    main()
