"""The command that writes a report on a model or a training run."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from audenoise.cli_evaluation import chosen_pairs
from audenoise.html_pages import check_target, write_text


@click.command()
@click.argument("subject", metavar="RUN|MODEL")
@click.argument(
    "pairs", nargs=-1, type=click.Path(exists=True, path_type=Path), metavar="[NOISY CLEAN|DATASET]"
)
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PAGE.html",
    help="The report: one file with everything in it.",
)
@click.option(
    "--scores",
    type=click.Path(exists=True, path_type=Path, dir_okay=False),
    metavar="JSON",
    help="Take the scores from what `audenoise evaluate --json` wrote, and compute none.",
)
@click.option(
    "--labels",
    type=click.Path(exists=True, path_type=Path, dir_okay=False),
    metavar="CSV",
    help="Table with the columns name, snr_db and the class of the noise, as for `evaluate`.",
)
@click.option(
    "--systems",
    metavar="LIST",
    help="What to compare with, with commas, as for `evaluate`.  [default: the noisy input alone]",
)
@click.option(
    "--metrics", metavar="LIST", help="As for `evaluate`.  [default: all that are installed, but snr_db]"
)
@click.option(
    "--files",
    "n_files",
    type=click.IntRange(0, 50),
    default=3,
    show_default=True,
    metavar="N",
    help="Worst files with players and spectrograms, and as many best ones; 12 s of each.",
)
@click.option("--side", default="test", show_default=True, metavar="SIDE", help="Side of the DATASET.")
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one for each core]"
)
@click.option("--overwrite", is_flag=True, help="Replace PAGE.html if it exists.")
def report(
    subject: str,
    pairs: tuple[Path, ...],
    output: Path,
    scores: Path | None,
    labels: Path | None,
    systems: str | None,
    metrics: str | None,
    n_files: int,
    side: str,
    jobs: int | None,
    overwrite: bool,
) -> None:
    """Write a page about a training run or a model: curves, scores per condition, worst and best files.

    RUN is a folder of `train`; its best weights are used. MODEL is a bundled model or a model folder. With
    pairs of NOISY and CLEAN folders, or a DATASET, the model is evaluated on them; without, the page has the
    training's curves and what was scored before. The page needs no network.

    \b
    Examples:
      audenoise report runs/mine -o mine.html
      audenoise report standard noisy/ clean/ --labels pairs.csv -o standard.html
      audenoise report runs/mine dataset/ --files 5 -o mine.html
    """
    if len(pairs) > 2:
        raise click.UsageError("name NOISY and CLEAN, or one DATASET.")
    if labels and not pairs:
        raise click.UsageError("--labels needs NOISY and CLEAN.")
    check_target(output, overwrite=overwrite)

    from audenoise.presets import load_preset
    from audenoise.reports import Material, build_report, is_run, model_subject, run_subject

    run = Path(subject) if is_run(Path(subject)) else None
    about = run_subject(run) if run else model_subject(load_preset(subject))
    found, left, notes = chosen_pairs(pairs, side, labels) if pairs else ([], [], [])
    if not pairs:
        evaluation = _read_scores(scores)
        page = build_report(about, Material(evaluation=evaluation, n_files=0))
        write_text(output, page, overwrite=overwrite)
        return
    from audenoise.denoiser import Denoiser
    from audenoise.evaluation import evaluate, model_system, named_systems
    from audenoise.processors import cores

    with _model_folder(subject, run) as model:
        evaluation = _read_scores(scores)
        if evaluation is None:
            evaluation = evaluate(
                found,
                [model_system(model, name=f"audenoise {about.name}"), *named_systems(_names(systems))],
                metrics=_names(metrics) or None,
                left=left,
                notes=notes,
                jobs=jobs or cores(),
                progress=sys.stderr.isatty(),
            )
        material = Material(evaluation, found, Denoiser.from_preset(model), n_files)
        write_text(output, build_report(about, material), overwrite=overwrite)


@contextmanager
def _model_folder(subject: str, run: Path | None) -> Iterator[str]:
    """The model; for a run, its best weights in a model folder that goes away."""
    if run is None:
        yield subject
        return
    from audenoise.keras_loading import load_keras

    load_keras()
    from audenoise.locks import temporary_folder
    from audenoise.publishing import publish

    name = re.sub(r"[^A-Za-z0-9._+-]+", "_", run.resolve().name).lstrip("._+-") or "run"
    with temporary_folder("audenoise-report-") as folder:
        model = folder / name
        publish(run, model, description=f"best weights of {run}", licence="not stated", data=[])
        yield str(model)


def _read_scores(path: Path | None) -> Any:
    if path is None:
        return None
    from audenoise.evaluation import Evaluation

    return Evaluation.read(path)


def _names(text: str | None) -> list[str]:
    return [name.strip() for name in (text or "").split(",") if name.strip()]
