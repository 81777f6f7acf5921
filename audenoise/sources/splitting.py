"""Hold recordings out so that no voice and no noise is on both sides."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from audenoise.errors import DataError

from .recordings import Recording

Entry = TypeVar("Entry")


def _key(recording: Recording, by: str) -> str:
    if by == "speaker":
        return f"speaker {recording.speaker}"
    if by == "auto" and recording.speaker:
        return f"speaker {recording.speaker}"
    return f"group {recording.group}" if recording.group else f"file {recording.path}"


def split(
    recordings: Sequence[Recording], *, share: float, seed: int, by: str = "auto", what: str = "recordings"
) -> tuple[list[Recording], list[Recording]]:
    """Split recordings in two by duration, keeping together what belongs together.

    Parameters
    ----------
    recordings : sequence of Recording
    share : float
        Of the total duration that is held out, 0 to 1; 0 holds nothing out.
    seed : int
    by : str
        "speaker": no speaker is on both sides. "recording": neither is a file, nor files cut from one
        recording. "auto": by speaker where one is known, else by recording.
    what : str
        What they are, in errors.

    Returns
    -------
    train, test : tuple of list of Recording
        In their order. With few speakers the test side can't come close to `share`; it has at least one.

    Raises
    ------
    DataError
        Says what is missing: fewer than two speakers or recordings, or a speaker unknown.

    Examples
    --------
    >>> from pathlib import Path
    >>> voices = [Recording(Path(f"{n}.wav"), 5.0, 16000, 1, speaker=f"s{n // 2}") for n in range(6)]
    >>> train, test = split(voices, share=0.3, seed=1, by="speaker")
    >>> len(train), len(test), {each.speaker for each in train} & {each.speaker for each in test}
    (4, 2, set())
    """
    return split_by(recordings, lambda each: each, share=share, seed=seed, by=by, what=what)


def split_by(
    items: Sequence[Entry],
    recording: Callable[[Entry], Recording],
    *,
    share: float,
    seed: int,
    by: str = "auto",
    what: str = "recordings",
) -> tuple[list[Entry], list[Entry]]:
    """As `split`, for anything that has a recording."""
    if by not in ("auto", "recording", "speaker"):
        raise DataError(f"split by auto, recording or speaker. Received: {by}")
    if not 0 <= share < 1:
        raise DataError(f"the share of the test side must be from 0 to less than 1. Received: {share}")
    if share == 0:
        return list(items), []
    if by == "speaker":
        unknown = [recording(each).path for each in items if not recording(each).speaker]
        if unknown:
            raise DataError(
                f"{what}: the speaker of {len(unknown)} of {len(items)} recordings isn't known, such as "
                f"{unknown[0]}; say who speaks (--speakers folder, CSV or pattern), or split by recording"
            )
    durations: dict[str, float] = {}
    for each in items:
        key = _key(recording(each), by)
        durations[key] = durations.get(key, 0.0) + recording(each).duration_s
    if len(durations) < 2:
        raise DataError(_too_few(durations, what, len(items)))
    names = sorted(durations)
    order = np.random.default_rng(seed).permutation(len(names))
    target, held, total = share * sum(durations.values()), set(), 0.0
    for name in (names[i] for i in order):
        if len(held) < len(names) - 1 and abs(total + durations[name] - target) < abs(total - target):
            held.add(name)
            total += durations[name]
    if not held:
        held.add(min(names, key=lambda name: (durations[name], name)))
    sides = [], []
    for each in items:
        sides[_key(recording(each), by) in held].append(each)
    return sides


def _too_few(groups: dict[str, float], what: str, count: int) -> str:
    if not count:
        return f"{what}: there are none"
    kind, _, name = next(iter(groups)).partition(" ")
    have = {
        "speaker": f"all {count} recordings are of one speaker ({name}); add recordings of another one",
        "group": f"all {count} recordings were cut from one ({name}); add another one",
        "file": f"there is only one recording ({name}); add another one",
    }[kind]
    return f"{what}: {have}, or use --test-split 0 to have no test side"
