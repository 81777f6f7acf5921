"""Get one file over HTTP, however often the connection breaks.

`requests` brings proxies, certificates, redirects and time limits. Neither it nor `pooch`, which is built on
it, continues a file that is half there, so that part is here.
RFC 9110, sections 13.1.5 (If-Range), 14.2 (Range) and 15.5.17 (416).
"""

import errno
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests
from tqdm import tqdm
from urllib3.exceptions import HTTPError, ProtocolError

from audenoise.downloads.catalogue import Checksum
from audenoise.errors import DownloadError

_BLOCK = 1 << 18
_CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)$")
_LONGEST_PAUSE_S = 60.0


@dataclass(frozen=True)
class Patience:
    """How long to put up with a bad connection.

    Attributes
    ----------
    attempts : int
        Requests in a row that may bring nothing before the next mirror is tried.
    pause_s : float
        Before the second attempt; it doubles from one attempt to the next.
    timeout_s : float
        Without a byte for so long, the connection counts as broken.
    sleep : callable
    """

    attempts: int = 5
    pause_s: float = 1.0
    timeout_s: float = 30.0
    sleep: Callable[[float], object] = field(default=time.sleep, repr=False)


@dataclass(frozen=True)
class Fetched:
    """A file that is complete and, where a checksum is known, right.

    Attributes
    ----------
    path : Path
    url : str or None
        Where it came from; None for a file that lay there already.
    bytes : int
    sha256 : str
    """

    path: Path
    url: str | None
    bytes: int
    sha256: str


class _Unavailable(Exception):
    """This address won't give the file; another may."""


class _NoConnection(_Unavailable):
    """No server was reached at all."""


class _Wrong(Exception):
    """A file is complete and not the one that was expected."""


class _Again(Exception):
    """The request brought nothing or not all of it, for a reason that passes."""

    def __init__(self, reason: str, pause_s: float = 0.0) -> None:
        super().__init__(reason)
        self.pause_s = pause_s


def fetch(
    urls: Sequence[str],
    target: Path,
    *,
    size: int | None = None,
    checksum: Checksum | None = None,
    patience: Patience | None = None,
    progress: bool = False,
) -> Fetched:
    """Download a file, continuing where an earlier attempt stopped.

    Until it is complete and checked, it is called `target` + `.part`; what of it came from where is in
    `target` + `.part.json`. Both stay after an interruption, so that the next call continues. If the server
    says that the file has changed since, or can't continue, it is begun anew.

    Parameters
    ----------
    urls : sequence of str
        The same file at several hosts, tried in order.
    target : Path
        A file that is there already is checked and used.
    size : int, optional
        In bytes.
    checksum : Checksum, optional
    patience : Patience, optional
    progress : bool
        Draw a bar with the time left.

    Raises
    ------
    DownloadError
        If no address gives the file, it is not the one that was expected, or the disk is full.
    """
    if target.exists():
        try:
            return _finished(target, None, target, size=size, checksum=checksum, progress=progress)
        except _Wrong as problem:
            raise DownloadError(f"{target}: {problem}. Remove it and run the command again.") from None
    problems: list[_Unavailable] = []
    part = target.with_name(target.name + ".part")
    with closing(requests.Session()) as session:
        session.headers.update({"User-Agent": "audenoise", "Accept-Encoding": "identity"})
        transfer = _Transfer(session, part, size, checksum, patience or Patience(), progress)
        for url in urls:
            try:
                fetched = transfer.run(url, target)
            except _Unavailable as problem:
                problems.append(problem)
                continue
            transfer.notes.unlink(missing_ok=True)
            return fetched
    kept = " What was got is kept, run the command again to continue." if part.exists() else ""
    if all(isinstance(problem, _NoConnection) for problem in problems):
        raise DownloadError(f"{target.name}: no connection ({problems[0]}). Is this machine online?{kept}")
    raise DownloadError(f"{target.name}: {'; '.join(map(str, problems))}.{kept}")


def file_hash(path: Path, *algorithms: str, progress: bool = False) -> list[str]:
    """Hash a file with several algorithms in one pass.

    Returns
    -------
    list of str
        Lower-case hexadecimal, in the order of `algorithms`.
    """
    hashes = [hashlib.new(name, usedforsecurity=False) for name in algorithms]
    bar = _bar(f"checking {path.name}", path.stat().st_size, 0, progress)
    with bar, path.open("rb") as file:
        while block := file.read(1 << 20):
            for each in hashes:
                each.update(block)
            bar.update(len(block))
    return [each.hexdigest() for each in hashes]


@dataclass(frozen=True)
class _Transfer:
    session: requests.Session
    part: Path
    size: int | None
    checksum: Checksum | None
    patience: Patience
    progress: bool

    @property
    def notes(self) -> Path:
        return self.part.with_name(self.part.name + ".json")

    def run(self, url: str, target: Path) -> Fetched:
        """Get the whole file from one address."""
        continued = self._got() > 0
        while True:
            self._receive(url)
            try:
                return _finished(
                    self.part, url, target, size=self.size, checksum=self.checksum, progress=self.progress
                )
            except _Wrong as problem:
                self.part.unlink(missing_ok=True)
                if not continued:
                    raise _Unavailable(f"{url}: {problem}, damaged or another file") from None
            # The beginning may be from another version or a crash of the machine: once more from the start.
            continued = False

    def _receive(self, url: str) -> None:
        failures, connected = 0, False
        while True:
            before = self._got()
            try:
                self._request(url)
                return
            except requests.exceptions.SSLError as error:
                raise _Unavailable(f"{url}: its certificate can't be verified ({_reason(error)})") from None
            except requests.ConnectionError as error:
                if not connected and not isinstance(error.args[0] if error.args else None, ProtocolError):
                    raise _NoConnection(f"{url}: {_reason(error)}") from None
                problem: Exception = error
            except (_Again, requests.Timeout, HTTPError) as error:
                problem, connected = error, True
            except requests.RequestException as error:
                raise _Unavailable(f"{url}: {_reason(error)}") from None
            failures = 1 if self._got() > before else failures + 1
            if failures >= self.patience.attempts:
                raise _Unavailable(f"{url}: {_reason(problem)}, {failures} times in a row")
            pause_s = self.patience.pause_s * 2.0 ** (failures - 1)
            self.patience.sleep(min(max(pause_s, getattr(problem, "pause_s", 0.0)), _LONGEST_PAUSE_S))

    def _request(self, url: str) -> None:
        """Ask for what is missing, once."""
        start, headers = self._got(), {}
        notes = self._read_notes()
        validator = notes.get("validator") if notes.get("url") == url else None
        if start and not validator and self.checksum is None:
            start = 0  # nothing would tell whether the rest belongs to the same file
        if start:
            headers["Range"] = f"bytes={start}-"
            if validator:
                headers["If-Range"] = validator
        timeout_s = self.patience.timeout_s
        response = self.session.get(url, headers=headers, stream=True, timeout=(timeout_s, timeout_s))
        with closing(response):
            start, total = self._accept(url, response, start)
            if total is not None and start == total:
                return
            self._refuse_wrong(url, response, total)
            self._write_notes(url, response)
            if total is not None and (free := shutil.disk_usage(self.part.parent).free) < total - start:
                raise DownloadError(
                    f"{self.part}: {_gb(total - start)} are missing and {_gb(free)} are free on the disk. "
                    "Free some space and run the command again."
                )
            self._write(response, start, total)

    def _accept(self, url: str, response: requests.Response, start: int) -> tuple[int, int | None]:
        """Read the status. Returns where the body belongs and how long the whole file is."""
        status = response.status_code
        found = _CONTENT_RANGE.match(response.headers.get("Content-Range", ""))
        whole = int(found[3]) if found and found[3] != "*" else None
        if status == 200:
            length = response.headers.get("Content-Length", "")
            return 0, int(length) if length.isdigit() else None
        if status == 206 and found and found[1] is not None and int(found[1]) == start:
            return start, whole
        if status == 416 and whole == start and self.size in (None, whole):
            return start, whole
        if status in (206, 416):
            self.part.unlink(missing_ok=True)
            raise _Again("the server sent another part than was asked for")
        if status == 429 or status >= 500:
            wait = response.headers.get("Retry-After", "")
            raise _Again(
                f"the server answers {status} {response.reason}", float(wait) if wait.isdigit() else 0.0
            )
        raise _Unavailable(f"{url}: the server answers {status} {response.reason}")

    def _refuse_wrong(self, url: str, response: requests.Response, total: int | None) -> None:
        if response.headers.get("Content-Type", "").lower().startswith("text/html"):
            raise _Unavailable(f"{url}: a web page came instead of a file (a log-in or a network's portal?)")
        if self.size is not None and total is not None and total != self.size:
            raise _Unavailable(f"{url}: has {total} bytes where {self.size} were expected, another file")

    def _write(self, response: requests.Response, start: int, total: int | None) -> None:
        bar = _bar(self.part.name.removesuffix(".part"), total or self.size, start, self.progress)
        try:
            with bar, self.part.open("r+b" if start else "wb") as file:
                file.seek(start)
                # As stored: some servers call the gzip of a .tar.gz an encoding, and requests would undo it.
                for block in response.raw.stream(_BLOCK, decode_content=False):
                    file.write(block)
                    bar.update(len(block))
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DownloadError(
                    f"{self.part}: the disk is full. Free some space and run the command again to continue."
                ) from None
            raise
        if total is not None and self._got() != total:
            raise _Again("the connection was cut")

    def _got(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _read_notes(self) -> dict[str, Any]:
        try:
            notes = json.loads(self.notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def _write_notes(self, url: str, response: requests.Response) -> None:
        tag = response.headers.get("ETag", "")
        # A weak tag says that two versions mean the same, not that their bytes are the same.
        validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified")
        temporary = self.notes.with_name(self.notes.name + ".tmp")
        temporary.write_text(json.dumps({"url": url, "validator": validator}), encoding="utf-8")
        os.replace(temporary, self.notes)


def _finished(
    path: Path, url: str | None, target: Path, *, size: int | None, checksum: Checksum | None, progress: bool
) -> Fetched:
    got = path.stat().st_size
    if size is not None and got != size:
        raise _Wrong(f"it has {got} bytes where {size} were expected")
    algorithms = ["sha256"] if checksum is None else ["sha256", checksum.algorithm]
    found = file_hash(path, *algorithms, progress=progress)
    if checksum is not None and found[-1] != checksum.digits:
        raise _Wrong(f"its {checksum.algorithm} is {found[-1]} where {checksum.digits} was expected")
    os.replace(path, target)
    return Fetched(target, url, got, found[0])


def _bar(name: str, total: int | None, start: int, shown: bool) -> tqdm:
    return tqdm(
        desc=name, total=total, initial=start, unit="B", unit_scale=True, disable=not shown, leave=False
    )


def _gb(n_bytes: float) -> str:
    return f"{n_bytes / 1e9:.2f} GB"


def _reason(error: Exception) -> str:
    """The innermost cause, in a few words."""
    seen: BaseException = error
    while (inner := getattr(seen, "reason", None) or (seen.args[0] if seen.args else None)) is not None:
        if not isinstance(inner, BaseException):
            break
        seen = inner
    if isinstance(seen, OSError) and seen.strerror:
        return seen.strerror
    text = " ".join(str(seen).split())
    return re.sub(r"^\w*Connection\w*\(.*?\): ", "", text)[:160] or type(seen).__name__
