"""Signals: held back where an exception would do harm, and `kill` as an exception that cleans up."""

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

_AGAIN_S = 0.05


class Terminated(KeyboardInterrupt):
    """Somebody asked this process to end (SIGTERM). As with Ctrl-C, what is being written is removed."""


def _terminate_main_thread() -> None:
    """As if SIGTERM came from outside: a system call that the main thread waits in ends."""
    main = threading.main_thread().ident
    if hasattr(signal, "pthread_kill") and main is not None:
        signal.pthread_kill(main, signal.SIGTERM)
    else:
        signal.raise_signal(signal.SIGTERM)


@contextmanager
def termination_unwinds() -> Iterator[None]:
    """Turn SIGTERM into `Terminated` inside the block. Other threads never get the signal.

    The second signal does nothing: cleaning up must not be interrupted. Where Python drops the exception, for
    it was in a `__del__` when the signal came, it is raised again a moment later.
    """

    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Terminated

    def again(dropped: Any) -> None:
        if not isinstance(dropped.exc_value, Terminated):
            report_dropped(dropped)
            return
        signal.signal(signal.SIGTERM, stop)
        timer = threading.Timer(_AGAIN_S, _terminate_main_thread)
        timer.daemon = True
        timer.start()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before, report_dropped = signal.signal(signal.SIGTERM, stop), sys.unraisablehook
    sys.unraisablehook = again
    try:
        yield
    finally:
        sys.unraisablehook = report_dropped
        signal.signal(signal.SIGTERM, before)


@contextmanager
def interrupts_wait() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM wait until the block is done.

    For calls of C code that calls back: what is raised in there is printed, and gets no further.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    raising = {number: handler for number, handler in handlers.items() if callable(handler)}
    try:
        for number in raising:
            signal.signal(number, lambda *one: came.append(one))
        yield
    finally:
        for number, handler in raising.items():
            signal.signal(number, handler)
        if came:
            raising[signal.Signals(came[0][0])](*came[0])


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
