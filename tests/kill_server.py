"""Forks a process for some work, again and again, and kills it at random moments until one gets through.

TensorFlow is loaded once, which is what takes time; it may be forked as long as it has computed nothing.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from typing import Any


def until_through(
    work: Callable[[], object],
    *,
    seen: Callable[[], Any],
    check: Callable[[], object],
    kills: int,
    within_s: float,
    seed: int,
) -> int:
    """Number of kills.

    Each process is killed some time after what is `seen` has changed: a random one of up to `within_s`
    seconds. `check` looks at what it has left.
    """
    rng, killed = random.Random(seed), 0
    for _ in range(kills):
        before, delay = seen(), rng.uniform(0, within_s)
        process = _fork(work)
        while not (ended := _has_ended(process)) and seen() == before:
            time.sleep(0.002)
        until = time.monotonic() + delay
        while not ended and time.monotonic() < until:
            time.sleep(0.002)
            ended = _has_ended(process)
        if not ended:
            os.kill(process, signal.SIGKILL)
            _, status = os.waitpid(process, 0)
            ended = not os.WIFSIGNALED(status)
        check()
        if ended:
            return killed
        killed += 1
    _, status = os.waitpid(_fork(work), 0)
    if status:
        raise SystemExit("the work failed")
    check()
    return killed


def _fork(work: Callable[[], object]) -> int:
    process = os.fork()
    if process:
        return process
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def _has_ended(process: int) -> bool:
    ended, status = os.waitpid(process, os.WNOHANG)
    if ended and status:
        raise SystemExit("the work failed")
    return bool(ended)
