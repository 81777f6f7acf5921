"""Save spectrogram pairs made in Python: the files alone, or a whole dataset that the commands take.

>>> stft = {"n_fft": 256, "hop_length": 128}  # doctest: +SKIP
>>> sides = {}  # doctest: +SKIP
>>> for side in ("train", "test"):  # doctest: +SKIP
...     vectors = folders_to_vectors(f"speech/{side}", f"noises/{side}", sample_rate=8000)
...     sides[side] = vectors_to_spectrograms(vectors, **stft)
>>> save_dataset(sides, "set", sample_rate=8000, **stft)  # doctest: +SKIP

Then ``audenoise inspect set/`` and ``audenoise train set/ --spec SPEC``.
"""

import csv
import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from audenoise.crops import StoredStft
from audenoise.errors import DataError
from audenoise.keras_loading import load_tensorflow
from audenoise.mixing import active_rms, rms
from audenoise.sources.items import peak
from audenoise.sources.settings import make_spec
from audenoise.sources.stored import SCALE, spectrogram, to_stored

from .assembly import Statistics
from .info import COLUMNS, write_info
from .storage import as_numpy

SpectrogramPair = tuple[np.ndarray, np.ndarray]
_DEFAULTS = (512, 256, None, "sqrt_hann")
_INCONSISTENT = 0.12
"""Share by which a spectrogram may differ from the STFT of its inverse. Another hop gives 0.35 and more, a
Hann window in place of its root 0.16, a target made with a mask 0.07."""


def save_dataset(
    spectrograms: Iterable[SpectrogramPair] | Mapping[str, Iterable[SpectrogramPair]],
    path: str | os.PathLike[str],
    *,
    sample_rate: int | None = None,
    n_fft: int = 512,
    hop_length: int = 256,
    win_length: int | None = None,
    window: str = "sqrt_hann",
) -> None:
    """Save complex spectrogram pairs with `tf.data.Dataset.save`, in float16 (see `storage`).

    With `sample_rate`, what is saved is a whole dataset, as `build_dataset` makes it, for `audenoise train`,
    `inspect` and `evaluate`; of which recordings it is made it does not know. Without it, it is one folder of
    spectrograms for `load_dataset`, which doesn't say what they are.

    Parameters
    ----------
    spectrograms : iterable of (noisy, clean), or mapping
        Complex arrays (frames, bins), STFT over the window's sum: a `tf.data.Dataset` from
        `vectors_to_spectrograms` or `load_dataset`, or any iterable of arrays. Taken one by one. Of a whole
        dataset a mapping with the keys "train" and, to validate on, "test"; pairs alone are "train".
    path : path-like
        Must not exist.
    sample_rate : int, optional
        Of the recordings, in Hz.
    n_fft, hop_length, win_length, window
        With which the spectrograms were made, as for `vectors_to_spectrograms`; with `sample_rate` only.

    Raises
    ------
    DataError
        If `path` exists, there are no pairs, shapes differ within a pair, numbers are too large or not
        finite, or the spectrograms are no STFT of the sizes that are named.
    """
    target = Path(path)
    if target.exists():
        raise DataError(f"{target}: exists already; choose another name or remove it")
    partial = target.with_name(f".{target.name}.partial{os.getpid()}")
    try:
        if sample_rate is not None:
            stft = {"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length, "window": window}
            sides: Any = spectrograms if isinstance(spectrograms, Mapping) else {"train": spectrograms}
            _save_sides(
                sides, partial, make_spec(sample_rate=sample_rate, stft=stft).stored, name=str(target)
            )
        elif isinstance(spectrograms, Mapping) or (n_fft, hop_length, win_length, window) != _DEFAULTS:
            raise DataError(
                f"{target}: sides and STFT are those of a whole dataset; name its sample_rate too"
            )
        else:
            _save_pairs(spectrograms, partial, name=str(target))
        os.replace(partial, target)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _save_sides(
    sides: Mapping[str, Iterable[SpectrogramPair]], folder: Path, stft: StoredStft, *, name: str
) -> None:
    if "train" not in sides or sides.keys() - {"train", "test"}:
        raise DataError(f"{name}: sides must be train, and test if wanted. Received: {', '.join(sides)}")
    folder.mkdir(parents=True)
    described = {
        side: _save_side(pairs, folder / side, stft, name=f"{name}: {side}") for side, pairs in sides.items()
    }
    sizes = asdict(stft)
    spec = {"sample_rate": sizes.pop("sample_rate"), "scale": sizes.pop("scale")}
    write_info(folder, spec={**spec, "stft": sizes, "dtype": "float16"}, inputs={}, sides=described)


def _save_side(
    pairs: Iterable[SpectrogramPair], folder: Path, stft: StoredStft, *, name: str
) -> dict[str, Any]:
    """Pairs and their table; returns what `dataset.json` says of them."""
    statistics = Statistics()
    statistics.shards = 1
    with folder.with_suffix(".csv").open("w", newline="", encoding="utf-8") as file:
        writer: csv.DictWriter[str] = csv.DictWriter(file, COLUMNS)
        writer.writeheader()

        def add(noisy: np.ndarray, clean: np.ndarray, stored: SpectrogramPair) -> None:
            where = f"{name} item {statistics.items}"
            if not statistics.items:
                _check_stft(clean, stft, where)
            row: dict[str, Any] = {**dict.fromkeys(COLUMNS), **_row(noisy, clean, stft, where)}
            digests = [hashlib.sha256(half.tobytes()).hexdigest() for half in stored]
            row |= {"sha256": digests[0], "clean_sha256": digests[1]}
            writer.writerow({**row, "item": statistics.items, "shard": 0})
            statistics.add({**row, "frames": len(noisy)})

        _save_pairs(pairs, folder, name=name, add=add)
    summary = statistics.summary(stft.n_fft // 2 + 1)
    del summary["used"]
    return {**summary, "labels": {}, "sources": []}


def _save_pairs(
    spectrograms: Iterable[SpectrogramPair],
    folder: Path,
    *,
    name: str,
    add: Callable[[np.ndarray, np.ndarray, SpectrogramPair], object] = lambda noisy, clean, stored: None,
) -> None:
    """Save pairs in TensorFlow's layout; `add` is called with each before it is saved."""
    iterator = iter(as_numpy(spectrograms))
    first = next(iterator, None)
    if first is None:
        raise DataError(f"{name}: there is nothing to save")
    bins = first[0].shape[-1]
    failures: list[Exception] = []

    def pairs() -> Iterator[SpectrogramPair]:
        # from_generator may call this once only, since an iterator can't be rewound; `save` does.
        try:
            for number, (noisy, clean) in enumerate(chain([first], iterator)):
                pair = _stored(noisy, clean, bins, f"{name} item {number}")
                add(noisy, clean, pair)
                yield pair
        except Exception as error:  # TensorFlow 2.21's `save` would wait for ever
            failures.append(error)

    tf = load_tensorflow()
    spec = tf.TensorSpec((None, bins, 2), tf.float16)
    tf.data.Dataset.from_generator(pairs, output_signature=(spec, spec)).save(str(folder))
    if failures:
        raise failures[0]


def _stored(noisy: np.ndarray, clean: np.ndarray, bins: int, where: str) -> SpectrogramPair:
    if noisy.shape != clean.shape or noisy.ndim != 2 or noisy.shape[1] != bins:
        raise DataError(
            f"{where}: noisy {noisy.shape} and clean {clean.shape} must be (frames, {bins}) alike"
        )
    highest = float(np.finfo(np.float16).max) / SCALE
    numbers = np.stack([noisy, clean]).astype(np.complex64).view(np.float32)
    largest = float(np.abs(numbers).max(initial=0))
    if not largest <= highest:
        raise DataError(
            f"{where}: holds {largest:.3g}, and at most {highest:.3g} can be kept: spectrograms are the STFT "
            "over the window's sum, where a constant of full scale is 1"
        )
    return to_stored(noisy), to_stored(clean)


def _check_stft(clean: np.ndarray, stft: StoredStft, where: str) -> None:
    """Whether a spectrogram can have been made so: then it is the STFT of its own inverse."""
    bins = stft.n_fft // 2 + 1
    if clean.shape[1] != bins:
        raise DataError(f"{where}: has {clean.shape[1]} bins, and n_fft {stft.n_fft} gives {bins}")
    again = spectrogram(_waveforms(clean, stft, where), stft)
    edge = -(-stft.win_length // stft.hop_length)  # where recordings begin, others pad otherwise
    inside = clean[edge:-edge]
    if np.linalg.norm(again[edge:-edge] - inside) > _INCONSISTENT * np.linalg.norm(inside):
        raise DataError(
            f"{where}: is no STFT with hop_length {stft.hop_length}, win_length {stft.win_length} and window "
            f"{stft.window}: that of its inverse differs; name the values it was made with"
        )


def _waveforms(spectra: np.ndarray, stft: StoredStft, where: str) -> np.ndarray:
    """(..., frames, bins) → (..., samples), with up to a hop of silence behind the recording."""
    n_samples = stft.samples(spectra.shape[-2])
    if n_samples < 1:
        raise DataError(f"{where}: {spectra.shape[-2]} frames are too few for a signal")
    return stft.to_waveforms(spectra.astype(np.complex64) * np.float32(stft.scale), n_samples)


def _row(noisy: np.ndarray, clean: np.ndarray, stft: StoredStft, where: str) -> dict[str, Any]:
    """The cells of an item's row that its spectrograms tell; the SNR is measured as that of parallel ones."""
    rate = stft.sample_rate
    mixture, target = _waveforms(np.stack([noisy, clean]), stft, where)
    speech, noise, level = active_rms(target, rate), rms(mixture - target), rms(target)
    return {
        "snr_db": round(20 * np.log10(speech / noise), 3) if speech > 0 and noise > 0 else None,
        "duration_s": round(mixture.size / rate, 6),
        "noisy_peak": round(peak(mixture), 6),
        "clean_rms_db": round(20 * np.log10(level), 3) if level > 0 else None,
        "samples": mixture.size,
    }
