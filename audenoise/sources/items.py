"""Make the items of a side: cut speech and noise, degrade, mix. Item for item from the seed alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from audenoise import degradation
from audenoise.array_types import AudioVector
from audenoise.errors import AudioFileError
from audenoise.mixing import active_rms, mix_at_ratio, rms

from .excerpts import SILENCE, read_excerpt, read_parallel
from .inputs import Side
from .noises import Noise, NoiseDrawer, recolour
from .pairs import Pair
from .planning import Slot
from .recordings import Recording, Skipped, reason_of
from .settings import DEFAULT_SNR_DB, DatasetSpec, ItemMixing

PEAK = 0.99
"""A mixture above this is turned down to it, with its target: a recording can't exceed full scale either."""
_SPREAD = 0.12
_COLOUR_DB = 4.0
"""Of speech, as in `mixtures.Mixer`; noise varies more."""


@dataclass(frozen=True)
class Item:
    """A mixture, its target and what is known about them: the cells of a dataset's table."""

    noisy: AudioVector
    clean: AudioVector
    row: dict[str, Any]


def peak(audio: AudioVector) -> float:
    """Largest magnitude."""
    return max(float(audio.max()), -float(audio.min()))


@dataclass(frozen=True)
class _Levels:
    """Of an item's waveforms."""

    noisy_peak: float
    clean_rms: float

    def times(self, gain: float) -> "_Levels":
        return _Levels(self.noisy_peak * gain, self.clean_rms * gain)


def _described(
    noisy: AudioVector, clean: AudioVector, *, sample_rate: int, levels: _Levels, cells: dict[str, Any]
) -> Item:
    """An item with the cells that follow from its waveforms."""
    row = {
        **cells,
        "duration_s": round(noisy.size / sample_rate, 6),
        "samples": noisy.size,
        "noisy_peak": round(levels.noisy_peak, 6),
        "clean_rms_db": round(20 * np.log10(levels.clean_rms), 3) if levels.clean_rms > 0 else None,
    }
    return Item(noisy.astype(np.float32, copy=False), clean.astype(np.float32, copy=False), row)


@dataclass(frozen=True)
class _Cut:
    """A piece of speech and its levels, which most of its mixtures share."""

    audio: AudioVector
    peak: float
    rms: float
    active_rms: float


class PairCutter:
    """Items out of parallel recordings.

    Parameters
    ----------
    pairs : sequence of Pair
    sample_rate : int
        In Hz.
    """

    def __init__(self, pairs: Sequence[Pair], *, sample_rate: int) -> None:
        self.pairs, self.sample_rate = pairs, sample_rate

    def make(self, slot: Slot) -> Item | Skipped:
        """The item, or why there is none."""
        pair, rate = self.pairs[slot.recording], self.sample_rate
        try:
            clean, noisy = read_parallel(
                pair.clean,
                pair.noisy,
                start=slot.start,
                n_samples=slot.samples,
                sample_rate=rate,
                delays=pair.delays,
            )
        except AudioFileError as error:
            return Skipped(pair.noisy.path, str(error))
        if rms(noisy) < SILENCE:
            return Skipped(pair.noisy.path, _silent(slot, rate))
        loudest = max(peak(noisy), peak(clean))
        if loudest > 1:
            noisy, clean = noisy * np.float32(PEAK / loudest), clean * np.float32(PEAK / loudest)
        speech, noise = active_rms(clean, rate), rms(noisy - clean)
        cells = {
            "clean": str(pair.clean.path),
            "clean_offset_s": round(slot.start / rate + pair.delays[0] / pair.clean.sample_rate, 6),
            "noise": str(pair.noisy.path),
            "noise_offset_s": round(slot.start / rate + pair.delays[1] / pair.noisy.sample_rate, 6),
            "label": pair.noisy.label,
            "speaker": pair.clean.speaker,
            "snr_db": round(20 * np.log10(speech / noise), 3) if speech > 0 and noise > 0 else pair.snr_db,
            "noise_ratio": None,
        }
        levels = _Levels(peak(noisy), rms(clean))
        return _described(noisy, clean, sample_rate=rate, levels=levels, cells=cells)


class ItemMixer:
    """Items mixed from speech and noise; each depends on the seed and on its slot alone.

    Parameters
    ----------
    speech, noises, responses : sequence of Recording
        Of one side. Without responses, rooms are simulated.
    mixing : ItemMixing
    sample_rate : int
        In Hz.
    longest : int
        Samples that an item has at most, also after a change of speed.
    seed : sequence of int
    cache : Path or None
        Folder for decoded noise; None decodes pieces of noise each time.
    """

    def __init__(
        self,
        speech: Sequence[Recording],
        noises: Sequence[Recording],
        responses: Sequence[Recording],
        *,
        mixing: ItemMixing,
        sample_rate: int,
        longest: int,
        seed: Sequence[int],
        cache: Path | None,
    ) -> None:
        self.speech, self.mixing, self.sample_rate, self.longest = speech, mixing, sample_rate, longest
        self.seed = tuple(seed)
        self._noises = NoiseDrawer(
            speech, noises, responses, mixing=mixing, sample_rate=sample_rate, seed=seed, cache=cache
        )
        self._last: tuple[tuple[int, int], _Cut] | None = None

    def take_problems(self) -> list[Skipped]:
        """Noise and responses that had to be replaced by others since the last call."""
        problems, self._noises.problems = self._noises.problems, []
        return problems

    def make(self, slot: Slot) -> Item | Skipped:
        """The item, or why there is none.

        Raises
        ------
        DataError
            If no noise can be used at all.
        """
        rng = np.random.default_rng([*self.seed, 2, slot.recording, slot.piece, slot.mixture])
        source, rate, spec = self.speech[slot.recording], self.sample_rate, self.mixing
        try:
            cut = self._cut(slot)
        except AudioFileError as error:
            return Skipped(source.path, reason_of(error, source.path))
        if cut.rms < SILENCE:
            return Skipped(source.path, _silent(slot, rate))
        target = wet = self._vary(rng, cut.audio)
        if rng.random() < spec.reverb:
            wet, target = degradation.reverberate(wet, self._noises.room(rng), rate)
        kind = rng.random()
        if spec.noise_only <= kind < spec.noise_only + spec.clean_only:
            noise = Noise(np.zeros(0, np.float32), "")
        else:
            noise = self._noises.draw(rng, slot, wet.size)
        cells: dict[str, Any] = {"snr_db": None, "noise_ratio": None}
        if kind < spec.noise_only:
            noisy, target = noise.audio, np.zeros_like(target)
            cells["noise_ratio"] = 1.0
        elif kind < spec.noise_only + spec.clean_only:
            noisy = wet
            cells["noise_ratio"] = 0.0
        elif spec.noise_ratio is not None:
            ratio = rng.uniform(*spec.noise_ratio)
            noisy, _ = mix_at_ratio(wet, noise.audio, ratio)
            target = (1 - ratio) * target
            cells |= {"noise_ratio": round(ratio, 6), "snr_db": _snr_db(target, ratio * noise.audio, rate)}
        else:
            snr_db = rng.uniform(*(spec.snr_db or DEFAULT_SNR_DB))
            # mix_at_snr would measure the speech with its reverberation.
            speech = cut.active_rms if target is cut.audio else active_rms(target, rate)
            gain = speech / (noise.rms or rms(noise.audio)) * 10 ** (-snr_db / 20)
            noisy = wet + noise.audio * np.float32(gain)
            cells["snr_db"] = round(snr_db, 4)
        noisy, target = self._degrade(rng, noisy, target)
        cells |= {
            "clean": str(source.path),
            "clean_offset_s": round(slot.start / rate, 6),
            "noise": " + ".join(map(str, noise.paths)) or None,
            "noises": [str(path) for path in noise.paths],
            "noise_offset_s": noise.offset_s,
            "label": noise.label or None,
            "speaker": source.speaker,
        }
        same = target is cut.audio
        levels = _Levels(peak(noisy), cut.rms if same else rms(target))
        gain = self._gain(rng, noisy, max(levels.noisy_peak, cut.peak if same else peak(target)))
        if gain != 1:
            noisy, target = noisy * np.float32(gain), target * np.float32(gain)
        return _described(noisy, target, sample_rate=rate, levels=levels.times(gain), cells=cells)

    def _cut(self, slot: Slot) -> _Cut:
        """The piece of speech; all mixtures of it follow one another."""
        key = slot.recording, slot.piece
        if self._last is None or self._last[0] != key:
            audio = read_excerpt(
                self.speech[slot.recording], slot.start, slot.samples, sample_rate=self.sample_rate
            )
            self._last = key, _Cut(audio, peak(audio), rms(audio), active_rms(audio, self.sample_rate))
        return self._last[1]

    def _vary(self, rng: np.random.Generator, audio: AudioVector) -> AudioVector:
        """Speech at another speed, and coloured mildly."""
        if rng.random() < self.mixing.speed:
            n_samples = max(1, round(audio.size * rng.uniform(1 - _SPREAD, 1 + _SPREAD)))
            audio = degradation.change_speed(audio, n_samples)[: self.longest]
        return recolour(rng, audio, probability=self.mixing.equalise, range_db=_COLOUR_DB)

    def _degrade(
        self, rng: np.random.Generator, noisy: AudioVector, target: AudioVector
    ) -> tuple[AudioVector, AudioVector]:
        rate = self.sample_rate
        if rng.random() < self.mixing.band_limit:
            limits = {
                "low_hz": rng.uniform(50, 300) if rng.random() < 0.5 else 0.0,
                "high_hz": rate / 2 * (rng.uniform(0.4, 0.95) if rng.random() < 0.7 else 1.0),
                "sample_rate": rate,
            }
            noisy, target = degradation.band_limit(noisy, **limits), degradation.band_limit(target, **limits)
        if rng.random() < self.mixing.clip:
            noisy = degradation.clip(noisy, rng.uniform(0.3, 0.9))
        return noisy, target

    def _gain(self, rng: np.random.Generator, noisy: AudioVector, loudest: float) -> float:
        """What mixture and target are multiplied by at the end; `loudest` is the peak of the two."""
        if self.mixing.level_dbfs is not None:
            level = 10 ** (rng.uniform(*self.mixing.level_dbfs) / 20)
            return min(level / (rms(noisy) + 1e-9), PEAK / (loudest + 1e-9))
        return min(1.0, PEAK / loudest) if loudest > 0 else 1.0


def _snr_db(clean: AudioVector, noise: AudioVector, sample_rate: int) -> float | None:
    speech, level = active_rms(clean, sample_rate), rms(noise)
    return round(20 * np.log10(speech / level), 4) if speech > 0 and level > 0 else None


def _silent(slot: Slot, sample_rate: int) -> str:
    start, stop = slot.start / sample_rate, (slot.start + slot.samples) / sample_rate
    return f"is silent from {start:.2f} s to {stop:.2f} s"


def maker_of(
    side: Side, spec: DatasetSpec, *, seed: Sequence[int], cache: Path | None
) -> ItemMixer | PairCutter:
    """What makes the items of a side; `seed` and `cache` as for `ItemMixer`."""
    if side.pairs:
        return PairCutter(side.pairs, sample_rate=spec.sample_rate)
    return ItemMixer(
        side.speech,
        side.noises,
        side.responses,
        mixing=spec.mixing,
        sample_rate=spec.sample_rate,
        longest=round(spec.max_duration_s * spec.sample_rate),
        seed=seed,
        cache=cache,
    )
