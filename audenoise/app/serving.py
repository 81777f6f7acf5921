"""Run the web page: an address, a folder that goes away, a server."""

import os
import socket
from collections.abc import Callable

from audenoise.errors import AudenoiseError
from audenoise.locks import temporary_folder

from .settings import AppSettings

_PREFIX = "audenoise-app-"
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_MOST_CONNECTIONS = 200


def open_socket(host: str, port: int) -> socket.socket:
    """Bind an address.

    Raises
    ------
    AudenoiseError
        If it is taken, or isn't one of this machine.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, protocol)
        try:
            if os.name != "nt":  # where it would share a port that is in use
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind(address)
            bound.listen(128)
        except BaseException:
            bound.close()
            raise
    except (OSError, OverflowError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise AudenoiseError(
            f"{host} port {port}: can't listen there ({reason}); choose another --port or --host"
        ) from error
    return bound


def is_loopback(host: str) -> bool:
    """Whether an address can be reached from this machine only.

    >>> is_loopback("127.0.0.1"), is_loopback("0.0.0.0")
    (True, False)
    """
    return host in _LOOPBACK or host.startswith("127.")


def serve(
    settings: AppSettings, *, host: str, port: int, ready: Callable[[str], object] = lambda _address: None
) -> None:
    """Serve the page until the process is told to end.

    Parameters
    ----------
    settings : AppSettings
    host : str
        Address to bind.
    port : int
        0 takes any that is free.
    ready : callable
        Called with the page's address.

    Raises
    ------
    AudenoiseError
        If the address can't be used.
    """
    import uvicorn

    from .routes import create_app

    with open_socket(host, port) as bound, temporary_folder(_PREFIX) as folder:
        recordings = folder / "recordings"
        recordings.mkdir()
        shown = f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{bound.getsockname()[1]}"
        hosts = {*_LOOPBACK, host} if is_loopback(host) else None
        app = create_app(settings, recordings, hosts=hosts)
        config = uvicorn.Config(
            app,
            log_level="warning",
            access_log=False,
            server_header=False,
            limit_concurrency=_MOST_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=3,
        )
        ready(address)
        uvicorn.Server(config).run(sockets=[bound])
