"""The command that pre-trains an encoder on speech alone."""

from pathlib import Path
from typing import Any

import click

from audenoise.cli_options import FOLDERS, LEARNING_RATE, feeding_options, recipe_options, report, run_options
from audenoise.keras_loading import load_keras


@click.command()
@click.argument(
    "speech",
    nargs=-1,
    required=True,
    metavar="SPEECH...",
    type=click.Path(exists=True, path_type=Path),
)
@click.option("--rir", help="Room impulse responses; simulated rooms are used besides.", **FOLDERS)
@click.option(
    "--valid",
    help="Speech to validate on, of other speakers.  [default: one recording in 20 is held out]",
    **FOLDERS,
)
@click.option(
    "--spec",
    "spec_path",
    metavar="FILE|NAME",
    help="Spec of the denoiser or enhancer whose encoder it is, or the name of a shipped recipe.  "
    "[default: standard, or the run's own]",
)
@run_options(holds="weights, logs and spec")
@recipe_options()
@LEARNING_RATE
@feeding_options(work="make batches", rate_hz=16000, mb_per_hour=115)
def pretrain(
    speech: tuple[Path, ...],
    rir: tuple[Path, ...],
    valid: tuple[Path, ...],
    spec_path: str | None,
    run: Path,
    resume: bool,
    workers: int,
    cache: Path | None,
    **overrides: Any,
) -> None:
    """Pre-train an encoder on recordings of speech alone, without clean and noisy pairs.

    SPEECH is a recording or a folder, searched recursively; noise in it does no harm. Parts of its mel
    spectrogram are hidden, and the encoder learns to say what was there, and, if it is causal, what comes
    next; the spec's section `pretraining` says how much is hidden. Then `train --from-encoder RUN` starts
    from what it has learnt, or `train-enhancer --from-encoder RUN` with the spec of an enhancer.

    RUN holds the last state (for --resume) and the best encoder. Training uses one device, in float32.

    \b
    Examples:
      audenoise pretrain speech/ --out runs/encoder
      audenoise pretrain speech/ --out runs/encoder --resume
      audenoise train --clean clean/ --noise noises/ --from-encoder runs/encoder --out runs/mine
    """
    load_keras()
    from audenoise.encoder_weights import ENCODER_FILE, load_either_spec, with_training
    from audenoise.pretraining import pretrain as run_pretraining

    if resume and spec_path is None and (run / "spec.yaml").is_file():
        spec_path = str(run / "spec.yaml")
    spec = with_training(load_either_spec(spec_path or "standard"), overrides)
    state = run_pretraining(
        spec,
        speech,
        run=run,
        rir=rir,
        valid=valid,
        cache=cache,
        workers=workers,
        resume=resume,
        report=report,
    )
    if state.best_loss is not None:
        report(
            f"best validation loss {state.best_loss:.4f} after epoch {state.best_epoch}: {run / ENCODER_FILE}"
        )
