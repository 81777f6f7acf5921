"""A constant offset (DC), as cheap sound cards add it, taken out of a signal as it comes.

To a network an offset far above the speech is a loud sound at 0 Hz, and what comes with it is denoised away.
"""

import numpy as np

LEAST = 0.01
"""Of full scale: an offset up to here is left, and one of twice as much is taken out whole."""
_MEMORY_S = 4.0


class OffsetRemover:
    """Subtracts the mean of the last seconds where it is beyond `LEAST`, from step to step.

    Parameters
    ----------
    step : int
        Samples that are looked at together; no sample waits longer than for the end of its step.
    sample_rate : int
        In Hz.
    channels : int

    Examples
    --------
    >>> remover = OffsetRemover(4, 100, 1)
    >>> remover.process(np.full((10, 1), 0.25, np.float32))[:, 0].tolist()
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    >>> len(remover.flush())
    2
    """

    def __init__(self, step: int, sample_rate: int, channels: int) -> None:
        self._step, self._longest = step, max(1.0, _MEMORY_S * sample_rate / step)
        self._waiting = np.zeros((0, channels), np.float32)
        self._means, self._n_steps = [0.0] * channels, 0
        self._last = np.zeros(channels, np.float32)  # what was subtracted at the end of the last step

    def process(self, samples: np.ndarray) -> np.ndarray:
        """Take (samples, channels), any number of them, and return those whose step is complete."""
        received = np.concatenate([self._waiting, samples]) if len(self._waiting) else samples
        n_steps = len(received) // self._step
        ready, self._waiting = received[: n_steps * self._step], received[n_steps * self._step :]
        if not n_steps:
            return ready
        steps = ready.reshape(n_steps, self._step, samples.shape[1])
        begins_with_it = self._n_steps == 0
        means = self._running_means(steps.mean(axis=1, dtype=np.float64))
        ends = (means * np.clip(np.abs(means) / LEAST - 1.0, 0.0, 1.0)).astype(np.float32)
        if not (ends.any() or self._last.any()):
            return ready
        starts = np.concatenate([ends[:1] if begins_with_it else self._last[None], ends[:-1]])
        self._last = ends[-1]
        ramp = np.linspace(0.0, 1.0, self._step, dtype=np.float32)[:, None]
        lines = starts[:, None] + (ends - starts)[:, None] * ramp
        lines *= steps.any(axis=1, keepdims=True)  # digital silence stays what it is
        return (steps - lines).reshape(ready.shape)

    def flush(self) -> np.ndarray:
        """Return the rest."""
        rest, self._waiting = self._waiting, self._waiting[:0]
        return rest - self._last if self._last.any() else rest

    def _running_means(self, means: np.ndarray) -> np.ndarray:
        """Of all steps until now, then of the last seconds, what is older fading; (steps, channels)."""
        weights = [1.0 / min(self._n_steps + i + 1, self._longest) for i in range(len(means))]
        self._n_steps += len(means)
        found = np.empty(means.shape)
        for channel, column in enumerate(means.T.tolist()):
            mean, smooth = self._means[channel], []
            for value, weight in zip(column, weights, strict=True):
                mean += weight * (value - mean)
                smooth.append(mean)
            found[:, channel], self._means[channel] = smooth, mean
        return found
