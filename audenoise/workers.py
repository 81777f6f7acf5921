"""Work in several processes, here or on a cluster, that leaves nothing behind, however it ends."""

import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from multiprocessing.connection import wait
from types import FrameType, TracebackType
from typing import NoReturn, Self, TypeVar

from audenoise.cluster import ATTEMPTS, map_on_cluster
from audenoise.errors import AudenoiseError
from audenoise.interrupts import signals_held

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_ON_WINDOWS = 61
"""Processes that one can wait for there."""


class Workers:
    """Processes that can be started ahead of their work, so that they load what it needs meanwhile.

    When the `with` block ends by an error, or Ctrl-C, the workers get a SystemExit where they are, so that
    their own `with` and `finally` remove what is half-done; the same happens in a worker whose parent is
    killed.

    Parameters
    ----------
    jobs : int
        Processes at most, at least 1. They are spawned, so that threads and locks of this process don't
        matter.
    """

    def __init__(self, jobs: int) -> None:
        self._others = set(multiprocessing.active_children())
        context = multiprocessing.get_context("spawn")
        most = min(jobs, _MOST_ON_WINDOWS) if os.name == "nt" else jobs
        self._executor = ProcessPoolExecutor(most, context, initializer=_start_worker)

    def start(self, function: Callable[[Item], object]) -> None:
        """Start one more process, if there are fewer than `jobs`, that loads the function's module."""
        # Ctrl-C in a terminal reaches every process of the group. The workers are to leave it to this one,
        # from their first instruction on: what is blocked here is blocked in a new process. Here it comes
        # later.
        with signals_held(signal.SIGINT), suppress(BrokenProcessPool):  # `map` tells of it
            self._executor.submit(_load, function)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> Generator[Result, None, None]:
        """Yield the results in the order in which they are ready."""
        try:
            with signals_held(signal.SIGINT):  # see `start`
                futures = [self._executor.submit(_call, function, item) for item in items]
            for future in as_completed(futures):
                yield future.result()
        except BrokenProcessPool as error:
            raise AudenoiseError("a worker process died (out of memory?); use fewer --jobs") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            for process in set(multiprocessing.active_children()) - self._others:
                process.terminate()
        self._executor.shutdown(wait=True, cancel_futures=True)


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    jobs: int,
    *,
    ray: str | None = None,
    lost: Callable[[Item, str], Result] | None = None,
    attempts: int = ATTEMPTS,
    workers: Workers | None = None,
) -> Generator[Result, None, None]:
    """Yield the results of a function in the order in which they are ready.

    When this ends early, by an error, Ctrl-C, or because the generator is closed, the workers end too, as
    `Workers` says.

    Parameters
    ----------
    function : callable
        Picklable: defined at the top of a module, or a partial of such a one.
    items : sequence
        Picklable too.
    jobs : int
        Processes, at least 1.
    ray : str, optional
        Address of a Ray cluster that does the work in their place: see `map_on_cluster`.
    lost, attempts : optional
        What becomes of an item that kills the cluster's workers. Here, a worker that dies ends the work.
    workers : Workers, optional
        Processes that have been started already, and that remain.

    Raises
    ------
    AudenoiseError
        If a worker dies; for the cluster, see `map_on_cluster`.
    """
    if ray is not None:
        yield from map_on_cluster(function, items, ray, lost=lost, attempts=attempts)
        return
    if workers is not None:
        yield from workers.map(function, items)
        return
    with Workers(jobs) as started:
        yield from started.map(function, items)


def _start_worker() -> None:
    def follow_parent() -> None:
        parent = multiprocessing.parent_process()
        if parent is not None:
            wait([parent.sentinel])
            os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # What the work needs is loaded next, and looking for garbage meanwhile takes a fifth of the time.
    gc.disable()
    threading.Thread(target=follow_parent, daemon=True).start()


def _load(_function: Callable[[Item], object]) -> None:
    """Run in a worker, which has had to load the function to get here."""
    gc.enable()


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    """Run in a worker: SIGTERM ends an idle one at once, and a busy one when it has cleaned up."""
    gc.enable()
    stopped = False

    def stop(_signal: int, _frame: FrameType | None) -> NoReturn:
        nonlocal stopped
        stopped = True
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # once is enough: cleaning up must not be interrupted
        raise SystemExit

    signal.signal(signal.SIGTERM, stop)
    try:
        try:
            return function(item)
        finally:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
    finally:
        if stopped:
            # The executor would take whatever comes from here for this item's result and go on with the next.
            os._exit(1)
