"""Spectrogram pairs in the files of `tf.data.Dataset.save`, read at any place and without TensorFlow.

A saved dataset is a folder of shards. A shard is a TFRecord file (length, checksum, record, checksum), whose
records are the tensors of one item after the other, as TensorProto messages: type, shape and the plain bytes
of the numbers. So a crop of an item is one read of its frames, wherever it lies: training needs no more
memory than a batch, draws from the whole dataset instead of a shuffle buffer, and can begin at any batch. The
processes that read stay small, and training with another backend than TensorFlow needs no TensorFlow.

Formats: tensorflow/core/lib/io/record_writer.h, tensorflow/core/framework/tensor.proto.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from audenoise.errors import DataError

_NUMBERS = {1: np.dtype("<f4"), 19: np.dtype("<f2")}
"""TensorFlow's DT_FLOAT and DT_HALF."""
_HEAD = 12  # bytes before a record: its length and the checksum of that
_FOOT = 4
_PEEK = 64  # more than type, shape and the length of the content take


@dataclass(frozen=True)
class ShardIndex:
    """Where each item of one side of a dataset lies.

    Attributes
    ----------
    files : tuple of Path
        Shards, in the order of their numbers.
    shard : ndarray of int, shape (items,)
        Index into `files`. Items are ordered by shard, and by place within it.
    offsets : ndarray of int, shape (items, 2)
        First byte of the noisy and of the clean spectrogram.
    frames : ndarray of int, shape (items,)
    bins : int
    dtype : numpy.dtype
        Of the real and imaginary parts: float16 or float32.
    """

    files: tuple[Path, ...]
    shard: np.ndarray
    offsets: np.ndarray
    frames: np.ndarray
    bins: int
    dtype: np.dtype

    def read(self, item: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Frames `start` to `stop` of an item.

        Returns
        -------
        ndarray, shape (2, frames, bins)
            Noisy and clean, complex64, still scaled as the dataset says.

        Raises
        ------
        DataError
            If the file is gone, cut short, or holds numbers that aren't finite.
        """
        return self.to_complex(self.read_stored(item, start, stop), item)

    def read_stored(self, item: int, start: int = 0, stop: int | None = None) -> np.ndarray:
        """The numbers as they are stored, `dtype`: (2, frames, 2·bins), real and imaginary parts in turn.

        Raises
        ------
        DataError
            If the file is gone or cut short.
        """
        stop = int(self.frames[item]) if stop is None else stop
        numbers, path = 2 * self.bins, self.files[self.shard[item]]
        parts = np.empty((2, stop - start, numbers), self.dtype)
        try:
            with path.open("rb", buffering=0) as file:
                for part, offset in zip(parts, self.offsets[item], strict=True):
                    file.seek(int(offset) + start * numbers * self.dtype.itemsize)
                    if file.readinto(part.data.cast("B")) != part.nbytes:
                        raise DataError(f"{path}: the shard is cut short; build the dataset again")
        except OSError as error:
            raise DataError(f"{path}: the shard can't be read ({error.strerror})") from None
        return parts

    def to_complex(self, stored: np.ndarray, item: int) -> np.ndarray:
        """What `read` returns, from what `read_stored` returns."""
        numbers = stored.astype(np.float32)
        if not np.isfinite(numbers).all():
            path = self.files[self.shard[item]]
            raise DataError(f"{path}: the shard is damaged (numbers that aren't finite); build it again")
        return numbers.view(np.complex64)

    def part(self, start: int, stop: int) -> "ShardIndex":
        """The index of the items `start` to `stop`."""
        items = slice(start, stop)
        return ShardIndex(
            self.files, self.shard[items], self.offsets[items], self.frames[items], self.bins, self.dtype
        )


def shard_files(folder: Path) -> list[Path]:
    """The shards below a folder written by `tf.data.Dataset.save`, in the order of their numbers.

    Raises
    ------
    DataError
        If there is no such folder, or none in it.
    """
    files = sorted(folder.glob("*/*.shard/*.snapshot"))
    if not files:
        raise DataError(f"{folder}: holds no shards of a saved dataset; build it again")
    runs = {path.parent.parent for path in files}
    if len(runs) > 1:
        raise DataError(f"{folder}: holds {len(runs)} datasets mixed up; build it again")
    return files


def index_shards(folder: Path) -> ShardIndex:
    """Find the items of a saved dataset of (noisy, clean) pairs, (frames, bins, 2) each, by headers alone.

    Raises
    ------
    DataError
        If there are no shards, or one is damaged, compressed, or holds something else.
    """
    files = shard_files(folder)
    shards: list[int] = []
    offsets: list[tuple[int, int]] = []
    kinds: list[tuple[int, int, np.dtype]] = []
    for number, path in enumerate(files):
        try:
            with path.open("rb", buffering=0) as file:
                tensors = list(_tensors(file, path))
        except OSError as error:
            raise DataError(f"{path}: the shard can't be read ({error.strerror})") from None
        for noisy, clean in zip(tensors[::2], tensors[1::2], strict=False):
            if noisy[1:] != clean[1:]:
                raise DataError(f"{path}: noisy and clean differ in shape; build the dataset again")
            shards.append(number)
            offsets.append((noisy[0], clean[0]))
            kinds.append(noisy[1:])
        if len(tensors) % 2:
            raise DataError(f"{path}: the shard ends within a pair; build the dataset again")
    if len({kind[1:] for kind in kinds}) != 1:
        raise DataError(f"{folder}: its items differ in bins or number format, or there are none")
    return ShardIndex(
        tuple(files),
        np.array(shards, np.int64),
        np.array(offsets, np.int64),
        np.array([kind[0] for kind in kinds], np.int64),
        *kinds[0][1:],
    )


def _tensors(file: BinaryIO, path: Path) -> Iterator[tuple[int, int, int, np.dtype]]:
    """Yield (first byte of the numbers, frames, bins, number format) of each tensor (frames, bins, 2)."""
    size, position = os.fstat(file.fileno()).st_size, 0
    while position < size:
        file.seek(position)
        head = file.read(_HEAD + _PEEK)
        length = struct.unpack_from("<Q", head)[0] if len(head) >= 8 else size
        end = position + _HEAD + length + _FOOT
        if end > size:
            raise DataError(f"{path}: the shard is damaged or cut short; build the dataset again")
        try:
            kind, shape, content, n_bytes = _tensor_header(head[_HEAD : _HEAD + length])
            numbers = _NUMBERS[kind]
            frames, bins, two = shape
        except (ValueError, KeyError, IndexError):
            raise DataError(f"{path}: holds no spectrogram pairs, or in another form than here") from None
        if two != 2 or n_bytes != frames * bins * 2 * numbers.itemsize or content + n_bytes != length:
            raise DataError(f"{path}: holds no spectrogram pairs, or a damaged one; build the dataset again")
        yield position + _HEAD + content, frames, bins, numbers
        position = end


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
        if shift > 63:
            raise ValueError("no number")


def _tensor_header(data: bytes) -> tuple[int, list[int], int, int]:
    """Type, shape, and place and size of the content, from the first bytes of a TensorProto."""
    kind, shape, position = 0, [], 0
    while True:
        tag, position = _varint(data, position)
        value, position = _varint(data, position)
        if tag == 0x08:  # field 1, a number: dtype
            kind = value
        elif tag == 0x12:  # field 2, a message: tensor_shape
            shape = _shape(data[position : position + value])
            position += value
        elif tag == 0x22:  # field 4, bytes: tensor_content
            return kind, shape, position, value
        else:
            raise ValueError("no plain tensor")


def _shape(data: bytes) -> list[int]:
    sizes, position = [], 0
    while position < len(data):
        tag, position = _varint(data, position)
        length, position = _varint(data, position)
        if tag != 0x12:  # field 2, a message: dim
            raise ValueError("no known rank")
        inner, end = data[position : position + length], position + length
        size_tag, after = _varint(inner, 0)
        if size_tag != 0x08:  # field 1, a number: size
            raise ValueError("no known size")
        sizes.append(_varint(inner, after)[0])
        position = end
    return sizes
