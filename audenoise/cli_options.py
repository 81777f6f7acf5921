"""What several commands have: options with the same words and limits, and what is said at the end."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from audenoise.errors import one_line

if TYPE_CHECKING:
    from audenoise.batch import BatchResult
    from audenoise.file_plan import FilePair

FOLDERS: dict[str, Any] = {
    "multiple": True,
    "type": click.Path(exists=True, path_type=Path),
    "metavar": "DIR",
}
Command = Callable[..., Any]


class OrderedCommands(click.Group):
    """Commands in the order they are defined in, where click sorts them by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


def report(line: str) -> None:
    """Say something on stderr, in one line, as every command does."""
    click.echo(f"audenoise: {one_line(line)}", err=True)


def report_files(
    result: "BatchResult",
    *,
    done: str,
    output: str,
    gain_db: float,
    plan: "Sequence[FilePair] | None",
    left_out: int,
) -> int:
    """Say what became of recordings that were worked on one by one: kept, clipped, how many.

    Parameters
    ----------
    result : BatchResult
    done : str
        What was done to them, such as "denoised".
    output : str
        What the user named for the results.
    gain_db : float
        With which they were written.
    plan : sequence of FilePair or None
        What there was to work on; None says nothing of how it went where it went well.
    left_out : int
        What was named or found and could not be planned, each said already.

    Returns
    -------
    int
        Exit code.
    """
    from audenoise.batch import clipping_line

    if result.kept:
        others = f" and {len(result.kept) - 1} more" if len(result.kept) > 1 else ""
        report(f"kept existing {result.kept[0]}{others}; --overwrite replaces")
    if result.clipped:
        report(clipping_line(result.clipped, gain_db))
    failed = result.failed + left_out
    if plan and len(plan) == 1 and result.denoised:
        report(f"wrote {plan[0].target}")
    if plan and len(plan) + left_out > 1:
        report(f"{result.denoised} {done}, {len(result.kept)} kept, {failed} failed")
    # Who names one result and does not get it must not believe that it is there.
    named_one_was_kept = result.kept == [Path(output)]
    return 1 if failed or named_one_was_kept else 0


def _stacked(options: list[Callable[[Command], Command]]) -> Callable[[Command], Command]:
    def decorate(command: Command) -> Command:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _checked_gain(_context: click.Context, _option: click.Parameter, gain_db: float) -> float:
    from audenoise.batch import gain_factor
    from audenoise.errors import SignalError

    try:
        gain_factor(gain_db)
    except SignalError as error:
        raise click.BadParameter(str(error)) from None
    return gain_db


def result_options(*, suffix: str) -> Callable[[Command], Command]:
    """--gain-db, --suffix (with an example of one), --overwrite, --jobs and --quiet, for files made of
    files."""
    return _stacked(
        [
            click.option(
                "--gain-db",
                type=float,
                callback=_checked_gain,
                default=0.0,
                show_default=True,
                metavar="DB",
                help="Make results louder by this many decibels, or with a negative number quieter, so that "
                "peaks fit that would be clipped.",
            ),
            click.option(
                "--suffix",
                default="",
                metavar="TEXT",
                help=f"Added to every file name before the dot, e.g. {suffix}.",
            ),
            click.option(
                "--overwrite",
                is_flag=True,
                help="Replace existing files. Without it they are kept and reported.",
            ),
            click.option(
                "--jobs",
                type=click.IntRange(min=1),
                metavar="N",
                help="Files worked on at a time.  [default: one per core where there are minutes of audio]",
            ),
            click.option(
                "-q",
                "--quiet",
                is_flag=True,
                help="No progress bar and no summary; errors are still printed.",
            ),
        ]
    )


def run_options(*, holds: str) -> Callable[[Command], Command]:
    """--out (as `run`) and --resume of a command that trains; `holds` says what the folder is for."""
    return _stacked(
        [
            click.option(
                "--out",
                "run",
                required=True,
                metavar="RUN",
                type=click.Path(path_type=Path, file_okay=False),
                help=f"Folder for {holds}.",
            ),
            click.option(
                "--resume", is_flag=True, help="Continue the run in RUN after its last finished epoch."
            ),
        ]
    )


def recipe_options() -> Callable[[Command], Command]:
    """--epochs, --steps-per-epoch, --batch-size and --seed, which override the spec's section `training`."""
    return _stacked(
        [
            click.option("--epochs", type=click.IntRange(min=1), help="Overrides training.epochs."),
            click.option(
                "--steps-per-epoch",
                type=click.IntRange(min=1),
                help="Overrides training.steps_per_epoch.",
            ),
            click.option("--batch-size", type=click.IntRange(min=1), help="Overrides training.batch_size."),
            click.option("--seed", type=click.IntRange(min=0), help="Overrides training.seed."),
        ]
    )


def feeding_options(*, work: str, rate_hz: int, mb_per_hour: int) -> Callable[[Command], Command]:
    """--workers and --cache; `work` is what the processes do."""
    return _stacked(
        [
            click.option(
                "--workers",
                type=click.IntRange(min=0),
                default=1,
                show_default=True,
                help=f"Processes that {work}; data_wait in the log tells whether they keep up.",
            ),
            click.option(
                "--cache",
                type=click.Path(path_type=Path, file_okay=False),
                metavar="DIR",
                help=f"Where decoded audio is kept, {mb_per_hour} MB per hour at {rate_hz // 1000} kHz.  "
                "[default: RUN/cache]",
            ),
        ]
    )


LEARNING_RATE = click.option(
    "--learning-rate", type=click.FloatRange(min=0, min_open=True), help="Overrides training.learning_rate."
)
FROM_ENCODER = click.option(
    "--from-encoder",
    metavar="RUN|WEIGHTS",
    type=click.Path(exists=True, path_type=Path),
    help="Start from the encoder of a pre-training (`audenoise pretrain`) or of another run, as far as its "
    "layers fit; what fits is listed.",
)
