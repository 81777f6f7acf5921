"""What one thread writes and another reads, without either waiting."""

import numpy as np


class Ring:
    """The last `size` samples of a signal by their number; before the first there are zeros.

    Parameters
    ----------
    size : int
        How many samples stay readable.

    Attributes
    ----------
    end : int
        Number of the next sample.
    """

    def __init__(self, size: int) -> None:
        self._samples = np.zeros(size, np.float32)
        self.end = 0

    def append(self, samples: np.ndarray) -> None:
        """Add float32 samples; those older than `size` are overwritten."""
        size = len(self._samples)
        if len(samples) > size:
            self.end += len(samples) - size
            samples = samples[-size:]
        place = self.end % size
        first = min(len(samples), size - place)
        self._samples[place : place + first] = samples[:first]
        self._samples[: len(samples) - first] = samples[first:]
        self.end += len(samples)  # last, so that a reader never sees samples that aren't there

    def read(self, start: int, n_samples: int) -> np.ndarray:
        """Copy samples number `start` to `start + n_samples - 1`, which must be at most `size`."""
        size = len(self._samples)
        result = np.empty(n_samples, np.float32)
        place = start % size
        first = min(n_samples, size - place)
        result[:first] = self._samples[place : place + first]
        result[first:] = self._samples[: n_samples - first]
        return result
