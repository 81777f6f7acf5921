"""What a search has found so far: the quality-against-cost front, as text, tables, a picture and specs."""

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audenoise.plotting import FrontPoint, plot_cost_fronts
from audenoise.searches.goals import Objective, in_short
from audenoise.searches.records import (
    SearchFolder,
    TrialRecord,
    read_description,
    read_rejected,
    read_trials,
)
from audenoise.specs import ModelSpec, dump_spec, load_spec, override_training, parse_spec, spec_to_dict

COSTS = ("parameters", "macs_per_second")


@dataclass(frozen=True)
class SearchReport:
    """A search as it stands.

    Attributes
    ----------
    folder : SearchFolder
    description : dict
        As in search.json.
    trials : list of TrialRecord
        All, in the order in which they were drawn.
    rejected : list of dict
        Draws that were not trained.
    fronts : dict of str to list of TrialRecord
        For each cost, the trials that no other beats at that cost or below, cheapest first.
    """

    folder: SearchFolder
    description: dict[str, Any]
    trials: list[TrialRecord]
    rejected: list[dict[str, Any]]
    fronts: dict[str, list[TrialRecord]]

    @property
    def best(self) -> TrialRecord | None:
        """The completed trial with the highest score; the cheaper one of equals."""
        return max(
            _scored(self.trials), key=lambda trial: (trial.score, -(trial.macs_per_second or 0)), default=None
        )


def read_report(path: Path) -> SearchReport:
    """Read a search, finished or running.

    Raises
    ------
    AudenoiseError
        If the folder holds no search.
    """
    folder = SearchFolder(path)
    description, trials = read_description(folder), read_trials(folder)
    fronts = {cost: pareto_front(trials, cost) for cost in COSTS}
    return SearchReport(folder, description, trials, read_rejected(folder), fronts)


def pareto_front(trials: Sequence[TrialRecord], cost: str) -> list[TrialRecord]:
    """Trials that have a higher score than every cheaper or equally cheap one, cheapest first.

    Examples
    --------
    >>> pairs = ((1, 10), (3, 20), (2, 30))
    >>> trials = [TrialRecord("0", "completed", score=s, parameters=p) for s, p in pairs]
    >>> [trial.score for trial in pareto_front(trials, "parameters")]
    [1, 3]
    """
    front: list[TrialRecord] = []
    known = [trial for trial in _scored(trials) if getattr(trial, cost) is not None]
    for trial in sorted(known, key=lambda trial: (getattr(trial, cost), -(trial.score or 0.0))):
        if not front or (trial.score or 0.0) > (front[-1].score or 0.0):
            front.append(trial)
    return front


def winner_spec(report: SearchReport, trial: TrialRecord) -> ModelSpec:
    """The spec of a trial, named, with the training length of the base spec instead of that of the search.

    Raises
    ------
    SpecError
        If the trial's spec file is gone or damaged.
    """
    spec = load_spec(report.folder.trial(trial.trial_id) / "spec.yaml")
    base = parse_spec(report.description["space"]["base"])
    searched = str(report.description["space"]["search"])
    length = {
        key: getattr(base.training, key)
        for key in ("epochs", "steps_per_epoch")
        if f"training.{key}" not in searched
    }
    data = spec_to_dict(override_training(spec, length))
    return parse_spec({**data, "name": f"{base.name[:50]}-{trial.trial_id}"})


def write_report(report: SearchReport, out: Path) -> list[Path]:
    """Write trials.csv, front.csv, front.png, best.yaml and the specs on the fronts, in place of older ones.

    Returns
    -------
    list of Path
        The files, without those of specs that are on a front but not the best.
    """
    out.mkdir(parents=True, exist_ok=True)
    written = [out / "trials.csv"]
    _write_table(written[0], report.trials, report)
    on_front = {trial.trial_id: trial for front in report.fronts.values() for trial in front}
    best = report.best
    if best is None:
        return written
    _write_table(out / "front.csv", list(on_front.values()), report)
    for trial in on_front.values():
        _write_text(out / "front" / f"{trial.trial_id}.yaml", dump_spec(winner_spec(report, trial)))
    for path in (out / "front").glob("*.yaml"):
        if path.stem not in on_front:
            path.unlink()  # of an earlier report: it has been beaten since
    _write_text(out / "best.yaml", dump_spec(winner_spec(report, best)))
    points = {
        cost: [
            FrontPoint(getattr(trial, cost), float(trial.score or 0.0), trial.trial_id, trial in front)
            for trial in _scored(report.trials)
            if getattr(trial, cost)
        ]
        for cost, front in report.fronts.items()
    }
    labels = {"parameters": "parameters", "macs_per_second": "multiply-accumulates per second of audio"}
    plot_cost_fronts(
        {labels[cost]: items for cost, items in points.items()},
        out / "front.png",
        score_label=f"score: {report.description['objective']}",
    )
    return [*written, out / "front.csv", out / "front.png", out / "best.yaml"]


def in_words(report: SearchReport) -> str:
    """The report as lines of text."""
    counts = Counter(trial.status for trial in report.trials)
    planned = report.description.get("planned_trials")
    lines = [
        f"{report.folder.path}: {report.description['algorithm']} search for "
        f"{report.description['objective']}: "
        f"{counts['completed']} completed, {counts['failed']} failed, {counts['running']} running or waiting"
        + (f" of {planned} trials" if planned else "")
        + f"; {len(report.rejected)} draws not trained"
    ]
    objective = Objective(tuple((name, weight) for name, weight in report.description["weights"].items()))
    front = {trial.trial_id for trials in report.fronts.values() for trial in trials}
    best = report.best
    if best is not None:
        names = [name for name, _ in objective.weights]
        names += [name for name in best.scores if name not in names]
        head = ["trial", "score", *names, "parameters", "MAC/s", "minutes", "MB", "", "values"]
        rows = [
            [
                trial.trial_id,
                f"{trial.score:.3f}",
                *(f"{trial.scores[name]:.3f}" if name in trial.scores else "-" for name in names),
                in_short(trial.parameters or 0),
                in_short(trial.macs_per_second or 0),
                f"{(trial.seconds or 0) / 60:.1f}",
                f"{trial.peak_memory_mb or 0:.0f}",
                "best" if trial is best else "front" if trial.trial_id in front else "",
                ", ".join(f"{name}={value}" for name, value in trial.values.items()),
            ]
            for trial in sorted(_scored(report.trials), key=lambda trial: -(trial.score or 0.0))
        ]
        widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head) - 1)]
        for row in [head, *rows]:
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
            lines.append("  ".join([*cells, row[-1]]).rstrip())
    for trial in report.trials:
        if trial.status == "failed":
            lines.append(
                f"trial {trial.trial_id} failed: {trial.message or 'for no reason that is known here'}"
            )
    reasons = Counter(str(row.get("reason", "")).split(":")[0] for row in report.rejected)
    lines += [f"not trained, {count} ×: {reason}" for reason, count in reasons.most_common(5)]
    return "\n".join(lines)


def _scored(trials: Sequence[TrialRecord]) -> list[TrialRecord]:
    return [trial for trial in trials if trial.status == "completed" and trial.score is not None]


def _write_table(path: Path, trials: Sequence[TrialRecord], report: SearchReport) -> None:
    values = list(report.description["space"]["search"])
    scores = list(dict.fromkeys(name for trial in trials for name in trial.scores))
    fields = ("parameters", "macs_per_second", "seconds", "peak_memory_mb", "device_memory_mb", "epochs",
              "worker", "message")  # fmt: skip
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with partial.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["trial", "status", "score", *scores, *fields, *values])
            for trial in trials:
                writer.writerow(
                    [trial.trial_id, trial.status, trial.score, *(trial.scores.get(name) for name in scores),
                     *(getattr(trial, name) for name in fields), *(trial.values.get(name) for name in values)]
                )  # fmt: skip
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _write_text(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
