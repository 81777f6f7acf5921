"""What the command lines of the native trainings share."""

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from audenoise.corpus import TrainingFolders

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
def log_of(run: Path) -> Iterator[Callable[[str], None]]:
    """A function that says a line, on stdout and in ``run/log.txt``."""
    with (run / "log.txt").open("a", buffering=1) as log:

        def say(line: str) -> None:
            stamped = f"{time.strftime('%H:%M:%S')} {line}"
            print(stamped, flush=True)
            print(stamped, file=log)

        yield say
