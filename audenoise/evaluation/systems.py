"""Who denoises: published models, the classical baselines, other packages, and folders of finished files."""

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from audenoise.array_types import MultichannelAudio
from audenoise.audio import resample
from audenoise.baselines import spectral_subtraction, wiener_filter
from audenoise.denoiser import Denoiser
from audenoise.errors import AudenoiseError, DataError, ModelError, SignalError, brief
from audenoise.presets import for_files, load_preset

from .pairs import files_by_stem

PACKAGES = {"noisereduce": "noisereduce", "rnnoise": "pyrnnoise", "rnnoise-flushed": "pyrnnoise"}
"""What systems of others need; the extra `benchmarks` brings it."""

_FLUSH_S = 0.1
_RNNOISE_RATE = 48_000


@dataclass(frozen=True)
class System:
    """One row of the tables, in a form that another process can be sent.

    Attributes
    ----------
    name : str
    kind : str
        A key of `RUNNERS`, "model", or "folder".
    source : str or None
        Name or folder of the model; folder or file of the finished recordings.
    """

    name: str
    kind: str
    source: str | None = None


NOISY = System("noisy", "noisy")


def _unchanged(noisy: MultichannelAudio, _rate: int) -> np.ndarray:
    return noisy


def _noisereduce(noisy: MultichannelAudio, rate: int) -> np.ndarray:
    import noisereduce

    # It takes the channels first; alone, so that its statistics are those of one channel.
    return np.stack([noisereduce.reduce_noise(y=channel, sr=rate) for channel in noisy.T], axis=1)


def _rnnoise(noisy: MultichannelAudio, rate: int) -> np.ndarray:
    """At its 48 kHz, in 16 bits, through its Python package."""
    from pyrnnoise import RNNoise

    channels = []
    for channel in noisy.T:
        full_band = resample(np.ascontiguousarray(channel), rate, _RNNOISE_RATE)
        chunk = (np.clip(full_band, -1.0, 1.0) * 32_767).astype(np.int16)[np.newaxis]
        frames = [frame[0] for _, frame in RNNoise(_RNNOISE_RATE).denoise_chunk(chunk, partial=True)]
        denoised = np.concatenate(frames).astype(np.float32) / 32_767 if frames else np.zeros(0, np.float32)
        channels.append(resample(denoised, _RNNOISE_RATE, rate))
    return np.stack(channels, axis=1)


def _rnnoise_flushed(noisy: MultichannelAudio, rate: int) -> np.ndarray:
    return _rnnoise(np.pad(noisy, ((0, int(_FLUSH_S * rate)), (0, 0))), rate)


RUNNERS: dict[str, Callable[[MultichannelAudio, int], np.ndarray]] = {
    "noisy": _unchanged,
    "spectral-subtraction": spectral_subtraction,
    "wiener": wiener_filter,
    "noisereduce": _noisereduce,
    "rnnoise": _rnnoise,
    "rnnoise-flushed": _rnnoise_flushed,
}
BASELINES = ("spectral-subtraction", "wiener", "noisereduce", "rnnoise-flushed")
"""What a model is compared with unless something else is asked for."""


@lru_cache(maxsize=4)
def _denoiser(model: str | None) -> Denoiser:
    return Denoiser.from_preset(model, threads=1)  # the processes share the cores already


def run_system(system: System, noisy: MultichannelAudio, sample_rate: int) -> MultichannelAudio:
    """Denoise a recording; the length may differ from that of `noisy`.

    Parameters
    ----------
    system : System
        Not of kind "folder", which has nothing to run.
    noisy : MultichannelAudio, shape (samples, channels)
    sample_rate : int
        In Hz.

    Returns
    -------
    MultichannelAudio
        float32, (samples, channels).

    Raises
    ------
    AudenoiseError
        If the system can't, or what comes out isn't finite.
    """
    if system.kind == "model":
        denoised = _denoiser(system.source).denoise(noisy, sample_rate)
    elif system.kind in PACKAGES:
        try:
            denoised = RUNNERS[system.kind](noisy, sample_rate)
        except Exception as error:  # what other packages raise for a recording that they don't like
            reason = brief(error)
            raise SignalError(f"{system.name} failed ({type(error).__name__}: {reason})") from error
    else:
        denoised = RUNNERS[system.kind](noisy, sample_rate)
    denoised = np.asarray(denoised, np.float32)
    if not np.isfinite(denoised).all():
        raise SignalError(f"{system.name} returned NaN or infinite samples")
    return denoised


def is_available(kind: str) -> bool:
    """Whether the package that a system needs is installed."""
    return kind not in PACKAGES or importlib.util.find_spec(PACKAGES[kind]) is not None


def named_systems(names: Sequence[str]) -> list[System]:
    """Systems by their names in `RUNNERS`.

    Raises
    ------
    DataError
        For an unknown name.
    AudenoiseError
        If the package of one isn't installed.
    """
    for name in names:
        if name not in RUNNERS:
            raise DataError(f"systems must be among {', '.join(RUNNERS)}. Received: {name}")
        if not is_available(name):
            raise AudenoiseError(
                f"{name} needs the package {PACKAGES[name]}: pip install 'audenoise[benchmarks]'"
            )
    return [System(name, name) for name in names]


def model_system(model: str | Path | None = None, *, name: str | None = None) -> System:
    """A published model, by default the one for files, called "audenoise NAME".

    Raises
    ------
    ModelError
        If it is missing or damaged, or an enhancer's.
    """
    preset = load_preset(for_files(model))
    if preset.is_enhancer:
        raise ModelError(
            f"{preset.folder}: is an enhancer's; run `audenoise enhance`, and score what it writes with "
            f"--denoised {preset.name}=DIR"
        )
    # Absolute: a relative folder may be called as a bundled model is.
    return System(name or f"audenoise {preset.name}", "model", str(preset.folder.absolute()))


def folder_system(name: str, folder: str | Path) -> System:
    """Recordings that another program has denoised: files named as the noisy ones, whatever their suffix.

    Raises
    ------
    DataError
        If there is no such folder, or nothing in it. A single file goes with a single pair.
    """
    path = Path(folder)
    if not path.exists():
        raise DataError(f"{path}: no such folder with recordings denoised by {name}")
    if path.is_dir() and not files_by_stem(path)[0]:
        raise DataError(f"{path}: holds no recordings denoised by {name}")
    return System(name, "folder", str(path))
