"""Memory that arrays have freed, kept for the next ones."""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_THRESHOLD of glibc's malloc.h."""
_KEPT_BYTES = 256 * 2**20
_STEP_BYTES = 64 * 2**20
_LARGEST_BYTES = 32 * 2**20
"""What glibc takes as M_MMAP_THRESHOLD at most, on 64-bit machines."""


def keep_freed_memory() -> bool:
    """Let this process reuse up to 256 MB of freed memory, where the C library is glibc.

    By itself glibc gives the memory of a large array back to the system as soon as it is freed, and the
    system clears every page of the next one: for arrays that live briefly, as pieces of audio do, that is
    half of the work. For processes that end when their work is done.

    Returns
    -------
    bool
        Whether it could be asked for; elsewhere nothing changes.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False  # who sets MALLOC_TRIM_THRESHOLD_ and the like knows better
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    settings = {_MMAP_THRESHOLD: _LARGEST_BYTES, _TRIM_THRESHOLD: _KEPT_BYTES, _TOP_PAD: _STEP_BYTES}
    return all(mallopt(name, value) for name, value in settings.items())
