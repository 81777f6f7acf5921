"""What is heard in a listening test: excerpts of the same moment from every condition, equally loud."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.signal import fftconvolve, firwin

from audenoise.audio import audio_info, flac_base64, read_audio, resample
from audenoise.errors import DataError
from audenoise.evaluation.pairs import files_by_stem, stem_of

from .levels import loudness_lufs

ANCHOR = "anchor"
LOUDNESS_LUFS = -26.0
PEAK = 10 ** (-1 / 20)
MIN_EXCERPT_S = 0.5
_ALLOWED_DIFFERENCE_S = 0.5
_ANCHOR_TAPS = 255


@dataclass(frozen=True)
class Condition:
    """A folder of recordings that went through the same thing.

    Attributes
    ----------
    name : str
    files : dict
        Path in the folder without suffix → file.
    """

    name: str
    files: dict[str, Path]


@dataclass(frozen=True)
class Trial:
    """One excerpt in all conditions.

    Attributes
    ----------
    name : str
    sample_rate : int
    stimuli : dict
        Condition → (samples, channels), all of one shape and equally loud.
    start_s : float
        Where the excerpt begins.
    loudness_lufs : float
        Of each stimulus.
    """

    name: str
    sample_rate: int
    stimuli: dict[str, np.ndarray]
    start_s: float
    loudness_lufs: float

    def to_dict(self) -> dict[str, Any]:
        """What the page needs, the audio as FLAC in base64."""
        return {
            "name": self.name,
            "stimuli": {name: flac_base64(audio, self.sample_rate) for name, audio in self.stimuli.items()},
        }


def read_conditions(entries: Sequence[str]) -> list[Condition]:
    """Find the recordings of conditions, written NAME=FOLDER, or FOLDER, whose own name is taken then.

    Raises
    ------
    DataError
        If a folder is missing or without audio, or two conditions have one name.
    """
    conditions: dict[str, Condition] = {}
    for entry in entries:
        name, separator, path = entry.partition("=")
        # A folder may have "=" in its name.
        if not separator or Path(entry).exists():
            path, name = entry, Path(os.path.abspath(entry)).name
        if not Path(path).exists():
            raise DataError(f"{path}: no such folder; write NAME=FOLDER or FOLDER")
        if not name or name == ANCHOR:
            raise DataError(f"{entry}: a condition can't be called {name!r}; write NAME={path}")
        if name in conditions:
            raise DataError(
                f"{entry}: there is a condition {name} already; give it another name, NAME={path}"
            )
        files = (
            {stem_of(Path(path).name): Path(path)} if Path(path).is_file() else files_by_stem(Path(path))[0]
        )
        if not files:
            raise DataError(f"{path}: no audio files in this folder")
        conditions[name] = Condition(name, files)
    return list(conditions.values())


def common_names(conditions: Sequence[Condition], *, most: int, seed: int) -> list[str]:
    """Names that every condition has; more than `most` are drawn from, by a seed.

    Raises
    ------
    DataError
        If there is none.
    """
    if all(len(condition.files) == 1 for condition in conditions):
        # Single files needn't have one name.
        return [next(iter(conditions[0].files))]
    names = sorted(set.intersection(*(set(condition.files) for condition in conditions)))
    if not names:
        raise DataError("no recording has the same name (suffixes apart) in all conditions; rename the files")
    if len(names) > most:
        names = sorted(np.random.default_rng(seed).choice(names, most, replace=False).tolist())
    return names


def make_trial(
    name: str,
    conditions: Sequence[Condition],
    *,
    seconds: float,
    reference: str | None = None,
    anchor_hz: float | None = None,
) -> Trial:
    """Read one recording in all conditions, cut the same excerpt out of each, and make them equally loud.

    The excerpt is where the reference, or else the first condition, has most energy. Rates are those of the
    highest among the conditions. Every stimulus is scaled to -26 LUFS, or all to less where one would pass
    -1 dBFS then.

    Parameters
    ----------
    name : str
        Of `common_names`.
    conditions : sequence of Condition
    seconds : float
        Longest excerpt.
    reference : str, optional
        Name of a condition.
    anchor_hz : float, optional
        Add the reference without what is above this frequency, as ITU-R BS.1534 asks for.

    Raises
    ------
    DataError
        If the conditions differ in length by more than half a second, one is silent or too short.
    AudioFileError
        If a file can't be read.
    """
    files = {each.name: each.files.get(name) or next(iter(each.files.values())) for each in conditions}
    infos = {key: audio_info(path) for key, path in files.items()}
    durations = {key: info.duration_s for key, info in infos.items()}
    if max(durations.values()) - min(durations.values()) > _ALLOWED_DIFFERENCE_S:
        longest, shortest = (
            max(durations, key=durations.__getitem__),
            min(durations, key=durations.__getitem__),
        )
        raise DataError(
            f"{name}: is {durations[longest]:.2f} s long in {longest} and {durations[shortest]:.2f} s in "
            f"{shortest}; these are not the same recording"
        )
    rate = max(info.sample_rate for info in infos.values())
    stereo = all(info.channels >= 2 for info in infos.values())
    leader = reference or conditions[0].name
    length_s = min(seconds, *durations.values())
    if length_s < MIN_EXCERPT_S:
        raise DataError(f"{name}: is shorter than {MIN_EXCERPT_S:g} s; leave it out")
    start_s = _loudest_start(files[leader], length_s, min(durations.values()))
    n_samples = int(length_s * rate)
    stimuli = {}
    for key, path in files.items():
        own = infos[key].sample_rate
        first, count = round(start_s * own), max(1, round(length_s * own))
        audio, _ = read_audio(path, start=min(first, infos[key].n_samples - 1), n_samples=count)
        audio = audio[:, :2] if stereo else audio.mean(axis=1, keepdims=True)
        audio = resample(audio, own, rate)[:n_samples]
        stimuli[key] = np.pad(audio, ((0, n_samples - len(audio)), (0, 0)))
    if anchor_hz is not None:
        stimuli[ANCHOR] = low_passed(stimuli[leader], rate, anchor_hz)
    return _equally_loud(name, stimuli, rate, start_s)


def _loudest_start(path: Path, length_s: float, duration_s: float) -> float:
    audio, rate = read_audio(path, mono=True)
    length, end = int(length_s * rate), int(duration_s * rate)
    energy = np.concatenate([[0.0], np.cumsum(np.square(audio[:end], dtype=np.float64))])
    if end <= length:
        return 0.0
    starts = np.arange(0, end - length + 1, max(1, rate // 10))
    return float(starts[np.argmax(energy[starts + length] - energy[starts])]) / rate


def low_passed(audio: np.ndarray, sample_rate: int, cutoff_hz: float) -> np.ndarray:
    """Take out what is above a frequency, without delay (a window-designed filter of 255 taps at 48 kHz).

    Raises
    ------
    DataError
        If the frequency isn't below half the rate.
    """
    if not 0 < cutoff_hz < sample_rate / 2:
        raise DataError(f"the anchor's {cutoff_hz:g} Hz must be below half the sample rate, {sample_rate} Hz")
    taps = max(31, round(_ANCHOR_TAPS * sample_rate / 48_000) | 1)
    response = np.asarray(firwin(taps, cutoff_hz, fs=sample_rate)).reshape(-1, 1)
    return fftconvolve(audio, response, mode="same", axes=0).astype(np.float32)


def _equally_loud(name: str, stimuli: dict[str, np.ndarray], rate: int, start_s: float) -> Trial:
    gains = {}
    for key, audio in stimuli.items():
        loudness = loudness_lufs(audio, rate)
        if not np.isfinite(loudness):
            raise DataError(f"{name}: is silent in {key}; leave it out")
        gains[key] = 10 ** ((LOUDNESS_LUFS - loudness) / 20)
    peak = max(gains[key] * float(np.abs(audio).max()) for key, audio in stimuli.items())
    common = min(1.0, PEAK / peak)
    scaled = {key: (common * gains[key] * audio).astype(np.float32) for key, audio in stimuli.items()}
    return Trial(name, rate, scaled, start_s, LOUDNESS_LUFS + 20 * float(np.log10(common)))
