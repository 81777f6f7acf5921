"""libmpg123 says what it thinks of a damaged MP3 on stderr, past Python and libsndfile, line upon line.

What is wrong is an `AudioFileError`, and users get it as one line.
"""

import os
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_STDERR = 2
_ITS_LINES = re.compile(rb"((\[src/libmpg123/|Note: |Warning: ).*)?\n?")
_lock = threading.Lock()
_readers, _original = 0, -1
_kept: BinaryIO | None = None


@contextmanager
def decoder_kept_quiet() -> Iterator[None]:
    """Leave out what libmpg123 writes to stderr; what others write there meanwhile comes when it is over."""
    global _readers
    with _lock:
        _readers += 1
        if _readers == 1:
            _divert()
    try:
        yield
    finally:
        with _lock:
            _readers -= 1
            if not _readers:
                _restore()


def _divert() -> None:
    global _kept, _original
    try:
        _original = os.dup(_STDERR)
    except OSError:  # there is no stderr, so nobody is disturbed
        return
    try:
        _kept = tempfile.TemporaryFile()  # noqa: SIM115, closed by `_restore`
        os.dup2(_kept.fileno(), _STDERR)
    except OSError:  # no room for a file: then it is noisy
        os.close(_original)
        _kept = None


def _restore() -> None:
    global _kept
    if _kept is None:
        return
    os.dup2(_original, _STDERR)
    os.close(_original)
    with _kept:
        _kept.seek(0)
        others = b"".join(line for line in _kept if not _ITS_LINES.fullmatch(line))
    _kept = None
    if others:
        os.write(_STDERR, others)
