"""A zip that is sent while it is made: nothing of it lies on the disk or in memory."""

import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

_BLOCK = 1 << 18


class _Sink:
    """What `zipfile` writes to; it can't seek, so sizes follow each member."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        pass

    def taken(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


def zip_stream(members: Iterable[tuple[Path, str]]) -> Iterator[bytes]:
    """Yield the bytes of a zip.

    Parameters
    ----------
    members : iterable of (Path, str)
        Files and their names in the zip. They are stored as they are: audio hardly gets smaller.

    Examples
    --------
    >>> import io
    >>> import zipfile
    >>> content = b"".join(zip_stream([(Path(__file__), "zipping.py")]))
    >>> zipfile.ZipFile(io.BytesIO(content)).namelist()
    ['zipping.py']
    """
    sink = _Sink()
    with zipfile.ZipFile(sink, "w") as archive:  # pyright: ignore[reportArgumentType, reportCallIssue]
        for path, name in members:
            info = zipfile.ZipInfo(name, time.localtime()[:6])
            with path.open("rb") as source, archive.open(info, "w", force_zip64=True) as member:
                while block := source.read(_BLOCK):
                    member.write(block)
                    yield sink.taken()
    yield sink.taken()
