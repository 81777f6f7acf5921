"""Endless crops of waveforms from the spectrogram pairs of a saved dataset: what a training step eats.

NumPy only, so that the processes that read never load TensorFlow. Example number i of a seed is the same
bytes whatever the number of processes.
"""

from dataclasses import dataclass

import numpy as np

from audenoise.errors import DataError
from audenoise.shards import ShardIndex
from audenoise.spectral import frame_count, istft, make_window


@dataclass(frozen=True)
class StoredStft:
    """How the spectrograms of a dataset were made: see `specs.StftSpec`; `scale` is that of dataset.json."""

    sample_rate: int
    n_fft: int
    hop_length: int
    win_length: int
    window: str
    scale: float

    def frames(self, n_samples: int) -> int:
        return frame_count(n_samples, hop_length=self.hop_length, win_length=self.win_length)

    def samples(self, frames: int) -> int:
        """Samples that lie under as many windows as those in the middle of a signal; 0 if there are none.

        Of a whole recording it is all of them, and up to one hop of the silence behind it.
        """
        return max(0, (frames + 1) * self.hop_length - self.win_length)

    def to_waveforms(self, spectra: np.ndarray, n_samples: int) -> np.ndarray:
        """Samples from frames that lie anywhere in a recording.

        Frame f begins win_length - hop_length samples before sample f·hop_length, so frame_count(n) frames
        from f on hold samples f·hop_length … + n with every window that covers them: what the inverse gives
        for these samples is what it gives for the whole recording, and needs no fade at the cut.

        Parameters
        ----------
        spectra : ndarray, shape (..., frames, bins)
            As stored, complex64; `frames(n_samples)` of them.
        n_samples : int

        Returns
        -------
        ndarray, shape (..., n_samples)
            float32, full scale 1.0.
        """
        factor = np.float32(make_window(self.window, self.win_length).sum() / self.scale)
        return factor * istft(
            spectra.swapaxes(-1, -2),
            n_samples=n_samples,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            win_length=self.win_length,
            window=self.window,
        )


class CropReader:
    """Draws (noisy, clean) crops from one side of a dataset; example i depends on the seed and on i alone.

    A pass goes through the dataset in an order of its own, over all shards, and takes as many crops of an
    item as fit into it, each from a random place. An item shorter than a crop is followed by pieces of other
    items.

    Parameters
    ----------
    index : ShardIndex
    stored : StoredStft
    n_samples : int
        Length of a crop.
    seed : int

    Raises
    ------
    DataError
        If no item has a single sample under all its windows.
    """

    def __init__(self, index: ShardIndex, stored: StoredStft, *, n_samples: int, seed: int):
        self.index, self.stored, self.n_samples, self.seed = index, stored, n_samples, seed
        lengths = (index.frames + 1) * stored.hop_length - stored.win_length
        usable = np.flatnonzero(lengths > 0)
        if not usable.size:
            raise DataError(f"{index.files[0].parents[2]}: all of its items are shorter than one window")
        self._usable, self._lengths = usable, lengths
        self._units = np.repeat(usable, np.maximum(1, lengths[usable] // n_samples))
        self._order: tuple[int, np.ndarray] = (-1, usable[:0])

    @property
    def pass_length(self) -> int:
        """Examples in which every item has had its turn."""
        return self._units.size

    def __getstate__(self):
        return {**self.__dict__, "_order": (-1, self._usable[:0])}

    def _item(self, number: int) -> int:
        which, place = divmod(number, self._units.size)
        if self._order[0] != which:
            self._order = which, np.random.default_rng((self.seed, which, 1)).permutation(self._units)
        return int(self._order[1][place])

    def _cut(self, rng: np.random.Generator, item: int, longest: int) -> np.ndarray:
        """Up to `longest` samples from a random place of an item: (2, samples)."""
        length = int(self._lengths[item])
        n_samples = min(length, longest)
        start = int(rng.integers((length - n_samples) // self.stored.hop_length + 1))
        spectra = self.index.read(item, start, start + self.stored.frames(n_samples))
        return self.stored.to_waveforms(spectra, n_samples)

    def example(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Noisy and clean, (n_samples,) float32 each."""
        rng = np.random.default_rng((self.seed, number))
        pieces = [self._cut(rng, self._item(number), self.n_samples)]
        missing = self.n_samples - pieces[0].shape[1]
        while missing > 0:
            pieces.append(self._cut(rng, int(rng.choice(self._usable)), missing))
            missing -= pieces[-1].shape[1]
        noisy, clean = np.concatenate(pieces, axis=1)
        return noisy, clean

    def batch(self, number: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        """Examples number·size … number·size + size - 1: two arrays (size, n_samples)."""
        pairs = [self.example(number * size + i) for i in range(size)]
        return np.stack([noisy for noisy, _ in pairs]), np.stack([clean for _, clean in pairs])
