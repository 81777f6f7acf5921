"""An evaluation as pictures: quality by SNR and its spread, gain by class of noise, best and worst files."""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audenoise.errors import AudenoiseError, DataError
from audenoise.metrics import remove_delay
from audenoise.plotting import (
    FONT_SIZE,
    TitledAudio,
    plot_boxes,
    plot_intervals,
    save_figure,
    save_spectrograms,
)

from .pairs import FileSource, Pair, files_by_stem, stem_of
from .report import COLUMNS, main_metrics
from .results import Evaluation, SystemScores
from .scoring import PartJob, denoised_part, same_channels
from .systems import System

SHOWN_S = 15.0
"""Of a recording in a picture."""
_MAX_BOX_SERIES = 6
_MOST_CLASSES = 40


def plot_by_snr(evaluation: Evaluation, *, edges_db: Sequence[float] = ()) -> Figure:
    """Means and intervals of every system in each band of SNR, one panel for each of four metrics."""
    bands = evaluation.by_snr(edges_db)

    def draw(axes: Axes, metric: str) -> None:
        series = {
            system.name: [_shown(system, metric, names) for names in bands.values()]
            for system in evaluation.systems
        }
        plot_intervals(axes, _counted(bands), series, score_label=_axis_title(metric))

    caption = "SNR of the input (number of files): mean, 95 % confidence interval (from 5 files on)"
    return _panels(evaluation, draw, caption)


def plot_spread(evaluation: Evaluation, *, edges_db: Sequence[float] = ()) -> Figure:
    """Boxes of the scores in each band of SNR: the noisy input, the models, then others, six in all."""
    bands = evaluation.by_snr(edges_db)
    others = sorted(evaluation.systems[1:], key=lambda system: system.kind != "model")
    chosen = [evaluation.noisy, *others[: _MAX_BOX_SERIES - 1]]

    def draw(axes: Axes, metric: str) -> None:
        scale = COLUMNS[metric].scale
        series = {
            system.name: [
                [scale * score for score in system.values(metric, names)] for names in bands.values()
            ]
            for system in chosen
        }
        plot_boxes(axes, _counted(bands), series, score_label=_axis_title(metric))

    return _panels(
        evaluation, draw, "SNR of the input (number of files): median, quartiles, whiskers, outliers"
    )


def plot_by_label(evaluation: Evaluation) -> Figure:
    """Gains over the noisy input for each class of noise, pair by pair, the class that gains most first.

    Gains, since the classes differ in how hard they are far more than systems do within one.

    Raises
    ------
    DataError
        If no pair has a class, or there is only the noisy input.
    """
    classes = evaluation.by_label()
    if not classes or len(evaluation.systems) < 2:
        raise DataError("no pair has a class of noise (see --labels), or there is no system but the input")
    metrics = main_metrics(evaluation, 3)
    first = evaluation.systems[1]
    ranked = sorted(classes, key=lambda name: -_gain(first, evaluation.noisy, metrics[0], classes[name]))
    # The classes with the largest and the smallest gains, where there are too many to read.
    if len(ranked) > _MOST_CLASSES:
        ranked = [*ranked[: _MOST_CLASSES // 2], *ranked[-_MOST_CLASSES // 2 :]]
    shown = {name: classes[name] for name in ranked}
    rows = len(evaluation.systems[1:]) * len(shown)
    figure = Figure(
        figsize=(4.6 * len(metrics) + 2, 1.6 + max(3.0, 0.11 * rows)), dpi=150, layout="constrained"
    )
    panels = figure.subplots(1, len(metrics), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=True):
        series = {
            system.name: [_shown_gain(system, evaluation.noisy, metric, names) for names in shown.values()]
            for system in evaluation.systems[1:]
        }
        axes.axvline(0.0, color="0.4", linewidth=0.9)
        plot_intervals(
            axes,
            _counted(shown, " "),
            series,
            score_label=f"gain in {_axis_title(metric)}",
            horizontal=True,
            first_style=1,
        )
    caption = (
        "Class of noise (number of files): gain over the noisy input, mean and 95 % confidence interval "
        f"(from 5 files on); in the order of {first.name}"
    )
    _add_legend(figure, panels[0], caption)
    return figure


def best_and_worst(evaluation: Evaluation, system: SystemScores) -> tuple[str, str] | None:
    """Files where a system gains most and least over the noisy input, by the first of `MAIN_METRICS`; None if
    there are not two."""
    metric = main_metrics(evaluation, 1)[0]
    both = [
        name
        for name, scores in system.scores.items()
        if metric in scores and metric in evaluation.noisy.scores.get(name, {})
    ]
    if not both:
        return None
    if len(both) < 2:
        return None
    ranked = sorted(both, key=lambda name: _gain(system, evaluation.noisy, metric, [name]))
    return ranked[-1], ranked[0]


def save_plots(
    evaluation: Evaluation,
    folder: str | os.PathLike[str],
    *,
    pairs: Sequence[Pair] = (),
    systems: Sequence[System] = (),
    edges_db: Sequence[float] = (),
) -> list[Path]:
    """Write all pictures that an evaluation allows.

    Parameters
    ----------
    evaluation : Evaluation
    folder : path-like
        Made if missing.
    pairs, systems : sequence, optional
        What was evaluated. With them, the files where each model gains most and least are denoised again and
        shown, noisy, denoised and clean; without models, those of the first system that isn't the input.
    edges_db : sequence of float
        As for `Evaluation.by_snr`.

    Returns
    -------
    list of Path
        quality_by_snr.png, spread_by_snr.png, gain_by_class.png, best_NAME.png, worst_NAME.png.

    Raises
    ------
    AudenoiseError
        If a picture can't be written.
    """
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise AudenoiseError(f"{folder}: can't be made ({error.strerror})") from error
    figures = {
        "quality_by_snr.png": plot_by_snr(evaluation, edges_db=edges_db),
        "spread_by_snr.png": plot_spread(evaluation, edges_db=edges_db),
    }
    if evaluation.by_label() and len(evaluation.systems) > 1:
        figures["gain_by_class.png"] = plot_by_label(evaluation)
    written = []
    for name, figure in figures.items():
        save_figure(figure, folder / name)
        written.append(folder / name)
    by_name = {pair.name: pair for pair in pairs}
    others = [system for system in systems if system.kind != "noisy"]
    for system in [system for system in others if system.kind == "model"] or others[:1]:
        scores = evaluation.system(system.name)
        measure = COLUMNS[main_metrics(evaluation, 1)[0]].title.partition(" ")[0]
        for which, name in zip(("best", "worst"), best_and_worst(evaluation, scores) or (), strict=False):
            if name in by_name:
                path = folder / f"{which}_{re.sub(r'[^A-Za-z0-9_.-]+', '_', system.name)}.png"
                gain = f"{'largest' if which == 'best' else 'smallest'} gain in {measure}"
                save_spectrograms(_recordings(evaluation, by_name[name], system, why=gain), path)
                written.append(path)
    return written


def _recordings(evaluation: Evaluation, pair: Pair, system: System, *, why: str) -> list[TitledAudio]:
    noisy, noisy_rate = pair.noisy.read(0.0, SHOWN_S)
    clean, rate = pair.clean.read(0.0, SHOWN_S)
    noisy, clean = same_channels(noisy, clean)
    duration_s = min(len(noisy) / noisy_rate, len(clean) / rate)
    finished = {system.name: FileSource(_file_of(system, pair))} if system.kind == "folder" else {}
    job = PartJob(pair, 0.0, duration_s, (system,), (), finished)
    denoised, denoised_rate = denoised_part(job, system, (noisy, noisy_rate))
    scores = evaluation.system(system.name)
    delay = round(scores.delay_s * denoised_rate)
    shifted = denoised.copy()
    for channel in range(denoised.shape[1]):
        shifted[:, channel] = remove_delay(denoised[:, channel], delay)
    removed = f" (delay of {1000 * scores.delay_s:g} ms removed)" if delay else ""
    info = next(info for info in evaluation.pairs if info.name == pair.name)
    about = ", ".join(filter(None, [info.label, _snr_text(info.snr_db, info.measured_snr_db)]))
    before, after = (_scores_text(evaluation, each, pair.name) for each in (evaluation.noisy, scores))
    n_shown = round(duration_s * denoised_rate)
    return [
        TitledAudio(f"{pair.name}, {why}; noisy ({about}): {before}", noisy, noisy_rate),
        TitledAudio(f"{system.name}{removed}: {after}", shifted[:n_shown], denoised_rate),
        TitledAudio("clean", clean, rate),
    ]


def _file_of(system: System, pair: Pair) -> Path:
    path = Path(system.source or "")
    return path if path.is_file() else files_by_stem(path)[0][stem_of(pair.name)]


def _snr_text(given: float | None, measured: float | None) -> str:
    value = measured if given is None else given
    return "" if value is None else f"SNR {value:.1f} dB"


def _scores_text(evaluation: Evaluation, system: SystemScores, name: str) -> str:
    scores, parts = system.scores.get(name, {}), []
    for metric in main_metrics(evaluation, 3):
        if metric in scores:
            column = COLUMNS[metric]
            title, _, unit = column.title.partition(" ")
            parts.append(f"{title} {scores[metric] * column.scale:.{column.digits}f} {unit}".rstrip())
    return ", ".join(parts)


def _panels(evaluation: Evaluation, draw: Callable[[Axes, str], None], caption: str) -> Figure:
    """Four panels or fewer, one for each main metric, under one legend."""
    metrics = main_metrics(evaluation, 4)
    n_across = min(2, len(metrics))
    n_down = -(-len(metrics) // n_across)
    figure = Figure(figsize=(6.5 * n_across, 1.0 + 3.6 * n_down), dpi=150, layout="constrained")
    panels = figure.subplots(n_down, n_across, squeeze=False).ravel()
    for axes, metric in zip(panels, metrics, strict=False):
        draw(axes, metric)
    for axes in panels[len(metrics) :]:
        axes.set_axis_off()
    _add_legend(figure, panels[0], caption)
    return figure


def _add_legend(figure: Figure, axes: Axes, caption: str) -> None:
    handles, labels = axes.get_legend_handles_labels()
    options: dict[str, Any] = {"frameon": False, "fontsize": FONT_SIZE - 1, "ncols": min(4, len(labels))}
    figure.legend(handles, labels, loc="outside upper left", **options)
    figure.supxlabel(caption, fontsize=FONT_SIZE - 1)


def _counted(groups: Mapping[str, Sequence[str]], separator: str = "\n") -> list[str]:
    return [f"{group}{separator}({len(names)})" for group, names in groups.items()]


def _shown(system: SystemScores, metric: str, names: Sequence[str]) -> tuple[float, float]:
    interval, scale = system.interval(metric, names), COLUMNS[metric].scale
    return scale * interval.mean, scale * interval.half_width


def _shown_gain(
    system: SystemScores, noisy: SystemScores, metric: str, names: Sequence[str]
) -> tuple[float, float]:
    gain, scale = system.gain(noisy, metric, names), COLUMNS[metric].scale
    return scale * gain.mean, scale * gain.half_width


def _gain(system: SystemScores, noisy: SystemScores, metric: str, names: Sequence[str]) -> float:
    gain = system.gain(noisy, metric, names)
    if not gain.n:
        return float("-inf")
    return gain.mean if COLUMNS[metric].higher_is_better else -gain.mean


def _axis_title(metric: str) -> str:
    column = COLUMNS[metric]
    title, _, unit = column.title.partition(" ")
    if unit in ("dB", "%"):
        text = f"{title}, {unit}"
    elif column.title.endswith(" dB"):
        text = f"{column.title.removesuffix(' dB')}, dB"
    else:
        text = column.title
    return text if column.higher_is_better else f"{text} (less is better)"
