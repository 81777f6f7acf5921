"""A spec's error in one line that names the key."""

import difflib
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

from audenoise.specs.base import Strict


def _key_path(location: tuple[int | str, ...]) -> str:
    text = ""
    for i, part in enumerate(location):
        # Pydantic names the chosen union member; a user never wrote it.
        if part in ("convolution", "recurrent", "dilated") and text == "bottleneck":
            continue
        if i >= 2 and location[i - 2] == "effects" and isinstance(location[i - 1], int):
            continue
        name = part if isinstance(part, int) or len(part) <= 80 else f"{part[:77]}..."
        text += f"[{name}]" if isinstance(part, int) else f"{'.' if text else ''}{name}"
    return text


def short(value: Any) -> str:
    try:
        text = json.dumps(value, default=str)
    except (TypeError, ValueError, RecursionError):  # a date as a key, a dictionary that holds itself
        text = type(value).__name__
    return text if len(text) <= 80 else text[:77] + "..."


_BOUNDS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "less_than": ("less than", "lt"),
}
"""Pydantic's kinds of error, our words, and where it keeps the bound."""


def _meant(given: str, known: list[str]) -> str:
    similar = difflib.get_close_matches(given, known, n=1, cutoff=0.8)
    return f", did you mean {similar[0]}?" if similar else ""


def explain(error: ValidationError, source: str, renamed: Mapping[str, str] = MappingProxyType({})) -> str:
    """The first error of some, with keys as `renamed` has them."""
    # A key that is not known explains one that is missing.
    first = min(error.errors(), key=lambda item: item["type"] != "extra_forbidden")
    key = _key_path(first["loc"])
    kind, context = first["type"], first.get("ctx", {})
    received = f". Received: {short(first['input'])}"
    if kind == "value_error":  # our own checks say key and value themselves
        inner = str(context["error"])
        message = f"{key}.{inner}" if key else inner
    elif kind in _BOUNDS:
        words, bound = _BOUNDS[kind]
        message = f"{key}: must be {words} {context[bound]}{received}"
    elif kind == "missing":
        message = f"{key}: is missing"
    elif kind == "extra_forbidden":
        known = [name for section in Strict.__subclasses__() for name in section.model_fields]
        meant = _meant(str(first["loc"][-1]), known)
        message = f"{key}: is not a key of this section{meant or received}"
    elif kind == "union_tag_invalid":
        kinds, given = context["expected_tags"].split(", "), context["tag"]
        meant = _meant(given, [name.strip("'") for name in kinds])
        message = f"{key}.kind: must be {' or '.join(kinds)}{meant or f'. Received: {short(given)}'}"
    elif kind == "union_tag_not_found":
        message = f"{key}.kind: is missing"
    elif kind in ("tuple_type", "list_type"):
        message = f"{key}: must be a list{received}"
    elif kind == "too_short":
        message = f"{key}: must have at least {context['min_length']} entry{received}"
    elif kind == "too_long":
        message = f"{key}: must have at most {context['max_length']} entries{received}"
    elif kind == "string_pattern_mismatch":
        message = f"{key}: must be letters, digits and . _ -, and start with a letter or digit{received}"
    else:
        text = first["msg"].replace("Input should be", "must be")
        message = f"{key}: {text[0].lower()}{text[1:]}{received}" if key else text
    for new, old in renamed.items():
        message = message.replace(new, old)
    more = error.error_count() - 1
    return f"{source}: {message}" + (f" (and {more} more)" if more else "")
