"""The command that scores denoised recordings."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from audenoise.cli_options import report
from audenoise.errors import AudenoiseError, DataError

_OUT: dict[str, Any] = {"type": click.Path(path_type=Path, dir_okay=False), "metavar": "FILE"}


@click.command()
@click.argument(
    "inputs",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="NOISY CLEAN | DATASET",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME|FOLDER",
    help="Bundled model or model folder; may be repeated.  [default: large, unless --denoised is given]",
)
@click.option(
    "--systems",
    metavar="LIST",
    help="What to compare with, with commas: spectral-subtraction, wiener, noisereduce, rnnoise, "
    "rnnoise-flushed (given silence at its end, so that its delay costs nothing); or none.  "
    "[default: spectral-subtraction,wiener, and noisereduce,rnnoise-flushed where they are installed]",
)
@click.option(
    "--denoised",
    multiple=True,
    metavar="NAME=DIR",
    help="Score the files of another program, named as the noisy ones but for the suffix; may be repeated.",
)
@click.option(
    "--labels",
    type=click.Path(exists=True, path_type=Path, dir_okay=False),
    metavar="CSV",
    help="Table with the columns name, snr_db and the class of the noise. Without it both are read from "
    "VoiceBank+DEMAND's logs (log_testset.txt) where these lie beside NOISY, and the SNR is else measured.",
)
@click.option(
    "--label-column",
    metavar="COLUMN",
    help="Column of --labels with the class.  [default: label, noise_class, class, noise_kind, noise_type or "
    "noise]",
)
@click.option(
    "--snr-bands",
    metavar="LIST",
    help="Edges of the bands of SNR in dB, with commas: --snr-bands=-5,0,5,10.  [default: every SNR that was "
    "mixed at, or bands of 5 dB]",
)
@click.option("--side", default="test", show_default=True, metavar="SIDE", help="Side of the DATASET.")
@click.option(
    "--metrics",
    metavar="LIST",
    help="pesq_wb, estoi, stoi, si_sdr_db, snr_db, snr_gain_db, lsd, dnsmos, with commas.  "
    "[default: all but snr_db, as far as they are installed]",
)
@click.option(
    "--jobs", type=click.IntRange(min=1), metavar="N", help="Processes.  [default: one for each core]"
)
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Work on the cores of a Ray cluster: HOST:PORT, auto for one that runs here, or local for one on "
    "127.0.0.1 for the time of the work. Needs 'audenoise[cluster]', and the same paths on all machines.",
)
@click.option("--json", "json_path", help="Write everything, pairs and means, as JSON.", **_OUT)
@click.option("--csv", "csv_path", help="Write a line for each system and file.", **_OUT)
@click.option("--markdown", "markdown_path", help="Write the tables, with intervals in all of them.", **_OUT)
@click.option(
    "--plots",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIR",
    help="Write pictures: quality by SNR and by class of noise, best and worst files.",
)
@click.option("--per-file", is_flag=True, help="Print the scores of every file too.")
@click.option("--overwrite", is_flag=True, help="Replace existing results.")
@click.option("--strict", is_flag=True, help="Stop at the first file that can't be used or scored.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar, and no tables on the console.")
def evaluate(
    inputs: tuple[Path, ...],
    models: tuple[str, ...],
    systems: str | None,
    denoised: tuple[str, ...],
    labels: Path | None,
    label_column: str | None,
    snr_bands: str | None,
    side: str,
    metrics: str | None,
    jobs: int | None,
    ray: str | None,
    json_path: Path | None,
    csv_path: Path | None,
    markdown_path: Path | None,
    plots: Path | None,
    per_file: bool,
    overwrite: bool,
    strict: bool,
    quiet: bool,
) -> None:
    """Score models on pairs of noisy and clean recordings, beside the input and other systems.

    NOISY and CLEAN are folders whose files match by name, suffixes apart, or two files; or one folder that
    holds noisy/ and clean/, or noisy_testset_wav/ and clean_testset_wav/ as VoiceBank+DEMAND does. DATASET
    was made by build-dataset, its test side is taken.

    Scores are means over files with 95 % confidence intervals: wideband PESQ, ESTOI and STOI, SI-SDR, the
    gain in SNR, the log-spectral distance, and DNSMOS P.835; in all, by SNR, and by class of noise. PESQ,
    STOI and DNSMOS need pip install 'audenoise[metrics]'; noisereduce and RNNoise 'audenoise[benchmarks]'.

    A system's constant delay is estimated, removed and reported. Recordings above 2 minutes are denoised and
    scored in parts, PESQ and STOI in stretches of at most 30 s. Files that can't be used are listed and left
    out.

    \b
    Examples:
      audenoise evaluate noisy/ clean/
      audenoise evaluate --model models/mine dataset/ --json scores.json --plots plots/
      audenoise evaluate noisy/ clean/ --labels pairs.csv --denoised other=other_out/ --markdown scores.md
    """
    if label_column and not labels:
        raise click.UsageError("--label-column needs --labels.")
    if len(inputs) > 2:
        raise click.UsageError("name NOISY and CLEAN, or one DATASET.")
    outputs = [path for path in (json_path, csv_path, markdown_path) if path]
    _refuse_existing(outputs, plots, overwrite=overwrite)
    edges_db = _numbers(snr_bands)

    import json

    from audenoise import evaluation
    from audenoise.processors import cores

    chosen = _chosen_systems(models, systems, denoised)
    pairs, left, notes = chosen_pairs(inputs, side, labels, label_column)
    result = evaluation.evaluate(
        pairs,
        chosen,
        metrics=_names(metrics) if metrics else None,
        left=left,
        notes=[*notes, *_not_installed(systems)],
        jobs=jobs or cores(),
        ray=ray,
        strict=strict,
        progress=not quiet and sys.stderr.isatty(),
    )
    if not quiet:
        click.echo(evaluation.console_report(result, edges_db=edges_db, per_file=per_file), nl=False)
    elif result.left:
        were = "recording was" if len(result.left) == 1 else "recordings were"
        report(f"{len(result.left)} {were} left out; run without --quiet to see which")
    if json_path:
        _write(json_path, json.dumps(result.to_dict(edges_db), indent=1, allow_nan=False) + "\n")
    if csv_path:
        _write(csv_path, evaluation.file_rows(result))
    if markdown_path:
        _write(markdown_path, evaluation.markdown_report(result, edges_db=edges_db))
    if plots:
        from audenoise.evaluation.pictures import save_plots

        save_plots(result, plots, pairs=pairs, systems=chosen, edges_db=edges_db)


def _chosen_systems(models: Sequence[str], systems: str | None, denoised: Sequence[str]) -> list[Any]:
    from audenoise.evaluation import (
        BASELINES,
        folder_system,
        is_available,
        model_system,
        named_systems,
    )

    chosen: list[Any] = []
    for model in models or ([] if denoised else [None]):
        system = model_system(model)
        taken = any(system.name == other.name for other in chosen)
        chosen.append(model_system(model, name=f"audenoise {model}") if taken else system)
    for entry in denoised:
        name, separator, folder = entry.partition("=")
        if not (name and separator and folder):
            raise click.UsageError(f"--denoised must be NAME=DIR. Received: {entry}")
        chosen.append(folder_system(name, folder))
    if systems is None:
        return [*chosen, *named_systems([name for name in BASELINES if is_available(name)])]
    return [*chosen, *named_systems([name for name in _names(systems) if name not in ("none", "noisy")])]


def _not_installed(systems: str | None) -> list[str]:
    from audenoise.evaluation import BASELINES, is_available

    missing = [name for name in BASELINES if not is_available(name)] if systems is None else []
    return [f"no {', '.join(missing)}: pip install 'audenoise[benchmarks]'"] if missing else []


def chosen_pairs(
    inputs: Sequence[Path], side: str, labels: Path | None, label_column: str | None = None
) -> tuple[list[Any], list[Any], list[str]]:
    """What `evaluate` and `report` are asked to score: pairs, what was left out, and notes on them."""
    from audenoise import evaluation

    left: list[Any] = []
    notes: list[str] = []
    folder = inputs[0]
    if len(inputs) == 1:
        inputs = evaluation.paired_folders(folder) or inputs
    if len(inputs) == 2:
        pairs, left = evaluation.find_pairs(*inputs)
        if labels is None:
            pairs, notes = evaluation.apply_noise_logs(pairs, inputs[0])
    elif folder.is_file():
        raise DataError(f"{folder}: name its clean recording too")
    else:
        from audenoise.audio import find_audio
        from audenoise.datasets import DatasetInfo
        from audenoise.datasets.info import INFO_FILE

        if folder.is_dir() and not (folder / INFO_FILE).exists() and find_audio(folder):
            raise DataError(f"{folder}: is no dataset; name the folder of its clean recordings after it")
        from audenoise.datasets.feeding import open_side

        info = DatasetInfo.read(folder)
        stored = open_side(info, side)
        pairs = evaluation.stored_pairs(stored.index, stored.stored, info.rows(side))
    if labels is not None:
        pairs, unknown = evaluation.apply_labels(pairs, evaluation.read_labels(labels, column=label_column))
        if unknown:
            notes.append(f"{len(unknown)} pairs are not in {labels}, {unknown[0]} for one")
    return pairs, left, notes


def _refuse_existing(files: Sequence[Path], folder: Path | None, *, overwrite: bool) -> None:
    for path in files:
        if not path.absolute().parent.is_dir():
            raise AudenoiseError(f"{path.parent}: no such folder to write {path.name} to")
        if path.exists() and not overwrite:
            raise AudenoiseError(f"{path}: exists already; choose another name or --overwrite")
    if folder is not None and folder.is_dir() and any(folder.iterdir()) and not overwrite:
        raise AudenoiseError(f"{folder}: is not empty; choose another folder or --overwrite")


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _numbers(text: str | None) -> list[float]:
    try:
        return [float(number) for number in _names(text or "")]
    except ValueError:
        raise click.UsageError(f"--snr-bands must be numbers with commas. Received: {text}") from None
