"""The same in single steps: folders → waveforms → spectrograms, each a `tf.data.Dataset` made as it is read.

>>> vectors = folders_to_vectors("speech", "noises", snr_db=(0, 10))  # doctest: +SKIP
>>> spectrograms = vectors_to_spectrograms(vectors, n_fft=512, hop_length=256)  # doctest: +SKIP
>>> save_dataset(spectrograms, "pairs")  # doctest: +SKIP
>>> spectrograms = load_dataset("pairs")  # doctest: +SKIP

With `sample_rate`, `save_dataset` makes a whole dataset, which ``audenoise inspect`` and ``train`` take.
"""

import os
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.crops import StoredStft
from audenoise.keras_loading import load_tensorflow
from audenoise.sources.inputs import Inputs
from audenoise.sources.recordings import Skipped
from audenoise.sources.settings import DatasetSpec, make_spec
from audenoise.sources.stored import spectrogram
from audenoise.sources.vectors import iterate_vectors

from .storage import as_numpy

if TYPE_CHECKING:
    import tensorflow as tf


def folders_to_vectors(
    clean: str | os.PathLike[str],
    noise: str | os.PathLike[str],
    *,
    sample_rate: int = 16000,
    snr_db: float | tuple[float, float] | None = None,
    noise_ratio: float | tuple[float, float] | None = None,
    seed: int = 0,
    **options: Any,
) -> "tf.data.Dataset":
    """Mix the recordings of two folders. What can't be used is left out with a warning that names it.

    Parameters
    ----------
    clean, noise : path-like
        Folders, searched recursively; recordings may have any rate, channel count and format.
    sample_rate : int
        Of the result, in Hz.
    snr_db, noise_ratio : float or tuple of float, optional
        A number, or a range to draw from; one of the two. By default an SNR of -5 to 20 dB.
    seed : int
        The same seed gives the same waveforms.
    **options
        Other keys of `DatasetSpec`: mixtures, hours, max_duration_s, ...

    Returns
    -------
    tf.data.Dataset
        (noisy, clean) float32 waveforms (samples,), made one by one as they are read.

    Raises
    ------
    DataError
        If an option is wrong. If a folder has nothing usable, reading the dataset fails with that message.
    """
    mixing = {"snr_db": snr_db, "noise_ratio": noise_ratio}
    spec = make_spec(sample_rate=sample_rate, mixing=mixing, seed=seed, **options)
    return _dataset(Inputs(clean=(Path(clean),), noise=(Path(noise),)), spec)


def pairs_to_vectors(
    pairs: str | os.PathLike[str],
    clean: str | os.PathLike[str] | None = None,
    *,
    sample_rate: int = 16000,
    **options: Any,
) -> "tf.data.Dataset":
    """Cut parallel recordings into waveforms, as `folders_to_vectors` returns them.

    Parameters
    ----------
    pairs : path-like
        CSV with columns noisy and clean, or a folder of paired folders; or, with `clean`, the folder of noisy
        recordings: see `audenoise.sources.find_pairs`. All must be of one side.
    clean : path-like, optional
    sample_rate : int
        Of the result, in Hz.
    **options
        Other keys of `DatasetSpec`: align, max_duration_s, ...
    """
    spec = make_spec(sample_rate=sample_rate, **options)
    if clean is not None:
        return _dataset(Inputs(clean=(Path(clean),), noisy=Path(pairs)), spec)
    return _dataset(Inputs(pairs=Path(pairs)), spec)


def _dataset(inputs: Inputs, spec: DatasetSpec) -> "tf.data.Dataset":
    inputs.check()
    tf = load_tensorflow()
    vector = tf.TensorSpec((None,), tf.float32)
    return tf.data.Dataset.from_generator(
        lambda: iterate_vectors(inputs, spec, on_skip=_warn), output_signature=(vector, vector)
    )


def _warn(skipped: Skipped) -> None:
    warnings.warn(f"{skipped.path}: left out: {skipped.reason}", stacklevel=2)


def vectors_to_spectrograms(
    vectors: Iterable[tuple[AudioVector, AudioVector]],
    *,
    n_fft: int = 512,
    hop_length: int = 256,
    win_length: int | None = None,
    window: str = "sqrt_hann",
) -> "tf.data.Dataset":
    """Transform pairs of waveforms.

    Parameters
    ----------
    vectors : iterable of (noisy, clean)
        A `tf.data.Dataset` or any iterable of float32 waveforms (samples,); one that can be iterated again
        gives a dataset that can.
    n_fft, hop_length, win_length, window
        As for `audenoise.spectral.stft`.

    Returns
    -------
    tf.data.Dataset
        (noisy, clean) complex64 (frames, bins): the STFT over the window's sum, so that a sine of amplitude 1
        has magnitude 0.5.

    Raises
    ------
    DataError
        If the STFT's sizes don't fit together.
    """
    stft = make_spec(
        stft={"n_fft": n_fft, "hop_length": hop_length, "win_length": win_length, "window": window}
    ).stored
    tf = load_tensorflow()
    spectrum = tf.TensorSpec((None, n_fft // 2 + 1), tf.complex64)
    return tf.data.Dataset.from_generator(
        lambda: _transformed(vectors, stft), output_signature=(spectrum, spectrum)
    )


def _transformed(vectors: Iterable[Any], stft: StoredStft) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for noisy, clean in as_numpy(vectors):
        yield spectrogram(np.asarray(noisy), stft), spectrogram(np.asarray(clean), stft)
