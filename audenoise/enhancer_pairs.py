"""Endless pairs to train an enhancer on: degraded audio and what it should become.

NumPy only, so that the processes that make them never load TensorFlow. Example number i of a seed is the
same bytes whatever the number of processes.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from audenoise import degradation
from audenoise.array_types import AudioVector
from audenoise.audio import audio_info, find_audio
from audenoise.bandwidth import frame_ends_hz, speech_bandwidth_hz, upper_band_db
from audenoise.corpus import VALIDATION_SEED, TrainingFolders, _subset, hold_out, load_responses
from audenoise.denoiser import Denoiser
from audenoise.enhancer import frame_features
from audenoise.errors import AudenoiseError, DataError
from audenoise.mixing import active_rms, loop_to_length, rms
from audenoise.mixtures import AudioPool, build_pool
from audenoise.specs.enhancer import EnhancerSpec
from audenoise.spectral import istft, stft

_SILENCE = 1e-4
_PEAK = 0.98
_DIGITAL_SILENCE, _GAP_S = 1.5 * 2.0**-15, 0.03
_LOOKED_AT = 4
"""Times the length of an example: how far is looked for speech between gaps."""


class PairBatch(NamedTuple):
    """What a training step eats.

    Attributes
    ----------
    degraded, target : ndarray
        (batch, samples) float32.
    conditioning : ndarray
        (batch, frames, 4) float32, of the degraded audio; see `audenoise.conditioning`.
    pitch : ndarray
        (batch, frames, 2) float32, of the target.
    end_hz : ndarray
        (batch, frames) float32: above it nothing is known of the target, which is silent there.
    """

    degraded: np.ndarray
    target: np.ndarray
    conditioning: np.ndarray
    pitch: np.ndarray
    end_hz: np.ndarray

    def inputs(self) -> dict[str, np.ndarray]:
        return {"degraded": self.degraded, "conditioning": self.conditioning, "end_hz": self.end_hz}

    def targets(self) -> dict[str, np.ndarray]:
        return {"target": self.target, "pitch": self.pitch}


class PairMaker:
    """Draws pairs; number i depends on the seed and on i alone.

    Parameters
    ----------
    speech : AudioPool
        Targets: recordings whose band is as wide as the spec wants it.
    noise : AudioPool, optional
        Backgrounds. Without one, no noise is added but what the degradation makes itself.
    responses : sequence of AudioVector
        Measured room responses, direct sound first.
    spec : EnhancerSpec
    seed : int
    denoiser : str or Path, optional
        The model that inputs go through before they are enhanced; none for null.
    n_samples : int, optional
        Default: the spec's crop.
    """

    def __init__(
        self,
        speech: AudioPool,
        noise: AudioPool | None,
        responses: Sequence[AudioVector],
        *,
        spec: EnhancerSpec,
        seed: int,
        denoiser: str | Path | None = None,
        n_samples: int | None = None,
    ):
        self.speech, self.noise, self.responses = speech, noise, list(responses)
        self.spec, self.seed, self.denoiser = spec, seed, denoiser
        self.n_samples = spec.crop_samples if n_samples is None else n_samples
        self._frames = {"hop_length": spec.stft.hop_length, "win_length": spec.stft.window_samples}
        self._opened: dict[str, np.ndarray] = {}
        self._denoiser: Denoiser | None = None

    def __getstate__(self):
        return {**self.__dict__, "_opened": {}, "_denoiser": None}  # made again in each process

    def _cut(self, kind: str, pool: AudioPool, index: int, start: int, n: int) -> AudioVector:
        if kind not in self._opened:
            self._opened[kind] = pool.samples()
        begin = int(pool.offsets[index]) + start
        return self._opened[kind][begin : begin + n].astype(np.float32) * pool.gains[index]

    def _piece(self, rng: np.random.Generator, kind: str, pool: AudioPool) -> tuple[AudioVector, int]:
        """`n_samples` from one recording, not silent where possible, and its number in the pool; a short one
        is followed by silence, or, as noise, by itself."""
        n, (group_weights, weights) = self.n_samples, pool.weights()
        piece, index = np.zeros(n, np.float32), 0
        for _ in range(8):
            group = int(rng.choice(group_weights.size, p=group_weights))
            index = int(rng.choice(weights.size, p=np.where(pool.groups == group, weights, 0.0)))
            length = int(pool.lengths[index])
            if length >= n:
                start = int(rng.integers(length - n + 1))
                piece = self._cut(kind, pool, index, start, n)
                if kind == "speech" and digital_gaps(piece, self.spec.sample_rate).any():
                    more = self._cut(kind, pool, index, start, min(_LOOKED_AT * n, length - start))
                    piece = more[~digital_gaps(more, self.spec.sample_rate)][:n]
                    piece = np.pad(piece, (0, n - piece.size))
            elif kind == "noise":
                piece = loop_to_length(self._cut(kind, pool, index, 0, length), n, int(rng.integers(length)))
            else:
                before = int(rng.integers(n - length + 1))
                piece = np.pad(self._cut(kind, pool, index, 0, length), (before, n - length - before))
            if rms(piece) > _SILENCE:
                break
        return piece, index

    def _ends_hz(self, piece: AudioVector, index: int) -> np.ndarray:
        """Where the frames of a piece of a recording end, or their coder ended them, (frames,)."""
        step = max(2.0**-15, float(self.speech.gains[index]))
        ends = frame_ends_hz(piece, self.spec.sample_rate, step=step, **self._frames)
        return ends if self.speech.reach_hz is None else np.minimum(ends, self.speech.reach_hz[index])

    def _known_hz(self, ends: np.ndarray, lowered: float) -> np.ndarray:
        """What is known of such a piece after it was moved down by a factor; half the sample rate, where it
        is complete."""
        half, full = self.spec.sample_rate / 2, self.spec.pairs.full_band_hz
        if full is None:
            return np.full(ends.shape, half)
        return np.where(lowered * ends >= min(full, 0.9 * half), half, lowered * ends)

    def example(self, number: int) -> tuple[AudioVector, AudioVector, np.ndarray]:
        """Degraded audio and its target, (n_samples,) float32 each, and where the frames of the target end,
        (frames,) in Hz."""
        rng, spec, rate = np.random.default_rng((self.seed, number)), self.spec, self.spec.sample_rate
        target, index = self._piece(rng, "speech", self.speech)
        ends = self._ends_hz(target, index)
        level = active_rms(target, rate)
        if level > 0:
            target = target * np.float32(10 ** (rng.uniform(*spec.pairs.level_dbfs) / 20) / level)
        degraded, lowered = target, 1.0
        if rng.random() >= spec.pairs.untouched:
            degraded, target, lowered = self._degraded(rng, target)
        if self.denoiser is not None and rng.random() < spec.pairs.denoise:
            degraded = self._denoised(degraded)
        loudest = max(float(np.abs(part).max()) for part in (degraded, target))
        gain = np.float32(min(1.0, _PEAK / (loudest + 1e-9)))
        known_hz = self._known_hz(ends, lowered)
        return degraded * gain, _ended(target * gain, spec, known_hz), known_hz

    def _degraded(
        self, rng: np.random.Generator, target: AudioVector
    ) -> tuple[AudioVector, AudioVector, float]:
        """Both sides, and the factor by which the target's band has become narrower."""
        spec, rate = self.spec, self.spec.sample_rate
        noise = None if self.noise is None else self._piece(rng, "noise", self.noise)[0]
        drawn = degradation.draw(spec.degradation, rng, sample_rate=rate, n_samples=self.n_samples)
        pair = degradation.apply(drawn, target, rate, noise=noise, responses=self.responses)
        return *pair, _narrowing(drawn)

    def _denoised(self, audio: AudioVector) -> AudioVector:
        if self._denoiser is None:
            self._denoiser = Denoiser.from_preset(self.denoiser, threads=1)
        return self._denoiser.denoise(audio, self.spec.sample_rate)

    def batch(self, number: int, size: int) -> PairBatch:
        """Pairs number·size … number·size + size - 1, with their conditioning."""
        *pairs, ends = zip(*(self.example(number * size + i) for i in range(size)), strict=True)
        pairs = list(zip(*pairs, strict=True))
        rate = self.spec.sample_rate
        features = [[frame_features(part, rate, **self._frames) for part in pair] for pair in pairs]
        return PairBatch(
            np.stack([degraded for degraded, _ in pairs]),
            np.stack([target for _, target in pairs]),
            np.stack([of_degraded for of_degraded, _ in features]),
            np.stack([of_target[:, :2] for _, of_target in features]),
            np.array(ends, np.float32),
        )


def digital_gaps(audio: AudioVector, sample_rate: int) -> np.ndarray:
    """Which samples lie in stretches of digital silence, as between words that somebody has put together.

    No room is as silent: who learns from such pauses makes silence of every pause.

    Parameters
    ----------
    audio : AudioVector
        Full scale 1.0.
    sample_rate : int
        In Hz.

    Returns
    -------
    ndarray
        (samples,) bool; true in stretches of at least 30 ms within one step of 16 bits around zero.
    """
    changes = np.flatnonzero(np.diff(np.abs(audio) < _DIGITAL_SILENCE, prepend=False, append=False))
    found = np.zeros(audio.size, bool)
    for start, end in changes.reshape(-1, 2):
        found[start:end] = end - start >= _GAP_S * sample_rate
    return found


def _narrowing(drawn: degradation.Draw) -> float:
    """At most 1: what is moved down takes the end of the band with it."""
    factor = 1.0
    for step in drawn.steps:
        if step.kind == "pitch_shift":
            factor *= min(1.0, 2 ** (step.parameters["semitones"] / 12))
        elif step.kind == "formant_shift":
            factor *= min(1.0, step.parameters["ratio"])
    return factor


def _ended(audio: AudioVector, spec: EnhancerSpec, ends_hz: np.ndarray) -> AudioVector:
    """Without what lies above the ends of its frames: what a coder left there is no example either."""
    if ends_hz.min() >= spec.sample_rate / 2:
        return audio
    sizes: Any = {**spec.stft.model_dump(), "win_length": spec.stft.window_samples}
    spectrum = stft(audio, **sizes)
    spectrum[np.fft.rfftfreq(spec.stft.n_fft, 1 / spec.sample_rate)[:, None] > ends_hz] = 0
    return istft(spectrum, n_samples=audio.size, **sizes)


@dataclass(frozen=True)
class PairMakers:
    train: PairMaker
    validation: PairMaker
    skipped: list[str]


def _wide_files(folders: Sequence[Path], least_hz: float) -> tuple[list[Path], list[str]]:
    """Files whose rate leaves room for the band, before anything is decoded."""
    wide, skipped = [], []
    for folder in folders:
        for path in find_audio(folder):
            try:
                rate = audio_info(path).sample_rate
            except AudenoiseError as error:
                skipped.append(str(error))
                continue
            if rate / 2 < least_hz:
                skipped.append(f"{path}: its rate of {rate} Hz leaves no room for a band of {least_hz:g} Hz")
            else:
                wide.append(path)
    return wide, skipped


def wide_pool(
    folders: Sequence[Path], *, spec: EnhancerSpec, cache: Path, jobs: int = 2, without: Sequence[Path] = ()
) -> tuple[AudioPool, list[str]]:
    """Decode the recordings whose speech reaches `pairs.min_bandwidth_hz`, and whose upper band is as loud as
    `pairs.min_upper_db`, as measured; and say what else is there. `without` as in `build_pool`.

    Raises
    ------
    DataError
        If none does.
    """
    least_hz = spec.pairs.min_bandwidth_hz
    files, skipped = _wide_files(folders, least_hz)
    names = ", ".join(map(str, folders))
    refusal = DataError(
        f"{names}: no recording has speech up to {least_hz:g} Hz; give full-band ones, or lower "
        "pairs.min_bandwidth_hz in the spec"
    )
    if not files:
        raise refusal
    pool, bad = build_pool(files, sample_rate=spec.sample_rate, cache=cache, jobs=jobs, without=without)
    samples, least_db = pool.samples(), spec.pairs.min_upper_db

    def heard(i: int) -> AudioVector:
        begin = int(pool.offsets[i])
        return samples[begin : begin + int(pool.lengths[i])].astype(np.float32) * pool.gains[i]

    # Stored with 16 bits twice: before, and, brought to full scale, in the pool.
    steps = np.maximum(2.0**-15, pool.gains)
    reach_hz = np.array(
        [speech_bandwidth_hz(heard(i), spec.sample_rate, step=float(step)) for i, step in enumerate(steps)]
    )
    pool = replace(pool, reach_hz=reach_hz)
    wide = reach_hz >= least_hz
    if not wide.any():
        raise refusal
    if not wide.all():
        bad = [*bad, f"{int((~wide).sum())} recordings of {names}: their speech ends below {least_hz:g} Hz"]
    if least_db is None:
        return _subset(pool, wide), [*skipped, *bad]
    upper_db = [upper_band_db(heard(i), spec.sample_rate) if kept else -np.inf for i, kept in enumerate(wide)]
    bright = np.array(upper_db) >= least_db
    if not bright.any():
        raise DataError(
            f"{names}: no recording's band above 8 kHz is as loud as {least_db:g} dB; the brightest has "
            f"{max(upper_db):.0f} dB; lower pairs.min_upper_db in the spec"
        )
    if n_dull := int((wide & ~bright).sum()):
        bad = [*bad, f"{n_dull} recordings of {names}: duller above 8 kHz than {least_db:g} dB"]
    return _subset(pool, bright), [*skipped, *bad]


def make_pairs(
    spec: EnhancerSpec,
    folders: TrainingFolders,
    *,
    cache: Path,
    denoiser: str | Path | None = None,
    jobs: int = 2,
) -> PairMakers:
    """Pools and makers of pairs for a spec, one for training and one for what is held out.

    Parameters
    ----------
    spec : EnhancerSpec
    folders : TrainingFolders
        Noise and responses may be missing.
    cache : Path
        Where decoded audio is kept, 346 MB per hour at 48 kHz.
    denoiser : str or Path, optional
        Name or folder of the model for `pairs.denoise`.
    jobs : int
        Processes that decode.

    Raises
    ------
    DataError
        If a folder holds no usable recording.
    """
    skipped: list[str] = []

    def speech(paths: tuple[Path, ...], without: tuple[Path, ...] = ()) -> AudioPool:
        pool, lines = wide_pool(paths, spec=spec, cache=cache, jobs=jobs, without=without)
        skipped.extend(lines)
        return pool

    def noise(paths: tuple[Path, ...], without: tuple[Path, ...] = ()) -> AudioPool:
        pool, lines = build_pool(paths, sample_rate=spec.sample_rate, cache=cache, jobs=jobs, without=without)
        skipped.extend(lines)
        return pool

    def both(pool, train, valid, what):
        if not train:
            return None, None
        return (pool(train, valid), pool(valid)) if valid else hold_out(pool(train), what)

    train_speech, valid_speech = both(speech, folders.clean, folders.valid_clean, "clean")
    train_noise, valid_noise = both(noise, folders.noise, folders.valid_noise, "noise")
    if train_speech is None or valid_speech is None:
        raise DataError("clean: names no folder")
    responses, lines = load_responses(folders.rir, spec.sample_rate)
    skipped.extend(lines)
    train = PairMaker(
        train_speech, train_noise, responses, spec=spec, seed=spec.training.seed, denoiser=denoiser
    )
    validation = PairMaker(
        valid_speech,
        valid_noise,
        responses,
        spec=spec,
        seed=VALIDATION_SEED,
        denoiser=denoiser,
        n_samples=max(spec.crop_samples, 2 * spec.sample_rate),
    )
    return PairMakers(train, validation, skipped)
