#!/usr/bin/env python3
"""Speed of `audenoise build-dataset` against the plain way with librosa, as a ratio within one run.

    python benchmarks/datasets.py [--clean DIR --noise DIR] [--mixtures N] [--minutes M] [--json OUT]

The plain way is the script that everyone writes first: for each mixture librosa.load the speech and the
noise, cut or repeat the noise, mix at an SNR, librosa.stft both, and save complex spectrograms with
tf.data.Dataset.save out of a generator. It checks nothing, and can't be continued.

Each measurement is a process of its own. Its clock starts when TensorFlow is loaded, which both need; the
other processes of build-dataset start within the measured time. The two take turns, so that a change in the
machine's load meets both, and the best turn of each counts. On a machine that others use too, only the CPU
time tells what the work takes. Without folders, two corpora are made. Linux or macOS.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf

RATE, N_FFT, HOP = 16_000, 512, 256


CORPORA = {
    "16 kHz FLAC speech, 44.1 kHz WAV noise": ("flac", 16_000, 44_100),
    "48 kHz WAV speech, 48 kHz WAV noise": ("wav", 48_000, 48_000),
}
"""As LibriSpeech with ESC-50, and as VoiceBank or DNS."""


def make_corpus(folder: Path, kind: str, minutes: float) -> tuple[Path, Path]:
    """Noise that comes and goes like syllables, 4 to 15 s each, and noise of 5 s; (speech, noise) folders."""
    suffix, speech_rate, noise_rate = CORPORA[kind]
    rng = np.random.default_rng(0)
    clean, noise = folder / "clean", folder / "noise"
    clean.mkdir(parents=True)
    noise.mkdir()
    left, number = minutes * 60, 0
    while left > 0:
        seconds = rng.uniform(4, 15)
        t = np.arange(round(seconds * speech_rate)) / speech_rate
        syllables = np.clip(np.sin(2 * np.pi * 3 * t + rng.uniform(0, 6)) + 0.5, 0, 1)
        coloured = np.convolve(rng.standard_normal(t.size), np.ones(8) / 8, mode="same")
        audio = (0.2 * syllables * coloured).astype(np.float32)
        sf.write(clean / f"{number:04d}.{suffix}", audio, speech_rate)
        left, number = left - seconds, number + 1
    for i in range(max(20, number // 2)):
        sf.write(noise / f"{i:04d}.wav", 0.1 * rng.standard_normal(5 * noise_rate), noise_rate)
    return clean, noise


def build_plainly(clean: Path, noise: Path, out: Path, mixtures: int) -> float:
    """One file after the other. Returns the seconds of audio."""
    import librosa
    import tensorflow as tf

    files = {
        folder: sorted(p for p in folder.rglob("*") if p.suffix.lower() in {".wav", ".flac", ".ogg", ".mp3"})
        for folder in (clean, noise)
    }
    rng, seconds = np.random.default_rng(0), 0.0

    def spectrum(audio: np.ndarray) -> np.ndarray:
        return librosa.stft(audio, n_fft=N_FFT, hop_length=HOP).T

    def pairs():
        nonlocal seconds
        for path in files[clean]:
            for _ in range(mixtures):
                speech, _ = librosa.load(path, sr=RATE)
                other, _ = librosa.load(files[noise][rng.integers(len(files[noise]))], sr=RATE)
                other = np.take(other, rng.integers(other.size) + np.arange(speech.size), mode="wrap")
                ratio = np.mean(speech**2) / (np.mean(other**2) + 1e-12)
                gain = np.sqrt(ratio) * 10 ** (-rng.uniform(-5, 20) / 20)
                seconds += speech.size / RATE
                yield spectrum(speech + np.float32(gain) * other), spectrum(speech)

    signature = (tf.TensorSpec((None, N_FFT // 2 + 1), tf.complex64),) * 2
    tf.data.Dataset.from_generator(pairs, output_signature=signature).save(str(out))
    return seconds


def build_here(clean: Path, noise: Path, out: Path, mixtures: int) -> float:
    """With audenoise, on all cores. Returns the seconds of audio."""
    from audenoise.datasets import Inputs, build_dataset, make_spec

    spec = make_spec(mixtures=mixtures, test_split=0.0, max_duration_s=60.0)
    info = build_dataset(out, Inputs(clean=(clean,), noise=(noise,)), spec)
    return info.sides["train"].hours * 3600


BUILDERS = {"librosa, one file at a time": build_plainly, "audenoise build-dataset": build_here}


def measure(builder: str, clean: Path, noise: Path, mixtures: int) -> dict[str, float]:
    """In the child process."""
    from audenoise.keras_loading import load_tensorflow

    load_tensorflow()
    if builder.startswith("librosa"):
        import librosa

        librosa.load(next(clean.rglob("*.*")), sr=RATE, duration=0.1)  # its lazy imports are not measured
        librosa.stft(np.zeros(2048, np.float32))
    with tempfile.TemporaryDirectory() as folder:
        start, cpu = time.perf_counter(), cpu_seconds()
        seconds = BUILDERS[builder](clean, noise, Path(folder) / "dataset", mixtures)
        return {
            "wall_s": time.perf_counter() - start,
            "cpu_s": cpu_seconds() - cpu,
            "audio_s": seconds,
        }


def cpu_seconds() -> float:
    """Of this process and of those that it started and that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def compare(clean: Path, noise: Path, mixtures: int, turns: int) -> dict[str, dict[str, float]]:
    """The best turn of each builder."""
    best: dict[str, dict[str, float]] = {}
    for _ in range(turns):
        for builder in BUILDERS:
            command = [sys.executable, __file__, "--measure", builder, "--clean", str(clean)]
            command += ["--noise", str(noise), "--mixtures", str(mixtures)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.exit(f"{builder}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
            result = json.loads(done.stdout.splitlines()[-1])
            if builder not in best or result["wall_s"] < best[builder]["wall_s"]:
                best[builder] = result
    return best


def table(results: dict[str, dict[str, dict[str, float]]], mixtures: int) -> str:
    lines = [
        f"{mixtures} mixtures of each recording, {cores()} cores: times real time of what is made (ratio)",
        "",
        "| | " + " | ".join(BUILDERS) + " | CPU time, ratio |",
        "|---|" + "---:|" * (len(BUILDERS) + 1),
    ]
    for corpus, best in results.items():
        speeds = [best[builder]["audio_s"] / best[builder]["wall_s"] for builder in BUILDERS]
        cpu = [best[builder]["cpu_s"] / best[builder]["audio_s"] for builder in BUILDERS]
        cells = [f"{speed:.0f} ({speed / speeds[0]:.1f})" for speed in speeds]
        hours = best[next(iter(BUILDERS))]["audio_s"] / 3600
        lines.append(f"| {corpus}, {hours:.1f} h | {' | '.join(cells)} | {cpu[1] / cpu[0]:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clean", type=Path)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--mixtures", type=int, default=4)
    parser.add_argument("--minutes", type=float, default=45.0, help="of speech that is made")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", choices=BUILDERS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, arguments.clean, arguments.noise, arguments.mixtures)))
        return
    if bool(arguments.clean) != bool(arguments.noise):
        parser.error("give both --clean and --noise, or neither")
    results = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, kind in enumerate(["your recordings"] if arguments.clean else CORPORA):
            clean, noise = arguments.clean, arguments.noise
            if clean is None:
                clean, noise = make_corpus(Path(scratch) / str(number), kind, arguments.minutes)
            results[kind] = compare(clean, noise, arguments.mixtures, arguments.turns)
    print(table(results, arguments.mixtures))
    if arguments.json:
        record = {"mixtures": arguments.mixtures, "cores": cores(), "results": results}
        arguments.json.write_text(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
