"""From folders of recordings to a training run: pools, held-out mixtures, streams."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audenoise.audio import find_audio, read_audio
from audenoise.degradation import trim_response
from audenoise.errors import AudenoiseError, DataError
from audenoise.mixtures import AudioPool, Mixer, MixtureStream, build_pool
from audenoise.specs import ModelSpec

VALIDATION_SEED = 987_654_321
HELD_OUT = 0.05


@dataclass(frozen=True)
class TrainingFolders:
    """Where the recordings are. Without validation folders, one recording in twenty is held out."""

    clean: tuple[Path, ...]
    noise: tuple[Path, ...]
    rir: tuple[Path, ...] = ()
    valid_clean: tuple[Path, ...] = ()
    valid_noise: tuple[Path, ...] = ()


def _subset(pool: AudioPool, keep: np.ndarray) -> AudioPool:
    groups = np.unique(pool.groups[keep], return_inverse=True)[1]
    return AudioPool(
        pool.path,
        pool.offsets[keep],
        pool.lengths[keep],
        pool.gains[keep],
        groups,
        pool.sample_rate,
        None if pool.reach_hz is None else pool.reach_hz[keep],
    )


def hold_out(pool: AudioPool, what: str) -> tuple[AudioPool, AudioPool]:
    """Split a pool into (train, held out) by recording: the same split every time.

    Raises
    ------
    DataError
        If there are fewer than two recordings.
    """
    count = pool.lengths.size
    if count < 2:
        raise DataError(f"{what}: needs at least 2 recordings, so that one can be held out. Found: {count}")
    order = np.random.default_rng(0).permutation(count)
    held = np.zeros(count, bool)
    held[order[: max(1, round(HELD_OUT * count))]] = True
    return _subset(pool, ~held), _subset(pool, held)


def load_responses(folders: Sequence[Path], sample_rate: int) -> tuple[list[np.ndarray], list[str]]:
    """Room responses (channels apart), direct sound first, at most 3 s each; and what had to be left out.

    Raises
    ------
    DataError
        If a folder holds no usable response.
    """
    responses, skipped = [], []
    for folder in folders:
        before = len(responses)
        for path in find_audio(folder):
            try:
                audio, _ = read_audio(path, sample_rate=sample_rate)
            except AudenoiseError as error:
                skipped.append(str(error))
                continue
            channels = [audio[:, c] for c in range(min(2, audio.shape[1])) if audio[:, c].any()]
            if not channels:
                skipped.append(f"{path}: is silent")
            responses += [trim_response(channel)[: 3 * sample_rate] for channel in channels]
        if len(responses) == before:
            raise DataError(f"{folder}: holds no usable room response (wav, flac, ogg, mp3)")
    return responses, skipped


@dataclass(frozen=True)
class Mixers:
    train: Mixer
    validation: Mixer
    skipped: list[str]


def make_mixers(spec: ModelSpec, folders: TrainingFolders, *, cache: Path, jobs: int = 2) -> Mixers:
    """Pools and mixers for a spec.

    Parameters
    ----------
    spec : ModelSpec
    folders : TrainingFolders
    cache : Path
        Where decoded audio is kept, 115 MB per hour at 16 kHz.
    jobs : int
        Processes that decode.

    Raises
    ------
    DataError
        If a folder holds no usable recording.
    """
    skipped: list[str] = []

    def pool(paths: tuple[Path, ...], without: tuple[Path, ...] = ()) -> AudioPool:
        made, bad = build_pool(paths, sample_rate=spec.sample_rate, cache=cache, jobs=jobs, without=without)
        skipped.extend(bad)
        return made

    sides = []
    for what, train, valid in (
        ("clean", folders.clean, folders.valid_clean),
        ("noise", folders.noise, folders.valid_noise),
    ):
        sides.append((pool(train, valid), pool(valid)) if valid else hold_out(pool(train), what))
    (speech, valid_speech), (noise, valid_noise) = sides
    responses, bad = load_responses(folders.rir, spec.sample_rate)
    skipped.extend(bad)
    n_samples = round(spec.training.crop_s * spec.sample_rate)
    seed = spec.training.seed
    train = Mixer(speech, noise, responses, spec=spec.mixing, n_samples=n_samples, seed=seed)
    validation = Mixer(
        valid_speech,
        valid_noise,
        responses,
        spec=spec.mixing,
        n_samples=max(n_samples, 4 * spec.sample_rate),
        seed=VALIDATION_SEED,
    )
    return Mixers(train, validation, skipped)


def training_stream(mixers: Mixers, spec: ModelSpec, *, workers: int, epoch: int) -> MixtureStream:
    """The endless batches of a run, from an epoch on."""
    first = epoch * spec.training.steps_per_epoch
    return MixtureStream(mixers.train, batch_size=spec.training.batch_size, workers=workers, first=first)
