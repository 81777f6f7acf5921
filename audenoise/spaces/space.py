"""A space in memory: hyperparameters and what their values make of the base spec."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from audenoise.errors import SpecError
from audenoise.spaces.key_paths import parse_key, replaced
from audenoise.specs import ModelSpec, parse_spec, spec_to_dict

Value = int | float | str
"""What a tuner handles: a number, or the name of an option."""

_FIXED = {
    "name": "the search names its specs",
    "sample_rate": "scores at different rates can't be compared",
    "training.epochs": "a trial's length is that of the search, see --epochs",
    "training.validation_mixtures": "all trials are scored on the same mixtures",
    "training.scored_mixtures": "all trials are scored on the same mixtures",
}


@dataclass(frozen=True)
class Hyperparameter:
    """One thing to search: a choice if `options` is not empty, else a range.

    Attributes
    ----------
    name : str
    options : tuple
        (value for the tuner, {key path: value for the spec}) each.
    keys : dict of str to float
        Key path → factor, for a range.
    low, high : float
        Ends of a range, both included.
    step : float or None
        Between the values of a range; with `log` the factor between them.
    log : bool
        Spread evenly over the logarithm.
    integer : bool
    when : dict of str to tuple
        Other hyperparameter → its values with which this one is used.
    """

    name: str
    options: tuple[tuple[Value, dict[str, Any]], ...] = ()
    keys: Mapping[str, float] | None = None
    low: float = 0.0
    high: float = 0.0
    step: float | None = None
    log: bool = False
    integer: bool = False
    when: Mapping[str, tuple[Value, ...]] | None = None

    @property
    def labels(self) -> tuple[Value, ...]:
        """The values of a choice."""
        return tuple(label for label, _ in self.options)

    def settled(self, value: Value) -> Value:
        """The value as the search uses it: of a choice, one of its labels; of a range, four digits."""
        if self.options:
            if value in self.labels:
                return next(label for label in self.labels if label == value)
            raise SpecError(f"{self.name}: must be one of {list(self.labels)}. Received: {value!r}")
        number = round(float(value)) if self.integer else float(f"{float(value):.4g}")
        return min(max(number, self.low), self.high) if not self.integer else number

    def settings(self, value: Value) -> dict[str, Any]:
        """Key path → value for the spec."""
        value = self.settled(value)
        for label, settings in self.options:
            if label == value:
                return settings
        return {key: scaled(value, factor) for key, factor in (self.keys or {}).items()}


@dataclass(frozen=True)
class Space:
    """A base spec and what is searched around it.

    Attributes
    ----------
    base : ModelSpec
    hyperparameters : tuple of Hyperparameter
    source : str
        Named at the start of an error, such as the file.
    """

    base: ModelSpec
    hyperparameters: tuple[Hyperparameter, ...]
    source: str = "space"

    def settled(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """The values that are used: known names, conditions met, as `Hyperparameter.settled`."""
        used: dict[str, Value] = {}
        for item in self.hyperparameters:
            conditions = (item.when or {}).items()
            if item.name in values and all(used.get(name) in allowed for name, allowed in conditions):
                used[item.name] = item.settled(values[item.name])
        return used

    def spec(self, values: Mapping[str, Value]) -> ModelSpec:
        """The spec of some values; what they leave out stays as in the base.

        Raises
        ------
        SpecError
            If the values don't go together.
        """
        data = spec_to_dict(self.base)
        used = self.settled(values)
        for item in self.hyperparameters:
            if item.name in used:
                for key, value in item.settings(used[item.name]).items():
                    data = replaced(data, key, value)
        spec = parse_spec(data, source=", ".join(f"{name}={value}" for name, value in used.items()) or "base")
        before, after = spec_to_dict(self.base), spec_to_dict(spec)
        for key, reason in _FIXED.items():
            if _get(before, key) != _get(after, key):
                raise SpecError(f"{key}: can't be searched: {reason}")
        return spec

    def to_dict(self) -> dict[str, Any]:
        """The space as plain data, complete: the same for the same search, whatever the file looked like."""
        search = {}
        for item in self.hyperparameters:
            entry: dict[str, Any] = {}
            if item.options:
                entry["options"] = {str(label): dict(settings) for label, settings in item.options}
            else:
                entry = {"min": item.low, "max": item.high, "step": item.step, "log": item.log}
                entry["keys"] = dict(item.keys or {})
            if item.when:
                entry["when"] = {name: list(values) for name, values in item.when.items()}
            search[item.name] = entry
        return {"base": spec_to_dict(self.base), "search": search}


def scaled(value: Any, factor: float) -> Any:
    """A number times a factor; an integer stays one, of at least 1."""
    if factor == 1:
        return value
    product = value * factor
    return max(1, round(product)) if isinstance(value, int) else product


def _get(data: Any, key: str) -> Any:
    for part in parse_key(key):
        data = data[part]
    return data
