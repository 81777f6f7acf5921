"""Reading a space: every mistake is named with its key before anything is searched."""

import difflib
import json
import math
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from audenoise.errors import SpecError
from audenoise.spaces.key_paths import parse_key
from audenoise.spaces.space import Hyperparameter, Space, Value, scaled
from audenoise.specs import load_document, load_recipe, parse_spec

SPACES = Path(__file__).parent
_ENTRY_KEYS = ("choice", "options", "min", "max", "step", "log", "keys", "when")


def list_spaces() -> list[str]:
    """Names of the spaces that ship."""
    return sorted(path.stem for path in SPACES.glob("*.yaml"))


def load_space(name_or_path: str | Path) -> Space:
    """Read a space from a YAML or JSON file, or a shipped one by name (such as ``network``).

    Raises
    ------
    SpecError
        If there is neither, or it is not valid; the message names the key.
    """
    path, shipped = Path(name_or_path), SPACES / f"{name_or_path}.yaml"
    if not path.suffix and shipped.is_file():
        path = shipped
    elif not path.is_file():
        raise SpecError(f"{name_or_path}: no such space file; shipped spaces: {', '.join(list_spaces())}")
    return parse_space(load_document(path), source=str(name_or_path), folder=path.parent)


def parse_space(data: Any, *, source: str = "space", folder: Path | None = None) -> Space:
    """Turn a dictionary into a checked space.

    Parameters
    ----------
    data : dict
        With the keys `base` and `search`, see `audenoise.spaces`.
    source : str
        Named at the start of an error.
    folder : Path, optional
        Where a relative path in `base` starts.

    Raises
    ------
    SpecError
        Names the key: ``search.width: min 8 must be below max 4``.

    Examples
    --------
    >>> space = parse_space({"base": "standard", "search": {"bottleneck.channels": [32, 48]}})
    >>> space.spec({"bottleneck.channels": 32}).bottleneck.channels
    32
    """
    if not isinstance(data, dict):
        raise SpecError(f"{source}: must be a dictionary with the keys base and search")
    _known_keys(data, ("base", "search"), source)
    base = data.get("base", "standard")
    if isinstance(base, dict):
        spec = parse_spec(base, source=f"{source}: base")
    elif isinstance(base, str):
        beside = folder / base if folder is not None else Path(base)
        try:
            spec = load_recipe(beside if beside.is_file() else base)
        except SpecError as error:
            raise SpecError(f"{source}: base: {error}") from None
    else:
        raise SpecError(f"{source}: base: must be a recipe's name, a path or a spec. Received: {base!r}")
    entries = data.get("search")
    if not isinstance(entries, dict) or not entries:
        raise SpecError(f"{source}: search: must be a dictionary with at least one key path")
    items: list[Hyperparameter] = []
    for name, entry in entries.items():
        where = f"{source}: search.{name}"
        if not isinstance(name, str) or not name.strip() or "/" in name:
            raise SpecError(f"{where}: a name must be text without a slash")
        items.append(_hyperparameter(name, entry, where, {item.name: item for item in items}))
    space = Space(spec, tuple(items), source)
    _check_places(space)
    return space


def _hyperparameter(name: str, entry: Any, where: str, before: dict[str, Hyperparameter]) -> Hyperparameter:
    if isinstance(entry, list):
        entry = {"choice": entry}
    if not isinstance(entry, dict):
        raise SpecError(
            f"{where}: must be a list of values, or a dictionary with choice, options, or min and max"
        )
    _known_keys(entry, _ENTRY_KEYS, where)
    kinds = [kind for kind in ("choice", "options", "min") if kind in entry]
    if len(kinds) != 1:
        raise SpecError(f"{where}: give one of choice, options, or min and max. Received: {sorted(entry)}")
    when = _conditions(entry.get("when"), where, before)
    if kinds != ["min"]:
        for key in ("max", "step", "log"):
            if key in entry:
                raise SpecError(f"{where}.{key}: belongs to a range with min and max")
    if kinds == ["options"]:
        if "keys" in entry:
            raise SpecError(f"{where}.keys: options name their own key paths; leave it out")
        return Hyperparameter(name, options=_options(entry["options"], where), when=when)
    keys = _keys(name, entry.get("keys"), where)
    if kinds == ["choice"]:
        return Hyperparameter(name, options=_choices(entry["choice"], keys, where), when=when)
    return _range(name, entry, keys, where, when)


def _range(name: str, entry: dict[str, Any], keys: dict[str, float], where: str, when: Any) -> Hyperparameter:
    if "max" not in entry:
        raise SpecError(f"{where}.max: is missing")
    numbers = {key: _number(entry[key], f"{where}.{key}") for key in ("min", "max", "step") if key in entry}
    log = entry.get("log", False)
    if not isinstance(log, bool):
        raise SpecError(f"{where}.log: must be true or false. Received: {log!r}")
    low, high, step = numbers["min"], numbers["max"], numbers.get("step")
    if low >= high:
        raise SpecError(f"{where}: min {low} must be below max {high}")
    if log and low <= 0:
        raise SpecError(f"{where}.min: must be more than 0 on a logarithmic range. Received: {low}")
    if step is not None and (step <= 1 if log else step <= 0):
        bound = "more than 1, the factor between values" if log else "more than 0"
        raise SpecError(f"{where}.step: must be {bound}. Received: {step}")
    integer = all(isinstance(number, int) for number in numbers.values())
    return Hyperparameter(name, keys=keys, low=low, high=high, step=step, log=log, integer=integer, when=when)


def _choices(values: Any, keys: dict[str, float], where: str) -> tuple[tuple[Value, dict[str, Any]], ...]:
    if not isinstance(values, list) or not values:
        raise SpecError(f"{where}: a choice must be a list of at least one value. Received: {values!r}")
    values = [_as_number(value) for value in values]
    numeric = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    floats = numeric and any(isinstance(value, float) for value in values)
    found: list[tuple[Value, dict[str, Any]]] = []
    for value in values:
        if not numeric and any(factor != 1 for factor in keys.values()):
            raise SpecError(f"{where}.keys: factors need numbers to choose from. Received: {value!r}")
        label = (float(value) if floats else value) if numeric else _label(value)
        if any(label == other for other, _ in found):
            raise SpecError(f"{where}: {label} is given twice")
        found.append(
            (label, {key: scaled(value, factor) if numeric else value for key, factor in keys.items()})
        )
    return tuple(found)


def _options(options: Any, where: str) -> tuple[tuple[Value, dict[str, Any]], ...]:
    if not isinstance(options, dict) or not options:
        raise SpecError(f"{where}.options: must be a dictionary from names to settings")
    found = []
    for label, settings in options.items():
        if not isinstance(settings, dict):
            raise SpecError(f"{where}.options.{label}: must be a dictionary from key paths to values")
        for key in settings:
            _checked_key(key, f"{where}.options.{label}")
        found.append((str(label), dict(settings)))
    return tuple(found)


def _keys(name: str, keys: Any, where: str) -> dict[str, float]:
    if keys is None:
        keys = [name]
    if isinstance(keys, list):
        keys = dict.fromkeys(keys, 1)
    if not isinstance(keys, dict) or not keys:
        raise SpecError(f"{where}.keys: must be a list of key paths, or a dictionary from them to factors")
    return {_checked_key(key, where): _number(factor, f"{where}.keys.{key}") for key, factor in keys.items()}


def _checked_key(key: Any, where: str) -> str:
    try:
        parse_key(key if isinstance(key, str) else "")
    except SpecError:
        raise SpecError(
            f"{where}: {key!r} is not a key path such as encoder[0].filters; a name of your own needs keys "
            "or options"
        ) from None
    return key


def _conditions(
    when: Any, where: str, before: dict[str, Hyperparameter]
) -> dict[str, tuple[Value, ...]] | None:
    if when is None:
        return None
    if not isinstance(when, dict) or not when:
        raise SpecError(f"{where}.when: must be a dictionary from a name above to its values")
    found = {}
    for name, values in when.items():
        if name not in before or not before[name].options:
            raise SpecError(f"{where}.when.{name}: must be a choice or options further up in the file")
        values = values if isinstance(values, list) else [values]
        labels = before[name].labels
        wanted = [value if value in labels else _label(value) for value in values]
        for value in wanted:
            if value not in labels:
                raise SpecError(f"{where}.when.{name}: must be one of {list(labels)}. Received: {value!r}")
        found[name] = tuple(wanted)
    return found


def _check_places(space: Space) -> None:
    """Try each value alone: its key paths must exist, and the value must be one that the place can hold."""
    by_name = {item.name: item for item in space.hyperparameters}
    for item in space.hyperparameters:
        needed: dict[str, Value] = {}
        pending = [item]
        while pending:
            for name, values in (pending.pop().when or {}).items():
                needed.setdefault(name, values[0])
                pending.append(by_name[name])
        for value in item.labels or (item.settled(item.low), item.settled(item.high)):
            label = f"{space.source}: search.{item.name}"
            try:
                space.spec({**needed, item.name: value})
            except SpecError as error:
                if isinstance(error.__context__, ValidationError) and _is_of_several_keys(error.__context__):
                    continue  # whether values go together is seen when they are drawn together
                raise SpecError(f"{label}: {error}") from None


def _is_of_several_keys(error: ValidationError) -> bool:
    """Whether each error is of a check that compares keys, or follows from one inside."""
    errors = error.errors()
    places = [each["loc"] for each in errors if each["type"] == "value_error"]
    return all(any(place[: len(each["loc"])] == each["loc"] for place in places) for each in errors)


def _known_keys(data: dict[Any, Any], known: tuple[str, ...], where: str) -> None:
    for key in data:
        if key not in known:
            similar = difflib.get_close_matches(str(key), known, n=1)
            hint = f", did you mean {similar[0]}?" if similar else f"; known are {', '.join(known)}"
            raise SpecError(f"{where}: {key}: is not a key of this section{hint}")


def _number(value: Any, where: str) -> int | float:
    value = _as_number(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise SpecError(f"{where}: must be a number. Received: {value!r}")
    return value


def _as_number(value: Any) -> Any:
    """YAML reads 5e-4, with no dot, as text."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _label(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)
