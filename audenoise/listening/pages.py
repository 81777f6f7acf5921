"""The page of a listening test: one file that needs nothing else, and no network."""

import base64
import json
import os
import secrets
from collections.abc import Sequence
from pathlib import Path

from audenoise.errors import DataError
from audenoise.html_pages import escaped, fill_page, write_text

from .stimuli import Trial

FORMAT_VERSION = 1
ABX, MUSHRA = "abx", "mushra"
_MAX_BYTES = 1 << 28


def write_page(
    path: str | os.PathLike[str],
    trials: Sequence[Trial],
    *,
    kind: str,
    reference: str | None = None,
    title: str = "Listening test",
    overwrite: bool = False,
) -> str:
    """Write the page of a test.

    Parameters
    ----------
    path : path-like
        Appears complete, or not at all.
    trials : sequence of Trial
    kind : str
        "abx": which of two is X? Every pair of conditions is asked for. "mushra": how good is each, from 0 to
        100, beside the open reference; the reference and the anchor are among them under no name.
    reference : str, optional
        For "mushra": a condition.
    title : str, optional
    overwrite : bool, optional
        Replace an existing file.

    Returns
    -------
    str
        Key of the test, which its answers bear.

    Raises
    ------
    DataError
        If a test needs a reference, or more conditions, or would be larger than 256 MiB.
    AudenoiseError
        If the file exists or can't be written.
    """
    names = list(trials[0].stimuli) if trials else []
    if len(names) < 2:
        raise DataError("a listening test needs at least two conditions and one recording")
    if kind == MUSHRA and reference not in names:
        raise DataError(f"a MUSHRA test needs --reference: one of {', '.join(names)}; --kind abx needs none")
    path, key = Path(path), secrets.token_hex(8)
    test = {
        "format_version": FORMAT_VERSION,
        "test": key,
        "kind": kind,
        "title": title,
        "reference": reference if kind == MUSHRA else None,
        "conditions": names,
        "trials": [trial.to_dict() for trial in trials],
    }
    # In base64, so that a look at the source doesn't tell the names of the conditions.
    data = base64.b64encode(json.dumps(test).encode()).decode("ascii")
    if len(data) > _MAX_BYTES:
        raise DataError(f"the page would have {len(data) >> 20} MiB; take fewer or shorter excerpts")
    text = fill_page("audenoise.listening", "test", {"title": escaped(title), "data": data})
    write_text(path, text, overwrite=overwrite)
    return key
