#!/usr/bin/env python3
"""Score denoising systems over a folder of pairs: PAIRS/noisy/NAME.wav and PAIRS/clean/NAME.wav.

    python benchmarks/quality.py --pairs PAIRS --systems noisy,audenoise,rnnoise --markdown table.md

Needs `pip install audenoise[metrics]`, and pyrnnoise or noisereduce for the rows of these. With
PAIRS/pairs.csv (columns name and snr_db) there is one more table for each SNR. Every system is judged with
the same rules: its output is written as a 16-bit file, its constant delay (the median over all pairs, against
the clean reference) is removed and reported, the tail that it didn't return counts as silence, nothing is
scaled. `rnnoise` is fed the file alone, as its package does it, and so loses the last 20 ms to its delay;
`rnnoise-flushed` gets silence after the end and loses nothing.
"""

import argparse
import csv
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import soundfile as sf
import soxr
from tqdm import tqdm

from audenoise.errors import AudenoiseError, SignalError
from audenoise.metrics import estimate_delay_samples, remove_delay, score_pair

LONGEST_DELAY_S = 0.1
COLUMNS = {
    "pesq_wb": ("WB-PESQ", 1.0, 3),
    "estoi": ("ESTOI %", 100.0, 1),
    "si_sdr_db": ("SI-SDR dB", 1.0, 2),
    "dnsmos_ovrl": ("DNSMOS ovrl", 1.0, 2),
    "dnsmos_sig": ("sig", 1.0, 2),
    "dnsmos_bak": ("bak", 1.0, 2),
}


@dataclass(frozen=True)
class System:
    """A row of the table: how to get its denoised audio, in a form that another process can be sent."""

    name: str
    kind: str  # a key of RUNNERS, or folder
    source: str | None = None  # the model's name or the folder


@dataclass
class Result:
    """The scores of one system."""

    name: str
    delay_ms: float
    pairs: dict[str, dict[str, float]] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)

    def mean(self, names: list[str] | None = None) -> dict[str, float]:
        rows = [scores for pair, scores in self.pairs.items() if names is None or pair in names]
        return {key: statistics.fmean(row[key] for row in rows) for key in COLUMNS} if rows else {}


@lru_cache(maxsize=2)
def audenoise_denoiser(model: str | None) -> Any:
    from audenoise.denoiser import Denoiser

    return Denoiser.from_preset(model, threads=1)  # the processes share the cores already


def run_audenoise(noisy: np.ndarray, sample_rate: int, model: str | None) -> np.ndarray:
    return audenoise_denoiser(model).denoise(noisy, sample_rate)


def run_rnnoise(noisy: np.ndarray, sample_rate: int, _: str | None) -> np.ndarray:
    """RNNoise at its 48 kHz, in 16 bits, through its Python package."""
    from pyrnnoise import RNNoise

    fullband = soxr.resample(noisy, sample_rate, 48_000)
    chunk = (np.clip(fullband, -1.0, 1.0) * 32_767).astype(np.int16)[np.newaxis]
    frames = [frame[0] for _, frame in RNNoise(48_000).denoise_chunk(chunk, partial=True)]
    return soxr.resample(np.concatenate(frames).astype(np.float32) / 32_767, 48_000, sample_rate)


def run_rnnoise_flushed(noisy: np.ndarray, sample_rate: int, _: str | None) -> np.ndarray:
    return run_rnnoise(np.pad(noisy, (0, int(LONGEST_DELAY_S * sample_rate))), sample_rate, None)


def run_noisereduce(noisy: np.ndarray, sample_rate: int, _: str | None) -> np.ndarray:
    import noisereduce

    return np.asarray(noisereduce.reduce_noise(y=noisy, sr=sample_rate))


RUNNERS: dict[str, Callable[[np.ndarray, int, str | None], np.ndarray]] = {
    "noisy": lambda noisy, *_: noisy,
    "audenoise": run_audenoise,
    "rnnoise": run_rnnoise,
    "rnnoise-flushed": run_rnnoise_flushed,
    "noisereduce": run_noisereduce,
}


def read_mono(path: Path) -> tuple[np.ndarray, int]:
    audio, sample_rate = sf.read(path, dtype="float32", always_2d=True)
    return audio.mean(axis=1), sample_rate


def denoise_one(job: tuple[System, Path, str, Path]) -> tuple[str, int, int]:
    """Denoise one file into a temporary 16-bit file; return its name, its delay in samples and its rate."""
    system, pairs, name, folder = job
    clean, sample_rate = read_mono(pairs / "clean" / name)
    if system.kind == "folder":
        denoised, rate = read_mono(Path(system.source or "") / name)
    else:
        noisy, rate = read_mono(pairs / "noisy" / name)
        denoised = RUNNERS[system.kind](noisy, rate, system.source)
    if rate != sample_rate:
        raise SignalError(
            f"{name}: clean and {system.name} have different rates, {sample_rate} and {rate} Hz"
        )
    sf.write(folder / f"{name}.wav", np.clip(denoised, -1.0, 1.0), sample_rate, subtype="PCM_16")
    try:
        longest = int(LONGEST_DELAY_S * sample_rate)
        delay = estimate_delay_samples(clean, fit(denoised, clean.size), max_delay_samples=longest)
    except SignalError:
        delay = 0  # silent output: the scoring will say so
    return name, delay, sample_rate


def score_one(job: tuple[Path, str, Path, int]) -> tuple[str, dict[str, float], str]:
    pairs, name, folder, delay = job
    clean, sample_rate = read_mono(pairs / "clean" / name)
    denoised, _ = read_mono(folder / f"{name}.wav")
    aligned = fit(remove_delay(denoised, delay), clean.size)
    try:
        return name, score_pair(clean, aligned, sample_rate), ""
    except SignalError as error:
        return name, {}, str(error)


def fit(audio: np.ndarray, n_samples: int) -> np.ndarray:
    return np.pad(audio[:n_samples], (0, max(0, n_samples - audio.size)))


def evaluate(system: System, pairs: Path, names: list[str], pool: Any) -> Result:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        jobs = [(system, pairs, name, folder) for name in names]
        denoised = list(progress(pool.imap(denoise_one, jobs), len(jobs), f"{system.name}: denoise"))
        sample_rate = denoised[0][2]
        delay = round(statistics.median(item[1] for item in denoised))
        result = Result(system.name, 1000 * delay / sample_rate)
        jobs = [(pairs, name, folder, delay) for name in names]
        for name, scores, failure in progress(pool.imap(score_one, jobs), len(jobs), f"{system.name}: score"):
            if failure:
                result.failures[name] = failure
            else:
                result.pairs[name] = scores
    return result


def progress(items: Iterator[Any], total: int, description: str) -> Iterator[Any]:
    return iter(tqdm(items, total=total, desc=description, disable=not sys.stderr.isatty()))


@contextmanager
def worker_pool(n_jobs: int) -> Iterator[Any]:
    # Spawned, as ONNX Runtime's threads don't survive a fork; one maths thread each, or the processes fight.
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(variable, "1")
    with multiprocessing.get_context("spawn").Pool(n_jobs) as pool:
        yield pool


def snr_bands(pairs: Path) -> dict[float, list[str]]:
    path = pairs / "pairs.csv"
    bands: dict[float, list[str]] = {}
    if path.is_file():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                bands.setdefault(float(row["snr_db"]), []).append(row["name"])
    return dict(sorted(bands.items()))


def table(results: list[Result], names: list[str] | None = None) -> str:
    head = ["system", *(title for title, _, _ in COLUMNS.values()), "pairs", "delay removed, ms"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for result in results:
        mean = result.mean(names)
        scores = [
            f"{mean[key] * scale:.{digits}f}" if mean else "n/a"
            for key, (_, scale, digits) in COLUMNS.items()
        ]
        count = sum(names is None or name in names for name in result.pairs)
        lines.append(f"| {' | '.join([result.name, *scores, str(count), f'{result.delay_ms:g}'])} |")
    return "\n".join(lines)


def report(results: list[Result], bands: dict[float, list[str]]) -> str:
    parts = [table(results)]
    for snr, names in bands.items():
        parts.append(f"SNR {snr:g} dB\n\n{table(results, names)}")
    failed = [
        f"- {result.name}, {name}: {why}" for result in results for name, why in result.failures.items()
    ]
    if failed:
        parts.append("Pairs without a score, left out of the means:\n\n" + "\n".join(failed))
    return "\n\n".join(parts) + "\n"


def chosen_systems(arguments: argparse.Namespace) -> list[System]:
    systems = []
    for kind in filter(None, arguments.systems.split(",")):
        if kind not in RUNNERS:
            raise AudenoiseError(f"--systems must be among {', '.join(RUNNERS)}. Received: {kind}")
        if kind == "audenoise" and arguments.model:
            systems += [System(f"audenoise {name}", kind, name) for name in arguments.model]
        else:
            systems.append(System(kind, kind))
    for entry in arguments.denoised:
        name, _, folder = entry.partition("=")
        if not Path(folder).is_dir():
            raise AudenoiseError(f"--denoised must be NAME=DIR with an existing folder. Received: {entry}")
        systems.append(System(name, "folder", folder))
    return systems


def pair_names(pairs: Path) -> list[str]:
    noisy, clean = ({path.name for path in (pairs / side).glob("*.*")} for side in ("noisy", "clean"))
    if not clean or noisy != clean:
        raise AudenoiseError(f"{pairs}: noisy/ and clean/ must hold the same files, at least one")
    return sorted(clean)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder with noisy/ and clean/")
    parser.add_argument("--systems", default="noisy,audenoise,rnnoise,noisereduce", help=", ".join(RUNNERS))
    parser.add_argument("--model", action="append", default=[], help="published model; may be repeated")
    parser.add_argument(
        "--denoised", action="append", default=[], metavar="NAME=DIR", help="files made elsewhere"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--json", type=Path, help="write means and the scores of every pair")
    parser.add_argument("--markdown", type=Path, help="write the tables")
    arguments = parser.parse_args()
    try:
        names, bands = pair_names(arguments.pairs), snr_bands(arguments.pairs)
        with worker_pool(arguments.jobs) as pool:
            results = [evaluate(system, arguments.pairs, names, pool) for system in chosen_systems(arguments)]
    except (AudenoiseError, ImportError, sf.LibsndfileError) as error:
        print(f"quality.py: {error}", file=sys.stderr)
        return 1
    text = report(results, bands)
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text)
    if arguments.json:
        content = [
            asdict(result)
            | {"mean": result.mean(), "by_snr_db": {snr: result.mean(n) for snr, n in bands.items()}}
            for result in results
        ]
        arguments.json.write_text(
            json.dumps({"pairs": str(arguments.pairs), "systems": content}, indent=1) + "\n"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
