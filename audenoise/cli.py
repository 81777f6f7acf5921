"""The command line: one thin function per command, which parses, calls one function elsewhere and prints.

Everything heavy is imported inside the functions, so that `audenoise --help` starts at once and `predict`
never loads TensorFlow or Keras. A command returns nothing, or the exit code. `main` turns every error that a
person can put right into one line on stderr and an exit code: 1 for a failure, 2 for a wrong command line,
130 for Ctrl-C.
"""

import errno
import os
import signal
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from audenoise.cli_app import app
from audenoise.cli_completion import completion
from audenoise.cli_datasets import build_dataset
from audenoise.cli_download import download
from audenoise.cli_enhancer import enhance, train_enhancer
from audenoise.cli_evaluation import evaluate
from audenoise.cli_export import export
from audenoise.cli_inspect import inspect
from audenoise.cli_listen import listen
from audenoise.cli_live import live
from audenoise.cli_models import models
from audenoise.cli_options import OrderedCommands, report_files, result_options
from audenoise.cli_options import report as say
from audenoise.cli_pretraining import pretrain
from audenoise.cli_report import report
from audenoise.cli_training import publish, train
from audenoise.cli_tuning import tune
from audenoise.errors import AudenoiseError, one_line
from audenoise.interrupts import Terminated, signals_held, termination_unwinds

_SYNONYMS = {
    "denoise": "predict",
    "clean": "predict",
    "restore": "enhance",
    "fit": "train",
    "score": "evaluate",
}
_INTERRUPTED = 130
_TERMINATED = 143


class _Commands(OrderedCommands):
    """Ctrl-C or `kill` as one line; for a recording or another word in a command's place, what is meant."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            first = args[0]
            if os.path.exists(first):
                where = f"{first} -o CLEAN" if not os.path.isdir(first) else f"{first} -o FOLDER"
                raise click.UsageError(
                    f"{first} is no command. Denoise it by `audenoise predict {where}`."
                ) from error
            near = [_SYNONYMS[first]] if first in _SYNONYMS else get_close_matches(first, self.commands)
            if near:
                raise click.UsageError(f"No such command '{first}'. Is `{near[0]}` meant?") from error
            raise

    def invoke(self, ctx: click.Context) -> Any:
        try:
            with termination_unwinds():
                return super().invoke(ctx)
        except Terminated:
            click.echo("audenoise: terminated", err=True)
            ctx.exit(_TERMINATED)
        except KeyboardInterrupt:
            click.echo("audenoise: interrupted", err=True)
            ctx.exit(_INTERRUPTED)


def _print_version(ctx: click.Context, _parameter: click.Parameter, wanted: bool) -> None:
    if not wanted or ctx.resilient_parsing:
        return
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"audenoise {version('audenoise')}")
    except PackageNotFoundError:
        click.echo("audenoise (a checkout that is not installed)")
    ctx.exit()


@click.group(
    cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Print the version.",
)
def cli() -> None:
    """Take the noise out of speech recordings, and train networks that do.

    \b
    Example: audenoise predict noisy.wav -o clean.wav
    """


@cli.command()
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@click.option(
    "-o",
    "--output",
    required=True,
    metavar="OUT",
    help="Folder for the results, made if missing. For a single input file also a file name, whose suffix "
    "(.wav, .flac, .ogg, .mp3) chooses the format; a folder name with a dot then needs a slash at the end.",
)
@click.option(
    "--model",
    metavar="NAME|FOLDER",
    help="Bundled model (see `audenoise models list`), or path to a model folder.  [default: large]",
)
@click.option(
    "--strength",
    type=click.FloatRange(0.0, 1.0),
    default=1.0,
    show_default=True,
    help="How much of the denoised signal to take: 0 leaves the recording as it is, 1 denoises fully.",
)
@click.option(
    "--max-attenuation-db",
    type=click.FloatRange(min=0.0),
    metavar="DB",
    help="Turn nothing down by more than this many decibels: 12 keeps some of the room.  [default: no limit]",
)
@click.option(
    "--shifts",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Take the mean of so many runs, whose frames begin at different samples: 2 is a little cleaner and "
    "takes twice as long.",
)
@result_options(suffix="_denoised")
@click.option(
    "--ray",
    metavar="ADDRESS",
    help="Work on the cores of a Ray cluster: HOST:PORT, auto for one that runs here, or local for one on "
    "127.0.0.1 for the time of the work. Needs 'audenoise[cluster]', and the same paths on all machines.",
)
@click.option("--plot", is_flag=True, help="Write OUT.png beside each result: spectrograms before and after.")
def predict(
    inputs: tuple[str, ...],
    output: str,
    model: str | None,
    strength: float,
    max_attenuation_db: float | None,
    shifts: int,
    gain_db: float,
    suffix: str,
    overwrite: bool,
    jobs: int | None,
    ray: str | None,
    plot: bool,
    quiet: bool,
) -> int:
    """Denoise files, or folders of files with all below them.

    IN is a recording (wav, flac, ogg, mp3; any rate and channel count) or a folder, whose structure is kept
    under OUT. Results have the length, rate, channels and sample format of the recording, and no delay.

    A recording that can't be read is reported, the others are done all the same; the exit code is 1 then, and
    also where the one result that OUT names exists already and is kept.

    \b
    Examples:
      audenoise predict noisy.wav -o clean.wav
      audenoise predict interviews/ -o denoised/ --max-attenuation-db 18
    """
    if not (all(inputs) and output):
        raise click.UsageError("IN and OUT must not be empty (a variable that is not set?).")
    # An import that is interrupted can fail in any way, or not at all.
    with signals_held(signal.SIGINT, signal.SIGTERM):
        from audenoise.batch import denoise_files
        from audenoise.file_plan import plan_files
    unlisted: list[AudenoiseError] = []
    plan = plan_files([Path(name) for name in inputs], output, suffix=suffix, on_error=unlisted.append)
    for problem in unlisted:
        say(f"error: {problem}")
    result = denoise_files(
        plan,
        model=model,
        strength=strength,
        max_attenuation_db=max_attenuation_db,
        shifts=shifts,
        gain_db=gain_db,
        overwrite=overwrite,
        plot=plot,
        jobs=jobs,
        ray=ray,
        report=say,
        progress=not quiet and sys.stderr.isatty(),
    )
    return report_files(
        result,
        done="denoised",
        output=output,
        gain_db=gain_db,
        plan=None if quiet else plan,
        left_out=len(unlisted),
    )


for _command in (
    models,
    build_dataset,
    inspect,
    train,
    publish,
    download,
    tune,
    live,
    app,
    listen,
    export,
    evaluate,
    report,
    enhance,
    train_enhancer,
    pretrain,
    completion,
):
    cli.add_command(_command)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        Without the program's name. Default: those of this process.

    Returns
    -------
    int
        Exit code.
    """
    try:
        code = cli.main(args=arguments, prog_name="audenoise", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return 2
    except click.UsageError as error:
        if isinstance(error, click.NoSuchOption):
            for word in sys.argv[1:] if arguments is None else arguments:
                if word.startswith("-") and os.path.exists(word):
                    return _fail(f"{word}: begins with a dash; write {os.path.join('.', word)}", code=2)
        command = error.ctx.command_path if error.ctx else "audenoise"
        return _fail(f"{error.format_message()} See `{command} --help`.", code=2)
    except click.ClickException as error:
        return _fail(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        click.echo("audenoise: interrupted", err=True)
        return _INTERRUPTED
    except AudenoiseError as error:
        return _fail(str(error))
    except UnicodeEncodeError as error:
        name = one_line(error.object[max(0, error.start - 80) : error.end + 20])
        return _fail(f"{name}: a name with bytes that are no UTF-8 can't be written here; rename the file")
    except OSError as error:
        if error.errno == errno.EPIPE:
            # The reader went away (`audenoise ... | head`): nobody is left to tell, not even at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        return _fail(
            f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        )
    return code if isinstance(code, int) else 0


def _fail(message: str, *, code: int = 1) -> int:
    say(f"error: {' '.join(message.split())}")
    return code
