"""From the options of a command to a checked `DatasetSpec`."""

from collections.abc import Iterable, Mapping
from typing import Any

from audenoise.errors import DataError
from audenoise.specs import load_recipe

from .settings import DEGRADATIONS, DatasetSpec, ItemMixing, make_spec, parse_range

_RANGES = {"snr_db": "SNR", "noise_ratio": "noise ratio", "level_dbfs": "level"}
_STFT = ("n_fft", "hop_length", "win_length", "window")
_REVERB_WITH_RESPONSES = 0.5


def parse_probabilities(texts: Iterable[str]) -> dict[str, float]:
    """Probabilities of degradations out of ``NAME=P``.

    Raises
    ------
    DataError
        If a text is of another form or a name isn't known.

    Examples
    --------
    >>> parse_probabilities(["clip=0.1", "reverb=0.5"])
    {'clip': 0.1, 'reverb': 0.5}
    """
    found = {}
    for text in texts:
        name, _, number = text.partition("=")
        try:
            found[name.strip().replace("-", "_")] = float(number)
        except ValueError:
            raise DataError(f"degrade: must be NAME=P, such as clip=0.1. Received: {text}") from None
    for name in found:
        if name not in DEGRADATIONS:
            raise DataError(f"degrade: {name!r} is none of {', '.join(DEGRADATIONS)}")
    return found


def spec_from_options(
    spec: str | None, *, use_mixing: bool, has_responses: bool, options: Mapping[str, Any]
) -> DatasetSpec:
    """A dataset's spec.

    Parameters
    ----------
    spec : str or None
        File or name of a model's spec whose sample rate and STFT are taken.
    use_mixing : bool
        Take its mixing section too.
    has_responses : bool
        Room responses are given: half of the speech is put in a room, unless something else is said.
    options : mapping
        By name; None, or an empty tuple, stands for one that was not given. These prevail over `spec`.

    Raises
    ------
    DataError, SpecError
        Name the option or key that is wrong.
    """
    given = {name: value for name, value in options.items() if value is not None and value != ()}
    values: dict[str, Any] = {}
    stft: dict[str, Any] = {}
    mixing: dict[str, Any] = {}
    if spec is not None:
        recipe = load_recipe(spec)
        values["sample_rate"], stft = recipe.sample_rate, recipe.stft.model_dump()
        if use_mixing:
            mixing = ItemMixing.of_spec(recipe.mixing).model_dump()
    if has_responses and not mixing.get("reverb"):
        mixing["reverb"] = _REVERB_WITH_RESPONSES
    stft |= {name: given.pop(name) for name in _STFT if name in given}
    for name, what in _RANGES.items():
        if name in given:
            mixing[name] = parse_range(given.pop(name), what=what)
    if "noise_ratio" in mixing and mixing["noise_ratio"] is not None:
        mixing.pop("snr_db", None)
    mixing |= parse_probabilities(given.pop("degrade", ()))
    return make_spec(**{**values, **given}, stft=stft, mixing=mixing)
