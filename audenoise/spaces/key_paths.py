"""Places in a spec by name, as errors write them: `encoder[0].filters`; `encoder[*].filters` is each."""

import copy
import re
from typing import Any

from audenoise.errors import SpecError

_PART = re.compile(r"(?:^|\.)([A-Za-z_][A-Za-z0-9_]*)|\[(\d{1,4}|\*)\]")
ALL = "*"


def parse_key(text: str) -> tuple[str | int, ...]:
    """Split a key path into names and positions.

    Raises
    ------
    SpecError
        If it is not a key path.

    Examples
    --------
    >>> parse_key("encoder[0].filters")
    ('encoder', 0, 'filters')
    """
    parts: list[str | int] = []
    position = 0
    while position < len(text):
        found = _PART.match(text, position)
        if not found:
            break
        name, index = found.groups()
        parts.append(name if name is not None else ALL if index == ALL else int(index))
        position = found.end()
    if (
        position < len(text)
        or text[:1] == "."
        or not parts
        or not isinstance(parts[0], str)
        or parts[0] == ALL
    ):
        raise SpecError(f"{text}: is not a key path such as encoder[0].filters")
    return tuple(parts)


def replaced(data: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    """A copy of nested dictionaries and lists with one place, or each place of a `[*]`, set to a value.

    Parameters
    ----------
    data : dict
        Not changed.
    key : str
    value : object
        A copy of it is stored.

    Raises
    ------
    SpecError
        If the way to the last part does not exist. A missing last part is added, if it is a name.

    Examples
    --------
    >>> replaced({"encoder": [{"filters": 8}, {"filters": 8}]}, "encoder[*].filters", 16)
    {'encoder': [{'filters': 16}, {'filters': 16}]}
    """
    result = copy.deepcopy(data)
    *way, last = parse_key(key)
    places: list[Any] = [result]
    for depth, part in enumerate(way):
        places = [inner for place in places for inner in _inside(place, part, key, depth)]
    for place in places:
        for index in _positions(place, last, key, len(way)):
            place[index] = copy.deepcopy(value)
    return result


def _inside(place: Any, part: str | int, key: str, depth: int) -> list[Any]:
    return [place[index] for index in _positions(place, part, key, depth, must_exist=True)]


def _positions(place: Any, part: str | int, key: str, depth: int, must_exist: bool = False) -> list[Any]:
    if isinstance(place, list):
        if part == ALL:
            return list(range(len(place)))
        if isinstance(part, int) and part < len(place):
            return [part]
    elif (
        isinstance(place, dict)
        and isinstance(part, str)
        and part != ALL
        and (not must_exist or part in place)
    ):
        return [part]
    raise SpecError(f"{key}: leads nowhere in this spec: it has no {_shown(parse_key(key)[: depth + 1])}")


def _shown(parts: tuple[str | int, ...]) -> str:
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) or part == ALL else f"{'.' if text else ''}{part}"
    return text
