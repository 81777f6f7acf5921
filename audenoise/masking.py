"""Speech with parts of its spectrogram hidden, to pre-train an encoder on: seeded, endless, by number.

NumPy only, so that the processes that make it never load TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audenoise.corpus import VALIDATION_SEED, hold_out, load_responses
from audenoise.mixtures import Mixer, build_pool
from audenoise.specs import MixingSpec, PretrainingSpec, TrainingSpec
from audenoise.specs.sections import StftSpec
from audenoise.spectral import frame_count

_MOST_RECTANGLES = 10_000


def draw_mask(
    rng: np.random.Generator, spec: PretrainingSpec, *, n_frames: int, frames_per_s: float
) -> np.ndarray:
    """Hide rectangles of a mel spectrogram until `spec.mask_share` of it is hidden.

    Parameters
    ----------
    rng : numpy.random.Generator
    spec : PretrainingSpec
    n_frames : int
    frames_per_s : float

    Returns
    -------
    ndarray
        bool, (n_frames, spec.bands); true is hidden.

    Examples
    --------
    >>> mask = draw_mask(np.random.default_rng(0), PretrainingSpec(), n_frames=100, frames_per_s=62.5)
    >>> mask.shape, bool(0.4 <= mask.mean() < 0.6)
    ((100, 32), True)
    """
    hidden = np.zeros((n_frames, spec.bands), bool)
    for _ in range(_MOST_RECTANGLES):
        if hidden.mean() >= spec.mask_share:
            break
        length = min(n_frames, max(1, round(rng.uniform(*spec.mask_s) * frames_per_s)))
        height = max(1, round(rng.uniform(*spec.mask_bands) * spec.bands))
        start = int(rng.integers(1 - length, n_frames))  # the ends are hidden as often as the middle
        low = int(rng.integers(spec.bands - height + 1))
        hidden[max(0, start) : start + length, low : low + height] = True
    return hidden


@dataclass(frozen=True)
class MaskedSpeech:
    """Numbered batches of recordings and of what is hidden of them; see `MixtureStream`.

    Attributes
    ----------
    recordings : Mixer
    spec : PretrainingSpec
    stft : StftSpec
    """

    recordings: Mixer
    spec: PretrainingSpec
    stft: StftSpec

    def batch(self, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Audio (size, samples) float32, and what is hidden: (size, frames, bands) uint8."""
        audio, _ = self.recordings.batch(number, size)
        n_frames = frame_count(
            audio.shape[1], hop_length=self.stft.hop_length, win_length=self.stft.window_samples
        )
        rate = self.recordings.sample_rate / self.stft.hop_length
        masks = [
            draw_mask(
                np.random.default_rng((self.recordings.seed, number * size + i, 1)),
                self.spec,
                n_frames=n_frames,
                frames_per_s=rate,
            )
            for i in range(size)
        ]
        return audio, np.stack(masks).astype(np.uint8)


@dataclass(frozen=True)
class Unpaired:
    """Speech to pre-train on, what is held out of it, and what could not be used."""

    train: MaskedSpeech
    validation: MaskedSpeech
    skipped: list[str]

    @property
    def minutes(self) -> float:
        return self.train.recordings.pools["speech"].seconds / 60


def make_unpaired(
    speech: Sequence[Path],
    *,
    sample_rate: int,
    stft: StftSpec,
    mixing: MixingSpec,
    training: TrainingSpec,
    pretraining: PretrainingSpec,
    rir: Sequence[Path] = (),
    valid: Sequence[Path] = (),
    cache: Path,
    jobs: int = 2,
) -> Unpaired:
    """Pools of recordings and their masks, for training and for what is held out.

    Speed, colour, rooms, levels, band limits and clipping are drawn as `mixing` says; no noise is added: the
    recordings may have their own.

    Raises
    ------
    DataError
        If a folder holds no usable recording.
    """
    pool, skipped = build_pool(speech, sample_rate=sample_rate, cache=cache, jobs=jobs, without=valid)
    if valid:
        held, bad = build_pool(valid, sample_rate=sample_rate, cache=cache, jobs=jobs)
        skipped = [*skipped, *bad]
    else:
        pool, held = hold_out(pool, "speech")
    responses, bad = load_responses(rir, sample_rate)
    alone = mixing.model_copy(update={"clean_only": 1.0, "noise_only": 0.0})

    def masked(recordings, seed: int) -> MaskedSpeech:
        mixer = Mixer(
            recordings,
            recordings,  # never asked for noise
            responses,
            spec=alone,
            n_samples=round(training.crop_s * sample_rate),
            seed=seed,
        )
        return MaskedSpeech(mixer, pretraining, stft)

    return Unpaired(masked(pool, training.seed), masked(held, VALIDATION_SEED), [*skipped, *bad])
