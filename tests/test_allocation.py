"""Memory that is kept for the next array: seen by the pages that the system has to clear."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import numpy as np
from audenoise.allocation import keep_freed_memory

kept = keep_freed_memory() if sys.argv[1] == "keep" else False

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

for i in range(20):
    if i == 10:
        before = faults()
    arrays = [np.ones(300_000 + 1000 * i, np.float32) for _ in range(20)]
    del arrays
print(int(kept), faults() - before)
"""


def run(*arguments: str, **environment: str) -> list[int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], env=environment, capture_output=True, check=True
    )
    return [int(word) for word in done.stdout.split()]


def test_pages_are_not_cleared_again():
    kept, faults = run("keep")
    _, plain = run("leave")
    if not kept:
        pytest.skip("another C library than glibc")
    assert faults < plain / 10 or plain < 200


def test_what_the_user_set_is_left_alone():
    kept, _ = run("keep", MALLOC_TRIM_THRESHOLD_="100000")
    assert not kept
