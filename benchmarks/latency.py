#!/usr/bin/env python3
"""Milliseconds that a live stream takes for each block, against the block's length.

    python benchmarks/latency.py [--model NAME] [--parts blocks,live,hour] [--json OUT] [--markdown OUT]

blocks: time of `stream.process` for each block, and the share of real time over all of them.
live: how long a sound card's thread waits, with the network in its callback and in a thread of its own.
hour: an hour of audio in blocks of 10 ms against the same by the path for whole files: difference, delay and
resident memory (not part of the default; some minutes).
Only ratios to a block's length mean something, and those only for a machine and what else it was doing.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before numpy: its threads would be in the way of the measured one
    for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ.setdefault(_name, "1")

import numpy as np

from audenoise.denoiser import Denoiser
from audenoise.errors import AudenoiseError, ModelError
from audenoise.live import LiveEngine
from audenoise.live.engine import block_samples, refuse_far_sighted

PARTS = ("blocks", "live", "hour")


def make_signal(n_samples: int, sample_rate: int, seed: int = 0) -> np.ndarray:
    """Noise that comes and goes like syllables, (samples,) float32."""
    rng, time_s = np.random.default_rng(seed), np.arange(n_samples) / sample_rate
    return (0.05 * rng.standard_normal(n_samples) * (1.2 + np.sin(6 * np.pi * time_s))).astype(np.float32)


def make_voice(n_samples: int, sample_rate: int, seed: int) -> np.ndarray:
    """Something like a voice in noise, so that the network has something to let through."""
    rng, time_s = np.random.default_rng(seed), np.arange(n_samples) / sample_rate
    pitch = rng.uniform(100, 220) * (1 + 0.15 * np.sin(2 * np.pi * rng.uniform(0.5, 1) * time_s))
    phase = 2 * np.pi * np.cumsum(pitch) / sample_rate
    voice = sum(np.sin(k * phase) / k for k in range(1, 9)) * np.clip(np.sin(18 * time_s) + 0.4, 0, 1)
    return (0.1 * voice + 0.2 * make_signal(n_samples, sample_rate, seed)).astype(np.float32)


def statistics_of(times_s: list[float], block_s: float) -> dict[str, float]:
    milliseconds = 1000 * np.asarray(times_s)
    return {
        "block_ms": 1000 * block_s,
        "median_ms": float(np.median(milliseconds)),
        "p99_ms": float(np.percentile(milliseconds, 99)),
        "longest_ms": float(milliseconds.max()),
        "share_of_real_time": float(np.mean(times_s) / block_s),
        "beyond_the_block": int(np.count_nonzero(np.asarray(times_s) > block_s)),
        "blocks": len(times_s),
    }


def time_blocks(denoiser: Denoiser, sample_rate: int, block_ms: float, seconds: float) -> dict[str, float]:
    block = max(1, round(sample_rate * block_ms / 1000))
    stream, times = denoiser.stream(sample_rate), []
    audio = make_signal(sample_rate * 2, sample_rate)
    stream.process(audio)  # what is made on first use
    for number in range(max(50, round(seconds * 1000 / block_ms))):
        start = number * block % (len(audio) - block)
        begin = time.perf_counter()
        stream.process(audio[start : start + block])
        times.append(time.perf_counter() - begin)
    return statistics_of(times, block / sample_rate) | {
        "latency_ms": 1000 * stream.latency_samples / sample_rate
    }


def blocks(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    rows = []
    for threads in (int(count) for count in arguments.threads.split(",")):
        denoiser = Denoiser.from_preset(arguments.model, threads=threads)
        for rate in (int(rate) for rate in arguments.rates.split(",")):
            for block_ms in (float(length) for length in arguments.blocks.split(",")):
                row = time_blocks(denoiser, rate, block_ms, arguments.seconds)
                rows.append({"threads": threads, "sample_rate": rate} | row)
    return rows


def blocks_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "Time of `stream.process` for a block (a block shorter than a hop often only waits for the next)",
        "",
        "| threads | rate, Hz | block, ms | median, ms | 99th percentile, ms | 99th / block | "
        "share of real time |",
        "|---:|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {row['threads']} | {row['sample_rate']} | {row['block_ms']:g} | {row['median_ms']:.2f} | "
        f"{row['p99_ms']:.2f} | {row['p99_ms'] / row['block_ms']:.3f} | {row['share_of_real_time']:.3f} |"
        for row in rows
    ]
    return "\n".join(lines)


def pace(engine: LiveEngine, seconds: float) -> dict[str, float]:
    """Be a sound card: a callback each block's length of time, and how long each keeps it waiting."""
    block, rate = engine.block, engine.sample_rate
    audio, out = make_signal(rate * 2, rate), np.zeros((block, 2), np.float32)
    times = []
    engine.start()
    begin = time.perf_counter()
    for number in range(round(seconds * rate / block)):
        due = begin + number * block / rate
        while (left := due - time.perf_counter()) > 0:
            time.sleep(min(left, 0.001))
        start = number * block % (len(audio) - block)
        entered = time.perf_counter()
        engine.callback(audio[start : start + block, None], out, block, None, None)
        times.append(time.perf_counter() - entered)
    engine.stop()
    if engine.error is not None:
        raise engine.error
    late = engine.counts.late_blocks / len(times)
    return statistics_of(times, block / rate) | {"late_share": late}


def is_live(model: str | None) -> bool:
    """Whether `audenoise live` takes a model."""
    try:
        refuse_far_sighted(Denoiser.from_preset(model, threads=1))
    except ModelError:
        return False
    return True


def live(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    denoiser, rate, rows = Denoiser.from_preset(arguments.model, threads=1), 48_000, []
    for block_ms in (4.0, 8.0, 16.0):
        for threaded in (False, True):
            block = block_samples(denoiser, rate, block_ms)
            engine = LiveEngine(denoiser, rate, block=block, threaded=threaded)
            row: dict[str, Any] = {"threaded": threaded, "delay_ms": 1000 * engine.delay_samples / rate}
            rows.append(row | pace(engine, arguments.seconds))
    return rows


def live_table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "How long the callback of `audenoise live` keeps a sound card at 48 kHz waiting; blocks for which it "
        "took longer than the block lasts, and those whose denoised samples came late",
        "",
        "| network runs | block, ms | delay, ms | median, ms | 99th percentile, ms | too long | late |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        where = "in a thread of its own" if row["threaded"] else "in the callback"
        lines.append(
            f"| {where} | {row['block_ms']:g} | {row['delay_ms']:.0f} | {row['median_ms']:.2f} | "
            f"{row['p99_ms']:.2f} | {100 * row['beyond_the_block'] / row['blocks']:.1f} % | "
            f"{100 * row['late_share']:.1f} % |"
        )
    return "\n".join(lines)


def resident_mb() -> float:
    """Linux; elsewhere the peak, which can only grow."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        import resource

        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def hour(arguments: argparse.Namespace) -> dict[str, Any]:
    rate, block = 16_000, 160
    denoiser = Denoiser.from_preset(arguments.model, threads=1)
    stream, whole = denoiser.stream(rate), denoiser.stream(rate, block_s=None)
    waiting: list[np.ndarray] = [np.zeros(0, np.float32)] * 2
    received = sent = 0
    largest, memory, loudest = [], [], 0.0
    for minute in range(arguments.minutes):
        difference = 0.0
        for second in range(0, 60, 5):
            audio = make_voice(5 * rate, rate, seed=60 * minute + second) * (0.2, 1.0, 4.0, 0.0)[minute % 4]
            parts = [stream.process(audio[i : i + block]) for i in range(0, len(audio), block)]
            ready = [np.concatenate(parts), whole.process(audio)]
            received, sent = received + len(audio), sent + len(ready[0])
            waiting = [np.concatenate([old, new]) for old, new in zip(waiting, ready, strict=True)]
            loudest = max(loudest, float(np.abs(ready[0]).max(initial=0.0)))
            both = min(len(part) for part in waiting)
            if both:
                difference = max(difference, float(np.abs(waiting[0][:both] - waiting[1][:both]).max()))
            waiting = [part[both:] for part in waiting]
        largest.append(difference)
        memory.append(resident_mb())
    return {
        "minutes": arguments.minutes,
        "largest_difference_first_minute": largest[0],
        "largest_difference_last_minutes": max(largest[-4:]),
        "largest_difference": max(largest),
        "loudest": loudest,
        "trail_samples": received - sent,
        "latency_samples": stream.latency_samples,
        "resident_mb_after_5_minutes": memory[min(4, len(memory) - 1)],
        "resident_mb_at_the_end": memory[-1],
    }


def hour_table(result: dict[str, Any]) -> str:
    names = {
        "largest_difference_first_minute": "largest difference to the whole-file path, first minute",
        "largest_difference_last_minutes": "the same, last four minutes",
        "largest_difference": "the same, all of it",
        "loudest": "loudest sample that came out",
        "trail_samples": "samples not out yet at the end",
        "latency_samples": "stated latency, samples",
        "resident_mb_after_5_minutes": "resident memory after 5 minutes, MB",
        "resident_mb_at_the_end": "resident memory at the end, MB",
    }
    lines = [f"{result['minutes']} minutes in blocks of 10 ms at 16 kHz", "", "| | |", "|---|---:|"]
    return "\n".join([*lines, *(f"| {text} | {result[key]:.3g} |" for key, text in names.items())])


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", help="published model (default: the standard one)")
    parser.add_argument("--parts", default="blocks,live", help=", ".join(PARTS))
    parser.add_argument("--rates", default="16000,48000", help="for blocks, in Hz")
    parser.add_argument("--blocks", default="4,8,10,16,32,100", help="lengths in ms")
    parser.add_argument("--threads", default="1", help="for blocks, e.g. 1,2")
    parser.add_argument("--seconds", type=float, default=10.0, help="of audio for each row")
    parser.add_argument("--minutes", type=int, default=60, help="for hour")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--markdown", type=Path)
    arguments = parser.parse_args()
    parts = arguments.parts.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"unknown part: {', '.join(sorted(unknown))}")
    measured: dict[str, Any] = {}
    tables = []
    try:
        for name, measure, table in (
            ("blocks", blocks, blocks_table),
            ("live", live, live_table),
            ("hour", hour, hour_table),
        ):
            if name not in parts:
                continue
            if name == "live" and not is_live(arguments.model):
                tables.append(f"`audenoise live` takes no model that looks ahead as {arguments.model} does.")
                continue
            measured[name] = measure(arguments)
            tables.append(table(measured[name]))
    except AudenoiseError as error:
        print(f"latency.py: {error}", file=sys.stderr)
        return 1
    text = "\n\n".join(tables) + "\n"
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text)
    if arguments.json:
        arguments.json.write_text(json.dumps(measured, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
