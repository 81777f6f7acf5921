"""Commands that search for a spec and report what was found."""

import sys
from pathlib import Path
from typing import Any

import click

from audenoise.cli_options import report as _report
from audenoise.errors import AudenoiseError
from audenoise.keras_loading import load_keras

_FOLDERS: dict[str, Any] = {
    "multiple": True,
    "type": click.Path(exists=True, path_type=Path),
    "metavar": "DIR",
}
_FOLDER = click.Path(path_type=Path, file_okay=False)


class _SearchUnlessNamed(click.Group):
    """`tune …` is `tune search …` unless another command is named."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args or args[0] not in self.commands:
            args = ["search", *args]
        return super().parse_args(ctx, args)


@click.group(cls=_SearchUnlessNamed)
def tune() -> None:
    """Search for a better network, spectrogram or recipe.

    \b
    audenoise tune --clean speech/ --noise noises/ --space network --out searches/mine
    audenoise tune report searches/mine
    """


@tune.command()
@click.argument("dataset", required=False, type=click.Path(exists=True, path_type=Path), metavar="[DATASET]")
@click.option("--clean", help="Clean speech, searched recursively; may be given again.", **_FOLDERS)
@click.option("--noise", help="Noise, searched recursively; may be given again.", **_FOLDERS)
@click.option("--rir", help="Room impulse responses; simulated rooms are used besides.", **_FOLDERS)
@click.option(
    "--valid-clean",
    help="Clean speech to score on, of other speakers.  [default: one recording in 20 is held out]",
    **_FOLDERS,
)
@click.option("--valid-noise", help="Noise to score on.  [default: one in 20 is held out]", **_FOLDERS)
@click.option(
    "--space",
    required=True,
    metavar="FILE|NAME",
    help="Space in YAML or JSON, or the name of a shipped one: network, stft, training.",
)
@click.option(
    "--out",
    required=True,
    metavar="DIR",
    type=_FOLDER,
    help="Folder of the search; the same command goes on with one that was stopped.",
)
@click.option(
    "--algorithm",
    type=click.Choice(["random", "bayesian", "hyperband"]),
    default="bayesian",
    show_default=True,
    help="hyperband trains many for a short time, and the better ones for longer.",
)
@click.option(
    "--trials",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    help="Specs to train; those of hyperband follow from --epochs.",
)
@click.option(
    "--objective",
    multiple=True,
    metavar="METRIC[=WEIGHT]",
    help="What to raise: si_sdr (dB), pesq or estoi of held-out mixtures; several are summed with their "
    "weights, as in --objective pesq --objective si_sdr=0.05.  [default: si_sdr]",
)
@click.option("--max-parameters", metavar="N", help="Train nothing larger: 50000, 50k, 1.5M.")
@click.option(
    "--max-macs",
    metavar="N",
    help="Train nothing dearer, in multiply-accumulates per second of audio: 30M, 1.5G.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=1),
    help="Of a trial; of the longest with hyperband.  [default: training.epochs of the space's base spec]",
)
@click.option("--steps-per-epoch", type=click.IntRange(min=1), help="Of a trial.  [default: the base spec's]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the draws.")
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Processes that mix or read for the trial.",
)
@click.option(
    "--cache",
    type=_FOLDER,
    metavar="DIR",
    help="Where decoded audio is kept, 115 MB per hour at 16 kHz.  [default: DIR/cache]",
)
@click.option(
    "--role",
    type=click.Choice(["chief", "worker"]),
    help="Share the search: one chief gives out trials, any number of workers train them.",
)
@click.option(
    "--oracle",
    metavar="HOST:PORT",
    help="Where the chief listens, and nowhere else.  [default: 127.0.0.1:5454]",
)
@click.option(
    "--lost-after",
    type=click.FloatRange(min=1),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Silence after which a worker's trial is given to another.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    default=120.0,
    show_default=True,
    metavar="SECONDS",
    help="How long a worker waits for its chief to come up.",
)
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no report at the end.")
def search(
    dataset: Path | None,
    clean: tuple[Path, ...],
    noise: tuple[Path, ...],
    rir: tuple[Path, ...],
    valid_clean: tuple[Path, ...],
    valid_noise: tuple[Path, ...],
    space: str,
    out: Path,
    algorithm: str,
    trials: int,
    objective: tuple[str, ...],
    max_parameters: str | None,
    max_macs: str | None,
    epochs: int | None,
    steps_per_epoch: int | None,
    seed: int,
    workers: int,
    cache: Path | None,
    role: str | None,
    oracle: str | None,
    lost_after: float,
    wait: float,
    quiet: bool,
) -> None:
    """Search for a better network, spectrogram or recipe.

    Each trial trains a spec from the space in a process of its own, and scores it on held-out mixtures that
    are the same for all. A trial that fails is reported, and the search goes on. Draws over the budget are
    never trained. DIR/report/best.yaml is a spec for `audenoise train --spec`; beside it are a table and a
    picture of the quality-against-cost front. `audenoise tune report DIR` shows them while the search runs.

    With --role, or KerasTuner's variables KERASTUNER_TUNER_ID, KERASTUNER_ORACLE_IP and
    KERASTUNER_ORACLE_PORT, a chief and workers share DIR, on a disk that all of them see. Whoever reaches the
    chief's port can take part: keep it to networks that you trust.

    \b
    Examples:
      audenoise tune --clean speech/ --noise noises/ --space network --max-macs 60M --out searches/net
      audenoise tune dataset/ --space training --algorithm hyperband --epochs 9 --out searches/recipe
      audenoise tune dataset/ --space network --out searches/net --role chief --oracle 10.0.0.1:5454
      audenoise tune report searches/net
    """
    folders = {
        "clean": clean,
        "noise": noise,
        "rir": rir,
        "valid-clean": valid_clean,
        "valid-noise": valid_noise,
    }
    if dataset is not None:
        given = [f"--{name}" for name, paths in folders.items() if paths] + ["--cache"] * (cache is not None)
        if given:
            raise click.UsageError(f"{', '.join(given)}: a DATASET has its mixtures already; leave one out.")
    elif not (clean and noise):
        raise click.UsageError("Name a DATASET, or folders with --clean and --noise.")
    from dataclasses import replace

    from audenoise.addresses import check_free
    from audenoise.corpus import TrainingFolders
    from audenoise.searches.goals import Budget, Objective, parse_amount
    from audenoise.searches.report import in_words
    from audenoise.spaces import load_space
    from audenoise.tuning.roles import find_role

    part = replace(find_role(role, oracle), lost_after_s=lost_after, wait_s=wait)
    if part.kind == "chief" and part.address is not None:
        check_free(part.address, "--oracle")
    goal = Objective.parse(objective or ["si_sdr"])
    limits = [None if text is None else parse_amount(text) for text in (max_parameters, max_macs)]
    searched = load_space(space)
    load_keras()
    from audenoise.tuning.data import SearchData
    from audenoise.tuning.search import search as run_search
    from audenoise.tuning.settings import SearchSettings

    found = run_search(
        SearchSettings(
            space=searched,
            objective=goal,
            budget=Budget(*limits),
            algorithm=algorithm,
            trials=trials,
            epochs=epochs,
            steps_per_epoch=steps_per_epoch,
            seed=seed,
        ),
        SearchData(
            None if dataset else TrainingFolders(clean, noise, rir, valid_clean, valid_noise),
            dataset,
            cache or out / "cache",
            workers,
        ),
        out,
        role=part,
        report=_report,
        bar=not quiet and sys.stderr.isatty(),
    )
    if found is None:
        return
    if not quiet:
        click.echo(in_words(found))
    if found.best is None:
        raise AudenoiseError(f"{out}: no trial has been completed; the report says why")
    _report(f"best spec: {out / 'report' / 'best.yaml'}")


@tune.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
def report(folder: Path) -> None:
    """Show what a search has found, also while it runs.

    Writes into DIR/report: trials.csv, front.csv, front.png, best.yaml, and the specs on the front.

    \b
    Example: audenoise tune report searches/net
    """
    from audenoise.searches.report import in_words, read_report, write_report

    found = read_report(folder)
    click.echo(in_words(found))
    for path in write_report(found, folder / "report"):
        _report(f"written: {path}")
