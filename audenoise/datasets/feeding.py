"""From a saved dataset to a training run: does it fit the spec, endless batches, held-out examples.

Loads no TensorFlow: see `audenoise.shards`.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from audenoise.crops import CropReader, StoredStft
from audenoise.errors import DataError
from audenoise.mixtures import MixtureStream
from audenoise.shards import ShardIndex, index_shards
from audenoise.specs import ModelSpec

from .info import DatasetInfo

VALIDATION_SEED = 987_654_321
VALIDATION_S = 4.0
"""Enough speech for ESTOI and PESQ to say something."""


class DatasetStream(MixtureStream):
    """An endless iterator of batches of crops, read in parallel, in an order that does not depend on that.

    Batch n is the same whether the stream began at batch 0 or at batch n, so a resumed training goes on with
    the batches that it would have had.

    Parameters
    ----------
    reader : CropReader
    batch_size : int
    workers : int
        Processes that read ahead, up to about five batches each; 0 reads between the steps.
    first : int
        Number of the first batch.

    Attributes
    ----------
    waited_s : float
        Time that `next` has waited for the processes.
    """

    work = "reading"

    def __init__(self, reader: CropReader, *, batch_size: int, workers: int = 1, first: int = 0):
        super().__init__(reader, batch_size=batch_size, workers=workers, first=first)


@dataclass(frozen=True)
class StoredSide:
    """One side of a dataset, ready to be read."""

    folder: Path
    index: ShardIndex
    stored: StoredStft

    @property
    def seconds(self) -> float:
        """Duration of all items; up to one hop each too long."""
        samples = (self.index.frames + 1) * self.stored.hop_length - self.stored.win_length
        return float(samples.sum() / self.stored.sample_rate)

    def waveforms(self, item: int, n_samples: int | None = None) -> np.ndarray:
        """Noisy and clean of a whole item, (2, samples) float32.

        Parameters
        ----------
        item : int
        n_samples : int, optional
            Length of the item; without it, silence of less than one hop may follow.
        """
        whole = self.stored.samples(int(self.index.frames[item]))
        spectra = self.index.read(item)
        return self.stored.to_waveforms(spectra, whole)[:, :n_samples]


def open_side(info: DatasetInfo, side: str) -> StoredSide:
    """Open one side, ``train`` or ``test``, by the headers of its items.

    Raises
    ------
    DataError
        If the dataset has no such side, or its shards are damaged.
    """
    folder = info.side(side)
    index = index_shards(folder)
    wanted = info.sides[side].items
    if index.frames.size != wanted or index.bins != info.stft.n_fft // 2 + 1:
        raise DataError(
            f"{folder}: holds {index.frames.size} items of {index.bins} bins, and dataset.json says {wanted} "
            f"of {info.stft.n_fft // 2 + 1}; build the dataset again"
        )
    return StoredSide(folder, index, info.stft)


def check_fit(info: DatasetInfo, spec: ModelSpec) -> None:
    """Compare the rate and the spectrogram of a dataset with those of a spec.

    Raises
    ------
    DataError
        Names each key that differs, with both values.
    """
    stored = info.stft
    pairs = [
        ("sample_rate", stored.sample_rate, spec.sample_rate),
        ("stft.n_fft", stored.n_fft, spec.stft.n_fft),
        ("stft.hop_length", stored.hop_length, spec.stft.hop_length),
        ("stft.win_length", stored.win_length, spec.stft.window_samples),
        ("stft.window", stored.window, spec.stft.window),
    ]
    wrong = [
        f"{key} is {theirs} in the dataset and {ours} in the spec"
        for key, theirs, ours in pairs
        if theirs != ours
    ]
    if wrong:
        raise DataError(
            f"{info.path}: does not fit the spec: {'; '.join(wrong)}. Build it again with the spec's values, "
            "or change the spec."
        )


def training_reader(side: StoredSide, spec: ModelSpec) -> CropReader:
    """Crops of `training.crop_s` in the order that `training.seed` gives."""
    n_samples = round(spec.training.crop_s * spec.sample_rate)
    return CropReader(side.index, side.stored, n_samples=n_samples, seed=spec.training.seed)


def validation_examples(side: StoredSide, spec: ModelSpec) -> tuple[np.ndarray, np.ndarray]:
    """Held-out crops, the same for every run: (examples, samples) each of noisy and clean.

    They are as long as a training crop, or 4 s where most items are; `training.validation_mixtures` of them,
    or fewer where the side has no more.
    """
    rate = spec.sample_rate
    typical = side.stored.samples(int(np.median(side.index.frames)))
    n_samples = max(round(spec.training.crop_s * rate), min(round(VALIDATION_S * rate), typical))
    reader = CropReader(side.index, side.stored, n_samples=n_samples, seed=VALIDATION_SEED)
    return reader.batch(0, min(spec.training.validation_mixtures, reader.pass_length))
