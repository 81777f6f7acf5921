"""One trial in a process of its own: whatever goes wrong in it, the search goes on."""

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

from audenoise.errors import AudenoiseError
from audenoise.interrupts import signals_held
from audenoise.keras_loading import load_keras
from audenoise.searches.records import read_result, write_json
from audenoise.tuning.memory import peak_mb_of
from audenoise.tuning.request import TrialRequest

_POLL_S = 0.25


class DiskFull(AudenoiseError):
    """No trial can go on: the search stops, and goes on when it is started again."""


def finished_result(request: TrialRequest) -> dict[str, Any] | None:
    """The result of this very trial, if a session before this one has come so far."""
    result = read_result(request.run)
    return result if result and result.get("stamp") == request.stamp else None


def run_trial(
    request: TrialRequest,
    tick: Callable[[], object] = lambda: None,
    work: Callable[[TrialRequest], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """Train and score one spec in another process.

    Parameters
    ----------
    request : TrialRequest
    tick : callable
        Called several times a second; what it raises stops the trial.
    work : callable, optional
        What is done in that process, a function of a module. Default: `audenoise.tuning.trial_run.work`.

    Returns
    -------
    dict
        As in result.json: `status` is ``completed`` or ``failed``, then with a `message`.

    Raises
    ------
    DiskFull
    """
    done = finished_result(request)
    if done is not None:
        return done
    started, peak_mb = time.monotonic(), 0.0
    context = multiprocessing.get_context("spawn")
    pipe, out = context.Pipe(duplex=False)
    process = context.Process(target=_start, args=(request, out, work))
    with signals_held(signal.SIGINT):
        process.start()
    out.close()
    answer: dict[str, Any] | None = None
    try:
        while answer is None:
            ready = wait([pipe, process.sentinel], timeout=_POLL_S)
            peak_mb = max(peak_mb, peak_mb_of(process.pid))
            if pipe in ready:
                try:
                    answer = pipe.recv()
                except (EOFError, OSError):
                    break
            elif process.sentinel in ready:
                break
            else:
                tick()
        process.join(timeout=20)
    finally:
        if process.is_alive():
            process.kill()
        process.join()
        pipe.close()
    if answer is None:
        answer = {"status": "failed", "message": _cause(process.exitcode)}
    if answer.pop("disk_full", False):
        raise DiskFull(f"{request.run}: {answer['message']}. Free some space, then start the search again")
    answer.setdefault("seconds", time.monotonic() - started)
    answer.setdefault("peak_memory_mb", peak_mb or None)
    result = {**answer, "stamp": request.stamp, "worker": request.worker}
    write_json(request.run / "result.json", result)
    return result


def _cause(exit_code: int | None) -> str:
    if exit_code == -getattr(signal, "SIGKILL", 9):  # Windows has no such signal
        return "its process was killed, by the system for want of memory as a rule"
    return f"its process died (exit code {exit_code})"


def _start(
    request: TrialRequest, out: Connection, work: Callable[[TrialRequest], dict[str, Any]] | None
) -> None:
    """The life of a trial's process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_follow_parent, daemon=True).start()
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "3":  # set by load_keras in the parent, for itself
        del os.environ["TF_CPP_MIN_LOG_LEVEL"]
    load_keras()
    from audenoise.tuning import trial_run

    out.send((work or trial_run.work)(request))
    out.close()


def _follow_parent() -> None:
    """A trial must not go on beside the search that continues it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
