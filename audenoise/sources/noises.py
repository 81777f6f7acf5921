"""Noise for the items of a side: a recording of their own for each, or colours, or other voices."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from audenoise import degradation
from audenoise.array_types import AudioVector
from audenoise.audio import read_audio
from audenoise.errors import AudioFileError, DataError
from audenoise.mixing import loop_to_length, rms, strongest_channel

from .excerpts import SILENCE, DecodedCache, length_at, read_excerpt
from .planning import Slot
from .recordings import Recording, Skipped, reason_of
from .settings import ItemMixing

_SPREAD = 0.4
_COLOUR_DB = 12.0
_MADE_RMS = 0.05
"""Level of noise that isn't recorded, -26 dBFS; it matters where a noise ratio is asked for."""
_RESPONSE_S = 3.0
_TRIES = 8


@dataclass
class Noise:
    """Noise, its class, and where it comes from. `rms` is its level where that has been measured, else 0."""

    audio: AudioVector
    label: str
    paths: list[Path] = field(default_factory=list)
    offset_s: float | None = None
    rms: float = 0.0


def recolour(
    rng: np.random.Generator, audio: AudioVector, *, probability: float, range_db: float
) -> AudioVector:
    """With a probability, the audio through a random filter and a random smooth response."""
    if rng.random() >= probability:
        return audio
    audio = degradation.equalise(audio, degradation.random_filter(rng))
    return degradation.colour(rng, audio, rng.uniform(0, range_db))


class NoiseDrawer:
    """Draws noise and rooms; what it gives for a slot depends on the seed and the slot alone.

    Parameters
    ----------
    speech, noises, responses : sequence of Recording
        Of one side; speech is for babble.
    mixing : ItemMixing
    sample_rate : int
        In Hz.
    seed : sequence of int
    cache : Path or None
        Folder for decoded noise; None decodes pieces of noise each time.

    Attributes
    ----------
    problems : list of Skipped
        Recordings that had to be replaced by others.
    """

    def __init__(
        self,
        speech: Sequence[Recording],
        noises: Sequence[Recording],
        responses: Sequence[Recording],
        *,
        mixing: ItemMixing,
        sample_rate: int,
        seed: Sequence[int],
        cache: Path | None,
    ) -> None:
        self.speech, self.noises, self.responses = speech, noises, responses
        self.mixing, self.sample_rate, self.seed = mixing, sample_rate, tuple(seed)
        self.problems: list[Skipped] = []
        self._order: tuple[int, list[int]] | None = None
        self._cache = DecodedCache(cache, sample_rate) if cache is not None else None

    def draw(self, rng: np.random.Generator, slot: Slot, n_samples: int) -> Noise:
        """Noise for a slot, not silent; its level means nothing, but that of a recording is kept.

        Raises
        ------
        DataError
            If no noise can be used at all.
        """
        spec = self.mixing
        if rng.random() < spec.coloured_noise:
            audio = degradation.coloured_noise(rng, n_samples, rng.uniform(-0.5, 2.0))
            noise = Noise(audio * np.float32(_MADE_RMS), "coloured")
        elif spec.synthetic_noise and rng.random() < spec.synthetic_noise:  # else no draw: the same datasets
            audio = degradation.synthetic_noise(rng, n_samples, self.sample_rate)
            noise = Noise(audio * np.float32(_MADE_RMS), "synthetic")
        elif rng.random() < spec.babble and len(self.speech) > 1:
            noise = self._babble(rng, slot, n_samples)
        else:
            noise = self._recorded(rng, n_samples, self._choices(slot))
        if rng.random() < spec.modulate:
            noise.audio, noise.rms = degradation.modulate(rng, noise.audio, self.sample_rate), 0.0
        if rng.random() < spec.second_noise:
            second = self._recorded(rng, n_samples, iter(rng.permutation(len(self.noises)).tolist()))
            level = rms(noise.audio)
            noise.audio = noise.audio + second.audio * np.float32(
                level / rms(second.audio) * 10 ** rng.uniform(-0.5, 0)
            )
            noise.paths, noise.rms = noise.paths + second.paths, 0.0
        return noise

    def _choices(self, slot: Slot) -> Iterator[int]:
        """Noises for a slot, first its own: those of the mixtures of one piece all differ."""
        if self._order is None or self._order[0] != slot.recording:
            rng = np.random.default_rng([*self.seed, 3, slot.recording])
            self._order = slot.recording, rng.permutation(len(self.noises)).tolist()
        order = self._order[1]
        first = slot.piece * slot.mixtures + slot.mixture
        for i in range(len(order)):
            yield order[(first + i * slot.mixtures) % len(order)]
        yield from order

    def _recorded(self, rng: np.random.Generator, n_samples: int, choices: Iterator[int]) -> Noise:
        token = int(rng.integers(2**62))
        for number in choices:
            # A generator of its own, so that one that has to be passed over changes nothing else.
            own = np.random.default_rng([token, number])
            source = self.noises[number]
            # Playing noise faster takes more of it.
            speed = own.uniform(1 - _SPREAD, 1 + _SPREAD) if own.random() < self.mixing.speed else 1.0
            try:
                for _ in range(_TRIES):
                    audio, offset = self._cut_noise(own, number, max(1, round(n_samples * speed)))
                    if (level := rms(audio)) > SILENCE:
                        varied = audio
                        if audio.size != n_samples:
                            varied = degradation.change_speed(audio, n_samples)
                        varied = recolour(own, varied, probability=self.mixing.equalise, range_db=_COLOUR_DB)
                        return Noise(
                            varied,
                            source.label or "",
                            [source.path],
                            offset_s=round(offset / self.sample_rate, 6),
                            rms=level if varied is audio else 0.0,
                        )
                reason = f"is silent wherever it was cut for {n_samples / self.sample_rate:.1f} s of noise"
            except AudioFileError as error:
                reason = reason_of(error, source.path)
            self.problems.append(Skipped(source.path, reason))
        raise DataError(
            f"none of the {len(self.noises)} noises can be used; the first: "
            f"{self.problems[0].path}: {self.problems[0].reason}. Training and test side have noises of "
            "their own: if there are usable ones, take this one out, or choose another --seed"
        )

    def _cut_noise(self, rng: np.random.Generator, number: int, n_samples: int) -> tuple[AudioVector, int]:
        """A piece from anywhere in a noise, which is repeated if it is too short; and where it begins."""
        source = self.noises[number]
        length = length_at(source, self.sample_rate)
        offset = int(rng.integers(length - n_samples + 1 if length > n_samples else max(1, length)))
        first, n = (offset, n_samples) if length > n_samples else (0, max(1, length))
        if self._cache is not None:
            audio = self._cache.cut(number, source, start=first, n_samples=n)
        else:
            audio = read_excerpt(source, first, n, sample_rate=self.sample_rate)
        return loop_to_length(audio, n_samples, offset - first), offset

    def _babble(self, rng: np.random.Generator, slot: Slot, n_samples: int) -> Noise:
        """Three to ten voices of others, none far louder than another, half of the time in a room."""
        own = self.speech[slot.recording]
        voices = np.zeros(n_samples, np.float32)
        paths: list[Path] = []
        for number in rng.permutation(len(self.speech))[: int(rng.integers(3, 11)) + 1]:
            other = self.speech[number]
            if number == slot.recording or (own.speaker is not None and other.speaker == own.speaker):
                continue
            length = length_at(other, self.sample_rate)
            n = min(length, n_samples)
            try:
                audio = read_excerpt(
                    other, int(rng.integers(length - n + 1)), max(1, n), sample_rate=self.sample_rate
                )
            except AudioFileError as error:
                self.problems.append(Skipped(other.path, reason_of(error, other.path)))
                continue
            audio = loop_to_length(audio, n_samples, int(rng.integers(audio.size)))
            voices += audio * np.float32(10 ** rng.uniform(-0.5, 0) / (rms(audio) + 1e-9))
            paths.append(other.path)
        if not voices.any():
            return self._recorded(rng, n_samples, self._choices(slot))
        if rng.random() < 0.5:
            voices, _ = degradation.reverberate(voices, self.room(rng), self.sample_rate)
        return Noise(voices * np.float32(_MADE_RMS), "babble", paths)

    def room(self, rng: np.random.Generator) -> AudioVector:
        """A room's response, direct sound first: a recorded one, or a simulated one where there are none."""
        for number in rng.permutation(len(self.responses))[:_TRIES]:
            source = self.responses[number]
            try:
                audio, _ = read_audio(source.path, sample_rate=self.sample_rate)
                channel = audio[:, strongest_channel(audio)]
                if channel.any():
                    return degradation.trim_response(channel)[: round(_RESPONSE_S * self.sample_rate)]
                reason = "is silent"
            except AudioFileError as error:
                reason = reason_of(error, source.path)
            self.problems.append(Skipped(source.path, reason))
        return degradation.simulate_room(rng, self.sample_rate)
