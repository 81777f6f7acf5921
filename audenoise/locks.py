"""One process at a time in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from audenoise.errors import AudenoiseError

PATIENCE_S = 3.0
"""What a killed process had just started may hold its lock for a moment longer."""


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
