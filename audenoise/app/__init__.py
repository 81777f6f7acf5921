"""The web page: `serve` runs it, `create_app` makes the application for another server.

Built on Starlette and Uvicorn (the extra `app`), with one page of HTML and script that is part of the
package: it needs no network, and its headers forbid the browser any other.
"""

from .serving import is_loopback, open_socket, serve
from .settings import AppSettings, offered_enhancer, offered_models

__all__ = ["AppSettings", "is_loopback", "offered_enhancer", "offered_models", "open_socket", "serve"]
