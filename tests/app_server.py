"""A web page that runs in this process, for tests."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from audenoise.app.serving import open_socket
from audenoise.app.settings import AppSettings

ASKING = {"X-Audenoise": "1"}


@dataclass
class AppServer:
    """Its address, where its uploads are, and a client."""

    address: str
    folder: Path
    session: requests.Session = field(default_factory=requests.Session)

    def ask(self, method: str, path: str, **options: Any) -> requests.Response:
        return self.session.request(method, self.address + path, headers=ASKING, timeout=60, **options)

    def upload(self, content: bytes, **query: str) -> requests.Response:
        return self.ask("POST", "/api/jobs", params=query, data=content)

    def finished(self, key: str) -> dict[str, Any]:
        """Wait until a recording is done or has failed."""
        for _ in range(3000):
            answer = self.ask("GET", f"/api/jobs/{key}").json()
            if answer.get("state") in ("done", "failed") or "error" in answer:
                return answer
            threading.Event().wait(0.02)
        raise TimeoutError(key)


@contextmanager
def app_server(folder: Path, settings: AppSettings) -> Iterator[AppServer]:
    import uvicorn

    from audenoise.app.routes import create_app

    folder.mkdir(parents=True)
    with open_socket("127.0.0.1", 0) as bound:
        app = create_app(settings, folder, hosts={"127.0.0.1"})
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        try:
            yield AppServer(f"http://127.0.0.1:{bound.getsockname()[1]}", folder)
        finally:
            server.should_exit = True
            thread.join(20)
