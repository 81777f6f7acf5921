"""Hold signals back where an exception would do harm."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def signals_held(*signals: signal.Signals) -> Iterator[None]:
    """Let signals wait until the block is done; processes that are started inside hold them back for good.

    Does nothing on Windows.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
