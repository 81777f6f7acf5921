"""A search's folder.

    search.json             what is searched, in full
    oracle/                 KerasTuner's own state: oracle.json, trial_0000/trial.json
    trials/0000/            a training run, as of `audenoise train`, and result.json
    rejected.jsonl          drawn but not trained: over budget, or settings that don't go together
    cache/                  decoded audio
    report/                 tables, picture and specs, made by `audenoise tune report`

Every file is complete at any time, so that a kill loses nothing and a report can be made while a search runs.
"""

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audenoise.errors import AudenoiseError

FORMAT_VERSION = 1


@dataclass(frozen=True)
class SearchFolder:
    """Where things are."""

    path: Path

    @property
    def description(self) -> Path:
        return self.path / "search.json"

    @property
    def oracle(self) -> Path:
        return self.path / "oracle"

    @property
    def rejected(self) -> Path:
        return self.path / "rejected.jsonl"

    def trial(self, trial_id: str) -> Path:
        return self.path / "trials" / trial_id


@dataclass
class TrialRecord:
    """One trial.

    Attributes
    ----------
    trial_id : str
    status : str
        ``running`` (or waiting to be resumed), ``completed`` or ``failed``.
    values : dict
        Of the hyperparameters, by name.
    score : float or None
        The objective.
    scores : dict of str to float
        Validation metrics.
    parameters, macs_per_second : int or None
    seconds : float or None
        Training time, all sessions together.
    peak_memory_mb : float or None
        Largest resident size of the training process.
    device_memory_mb : float or None
        Largest use of an accelerator's memory, where there is one.
    epochs : int
    message : str
        Why it failed.
    worker : str
    """

    trial_id: str
    status: str = "running"
    values: dict[str, Any] = field(default_factory=dict)
    score: float | None = None
    scores: dict[str, float] = field(default_factory=dict)
    parameters: int | None = None
    macs_per_second: int | None = None
    seconds: float | None = None
    peak_memory_mb: float | None = None
    device_memory_mb: float | None = None
    epochs: int = 0
    message: str = ""
    worker: str = ""


def write_json(path: Path, data: Any) -> None:
    """Write a file whole or not at all."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.write_text(json.dumps(data, indent=1), encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_description(folder: SearchFolder) -> dict[str, Any]:
    """What is searched.

    Raises
    ------
    AudenoiseError
        If the folder holds no search, or one of another version.
    """
    try:
        data = json.loads(folder.description.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AudenoiseError(f"{folder.path}: holds no search (it has no search.json)") from None
    except (OSError, ValueError) as error:
        raise AudenoiseError(f"{folder.description}: can't be read ({error})") from None
    if not isinstance(data, dict) or data.get("format_version") != FORMAT_VERSION:
        raise AudenoiseError(f"{folder.description}: is of another version of audenoise; start a new search")
    return data


def read_trials(folder: SearchFolder) -> list[TrialRecord]:
    """All trials in the order in which they were drawn; a file that is just being replaced is left out."""
    records = []
    for path in folder.oracle.glob("trial_*/trial.json"):
        try:
            state = json.loads(path.read_text(encoding="utf-8"))
            record = TrialRecord(
                trial_id=str(state["trial_id"]),
                status={"COMPLETED": "completed", "FAILED": "failed"}.get(state["status"], "running"),
                values={
                    name: value
                    for name, value in state["hyperparameters"]["values"].items()
                    if not name.startswith(("tuner/", "search/"))
                },
                score=state["score"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            continue
        result = read_result(folder.trial(record.trial_id))
        # Of a trial that was given out again, an older result may still lie there.
        if result and record.status != "running":
            for name in ("scores", "parameters", "macs_per_second", "seconds", "peak_memory_mb",
                         "device_memory_mb", "epochs", "message", "worker"):  # fmt: skip
                if result.get(name) is not None:
                    setattr(record, name, result[name])
        records.append(record)
    return sorted(records, key=lambda record: (len(record.trial_id), record.trial_id))


def read_result(run: Path) -> dict[str, Any] | None:
    """What a trial has left in its folder, if it is done."""
    try:
        data = json.loads((run / "result.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return data if isinstance(data, dict) else None


def read_rejected(folder: SearchFolder) -> list[dict[str, Any]]:
    """Draws that were not trained: values and reason. A line that a kill has cut is left out."""
    rows = []
    try:
        lines = folder.rejected.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    for line in lines:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if isinstance(row, dict):
            rows.append(row)
    return rows
