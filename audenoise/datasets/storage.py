"""Spectrogram pairs from files of `tf.data.Dataset.save`.

Stored is (real, imag) of the STFT over the window's sum (as the networks see it), times `SCALE`, as float16:
(frames, bins, 2). Numbers of magnitude 2⁻¹⁴ … 65504 have a relative error of at most 2⁻¹¹ in float16; with
full scale at 2¹⁵ that covers -174 to 0 dBFS in every bin, so the error stays about 74 dB below the signal
however quiet the recording is.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from audenoise.array_types import AudioVector
from audenoise.errors import DataError, brief
from audenoise.keras_loading import load_tensorflow
from audenoise.shards import index_shards
from audenoise.sources.stored import SCALE, from_stored

from .info import INFO_FILE, DatasetInfo

if TYPE_CHECKING:
    import tensorflow as tf


def as_numpy(pairs: Any) -> Iterable[Any]:
    """The elements of a `tf.data.Dataset` as arrays; another iterable as it is."""
    return pairs.as_numpy_iterator() if hasattr(pairs, "as_numpy_iterator") else pairs


def load_dataset(path: str | os.PathLike[str], *, scale: float = SCALE) -> "tf.data.Dataset":
    """Load what `save_dataset` saved, or one side of a built dataset, in the order it was saved in.

    Parameters
    ----------
    path : path-like
        Folder written by `tf.data.Dataset.save`.
    scale : float
        What the numbers were multiplied by.

    Returns
    -------
    tf.data.Dataset
        Pairs (noisy, clean) of complex64 (frames, bins), STFT over the window's sum.

    Raises
    ------
    DataError
        If there is no such dataset, or it holds something else; a whole built dataset is refused by naming
        its sides.
    """
    path = Path(path)
    if (path / INFO_FILE).is_file():
        sides = " or ".join(str(path / side) for side in DatasetInfo.read(path).sides)
        raise DataError(f"{path}: is a whole dataset; load {sides}, or a side with load_spectrograms")
    tf = load_tensorflow()
    try:
        # One shard after the other; by default several are read in turns.
        raw = tf.data.Dataset.load(str(path), reader_func=lambda shards: shards.flat_map(lambda shard: shard))
    except (tf.errors.OpError, OSError) as error:
        reason = brief(error, 120)
        raise DataError(f"{path}: is no saved dataset that can be read ({reason})") from None
    specs = tf.nest.flatten(raw.element_spec)
    if len(specs) != 2 or any(spec.dtype != tf.float16 or spec.shape.rank != 3 for spec in specs):
        raise DataError(f"{path}: holds no pairs of float16 (frames, bins, 2)")

    def to_complex(noisy: Any, clean: Any) -> tuple[Any, Any]:
        def one(stored: Any) -> Any:
            parts = tf.cast(stored, tf.float32) / scale
            return tf.complex(parts[..., 0], parts[..., 1])

        return one(noisy), one(clean)

    return raw.map(to_complex, num_parallel_calls=tf.data.AUTOTUNE)


def load_spectrograms(
    path: str | os.PathLike[str], side: str = "train", *, shuffle: bool = False, seed: int = 0
) -> "tf.data.Dataset":
    """Load a side of a built dataset.

    Parameters
    ----------
    path : path-like
        The dataset's folder.
    side : str
        "train" or "test".
    shuffle : bool
        Take the items in an order drawn from all of them, by `seed`, another one in each pass. Without it the
        order is that of the side's table.
    seed : int

    Returns
    -------
    tf.data.Dataset
        As `load_dataset` returns it.

    Raises
    ------
    DataError
        If the dataset is not finished or has no such side.
    """
    info = DatasetInfo.read(path)
    folder = info.side(side)
    if not shuffle:
        return load_dataset(folder, scale=info.stft.scale)
    tf = load_tensorflow()
    numbers = tf.data.Dataset.range(info.sides[side].items).shuffle(info.sides[side].items, seed=seed)
    index = index_shards(folder)
    bins = info.stft.n_fft // 2 + 1

    def read(item: Any) -> Any:
        return index.read(int(item)) / np.float32(info.stft.scale)

    def load(item: Any) -> Any:
        both = tf.numpy_function(read, [item], tf.complex64)
        both.set_shape((2, None, bins))
        return both[0], both[1]

    return numbers.map(load, num_parallel_calls=tf.data.AUTOTUNE)


def load_vectors(
    path: str | os.PathLike[str], side: str = "train"
) -> Iterator[tuple[AudioVector, AudioVector]]:
    """The waveforms of a side of a built dataset, (noisy, clean), in the order of its table.

    Loads no TensorFlow, and one item at a time.

    Yields
    ------
    tuple of AudioVector
        float32, at the dataset's sample rate, of the length they were made with.

    Raises
    ------
    DataError
        If the dataset is not finished, damaged, or has no such side.
    """
    info = DatasetInfo.read(path)
    index = index_shards(info.side(side))
    for item, row in enumerate(info.rows(side)):
        n_samples = row.get("samples") or round(float(row["duration_s"]) * info.stft.sample_rate)
        noisy, clean = from_stored(index.read(item), info.stft, int(n_samples))
        yield noisy, clean
