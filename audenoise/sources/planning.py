"""Which items a side has: pieces of recordings, times mixtures, in shards. Drawn before anything is read."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from audenoise.crops import StoredStft
from audenoise.errors import DataError

_BYTES_PER_BIN = 8
"""Real and imaginary part, noisy and clean, two bytes each."""
_RECORD_BYTES = 100
"""Around the two tensors of an item."""


@dataclass(frozen=True)
class Slot:
    """One item to be made: see `SidePlan`."""

    recording: int
    piece: int
    mixture: int
    mixtures: int
    start: int
    samples: int


@dataclass(frozen=True)
class SidePlan:
    """The items of a side, in the order they are made in.

    Recordings come in random order, all items of one after the other, so that each is decoded once; within a
    shard they are put in random order when it is stored.

    Attributes
    ----------
    recording, piece, mixture : ndarray of int, shape (items,)
        Which recording (index), which piece of it, and which mixture of that piece.
    mixtures : ndarray of int, shape (items,)
        How many mixtures the recording has.
    start, samples : ndarray of int, shape (items,)
        The piece, at the dataset's rate.
    shards : ndarray of int, shape (shards + 1,)
        Shard i holds items shards[i] … shards[i + 1] - 1.
    bytes : int
        Of all items as they are stored.
    """

    recording: np.ndarray
    piece: np.ndarray
    mixture: np.ndarray
    mixtures: np.ndarray
    start: np.ndarray
    samples: np.ndarray
    shards: np.ndarray
    bytes: int

    @property
    def items(self) -> int:
        return self.recording.size

    @property
    def n_shards(self) -> int:
        return self.shards.size - 1

    def slots(self, shard: int | None = None) -> Iterator[Slot]:
        """The items of a shard, or of all."""
        first, last = (0, self.items) if shard is None else self.shards[shard : shard + 2]
        arrays = (self.recording, self.piece, self.mixture, self.mixtures, self.start, self.samples)
        for values in zip(*(array[first:last].tolist() for array in arrays), strict=True):
            yield Slot(*values)


def plan_side(
    lengths: Sequence[int],
    *,
    stored: StoredStft,
    max_duration_s: float,
    mixtures: int | None,
    hours: float | None,
    noises: int | None,
    shard_mb: float,
    seed: Sequence[int],
    what: str,
    most_hours: float | None = None,
) -> SidePlan:
    """Lay out a side.

    Parameters
    ----------
    lengths : sequence of int
        Samples of each recording at the dataset's rate, at least 1.
    stored : StoredStft
    max_duration_s : float
    mixtures : int or None
        Of each recording; None: 1, or what `hours` needs.
    hours : float or None
        Of this side; None: all there is.
    noises : int or None
        Different noises there are; None if nothing is mixed.
    shard_mb : float
        Size of a shard, about.
    seed : sequence of int
    what : str
        The side, in errors.
    most_hours : float, optional
        That there is noise for on all sides, in errors. Default: those of this side.

    Raises
    ------
    DataError
        If there are too few recordings for the hours, or too few noises for the mixtures.
    """
    sizes = np.asarray(lengths, np.int64)
    order = np.random.default_rng([*seed, 1]).permutation(sizes.size)
    counts = np.full(sizes.size, mixtures or 1)
    if hours is not None:
        counts = _counts_for(sizes[order], round(hours * 3600 * stored.sample_rate), mixtures, what, stored)
        counts = counts[np.argsort(order)]
    if noises is not None and counts.max() > noises:
        fewer = "fewer mixtures"
        if hours is not None:
            own = noises * int(sizes.sum()) / stored.sample_rate / 3600
            fewer = f"at most {_rounded_down(own if most_hours is None else most_hours)} hours"
        raise DataError(
            f"{what}: {counts.max()} mixtures of each recording need as many different noises, there are "
            f"{noises}; add noise, or ask for {fewer}"
        )
    pieces = -(-sizes // max(1, int(max_duration_s * stored.sample_rate)))
    repeats = (pieces * counts)[order]
    recording = np.repeat(order, repeats)
    number = np.arange(recording.size) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    piece, mixture = number // counts[recording], number % counts[recording]
    start = sizes[recording] * piece // pieces[recording]
    samples = sizes[recording] * (piece + 1) // pieces[recording] - start
    frames = -(-(samples + stored.win_length - stored.hop_length) // stored.hop_length)
    n_bytes = frames * (stored.n_fft // 2 + 1) * _BYTES_PER_BIN + _RECORD_BYTES
    total = int(n_bytes.sum())
    n_shards = max(1, min(round(total / (shard_mb * 1e6)), recording.size))
    middle = np.cumsum(n_bytes) - n_bytes / 2
    edges = np.searchsorted(middle, np.arange(1, n_shards) * (total / n_shards))
    shards = np.unique([0, *edges, recording.size])
    return SidePlan(recording, piece, mixture, counts[recording], start, samples, shards, total)


def _rounded_down(number: float) -> str:
    """To three digits, so that what is offered can be had."""
    unit = 10.0 ** (math.floor(math.log10(number)) - 2)
    return f"{math.floor(number / unit * (1 + 1e-9)) * unit:.3g}"


def _counts_for(
    sizes: np.ndarray, wanted: int, mixtures: int | None, what: str, stored: StoredStft
) -> np.ndarray:
    """Mixtures of each recording (in the order they are taken in) that add up to `wanted` samples."""
    total = int(sizes.sum())
    most = mixtures if mixtures is not None else -(-wanted // total)
    if wanted > most * total:
        have = total / stored.sample_rate / 3600
        raise DataError(
            f"{what}: {wanted / stored.sample_rate / 3600:.4g} h are asked for, but {have:.4g} h of speech "
            f"with {most} mixtures of each give {most * have:.4g} h; add recordings or raise the mixtures"
        )
    full, rest = divmod(wanted, total)
    before = np.cumsum(sizes) - sizes
    # The recording that crosses the end is taken if that comes closer than leaving it out.
    counts = full + (before + sizes / 2 <= rest).astype(int)
    if not counts.any():
        counts[0] = 1
    return counts
