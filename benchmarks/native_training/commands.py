# pyright: reportMissingImports=false
"""What the command lines of the native trainings share."""

import argparse
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from audenoise.corpus import TrainingFolders
from audenoise.errors import AudenoiseError

_FOLDERS = ("clean", "noise", "rir", "valid-clean", "valid-noise")


def add_folders(parser: argparse.ArgumentParser, *, needed: tuple[str, ...] = ("clean", "noise")) -> None:
    """Options for folders of recordings, and for the cache of what was decoded."""
    for kind in _FOLDERS:
        parser.add_argument(
            f"--{kind}", type=Path, action="append", default=[], required=kind in needed, metavar="DIR"
        )
    parser.add_argument("--cache", type=Path, metavar="DIR", help="default: OUT/cache")


def folders_of(options: argparse.Namespace) -> TrainingFolders:
    names = [kind.replace("-", "_") for kind in _FOLDERS]
    return TrainingFolders(**{name: tuple(getattr(options, name)) for name in names})


@contextmanager
def log_of(run: Path, *, echo: bool = True) -> Iterator[Callable[[str], None]]:
    """A function that says a line, in ``run/log.txt`` and, unless `echo` is false, on stdout."""
    with (run / "log.txt").open("a", buffering=1) as log:

        def say(line: str) -> None:
            stamped = f"{time.strftime('%H:%M:%S')} {line}"
            if echo:
                print(stamped, flush=True)
            print(stamped, file=log)

        yield say


def check_and_train(
    about: str | None, check: Callable[..., None], train: Callable[..., None], *, spec: str
) -> tuple[argparse.ArgumentParser, argparse.ArgumentParser]:
    """The parser of a script with the commands ``check`` and ``train``, and that of ``train`` to add to."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for name, action in (("check", check), ("train", train)):
        command = commands.add_parser(name)
        command.set_defaults(action=action)
        command.add_argument("--spec", default=spec, help="spec file, or the name of a recipe")
        command.add_argument("--threads", type=int, default=os.cpu_count())
    command.add_argument("--out", type=Path, required=True, help="run folder; goes on with what is there")
    command.add_argument("--workers", type=int, default=1)
    return parser, command


def run(parser: argparse.ArgumentParser) -> None:
    """Do what the command line says; errors of the user are one line."""
    import torch

    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    try:
        options.action(options)
    except AudenoiseError as error:
        raise SystemExit(f"{parser.prog}: {error}") from None
