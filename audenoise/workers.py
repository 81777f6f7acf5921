"""Work in several processes that leaves nothing behind, however it ends."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from types import FrameType
from typing import NoReturn, TypeVar

from audenoise.errors import AudenoiseError

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_processes(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int
) -> Generator[Result, None, None]:
    """Yield the results of a function in the order in which they are ready.

    When this ends early, by an error, Ctrl-C, or because the generator is closed, the workers get a
    SystemExit where they are, so that `with` and `finally` remove what is half-done; the same happens in a
    worker whose parent is killed.

    Parameters
    ----------
    function : callable
        Picklable: defined at the top of a module, or a partial of such a one.
    items : sequence
        Picklable too.
    jobs : int
        Processes, at least 1. They are spawned, so that threads and locks of this process don't matter.

    Raises
    ------
    AudenoiseError
        If a worker dies.
    """
    others = set(multiprocessing.active_children())
    executor = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        # Ctrl-C in a terminal reaches every process of the group. The workers are to leave it to this one,
        # from their first instruction on: an ignored signal stays ignored in a new process.
        with _sigint_ignored():
            futures = [executor.submit(_call, function, item) for item in items]
        for future in as_completed(futures):
            yield future.result()
    except BaseException as error:
        executor.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()
        if isinstance(error, BrokenProcessPool):
            raise AudenoiseError("a worker process died (out of memory?); use fewer --jobs") from error
        raise
    finally:
        executor.shutdown(wait=True)


@contextmanager
def _sigint_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers, and only it receives Ctrl-C
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _start_worker() -> None:
    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: cleaning up must not be interrupted
        raise SystemExit

    def follow_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            wait([parent.sentinel])
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, stop)
    threading.Thread(target=follow_parent, daemon=True).start()


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    try:
        return function(item)
    except SystemExit:
        os._exit(1)  # the executor would take it for this item's result and go on with the next
