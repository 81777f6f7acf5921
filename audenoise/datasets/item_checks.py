"""What reading an item of a saved dataset shows: damage, levels, tops that are cut off."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from audenoise.errors import DataError

from .feeding import StoredSide

_ITEMS_PER_JOB = 64
_NEAR_PEAK = 0.998  # float16 moves a flat top by less than that
_FLAT_SAMPLES = 3
_FLAT_RUNS = 3
_FLAT_SHARE = 5e-5


@dataclass(frozen=True)
class ItemCheck:
    """What reading an item has shown.

    `digest` is that of the stored bytes, see `digest_of`; the others come from the waveforms: levels in dBFS
    (RMS), the peak of full scale 1.0, and whether tops are cut off.
    """

    item: int
    digest: str = ""
    noisy_dbfs: float = 0.0
    clean_dbfs: float = 0.0
    peak: float = 0.0
    noisy_clipped: bool = False
    clean_clipped: bool = False
    damage: str = ""


def is_clipped(audio: np.ndarray) -> bool:
    """Whether the tops of a waveform are flat: runs of samples at its peak, on more than a few occasions.

    Parameters
    ----------
    audio : ndarray, shape (samples,)
        Any level: a clipped recording that was turned down afterwards is found too. One that was mixed with
        something or resampled afterwards has no flat tops any more.

    Examples
    --------
    >>> noise = np.random.default_rng(0).standard_normal(16_000)
    >>> is_clipped(noise), is_clipped(0.1 * np.clip(noise, -1, 1))
    (False, True)
    """
    level = np.abs(audio)
    peak = float(level.max(initial=0))
    if peak <= 0:
        return False
    near = np.concatenate([[False], level >= _NEAR_PEAK * peak, [False]])
    edges = np.flatnonzero(near[1:] != near[:-1])
    lengths = edges[1::2] - edges[::2]
    flat = lengths[lengths >= _FLAT_SAMPLES]
    return bool(flat.size >= _FLAT_RUNS and flat.sum() >= _FLAT_SHARE * audio.size)


def digest_of(noisy: str, clean: str | None, both: str | None) -> str:
    """What identifies an item: from SHA-256 of noisy and of clean, or from that of both in older tables."""
    return (both or "")[:32] if clean is None else noisy[:16] + clean[:16]


def _digest(stored: np.ndarray, *, chained: bool) -> str:
    first = hashlib.sha256(stored[0].data)
    noisy = first.hexdigest()
    if not chained:
        return digest_of(noisy, hashlib.sha256(stored[1].data).hexdigest(), None)
    first.update(stored[1].data)
    return digest_of(noisy, None, first.hexdigest())


def check_items(
    side: StoredSide, samples: np.ndarray, first: int, *, chained: bool = False
) -> list[ItemCheck]:
    """Read all items of a part of a side.

    Parameters
    ----------
    side : StoredSide
    samples : ndarray of int, shape (items,)
        Their lengths.
    first : int
        Number of the first item.
    chained : bool
        Whether the table has one digest for noisy and clean together.
    """
    checks = []
    for i, n_samples in enumerate(samples):
        try:
            stored = side.index.read_stored(i)
            spectra = side.index.to_complex(stored, i)
        except DataError as error:
            checks.append(ItemCheck(first + i, damage=str(error)))
            continue
        if side.stored.frames(int(n_samples)) != side.index.frames[i]:
            checks.append(ItemCheck(first + i, damage="its length is not that of the table"))
            continue
        noisy, clean = side.stored.to_waveforms(spectra, int(n_samples))
        checks.append(
            ItemCheck(
                first + i,
                _digest(stored, chained=chained),
                _dbfs(noisy),
                _dbfs(clean),
                float(np.abs(noisy).max()),
                is_clipped(noisy),
                is_clipped(clean),
            )
        )
    return checks


def _dbfs(audio: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(audio, dtype=np.float64)) + 1e-30))


@dataclass(frozen=True)
class Part:
    """A few items of a side, to be read in one go."""

    name: str
    first: int
    side: StoredSide
    samples: np.ndarray
    chained: bool


def parts_of(name: str, side: StoredSide, samples: np.ndarray, *, chained: bool) -> Iterator[Part]:
    for first in range(0, samples.size, _ITEMS_PER_JOB):
        stop = min(first + _ITEMS_PER_JOB, samples.size)
        part = StoredSide(side.folder, side.index.part(first, stop), side.stored)
        yield Part(name, first, part, samples[first:stop], chained)


def check_part(part: Part) -> tuple[str, list[ItemCheck]]:
    return part.name, check_items(part.side, part.samples, part.first, chained=part.chained)
