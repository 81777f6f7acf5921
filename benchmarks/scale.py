#!/usr/bin/env python3
"""How the cost of predict, build-dataset and training's mixing grows with cores and with the corpus.

    python benchmarks/scale.py [--minutes 10] [--jobs 1,2] [--sizes 1,10,100] [--limit-s 3600]
                               [--commands predict,build-dataset,decode,mix] [--recordings DIR --noise DIR]
                               [--model NAME] [--ray ADDRESS]

A corpus of --minutes is taken --sizes times over: predict, decode and mix get further names of the same
files, build-dataset as many mixtures of each, since it leaves out what is there twice. Without --recordings
the corpus is pink noise in files of 10 s, 16 kHz, 16 bit: its contents hardly change what it costs.

decode is what `audenoise train --clean --noise` does once with its recordings, mix what its processes do for
each batch, as the standard recipe has it: as many hours of mixtures as the corpus has.

Each row is one process from its start to its end. `seconds` are those of a clock, with all that the machine
was doing besides; `core-seconds per hour` is processor time, its children's included, and hardly depends on
others. Prints Markdown.
"""

import argparse
import math
import os
import resource
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
FILE_S = 10.0
COMMANDS = ("predict", "build-dataset", "decode", "mix")
ON_CLUSTERS = ("predict", "build-dataset")


@dataclass(frozen=True)
class Row:
    """One run: hours of audio in, what it took, what it left on disk."""

    command: str
    size: int
    jobs: str
    hours: float
    seconds: float
    core_seconds: float
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
            f"{self.core_seconds / self.hours:.0f}",
            f"{self.n_bytes / 1e6 / self.hours:.0f}",
        ]


def write_noise(folder: Path, lengths_s: list[float], *, seed: int) -> None:
    """Pink noise that swells and fades like speech does."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    for number, length_s in enumerate(lengths_s):
        n_samples = round(length_s * RATE)
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


def run(name: str, command: list[str], *, limit_s: float) -> tuple[float, float]:
    """Seconds that a process took, and its processor time."""
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(command, timeout=limit_s, stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{name} failed: {done.stderr.strip()}")
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measure(
    command: str, folders: dict[str, Path], size: int, *, jobs: str, hours: float, options: argparse.Namespace
) -> tuple[float, float, int]:
    """Seconds, core-seconds, and bytes of the result."""
    out = folders["out"]
    call = [sys.executable, "-m", "audenoise", command]
    if command == "predict":
        call += [str(folders["corpus"]), "-o", str(out), "-q"]
        call += ["--model", options.model] if options.model else []
    elif command == "build-dataset":
        call += ["--clean", str(folders["recordings"]), "--noise", str(folders["noise"]), "-q"]
        call += ["--out", str(out), "--test-split", "0", "--mixtures", str(size)]
    else:
        cache = out if command == "decode" else folders["cache"]
        call = [sys.executable, __file__, str(folders["corpus"]), str(folders["noise"]), str(cache)]
        call += ["--job", command, "--hours", str(hours)]
        if command == "mix" and not cache.exists():  # decoding is another row
            run(command, [*call, "--jobs", jobs, "--hours", "0"], limit_s=options.limit_s)
    call += ["--ray", options.ray] if options.ray else ["--jobs", jobs]
    try:
        seconds, core_seconds = run(command, call, limit_s=options.limit_s)
        return (
            seconds,
            core_seconds,
            sum(path.stat().st_size for path in out.rglob("*") if path.is_file()) if out.exists() else 0,
        )
    finally:
        shutil.rmtree(out, ignore_errors=True)


def decode_or_mix(arguments: list[str]) -> None:
    """What a training does before its first step, and beside its steps."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs=3, type=Path)
    parser.add_argument("--job", choices=["decode", "mix"])
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--hours", type=float)
    options = parser.parse_args(arguments)
    from audenoise.corpus import TrainingFolders, make_mixers, training_stream
    from audenoise.specs import load_recipe

    clean, noise, cache = options.folders
    spec = load_recipe("standard")
    mixers = make_mixers(spec, TrainingFolders((clean,), (noise,)), cache=cache, jobs=options.jobs)
    if options.job == "decode":
        return
    stream = training_stream(mixers, spec, workers=options.jobs, epoch=0)
    try:
        recipe = spec.training
        for _ in range(math.ceil(options.hours * 3600 / (recipe.batch_size * recipe.crop_s))):
            next(stream)
    finally:
        stream.close()


def table(rows: list[Row]) -> str:
    names = ["command", "corpus", "cores", "hours", "seconds", "hours per minute"]
    names += ["core-seconds per hour", "result MB per hour"]
    lines = [names, ["---"] * 2 + ["---:"] * 6, *(row.cells() for row in rows)]
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
    commands, sizes = options.commands.split(","), [int(size) for size in options.sizes.split(",")]
    if unknown := set(commands) - set(COMMANDS):
        parser.error(f"--commands must be among {', '.join(COMMANDS)}. Received: {', '.join(unknown)}")
    if options.ray and set(commands) - set(ON_CLUSTERS):
        parser.error(f"--ray: only {', '.join(ON_CLUSTERS)} work on a cluster; see --commands")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="audenoise-scale-") as folder:
        work = Path(folder)
        recordings, noise = options.recordings, options.noise
        if recordings is None:
            recordings = work / "recordings"
            whole, rest = divmod(options.minutes * 60, FILE_S)
            write_noise(recordings, [FILE_S] * int(whole) + [rest] * (rest >= 1), seed=1)
        if noise is None:
            noise = work / "noise"
            write_noise(noise, [6.0] * max(20, *sizes), seed=2)  # each mixture of a recording needs another
        for size in sizes:
            folders = {
                "recordings": recordings,
                "noise": noise,
                "corpus": work / "corpus",
                "out": work / "out",
                "cache": work / "cache",
            }
            hours = repeated(recordings, folders["corpus"], size)
            for command in commands:
                for jobs in [options.ray] if options.ray else options.jobs.split(","):
                    found = measure(command, folders, size, jobs=jobs, hours=hours, options=options)
                    rows.append(Row(command, size, jobs, hours, *found))
                    print(" ".join(rows[-1].cells()), file=sys.stderr)
            for name in ("corpus", "cache"):
                shutil.rmtree(folders[name], ignore_errors=True)
    print(f"{cores()} cores here.\n\n{table(rows)}")


if __name__ == "__main__":
    decode_or_mix(sys.argv[1:]) if "--job" in sys.argv else main()
