"""The yardsticks of the field, untrained: spectral subtraction and a Wiener filter.

Both estimate the noise in each band from the quiet moments there, by minima-controlled recursive averaging
(Cohen and Berdugo, IEEE Signal Processing Letters 9(1), 2002), and turn bands down by what that leaves. Noise
that changes faster than in about a second, such as other voices, is beyond them. Time constants are those of
the papers in seconds, so that every rate gets the same treatment.
"""

from collections.abc import Callable

import numpy as np

from audenoise.array_types import Audio
from audenoise.errors import SignalError
from audenoise.spectral import StreamingIstft, StreamingStft

MIN_SAMPLE_RATE = 1000

_WINDOW_S = 0.032
_OVERLAP = 4  # windows over each sample
_BLOCK_S = 10.0
_SILENCE = (
    1e-14  # of |spectrum|² over the window's sum squared: -140 dB below full scale, no noise to learn from
)

Rule = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(power, noise power) of a frame, both (channels, bins) → gain of each bin. May remember earlier frames."""


def spectral_subtraction(
    audio: Audio, sample_rate: int, *, over_subtraction: float = 4.0, floor: float = 0.02
) -> Audio:
    """Take the estimated noise power off that of the recording, band by band, and keep its phase.

    Boll, IEEE Trans. ASSP 27(2), 1979, in the form of Berouti, Schwartz and Makhoul, ICASSP 1979: more than
    the estimate is subtracted where the SNR of a frame is low, and a floor of the noise stays, which covers
    the musical tones that subtraction leaves.

    Parameters
    ----------
    audio : Audio, shape (samples,) or (samples, channels)
        Full scale 1.0; channels are denoised independently.
    sample_rate : int
        In Hz, at least 1000.
    over_subtraction : float
        Times the noise estimate that is subtracted at a frame SNR of 0 dB, at least 1; it falls by 3/20 for
        each dB, from -5 to 20 dB, though never below 1.
    floor : float
        Share of the noise power that stays, from 0 to 1.

    Returns
    -------
    Audio
        float32 of the shape of `audio`, no delay.

    Raises
    ------
    SignalError
        If the audio is empty, not floating point, not finite, has other than one or two axes, or a parameter
        is out of range.

    Examples
    --------
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    >>> bool(np.std(spectral_subtraction(noise, 16_000)) < 0.2 * np.std(noise))
    True
    """
    if not over_subtraction >= 1.0:
        raise SignalError(f"over_subtraction must be at least 1. Received: {over_subtraction}")
    if not 0.0 <= floor <= 1.0:
        raise SignalError(f"floor must be from 0 to 1. Received: {floor}")

    def rule(power: np.ndarray, noise: np.ndarray) -> np.ndarray:
        total, noise_total = power.sum(axis=-1, keepdims=True), noise.sum(axis=-1, keepdims=True)
        snr_db = 10 * np.log10(np.maximum(total, _SILENCE) / np.maximum(noise_total, _SILENCE))
        factor = np.maximum(1.0, over_subtraction - 0.15 * np.clip(snr_db, -5.0, 20.0))
        ratio = noise / np.maximum(power, _SILENCE)
        return np.sqrt(np.minimum(1.0, np.maximum(1.0 - factor * ratio, floor * ratio)))

    return _filtered(audio, sample_rate, rule)


def wiener_filter(
    audio: Audio, sample_rate: int, *, smoothing: float = 0.98, min_snr_db: float = -15.0
) -> Audio:
    """Weigh each band by SNR / (1 + SNR), with the decision-directed estimate of the SNR.

    Scalart and Filho, ICASSP 1996, with the a-priori SNR of Ephraim and Malah, IEEE Trans. ASSP 32(6), 1984:
    what the last frame kept, mixed with what this frame has above the noise.

    Parameters
    ----------
    audio : Audio, shape (samples,) or (samples, channels)
        Full scale 1.0; channels are denoised independently.
    sample_rate : int
        In Hz, at least 1000.
    smoothing : float
        Weight of the last frame, from 0 up to but not including 1. Less follows speech faster and leaves more
        musical tones.
    min_snr_db : float
        Least a-priori SNR in dB, so that nothing is turned off altogether (Cappé, IEEE Trans. SAP 2(2),
        1994).

    Returns
    -------
    Audio
        float32 of the shape of `audio`, no delay.

    Raises
    ------
    SignalError
        If the audio is empty, not floating point, not finite, has other than one or two axes, or a parameter
        is out of range.

    Examples
    --------
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    >>> bool(np.std(wiener_filter(noise, 16_000)) < 0.2 * np.std(noise))
    True
    """
    if not 0.0 <= smoothing < 1.0:
        raise SignalError(f"smoothing must be from 0 to below 1. Received: {smoothing}")
    if not np.isfinite(min_snr_db):
        raise SignalError(f"min_snr_db must be finite. Received: {min_snr_db}")
    least = 10.0 ** (min_snr_db / 10)
    kept: np.ndarray | None = None

    def rule(power: np.ndarray, noise: np.ndarray) -> np.ndarray:
        nonlocal kept
        noise = np.maximum(noise, _SILENCE)
        above = np.maximum(power / noise - 1.0, 0.0)
        snr = above if kept is None else smoothing * kept / noise + (1.0 - smoothing) * above
        snr = np.maximum(snr, least)
        gain = snr / (1.0 + snr)
        kept = gain**2 * power
        return gain

    return _filtered(audio, sample_rate, rule)


class NoiseTracker:
    """Power of the noise in each band, frame by frame: minima-controlled recursive averaging.

    The power is smoothed over neighbouring bands and time; where it rises above `THRESHOLD` times the least
    that it was in the last one to two seconds, that is speech, and the estimate stands still.

    Parameters
    ----------
    start : ndarray, shape (frames, ..., bins)
        Power of the first second or so, from which the first minima and the first estimate are taken: the
        noise need not come before the speech.
    frames_per_s : float
    """

    THRESHOLD = 5.0
    MINIMUM_S = 1.0
    # Cohen and Berdugo give 0.8, 0.95 and 0.2 for frames 8 ms apart.
    POWER_S, NOISE_S, PRESENCE_S = (-0.008 / np.log(weight) for weight in (0.8, 0.95, 0.2))

    def __init__(self, start: np.ndarray, frames_per_s: float) -> None:
        self._power_weight, self._noise_weight, self._presence_weight = (
            float(np.exp(-1 / (frames_per_s * seconds)))
            for seconds in (self.POWER_S, self.NOISE_S, self.PRESENCE_S)
        )
        self._renewal = max(1, round(self.MINIMUM_S * frames_per_s))
        self._age = 0
        self._level = _smoothed_over_bands(start[0])
        levels = np.empty(start.shape)
        for number, power in enumerate(start):
            self._smooth(power)
            levels[number] = self._level
        self._least = levels.min(axis=0)
        self._next_least = self._least
        quiet = levels <= self.THRESHOLD * self._least
        self.noise = (start * quiet).sum(axis=0) / quiet.sum(axis=0)
        self._presence = np.zeros_like(self.noise)
        self._level = levels[0]

    def _smooth(self, power: np.ndarray) -> None:
        self._level = self._power_weight * self._level + (1 - self._power_weight) * _smoothed_over_bands(
            power
        )

    def update(self, power: np.ndarray) -> np.ndarray:
        """Take the power of the next frame, (..., bins); return the noise in it, the same shape."""
        self._smooth(power)
        self._least = np.minimum(self._least, self._level)
        self._next_least = np.minimum(self._next_least, self._level)
        self._age += 1
        if self._age == self._renewal:
            self._age, self._least, self._next_least = 0, self._next_least, self._level
        speech = self._level > self.THRESHOLD * self._least
        self._presence = self._presence_weight * self._presence + (1 - self._presence_weight) * speech
        weight = self._noise_weight + (1 - self._noise_weight) * self._presence
        self.noise = weight * self.noise + (1 - weight) * power
        return self.noise


def _smoothed_over_bands(power: np.ndarray) -> np.ndarray:
    padded = np.concatenate([power[..., :1], power, power[..., -1:]], axis=-1)
    return 0.25 * padded[..., :-2] + 0.5 * power + 0.25 * padded[..., 2:]


def _filtered(audio: Audio, sample_rate: int, rule: Rule) -> Audio:
    """Weigh the frames of audio by a rule, in blocks of ten seconds."""
    samples = _checked(audio, sample_rate)
    hop_length = max(1, round(_WINDOW_S * sample_rate / _OVERLAP))
    win_length = _OVERLAP * hop_length
    settings = {
        "n_fft": 1 << (win_length - 1).bit_length(),
        "hop_length": hop_length,
        "win_length": win_length,
        "window": "hann",
        "batch_shape": (samples.shape[1],),
    }
    analysis, synthesis = StreamingStft(**settings), StreamingIstft(**settings)
    scale = (2 / win_length) ** 2  # one over the square of the window's sum
    result = np.empty_like(samples)
    done, tracker, block_length = 0, None, max(win_length, round(_BLOCK_S * sample_rate))
    for first in range(0, len(samples), block_length):
        block = samples[first : first + block_length]
        last = first + block_length >= len(samples)
        spectra = analysis.process(block.T)
        if last:
            spectra = np.concatenate([spectra, analysis.flush()], axis=-1)
        # (frames, channels, bins), in double precision: the powers of quiet recordings get small.
        power = np.moveaxis(scale * np.abs(spectra).astype(np.float64) ** 2, -1, 0)
        gains = np.ones(power.shape, np.float32)
        for number, frame in enumerate(power):
            if frame.mean(axis=-1).max() < _SILENCE:
                continue
            if tracker is None:
                tracker = NoiseTracker(
                    _start_of(power[number:], sample_rate / hop_length), sample_rate / hop_length
                )
            gains[number] = rule(frame, tracker.update(frame))
        weighted = spectra * np.moveaxis(gains, 0, -1)
        ready = synthesis.flush(weighted, n_samples=len(samples)) if last else synthesis.process(weighted)
        result[done : done + ready.shape[1]] = ready.T
        done += ready.shape[1]
    return result.reshape(np.shape(audio))


def _start_of(power: np.ndarray, frames_per_s: float) -> np.ndarray:
    """Frames of the first second to learn from: without those that the ends of the recording cut into."""
    start = power[: max(1, round(NoiseTracker.MINIMUM_S * frames_per_s))]
    cut = _OVERLAP - 1
    return start[cut : len(start) - cut] if len(start) > 3 * cut else start


def _checked(audio: Audio, sample_rate: int) -> np.ndarray:
    samples = np.asarray(audio)
    if samples.ndim not in (1, 2) or samples.size == 0 or not np.issubdtype(samples.dtype, np.floating):
        raise SignalError(
            "audio must be floats, (samples,) or (samples, channels), not empty. "
            f"Received: {samples.dtype} {samples.shape}"
        )
    if not np.isfinite(samples).all():
        raise SignalError("audio holds NaN or infinite samples")
    if sample_rate < MIN_SAMPLE_RATE:
        raise SignalError(f"sample_rate must be at least {MIN_SAMPLE_RATE} Hz. Received: {sample_rate}")
    return samples.reshape(len(samples), -1).astype(np.float32)
