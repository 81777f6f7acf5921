#!/usr/bin/env python3
"""What a recording with many scenes costs: pairs in a row as one recording, against each by itself.

    python benchmarks/long_recordings.py --pairs PAIRS --model large --model standard [--count 40] [--seed 0]

PAIRS holds noisy/ and clean/ with files of the same names, one channel each. Some of them, drawn by the seed,
are put in a row as they are, so that voice, noise and level change at once from one to the next; the row is
denoised as one recording, and every pair is scored within it and by itself. The last columns tell how much
the error has grown, in decibels, in the seconds after a change. Prints Markdown.
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

from audenoise.audio import find_audio, read_audio
from audenoise.denoiser import Denoiser
from audenoise.errors import AudenoiseError, DataError
from audenoise.metrics import si_sdr_db

EDGES_S = (0.0, 0.5, 1.0, 2.0, 4.0)
_TINY = 1e-12


class Pair(NamedTuple):
    """(samples,) each, of one length."""

    noisy: np.ndarray
    clean: np.ndarray


def read_pairs(folder: Path, count: int, seed: int) -> tuple[list[Pair], int]:
    """Pairs drawn by a seed, and their rate in Hz."""
    names = [path.name for path in find_audio(folder / "noisy")]
    chosen = [names[i] for i in np.random.default_rng(seed).permutation(len(names))[:count]]
    pairs: list[Pair] = []
    rates: set[int] = set()
    for name in chosen:
        noisy, rate = read_audio(folder / "noisy" / name, mono=True)
        clean, clean_rate = read_audio(folder / "clean" / name, mono=True)
        if len(clean) != len(noisy):
            raise DataError(
                f"{name}: noisy and clean have {len(noisy)} and {len(clean)} samples, not as many"
            )
        pairs.append(Pair(noisy, clean))
        rates |= {rate, clean_rate}
    if len(rates) != 1:
        raise DataError(f"{folder}: its files have {len(rates)} sample rates; a recording has one")
    return pairs, rates.pop()


def in_one_recording(denoiser: Denoiser, pairs: Sequence[Pair], rate: int) -> list[np.ndarray]:
    """What each pair's noisy side becomes where all are denoised in a row."""
    row = denoiser.denoise(np.concatenate([pair.noisy for pair in pairs]), rate)
    return np.split(row, np.cumsum([len(pair.noisy) for pair in pairs])[:-1])


def growth_db(clean: np.ndarray, alone: np.ndarray, in_row: np.ndarray, rate: int) -> list[float]:
    """Energy of the error in the row over that alone, between the edges; NaN behind the end."""
    found = []
    for first, last in pairwise(EDGES_S):
        part = slice(round(first * rate), round(last * rate))
        if part.stop > len(clean):
            found.append(math.nan)
            continue
        errors = [np.square(audio[part] - clean[part]).mean() for audio in (in_row, alone)]
        found.append(float(10 * np.log10((errors[0] + _TINY) / (errors[1] + _TINY))))
    return found


def measure(denoiser: Denoiser, pairs: Sequence[Pair], rate: int) -> dict[str, object]:
    """Mean SI-SDR alone and in the row in dB, the largest loss, and how the error grows after a change."""
    alone = [denoiser.denoise(pair.noisy, rate) for pair in pairs]
    in_row = in_one_recording(denoiser, pairs, rate)
    scores = np.array(
        [
            [si_sdr_db(pair.clean, audio) for audio in both]
            for pair, *both in zip(pairs, alone, in_row, strict=True)
        ]
    )
    rows = list(zip(pairs, alone, in_row, strict=True))[1:]
    growths = np.array([growth_db(pair.clean, before, after, rate) for pair, before, after in rows])
    return {
        "alone_db": float(scores[:, 0].mean()),
        "in_one_recording_db": float(scores[:, 1].mean()),
        "largest_loss_db": float((scores[:, 0] - scores[:, 1]).max()),
        "error_growth_db": [
            float(known.mean()) if (known := span[np.isfinite(span)]).size else None for span in growths.T
        ],
    }


def table(results: dict[str, dict]) -> str:
    spans = [f"{first:g} to {last:g} s" for first, last in pairwise(EDGES_S)]
    head = ["model", "alone, dB", "in one recording, dB", "largest loss, dB", *spans]
    rows = [
        [
            f"`{name}`",
            *(f"{each[key]:.2f}" for key in ("alone_db", "in_one_recording_db", "largest_loss_db")),
            *("–" if value is None else f"{value:+.1f}" for value in each["error_growth_db"]),
        ]
        for name, each in results.items()
    ]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=Path, required=True)
    parser.add_argument("--model", action="append", help="name or folder, several times; default: large")
    parser.add_argument("--count", type=int, default=40, help="pairs in the row")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.count < 2:
        raise DataError(f"--count {arguments.count}: a row takes two pairs at least")
    pairs, rate = read_pairs(arguments.pairs, arguments.count, arguments.seed)
    results: dict[str, dict] = {}
    for model in arguments.model or ["large"]:
        results[model] = measure(Denoiser.from_preset(model, threads=arguments.threads), pairs, rate)
    seconds = sum(len(pair.noisy) for pair in pairs) / rate
    text = f"{len(pairs)} pairs, {seconds:.0f} s in all, mean SI-SDR:\n\n{table(results)}\n"
    print(text)
    if arguments.markdown:
        arguments.markdown.write_text(text, encoding="utf-8")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2), encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except AudenoiseError as error:
        sys.exit(f"long_recordings: {error}")
