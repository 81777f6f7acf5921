"""HTML pages that are one file: style, script and data inside, nothing loaded from anywhere."""

import base64
import hashlib
import html
import os
import re
from collections.abc import Mapping
from contextlib import suppress
from importlib.resources import files
from pathlib import Path

from audenoise.errors import AudenoiseError

_MARK = re.compile(r"\{\{(\w+)\}\}")


def fill_page(package: str, name: str, parts: Mapping[str, str]) -> str:
    """Fill the template `page/NAME.html` of a package.

    Parameters
    ----------
    package : str
        As in "audenoise.reports".
    name : str
        Of the template, and of the .css and .js beside it, which go to the marks {{style}} and {{script}}.
    parts : mapping
        What goes to the other marks: HTML, already escaped.

    Returns
    -------
    str
        With a content security policy at {{policy}} that lets a browser run this script and no other, and
        load nothing.
    """
    folder = files(package).joinpath("page")
    script = folder.joinpath(f"{name}.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    everything = {
        **parts,
        "style": folder.joinpath(f"{name}.css").read_text(encoding="utf-8"),
        "script": script,
        "policy": f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "img-src data:",
    }
    template = folder.joinpath(f"{name}.html").read_text(encoding="utf-8")
    return _MARK.sub(lambda mark: everything[mark[1]], template)


def escaped(text: object) -> str:
    """Text as HTML.

    >>> escaped("a < b & 'c'")
    'a &lt; b &amp; &#x27;c&#x27;'
    """
    return html.escape(str(text))


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuse a target that can't be written, before the work.

    Raises
    ------
    AudenoiseError
        If it exists and may not be replaced, or its folder is missing.
    """
    if path.is_dir():
        raise AudenoiseError(f"{path}: is a folder; name a file in it")
    if path.exists() and not overwrite:
        raise AudenoiseError(f"{path}: exists already; choose another name or --overwrite")
    if not path.absolute().parent.is_dir():
        raise AudenoiseError(f"{path.parent}: no such folder to write {path.name} to")


def write_text(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a file at once, or not at all.

    Raises
    ------
    AudenoiseError
        As `check_target` does, or if it can't be written.
    """
    check_target(path, overwrite=overwrite)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        partial.write_bytes(text.encode("utf-8", "backslashreplace"))
        os.replace(partial, path)
    except OSError as error:
        raise AudenoiseError(f"{path}: can't be written ({error.strerror})") from error
    finally:
        with suppress(OSError):  # a read-only disk refuses even where there is nothing to remove
            partial.unlink()
