"""An HTTP server for tests, which can be told to behave badly."""

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server has, how it serves it, and what it was asked.

    `cuts` and `statuses` are used up, one by one: the body stops after so many bytes, or the answer is that.
    """

    files: dict[str, bytes]
    ranges: bool = True
    tags: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    cuts: list[int] = field(default_factory=list)
    statuses: list[tuple[int, dict[str, str]]] = field(default_factory=list)
    bytes_per_second: float | None = None
    requests: list[dict[str, str]] = field(default_factory=list)
    address: str = ""

    def asked_ranges(self) -> list[str | None]:
        return [request.get("Range") for request in self.requests]


@contextmanager
def serving(files: dict[str, bytes], **behaviour: object) -> Iterator[Behaviour]:
    """Serve `files` (path with its slash → content) at `Behaviour.address` until the block ends."""
    shared = Behaviour(files, **behaviour)  # pyright: ignore[reportArgumentType]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            shared.requests.append(dict(self.headers.items()))
            if shared.statuses:
                status, headers = shared.statuses.pop(0)
                return self._answer(status, headers, b"")
            content = shared.files.get(self.path)
            if content is None:
                return self._answer(404, {}, b"no such file")
            tag = f'"{hashlib.sha256(content).hexdigest()[:16]}"'
            headers = {**({"ETag": tag} if shared.tags else {}), **shared.headers}
            asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", "")) if shared.ranges else None
            if asked and self.headers.get("If-Range", tag) == tag:
                start = int(asked[1])
                if start >= len(content):
                    return self._answer(416, {"Content-Range": f"bytes */{len(content)}"}, b"")
                headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
                return self._answer(206, headers, content[start:])
            return self._answer(200, headers, content)

        def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            cut = shared.cuts.pop(0) if shared.cuts and status in (200, 206) else None
            sent = body if cut is None else body[:cut]
            step = len(sent) if shared.bytes_per_second is None else max(1, int(shared.bytes_per_second / 50))
            for start in range(0, len(sent), step or 1):
                self.wfile.write(sent[start : start + step])
                if shared.bytes_per_second is not None:
                    self.wfile.flush()
                    time.sleep(step / shared.bytes_per_second)
            self.close_connection = cut is not None or self.close_connection

        def log_message(self, format: str, *args: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(ConnectionError):  # the client was killed
                super().handle()

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    shared.address = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield shared
    finally:
        server.shutdown()
        server.server_close()
