"""An evaluation as text: tables for the console and for Markdown, one line per file as CSV."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .results import Evaluation, Interval, SystemScores

Row = list[str]

_FEW = 10


@dataclass(frozen=True)
class Column:
    """How a metric is shown.

    Attributes
    ----------
    title : str
        With its unit, if it has one.
    scale : float
        What the score is multiplied by.
    digits : int
    higher_is_better : bool
    """

    title: str
    scale: float = 1.0
    digits: int = 2
    higher_is_better: bool = True


COLUMNS = {
    "pesq_wb": Column("WB-PESQ", digits=3),
    "estoi": Column("ESTOI %", 100.0, 1),
    "stoi": Column("STOI %", 100.0, 1),
    "si_sdr_db": Column("SI-SDR dB"),
    "snr_gain_db": Column("SNR gain dB"),
    "snr_db": Column("SNR dB"),
    "lsd": Column("LSD", higher_is_better=False),
    "dnsmos_ovrl": Column("DNSMOS ovrl"),
    "dnsmos_sig": Column("sig"),
    "dnsmos_bak": Column("bak"),
}
LSD_NOTE = "LSD is the log-spectral distance in units of log10 of power (1 is 10 dB), less is better."
MAIN_METRICS = ("pesq_wb", "estoi", "si_sdr_db", "snr_gain_db", "stoi", "lsd", "dnsmos_ovrl", "snr_db")
"""From the one that decides about better and worse on."""


def main_metrics(evaluation: Evaluation, count: int) -> list[str]:
    """The first of `MAIN_METRICS` that an evaluation has."""
    return [metric for metric in MAIN_METRICS if metric in evaluation.metrics][:count]


def cell(interval: Interval, column: Column, *, width: bool = True) -> str:
    """Mean ± half the interval, as a table shows it."""
    if not interval.n:
        return "n/a"
    mean = f"{interval.mean * column.scale:.{column.digits}f}"
    if not width or math.isnan(interval.half_width):
        return mean
    return f"{mean} ±{interval.half_width * column.scale:.{column.digits}f}"


def overall_table(
    evaluation: Evaluation, names: Sequence[str] | None = None, *, metrics: Sequence[str] | None = None
) -> list[Row]:
    """One row per system: means with intervals, number of pairs, delay that was removed."""
    metrics = evaluation.metrics if metrics is None else metrics
    head = ["system", *(COLUMNS[metric].title for metric in metrics), "pairs", "delay removed, ms"]
    rows = [head]
    for system in evaluation.systems:
        cells = [cell(system.interval(metric, names), COLUMNS[metric]) for metric in metrics]
        count = sum(names is None or name in names for name in system.scores)
        rows.append([system.name, *cells, str(count), f"{1000 * system.delay_s:g}"])
    return rows


def group_table(
    evaluation: Evaluation, metric: str, groups: dict[str, list[str]], *, width: bool = True
) -> list[Row]:
    """One row per group of files, one column per system."""
    title = COLUMNS[metric].title + ("" if COLUMNS[metric].higher_is_better else " (less is better)")
    rows = [[title, "pairs", *(system.name for system in evaluation.systems)]]
    for group, names in groups.items():
        cells = [
            cell(system.interval(metric, names), COLUMNS[metric], width=width)
            for system in evaluation.systems
        ]
        rows.append([group, str(len(names)), *cells])
    return rows


def file_table(evaluation: Evaluation, metric: str) -> list[Row]:
    """One row per file, one column per system."""
    rows = [[COLUMNS[metric].title, *(system.name for system in evaluation.systems)]]
    for pair in evaluation.pairs:
        scores = [system.scores.get(pair.name, {}) for system in evaluation.systems]
        rows.append([pair.name, *(_score(each, metric) for each in scores)])
    return rows


def _score(scores: dict[str, float], metric: str) -> str:
    column = COLUMNS[metric]
    return f"{scores[metric] * column.scale:.{column.digits}f}" if metric in scores else "n/a"


def console_report(evaluation: Evaluation, *, edges_db: Sequence[float] = (), per_file: bool = False) -> str:
    """What the command prints: all systems with intervals, then the means of groups for the main metrics."""
    metrics = [name for name in evaluation.metrics if name not in ("dnsmos_sig", "dnsmos_bak")]
    parts = [aligned(overall_table(evaluation, metrics=metrics))]
    for groups in (evaluation.by_snr(edges_db), evaluation.by_label()):
        if len(groups) > 1:
            parts += [
                aligned(group_table(evaluation, metric, groups, width=False))
                for metric in main_metrics(evaluation, 3)
            ]
    if per_file:
        parts += [aligned(file_table(evaluation, metric)) for metric in main_metrics(evaluation, 3)]
    return "\n\n".join([*parts, *_remarks(evaluation, _FEW)]) + "\n"


def markdown_report(evaluation: Evaluation, *, edges_db: Sequence[float] = ()) -> str:
    """The same for every metric and with intervals throughout, as Markdown."""
    parts = [_explanation(evaluation), markdown(overall_table(evaluation))]
    for heading, groups in (("SNR", evaluation.by_snr(edges_db)), ("Class of noise", evaluation.by_label())):
        if groups:
            parts.append(f"## {heading}")
            parts += [markdown(group_table(evaluation, metric, groups)) for metric in evaluation.metrics]
    return "\n\n".join([*parts, *_remarks(evaluation, None)]) + "\n"


def _explanation(evaluation: Evaluation) -> str:
    text = (
        "Means over files ± half of the 95 % confidence interval (Student's t, from 5 files on; files count "
        "as independent)."
    )
    return f"{text} {LSD_NOTE}" if "lsd" in evaluation.metrics else text


def _remarks(evaluation: Evaluation, longest: int | None) -> Iterator[str]:
    if longest is not None:
        yield _explanation(evaluation)
    if evaluation.notes:
        yield "Notes:\n\n" + "\n".join(f"- {note}" for note in evaluation.notes)
    failures = [
        f"{name}, {system.name}: {why}"
        for system in evaluation.systems
        for name, why in system.failures.items()
    ]
    yield from _listed("Scores that are missing from the means:", failures, longest)
    yield from _listed("Left out:", [f"{name}: {reason}" for name, reason in evaluation.left], longest)


def _listed(heading: str, lines: list[str], longest: int | None) -> Iterator[str]:
    if lines:
        shown = lines[:longest]
        if len(lines) > len(shown):
            shown.append(f"and {len(lines) - len(shown)} more, all of them in --json, --csv and --markdown")
        yield heading + "\n\n" + "\n".join(f"- {line}" for line in shown)


def aligned(rows: list[Row]) -> str:
    """Rows as columns of text: the first to the left, numbers to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            text.ljust(width) if not k else text.rjust(width)
            for k, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([lines[0], "-" * len(lines[0]), *lines[1:]])


def markdown(rows: list[Row]) -> str:
    """Rows as a Markdown table."""

    def line(cells: Row) -> str:
        return "| " + " | ".join(text.replace("|", "\\|") for text in cells) + " |"

    return "\n".join([line(rows[0]), "|---|" + "---:|" * (len(rows[0]) - 1), *map(line, rows[1:])])


def file_rows(evaluation: Evaluation) -> str:
    """CSV: a line for each system and file, scores in their own units, then what was left out."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    about = [
        "system",
        "name",
        "label",
        "snr_db",
        "measured_snr_db",
        "duration_s",
        "delay_removed_ms",
        "own_delay_ms",
    ]
    writer.writerow([*about, *evaluation.metrics, "problem"])
    for system in evaluation.systems:
        for pair in evaluation.pairs:
            scores = system.scores.get(pair.name, {})
            writer.writerow(
                [
                    system.name,
                    pair.name,
                    pair.label or "",
                    *map(_plain, (pair.snr_db, pair.measured_snr_db, pair.duration_s)),
                    *_delays(system, pair.name),
                    *(_plain(scores.get(metric)) for metric in evaluation.metrics),
                    system.failures.get(pair.name, ""),
                ]
            )
    for name, reason in evaluation.left:
        writer.writerow(["", name, *[""] * (len(about) - 2 + len(evaluation.metrics)), f"left out: {reason}"])
    return text.getvalue()


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def _delays(system: SystemScores, name: str) -> tuple[str, str]:
    own = system.delays_s.get(name)
    return f"{1000 * system.delay_s:.6g}", "" if own is None else f"{1000 * own:.6g}"
