"""What a report tells of a model or of a training run, read off their folders."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from audenoise.errors import DataError
from audenoise.presets import Preset

SPEC_FILE, LOG_FILE, STATE_FILE = "spec.yaml", "log.csv", "state.json"
_MAX_SPEC_BYTES = 1 << 20


@dataclass(frozen=True)
class Subject:
    """What a report is about.

    Attributes
    ----------
    name, about : str
    facts : list of (str, str)
        Name and value, in order.
    spec : str
        YAML, or nothing.
    log : Path or None
        Of the training.
    scores : list of rows
        Scores that are known without an evaluation: a head and rows of text.
    scores_about : str
        Where they come from.
    """

    name: str
    about: str
    facts: list[tuple[str, str]]
    spec: str = ""
    log: Path | None = None
    scores: list[list[str]] = field(default_factory=list)
    scores_about: str = ""


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a training run."""
    return (folder / STATE_FILE).is_file() and (folder / SPEC_FILE).is_file()


def model_subject(preset: Preset) -> Subject:
    """What is known of a published model."""
    data, metadata = preset.metadata.get("data"), preset.metadata
    facts = [
        ("rate", f"{preset.sample_rate} Hz"),
        ("parameters", _text(metadata.get("parameters"))),
        ("multiply-accumulates per second of audio", _text(metadata.get("macs_per_second"))),
        ("created", _text(metadata.get("created"))),
        ("licence", preset.licence),
        ("trained on", f"{len(data)} sources, listed in metadata.json" if isinstance(data, list) else ""),
    ]
    training = metadata.get("training")
    if isinstance(training, Mapping):
        facts += [(str(key).replace("_", " "), _text(value)) for key, value in training.items()]
    spec = ""
    if SPEC_FILE in preset.files:
        spec = preset.read_file(SPEC_FILE).decode("utf-8", "replace")[:_MAX_SPEC_BYTES]
    scores = metadata.get("scores")
    rows = _score_rows(scores) if isinstance(scores, Mapping) else []
    about = f"As published, means over {scores.get('pairs', 'some')} pairs." if rows and scores else ""
    return Subject(preset.name, preset.description, _known(facts), spec, None, rows, about)


def run_subject(run: Path) -> Subject:
    """What is known of a training run.

    Raises
    ------
    TrainingError
        If its state is damaged.
    DataError
        If its log is, or it has not finished an epoch.
    """
    from audenoise.run_folders import RunState

    state = RunState.read(run)
    if state.epoch < 1:
        raise DataError(f"{run}: this run has not finished an epoch yet; there is nothing to report on")
    facts = [
        ("epochs", str(state.epoch)),
        ("best epoch", str(state.best_epoch) if state.best_epoch else ""),
        ("best validation loss", _text(state.best_loss)),
        ("best score", _text(state.best_score)),
        ("time", f"{state.seconds / 3600:.2f} h"),
    ]
    try:
        spec = (run / SPEC_FILE).read_text(encoding="utf-8", errors="replace")[:_MAX_SPEC_BYTES]
    except OSError as error:
        raise DataError(f"{run / SPEC_FILE}: can't be read ({error.strerror})") from error
    log = run / LOG_FILE if (run / LOG_FILE).is_file() else None
    rows = best_epoch_scores(log, state.best_epoch) if log else []
    about = f"Of held-out examples after epoch {state.best_epoch}, the best." if rows else ""
    return Subject(run.resolve().name, "Training run", _known(facts), spec, log, rows, about)


def best_epoch_scores(log: Path, best_epoch: int) -> list[list[str]]:
    """The validation columns of the best epoch's row in a log, as a table; nothing if there are none.

    Raises
    ------
    DataError
        If the log can't be read.
    """
    try:
        with log.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row.get("epoch", "").isdigit()]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{log}: is no log of a training ({error})") from error
    found = [row for row in rows if int(row["epoch"]) + 1 == best_epoch]
    values = {name.removeprefix("val_"): text for name, text in (found[-1] if found else {}).items()
              if name and name.startswith("val_") and _is_number(text)}  # fmt: skip
    return (
        [["", *values], ["validation", *(_text(float(text)) for text in values.values())]] if values else []
    )


def _score_rows(scores: Mapping[str, Any]) -> list[list[str]]:
    mean, bands = scores.get("mean"), scores.get("by_snr_db")
    if not isinstance(mean, Mapping) or not mean:
        return []
    names = [str(name) for name in mean]
    rows = [["", *names], ["all", *(_text(mean[name]) for name in mean)]]
    for band, values in bands.items() if isinstance(bands, Mapping) else ():
        if isinstance(values, Mapping):
            label = f"{band} dB" if _is_number(band) else str(band)
            rows.append([label, *(_text(values.get(name)) for name in mean)])
    return rows


def _known(facts: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, value) for name, value in facts if value]


def _is_number(text: object) -> bool:
    try:
        return math.isfinite(float(str(text)))
    except ValueError:
        return False


def _text(value: object) -> str:
    if value is None or isinstance(value, Mapping | list):
        return ""
    if isinstance(value, float):
        return f"{value:.4g}"
    return (
        f"{value:,}"
        if isinstance(value, int) and not isinstance(value, bool) and value > 9999
        else str(value)
    )
