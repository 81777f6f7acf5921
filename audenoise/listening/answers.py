"""Answers of listeners, checked: the files come from anybody."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audenoise.errors import DataError

from .pages import ABX, FORMAT_VERSION, MUSHRA

_MAX_BYTES = 10_000_000
HIDDEN_REFERENCE_AT_LEAST = 90
"""ITU-R BS.1534-3, 4.1.2: who rates the hidden reference below this …"""
MISSED_SHARE = 0.15
"""… in more than this share of the trials is left out."""


@dataclass(frozen=True)
class Rating:
    """One recording in one condition, from 0 to 100."""

    recording: str
    condition: str
    score: float


@dataclass(frozen=True)
class Choice:
    """One question of an ABX test: two conditions, in the order of the test's, and whether X was found."""

    recording: str
    pair: tuple[str, str]
    correct: bool


@dataclass(frozen=True)
class Answers:
    """What one listener said.

    Attributes
    ----------
    listener : str
    test, kind : str
        Of the page.
    conditions : tuple of str
    reference : str or None
    ratings : tuple of Rating
        Of a MUSHRA test.
    choices : tuple of Choice
        Of an ABX test.
    """

    listener: str
    test: str
    kind: str
    conditions: tuple[str, ...]
    reference: str | None
    ratings: tuple[Rating, ...] = ()
    choices: tuple[Choice, ...] = ()

    def reference_missed(self) -> float:
        """Share of the trials in which the hidden reference was rated below 90."""
        scores = [rating.score for rating in self.ratings if rating.condition == self.reference]
        missed = sum(score < HIDDEN_REFERENCE_AT_LEAST for score in scores)
        return missed / len(scores) if scores else 0.0


def read_answers(paths: Sequence[str | os.PathLike[str]]) -> list[Answers]:
    """Read the files that listeners have downloaded.

    Returns
    -------
    list of Answers
        Of one test, one for each file.

    Raises
    ------
    DataError
        If a file can't be read, is something else, belongs to another test than the first, or is there twice.
    """
    found: list[Answers] = []
    seen: dict[str, Path] = {}
    for path in map(Path, paths):
        try:
            with path.open("rb") as file:
                content = file.read(_MAX_BYTES + 1)
        except OSError as error:
            raise DataError(f"{path}: can't be read ({error.strerror})") from error
        try:
            if len(content) > _MAX_BYTES:
                raise ValueError("too large")
            data = json.loads(content)
            answers = _checked(data)
            print_of_it = json.dumps(data["trials"], sort_keys=True)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DataError(
                f"{path}: holds no answers of a listening test ({error or type(error).__name__})"
            ) from error
        if found and answers.test != found[0].test:
            raise DataError(f"{path}: belongs to another test than {paths[0]}; score them apart")
        if other := seen.get(print_of_it):
            raise DataError(f"{path}: holds the same answers as {other}; leave one out")
        seen[print_of_it] = path
        found.append(answers)
    return found


def _checked(data: Any) -> Answers:
    if data["format_version"] != FORMAT_VERSION:
        raise ValueError("of another version of audenoise")
    conditions, reference, kind = tuple(data["conditions"]), data["reference"], data["kind"]
    if kind not in (ABX, MUSHRA) or not conditions or not all(isinstance(name, str) for name in conditions):
        raise ValueError("the kind or the conditions are wrong")
    if kind == MUSHRA and reference not in conditions:
        raise ValueError("the reference is none of the conditions")
    if not data["trials"]:
        raise ValueError("no question was answered")
    ratings, choices = [], []
    for trial in data["trials"]:
        name = _text(trial["name"])
        if kind == MUSHRA:
            scores = trial["scores"]
            if set(scores) != set(conditions):
                raise ValueError(f"{name}: not every condition is rated")
            ratings += [Rating(name, condition, _score(score)) for condition, score in scores.items()]
        else:
            a, b, x, chosen = (trial[key] for key in ("a", "b", "x", "chosen"))
            if a == b or not {a, b} <= set(conditions) or x not in (a, b) or chosen not in (a, b):
                raise ValueError(f"{name}: the question is damaged")
            first, second = sorted((a, b), key=conditions.index)
            choices.append(Choice(name, (first, second), chosen == x))
    return Answers(
        str(data.get("listener") or ""),
        _text(data["test"]),
        kind,
        conditions,
        reference,
        tuple(ratings),
        tuple(choices),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a name is no text")
    return value


def _score(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        raise ValueError(f"a score must be from 0 to 100, not {value!r}")
    return float(value)
