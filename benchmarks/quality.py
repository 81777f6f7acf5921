#!/usr/bin/env python3
"""Score denoising systems over a folder of pairs: PAIRS/noisy/NAME.wav and PAIRS/clean/NAME.wav.

    python benchmarks/quality.py --pairs PAIRS --systems noisy,audenoise,rnnoise --markdown table.md

Needs `pip install audenoise[metrics]`, and pyrnnoise or noisereduce for the rows of these. With
PAIRS/pairs.csv (columns name and snr_db) there is one more table for each SNR. It is `audenoise evaluate`
with the tables of the README: every system's constant delay (the median over all pairs, against the clean
reference) is removed and reported, the tail that it didn't return counts as silence, nothing is scaled.
`rnnoise` is fed the file alone, as its package does it, and so loses the last 20 ms to its delay;
`rnnoise-flushed` gets silence after the end and loses nothing.
"""

import argparse
import json
import sys
from pathlib import Path

from audenoise.errors import AudenoiseError
from audenoise.evaluation import (
    RUNNERS,
    Evaluation,
    System,
    SystemScores,
    apply_labels,
    evaluate,
    find_pairs,
    folder_system,
    is_available,
    model_system,
    named_systems,
    read_labels,
)
from audenoise.evaluation.report import COLUMNS

METRICS = ("pesq_wb", "estoi", "si_sdr_db", "dnsmos")
SYSTEMS = ("audenoise", *RUNNERS)


def chosen_systems(arguments: argparse.Namespace) -> list[System]:
    systems = []
    for name in filter(None, arguments.systems.split(",")):
        if name not in SYSTEMS:
            raise AudenoiseError(f"--systems must be among {', '.join(SYSTEMS)}. Received: {name}")
        if not is_available(name):
            print(f"quality.py: no row {name}: pip install audenoise[benchmarks]", file=sys.stderr)
        elif name != "audenoise":
            systems += named_systems([name])
        elif arguments.model:
            systems += [model_system(model, name=f"audenoise {model}") for model in arguments.model]
        else:
            systems.append(model_system(name="audenoise"))
    for entry in arguments.denoised:
        name, _, folder = entry.partition("=")
        if not (name and Path(folder).is_dir()):
            raise AudenoiseError(f"--denoised must be NAME=DIR with an existing folder. Received: {entry}")
        systems.append(folder_system(name, folder))
    return systems


def table(result: Evaluation, systems: list[SystemScores], names: list[str] | None = None) -> str:
    head = ["system", *(COLUMNS[metric].title for metric in result.metrics), "pairs", "delay removed, ms"]
    lines = ["| " + " | ".join(head) + " |", "|---|" + "---:|" * (len(head) - 1)]
    for system in systems:
        cells = []
        for metric in result.metrics:
            column, interval = COLUMNS[metric], system.interval(metric, names)
            cells.append(f"{interval.mean * column.scale:.{column.digits}f}" if interval.n else "n/a")
        count = sum(names is None or name in names for name in system.scores)
        lines.append(f"| {' | '.join([system.name, *cells, str(count), f'{1000 * system.delay_s:g}'])} |")
    return "\n".join(lines)


def report(result: Evaluation, systems: list[SystemScores], bands: dict[str, list[str]]) -> str:
    parts = [table(result, systems)]
    parts += [f"SNR {band}\n\n{table(result, systems, names)}" for band, names in bands.items()]
    failed = [
        f"- {system.name}, {name}: {why}" for system in systems for name, why in system.failures.items()
    ]
    if failed:
        parts.append("Pairs without a score, left out of the means:\n\n" + "\n".join(failed))
    return "\n\n".join(parts) + "\n"


def as_json(result: Evaluation, systems: list[SystemScores], bands: dict[str, list[str]]) -> list[dict]:
    def means(system: SystemScores, names: list[str] | None = None) -> dict[str, float]:
        found = {metric: system.interval(metric, names) for metric in result.metrics}
        return {metric: interval.mean for metric, interval in found.items() if interval.n}

    return [
        {
            "name": system.name,
            "delay_ms": 1000 * system.delay_s,
            "pairs": system.scores,
            "failures": system.failures,
            "mean": means(system),
            "by_snr_db": {band.removesuffix(" dB"): means(system, names) for band, names in bands.items()},
        }
        for system in systems
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pairs", type=Path, required=True, help="folder with noisy/ and clean/")
    parser.add_argument("--systems", default="noisy,audenoise,rnnoise,noisereduce", help=", ".join(SYSTEMS))
    parser.add_argument("--model", action="append", default=[], help="published model; may be repeated")
    parser.add_argument(
        "--denoised", action="append", default=[], metavar="NAME=DIR", help="files made elsewhere"
    )
    parser.add_argument("--jobs", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--json", type=Path, help="write means and the scores of every pair")
    parser.add_argument("--markdown", type=Path, help="write the tables")
    arguments = parser.parse_args()
    try:
        pairs, left = find_pairs(arguments.pairs / "noisy", arguments.pairs / "clean")
        if left:
            raise AudenoiseError(
                f"{left[0].name}: {left[0].reason}; noisy/ and clean/ must hold the same files"
            )
        labels = arguments.pairs / "pairs.csv"
        if labels.is_file():
            pairs, _ = apply_labels(pairs, read_labels(labels))
        wanted = chosen_systems(arguments)
        result = evaluate(pairs, wanted, metrics=METRICS, jobs=arguments.jobs, progress=sys.stderr.isatty())
    except AudenoiseError as error:
        print(f"quality.py: {error}", file=sys.stderr)
        return 1
    # The noisy input is always scored; its row stands where it was asked for.
    systems = [result.system(system.name) for system in wanted]
    bands = result.by_snr() if labels.is_file() else {}
    text = report(result, systems, bands)
    print(text, end="")
    if arguments.markdown:
        arguments.markdown.write_text(text)
    if arguments.json:
        content = {"pairs": str(arguments.pairs), "systems": as_json(result, systems, bands)}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
