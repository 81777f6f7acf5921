"""What the notebooks work on: folders of your own, or the project's samples and noise made from a seed."""

import csv
import itertools
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from IPython.display import HTML, Audio, display

from audenoise.array_types import AudioVector
from audenoise.audio import audio_info, find_audio, read_audio, write_audio
from audenoise.degradation import coloured_noise, modulate
from audenoise.errors import DataError
from audenoise.mixing import mix_at_snr, rms
from audenoise.plotting import TitledAudio

SAMPLES = Path("..") / "data" / "samples"
_MADE_RATE = 16000
_MADE_S = 8.0
_MADE_OF_EACH = 6
_MADE_LEVEL = 0.05  # RMS; full scale is 1.0


def work_folder(name: str) -> Path:
    """A new folder for what a notebook writes: in AUDENOISE_WORK, or else where temporary files go."""
    return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=os.environ.get("AUDENOISE_WORK")))


def clean_and_noise(work: Path) -> tuple[Path, Path]:
    """Folders of clean speech and of noise: AUDENOISE_CLEAN and AUDENOISE_NOISE, or else the examples.

    The example noises are written below `work`, a folder for each class: what was added to the project's
    samples, and hiss, hum, rumble and wind made from a seed.

    Raises
    ------
    DataError
        If only one of the two variables is set.
    """
    given = [os.environ.get(name) for name in ("AUDENOISE_CLEAN", "AUDENOISE_NOISE")]
    if given[0] and given[1]:
        return Path(given[0]), Path(given[1])
    if any(given):
        raise DataError("set AUDENOISE_CLEAN and AUDENOISE_NOISE, both or neither")
    noise = work / "noise"
    for path in sorted(SAMPLES.glob("noisy_*")):
        (noisy, rate), (clean, _) = read_audio(path), read_audio(SAMPLES / "clean" / path.name)
        _write(noise / path.stem.removeprefix("noisy_") / "sample.wav", noisy - clean, rate)
    for number in range(_MADE_OF_EACH):
        for label, audio in _made_noises(np.random.default_rng(number)).items():
            _write(noise / label / f"{number}.wav", audio[:, np.newaxis], _MADE_RATE)
    return SAMPLES / "clean", noise


def _made_noises(rng: np.random.Generator) -> dict[str, AudioVector]:
    n_samples = round(_MADE_S * _MADE_RATE)
    mains_hz = rng.choice([50.0, 60.0]) * (1 + 0.002 * np.sin(np.arange(n_samples) / _MADE_RATE))
    turns = 2 * np.pi * np.cumsum(mains_hz) / _MADE_RATE
    noises = {
        "hiss": coloured_noise(rng, n_samples, 0.0),
        "hum": np.sum(
            [np.sin(k * turns + rng.uniform(0, 6)) * rng.uniform(0.2, 1) / k for k in range(1, 16)], axis=0
        ),
        "rumble": coloured_noise(rng, n_samples, 2.0),
        "wind": modulate(rng, coloured_noise(rng, n_samples, 1.3), _MADE_RATE),
    }
    return {
        label: np.float32(_MADE_LEVEL / rms(audio)) * audio.astype(np.float32)
        for label, audio in noises.items()
    }


def _write(path: Path, audio: np.ndarray, rate: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_audio(path, audio, rate)


def read_mono(path: Path, sample_rate: int, *, longest_s: float = 6.0) -> AudioVector:
    """The beginning of a recording at another rate, its channels averaged."""
    info = audio_info(path)
    n_samples = min(info.n_samples, round(longest_s * info.sample_rate))
    return read_audio(path, sample_rate=sample_rate, mono=True, n_samples=n_samples)[0]


def speech_and_noise(
    clean: Path, noise: Path, sample_rate: int, *, label: str = ""
) -> tuple[AudioVector, AudioVector]:
    """The first speech recording, and a noise from below `label`, repeated or cut to its length."""
    speech = read_mono(find_audio(clean)[0], sample_rate)
    place = noise / label if (noise / label).is_dir() else noise
    return speech, np.resize(read_mono(find_audio(place)[0], sample_rate), speech.size)


def write_pairs(
    folder: Path, clean: Path, noise: Path, *, snr_db: Sequence[float], sample_rate: int = 16000
) -> tuple[Path, Path, Path]:
    """Write a noisy recording and its clean twin for each class of noise at each SNR.

    Returns
    -------
    tuple of Path
        Folder of the noisy ones, folder of the clean ones, and a table: name, label, snr_db.
    """
    speech = itertools.cycle(find_audio(clean))
    sources: dict[str, Path] = {}
    for path in find_audio(noise):
        parts = path.relative_to(noise).parts
        sources.setdefault(parts[0] if len(parts) > 1 else path.stem, path)
    rows = []
    for (label, path), ratio_db in itertools.product(sources.items(), snr_db):
        voice = next(speech)
        target = read_mono(voice, sample_rate, longest_s=3.0)
        added = np.resize(read_mono(path, sample_rate), target.size)
        noisy = mix_at_snr(target, added, ratio_db, sample_rate=sample_rate)
        scale = min(1.0, 0.98 / float(np.abs(noisy).max()))
        name = f"{label} {ratio_db:+g} dB.wav"
        for side, audio in (("noisy", noisy), ("clean", target)):
            _write(folder / side / name, scale * audio[:, np.newaxis], sample_rate)
        rows.append({"name": name, "label": label, "snr_db": ratio_db})
    table = folder / "pairs.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["name", "label", "snr_db"])
        writer.writeheader()
        writer.writerows(rows)
    return folder / "noisy", folder / "clean", table


def players(recordings: Sequence[TitledAudio]) -> None:
    """Show a player for each recording; their levels keep their proportions."""
    peak = max(1.0, *(float(np.abs(each.audio).max()) for each in recordings))
    for each in recordings:
        display(HTML(f"<div>{each.title}</div>"))
        display(Audio(np.asarray(each.audio).T / peak, rate=each.sample_rate, normalize=False))
