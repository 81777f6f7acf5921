"""One process at a time in a folder, and temporary folders that no kill leaves behind for good."""

import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audenoise.errors import AudenoiseError

PATIENCE_S = 3.0
"""What a killed process had just started may hold its lock for a moment longer."""
YOUNG_S = 60.0
"""What was written to so lately is not taken for left behind: its lock may not be there, or not seen, yet."""


@contextmanager
def only_one(path: Path, refusal: AudenoiseError, *, patience_s: float = PATIENCE_S) -> Iterator[None]:
    """Hold a lock that ends with this process, however it ends.

    Parameters
    ----------
    path : Path
        The file that is locked; made if it isn't there, and left there.
    refusal : AudenoiseError
        What is raised if another process holds it.
    patience_s : float
        How long to wait for that.

    Raises
    ------
    OSError
        If the file can't be made.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(path, timeout=patience_s, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise refusal from None
    try:
        yield
    finally:
        lock.release()


@contextmanager
def temporary_folder(prefix: str) -> Iterator[Path]:
    """A folder for the time of the block. Those that killed processes have left are removed as well.

    Parameters
    ----------
    prefix : str
        Of its name, and of the names of folders that are looked at: one that is ours and that no process
        holds is removed, a minute after anything was last made in it.
    """
    root = Path(tempfile.gettempdir())
    for old in root.glob(f"{prefix}*"):
        _remove_if_left(old)
    folder = Path(tempfile.mkdtemp(prefix=prefix))
    try:
        with only_one(folder / ".lock", AudenoiseError(f"{folder}: is locked by another process")):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_if_left(folder: Path) -> None:
    try:
        status = folder.lstat()
        mine = not hasattr(os, "getuid") or status.st_uid == os.getuid()
        # One that was made this minute may not have its lock yet.
        if not (stat.S_ISDIR(status.st_mode) and mine and time.time() - status.st_mtime > YOUNG_S):
            return
        with only_one(folder / ".lock", AudenoiseError("in use"), patience_s=0.0):
            shutil.rmtree(folder, ignore_errors=True)
    except (AudenoiseError, OSError):
        return
