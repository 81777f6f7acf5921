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


class _Stderr:
    """Where stderr goes while decoders work, and how many do."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._readers, self._original = 0, -1
        self._kept: BinaryIO | None = None

    def begin(self) -> None:
        with self._lock:
            self._readers += 1
            if self._readers == 1:
                self._divert()

    def end(self) -> None:
        with self._lock:
            self._readers -= 1
            if not self._readers:
                self._restore()

    def _divert(self) -> None:
        try:
            self._original = os.dup(_STDERR)
        except OSError:  # there is no stderr, so nobody is disturbed
            return
        try:
            self._kept = tempfile.TemporaryFile()  # noqa: SIM115, closed by `_restore`
            os.dup2(self._kept.fileno(), _STDERR)
        except OSError:  # no room for a file: then it is noisy
            os.close(self._original)
            self._kept = None

    def _restore(self) -> None:
        if self._kept is None:
            return
        os.dup2(self._original, _STDERR)
        os.close(self._original)
        with self._kept as kept:
            kept.seek(0)
            others = b"".join(line for line in kept if not _ITS_LINES.fullmatch(line))
        self._kept = None
        if others:
            os.write(_STDERR, others)


_stderr = _Stderr()


@contextmanager
def decoder_kept_quiet() -> Iterator[None]:
    """Leave out what libmpg123 writes to stderr; what others write there meanwhile comes when it is over."""
    _stderr.begin()
    try:
        yield
    finally:
        _stderr.end()
