"""Commands of the enhancer: apply one, train one."""

import sys
from pathlib import Path
from typing import Any

import click

from audenoise.cli_options import (
    FOLDERS,
    FROM_ENCODER,
    feeding_options,
    recipe_options,
    report,
    report_files,
    result_options,
    run_options,
)
from audenoise.errors import AudenoiseError
from audenoise.keras_loading import load_keras


@click.command()
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="Folder for the results, made if missing. For a single input file also a file name, whose suffix "
    "(.wav, .flac, .ogg, .mp3) chooses the format.",
)
@click.option(
    "--model", metavar="NAME|FOLDER", help="Enhancer: bundled, or a model folder.  [default: enhancer]"
)
@click.option(
    "--denoise/--no-denoise",
    default=True,
    show_default=True,
    help="Take the noise out first, or enhance the recording as it is.",
)
@click.option("--denoiser", metavar="NAME|FOLDER", help="The denoiser that does.  [default: large]")
@click.option(
    "--amount",
    type=click.FloatRange(0.0, 1.0),
    default=1.0,
    show_default=True,
    help="How much of the enhanced signal to take. 0 leaves the denoised one, with --no-denoise the "
    "recording.",
)
@click.option(
    "--sample-rate",
    type=click.IntRange(1000, 768_000),
    metavar="HZ",
    help="Of the results, in Hz.  [default: the model's, 48000]",
)
@result_options(suffix="_enhanced")
def enhance(
    inputs: tuple[str, ...],
    output: str,
    suffix: str,
    jobs: int | None,
    quiet: bool,
    **settings: Any,
) -> int:
    """Give back what recordings have lost: bandwidth, clipped peaks, colour. Noise is taken out first.

    IN is a recording (wav, flac, ogg, mp3; any rate and channel count) or a folder, whose structure is kept
    under OUT. Results last as long as the recordings, have their channels and no delay, and are at 48 kHz
    unless another rate is asked for. What an enhancer gives back it has made up: it may sound right and be
    wrong.

    \b
    Examples:
      audenoise enhance call.wav -o studio.wav
      audenoise enhance calls/ -o studio/ --no-denoise --amount 0.7
    """
    if not (all(inputs) and output):
        raise click.UsageError("IN and OUT must not be empty (a variable that is not set?).")
    from audenoise.enhancer_batch import EnhanceSettings, enhance_files
    from audenoise.file_plan import plan_files

    unlisted: list[AudenoiseError] = []
    plan = plan_files([Path(name) for name in inputs], output, suffix=suffix, on_error=unlisted.append)
    for problem in unlisted:
        report(f"error: {problem}")
    result = enhance_files(
        plan,
        EnhanceSettings(**settings),
        jobs=jobs,
        report=report,
        progress=not quiet and sys.stderr.isatty(),
    )
    return report_files(
        result,
        done="enhanced",
        output=output,
        gain_db=settings["gain_db"],
        plan=None if quiet else plan,
        left_out=len(unlisted),
    )


@click.command("train-enhancer")
@click.option(
    "--clean",
    required=True,
    help="Studio-like speech at 32 kHz or more, searched recursively; may be given again. Recordings whose "
    "speech does not reach the spec's pairs.min_bandwidth_hz, or whose upper band is duller than its "
    "pairs.min_upper_db where that is set, are left out, as measured.",
    **FOLDERS,
)
@click.option("--noise", help="Background noise, searched recursively.  [default: coloured noise]", **FOLDERS)
@click.option("--rir", help="Room impulse responses; simulated rooms are used besides.", **FOLDERS)
@click.option(
    "--valid-clean",
    help="Speech to validate on, of other speakers.  [default: one recording in 20 is held out]",
    **FOLDERS,
)
@click.option("--valid-noise", help="Noise to validate on.  [default: one in 20 is held out]", **FOLDERS)
@click.option(
    "--spec",
    "spec_path",
    metavar="FILE|NAME",
    help="Spec in YAML or JSON, or the name of a shipped recipe.  [default: enhancer, or the run's own]",
)
@run_options(holds="weights, logs, examples and spec")
@click.option(
    "--from",
    "source",
    metavar="RUN|MODEL|WEIGHTS",
    type=click.Path(exists=True, path_type=Path),
    help="Fine-tune: start from both sides of another run, or from a published generator or its weights.",
)
@click.option(
    "--model",
    "denoiser",
    metavar="NAME|FOLDER",
    help="The denoiser that a share of the inputs goes through first.  [default: large]",
)
@FROM_ENCODER
@recipe_options()
@feeding_options(work="make pairs", rate_hz=48000, mb_per_hour=346)
def train_enhancer(
    clean: tuple[Path, ...],
    noise: tuple[Path, ...],
    rir: tuple[Path, ...],
    valid_clean: tuple[Path, ...],
    valid_noise: tuple[Path, ...],
    spec_path: str | None,
    run: Path,
    resume: bool,
    source: Path | None,
    from_encoder: Path | None,
    denoiser: str | None,
    workers: int,
    cache: Path | None,
    **overrides: Any,
) -> None:
    """Train an enhancer: a generator that gives back what a recording has lost, against discriminators.

    Pairs are made on the fly: full-band speech, degraded as the spec says, is the input, and what it was is
    the target. RUN gets log.csv, with the balance of the two sides, and examples/ to look at and listen to.
    Training uses one device, in float32.

    \b
    Examples:
      audenoise train-enhancer --clean studio/ --noise noises/ --out runs/enhancer
      audenoise train-enhancer --clean studio/ --noise noises/ --out runs/enhancer --resume
      audenoise train-enhancer --clean my_voice/ --from runs/enhancer --out runs/mine
    """
    if source is not None and from_encoder is not None:
        raise click.UsageError("--from and --from-encoder: take one of them.")
    from audenoise.specs.enhancer import load_enhancer_spec, parse_enhancer_spec

    if resume and spec_path is None and (run / "spec.yaml").is_file():
        spec_path = str(run / "spec.yaml")
    if source is not None and spec_path is None and (source / "spec.yaml").is_file():
        spec_path = str(source / "spec.yaml")
    data = load_enhancer_spec(spec_path or "enhancer").model_dump(mode="json")
    data["training"].update({key: value for key, value in overrides.items() if value is not None})
    spec = parse_enhancer_spec(data)

    model = None
    if spec.pairs.denoise:
        from audenoise.presets import for_files, load_preset

        preset = load_preset(for_files(denoiser))
        preset.verify()
        model = preset.folder
    load_keras()
    from audenoise.corpus import TrainingFolders
    from audenoise.enhancing.training import train_enhancer as train

    state = train(
        spec,
        TrainingFolders(clean, noise, rir, valid_clean, valid_noise),
        run=run,
        cache=cache,
        denoiser=model,
        workers=workers,
        resume=resume,
        source=source,
        encoder=from_encoder,
        report=report,
    )
    score = "" if state.best_loss is None else f", {spec.training.scored_by} {state.best_loss:.3f}"
    report(f"best after epoch {state.best_epoch}{score}: {run / 'best.weights.h5'}")
