"""A report as one HTML page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from audenoise.denoiser import Denoiser
from audenoise.errors import DataError
from audenoise.evaluation import Evaluation, Pair, SystemScores
from audenoise.evaluation.pictures import plot_by_label, plot_by_snr
from audenoise.evaluation.report import COLUMNS, LSD_NOTE, group_table, main_metrics, overall_table
from audenoise.html_pages import escaped, fill_page
from audenoise.plotting import training_curves_figure

from .facts import Subject
from .players import player, png, ranked_files, recordings_of


@dataclass(frozen=True)
class Material:
    """What a report can show beyond its subject.

    Attributes
    ----------
    evaluation : Evaluation or None
    pairs : sequence of Pair
        That were evaluated; for the players.
    denoiser : Denoiser or None
        For the players.
    n_files : int
        Worst files, and as many best ones.
    """

    evaluation: Evaluation | None = None
    pairs: Sequence[Pair] = field(default_factory=tuple)
    denoiser: Denoiser | None = None
    n_files: int = 3


def build_report(subject: Subject, material: Material) -> str:
    """Write a report: facts, curves, scores in all and per condition, worst and best files.

    Parameters
    ----------
    subject : Subject
    material : Material

    Returns
    -------
    str
        A page that is one file.

    Raises
    ------
    DataError
        If the evaluation has no model, or the log nothing to draw.
    """
    sections = [_facts(subject)]
    if subject.log is not None:
        sections.append(
            f"<h2>Training</h2>{_image(png(training_curves_figure(subject.log)), 'Training curves')}"
        )
    if material.evaluation is not None:
        sections += _scores(material.evaluation)
        sections += _files(material.evaluation, material)
    elif subject.scores:
        sections.append(f"<h2>Scores</h2><p>{escaped(subject.scores_about)}</p>{_table(subject.scores)}")
    if subject.spec:
        sections.append(f"<details><summary>Spec</summary><pre>{escaped(subject.spec)}</pre></details>")
    parts = {"title": escaped(f"{subject.name}: audenoise report"), "body": "\n".join(sections)}
    return fill_page("audenoise.reports", "report", parts)


def _facts(subject: Subject) -> str:
    rows = "".join(f"<dt>{escaped(name)}</dt><dd>{escaped(value)}</dd>" for name, value in subject.facts)
    return f"<h1>{escaped(subject.name)}</h1><p>{escaped(subject.about)}</p><dl>{rows}</dl>"


def _scores(evaluation: Evaluation) -> Iterator[str]:
    about = f"{_EXPLANATION} {LSD_NOTE}" if "lsd" in evaluation.metrics else _EXPLANATION
    yield f"<h2>Scores</h2><p>{about}</p>{_table(overall_table(evaluation))}"
    if evaluation.notes:
        yield "<ul>" + "".join(f"<li>{escaped(note)}</li>" for note in evaluation.notes) + "</ul>"
    yield "<h2>By SNR of the input</h2>" + _image(png(plot_by_snr(evaluation)), "Scores by SNR")
    yield from _groups(evaluation, evaluation.by_snr())
    if classes := evaluation.by_label():
        picture = png(plot_by_label(evaluation)) if len(evaluation.systems) > 1 else ""
        yield "<h2>By class of noise</h2>" + (_image(picture, "Gains by class of noise") if picture else "")
        yield from _groups(evaluation, classes)
    if evaluation.left:
        left = "".join(f"<li>{escaped(name)}: {escaped(reason)}</li>" for name, reason in evaluation.left)
        summary = f"<summary>{len(evaluation.left)} recordings were left out</summary>"
        yield f"<details>{summary}<ul>{left}</ul></details>"


def _groups(evaluation: Evaluation, groups: dict[str, list[str]]) -> Iterator[str]:
    tables = [_table(group_table(evaluation, metric, groups)) for metric in evaluation.metrics]
    yield f"<details><summary>Tables</summary>{''.join(tables)}</details>"


def _files(evaluation: Evaluation, material: Material) -> Iterator[str]:
    if material.denoiser is None or not material.pairs or material.n_files < 1:
        return
    system = model_of(evaluation)
    metric, ranked = ranked_files(evaluation, system, material.pairs)
    title = COLUMNS[metric].title
    worst = ranked[::-1][: material.n_files]
    best = [each for each in ranked if each not in worst][: material.n_files]
    for heading, chosen in (("Worst", worst), ("Best", best)):
        if chosen:
            yield f"<h2>{heading} files, by the gain in {escaped(title)}</h2>"
        for each in chosen:
            recordings = recordings_of(each.pair, material.denoiser)
            yield player(recordings, title=each.pair.name, about=_about(evaluation, system, each.pair.name))


def model_of(evaluation: Evaluation) -> SystemScores:
    """The first system that is a model.

    Raises
    ------
    DataError
        If there is none.
    """
    for system in evaluation.systems:
        if system.kind == "model":
            return system
    raise DataError("the evaluation has no model")


def _about(evaluation: Evaluation, system: SystemScores, name: str) -> str:
    info = next(info for info in evaluation.pairs if info.name == name)
    snr_db = info.measured_snr_db if info.snr_db is None else info.snr_db
    parts = [info.label or "", "" if snr_db is None else f"SNR {snr_db:.1f} dB"]
    for metric in main_metrics(evaluation, 3):
        column = COLUMNS[metric]
        values = [each.scores.get(name, {}).get(metric) for each in (evaluation.noisy, system)]
        if None not in values:
            before, after = (f"{(value or 0.0) * column.scale:.{column.digits}f}" for value in values)
            parts.append(f"{column.title} {before} → {after}")
    return ", ".join(filter(None, parts))


def _image(address: str, alt: str) -> str:
    return f'<img src="{address}" alt="{escaped(alt)}">'


def _table(rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escaped(cell)}</th>" for cell in rows[0])
    body = "".join(
        "<tr>"
        + f"<th>{escaped(row[0])}</th>"
        + "".join(f"<td>{escaped(cell)}</td>" for cell in row[1:])
        + "</tr>"
        for row in rows[1:]
    )
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


_EXPLANATION = "Means over files ± half of the 95 % confidence interval (Student’s t, from 5 files on)."
