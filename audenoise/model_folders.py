"""Writing a model folder: it appears when it is complete, or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audenoise.errors import ModelError

WEIGHTS_FILE = "model.weights.h5"


def check_target(target: Path, *, overwrite: bool) -> None:
    """Refuse a folder that can't be written as a model's.

    Raises
    ------
    ModelError
        If it exists, and may not be replaced or is no model folder.
    """
    if target.exists() and not overwrite:
        raise ModelError(f"{target}: exists already; add --overwrite to replace it")
    if target.exists() and not (target / "metadata.json").exists():
        raise ModelError(f"{target}: is no model folder, so it is not replaced")


@contextmanager
def new_model_folder(target: Path, *, n_bytes: int) -> Iterator[Path]:
    """A folder to fill, which takes the place of `target` at the end of the block.

    Parameters
    ----------
    target : Path
    n_bytes : int
        What the disk must have free.

    Raises
    ------
    ModelError
        If the disk is full, or something can't be written.
    """
    target = Path(os.path.abspath(target))  # "." has no name to put another beside
    partial = target.with_name(f".{target.name}.partial{os.getpid()}")
    try:
        partial.mkdir(parents=True)
        if shutil.disk_usage(partial).free < n_bytes:
            raise ModelError(f"{target}: the disk is full. Free some space and run again.")
        yield partial
        if target.exists():
            old = target.with_name(f".{target.name}.old{os.getpid()}")
            target.rename(old)
            partial.rename(target)
            shutil.rmtree(old)
        else:
            partial.rename(target)
    except OSError as error:
        raise ModelError(f"{target}: can't be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
