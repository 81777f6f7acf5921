"""How high a recording's speech reaches, whatever its sample rate says."""

import numpy as np
from scipy.ndimage import minimum_filter1d

from audenoise.array_types import AudioVector
from audenoise.spectral import make_window, stft

_FRAME = 2048
_MOST_FRAMES = 400
_BAND_HZ = 500.0
_UPPER_HZ = (8500.0, 14000.0)  # from 8 kHz on, but for what a window lets in from below
_SPEECH_HZ = (100.0, 4000.0)
_ABOVE_FLOOR, _ABOVE_PAUSES = 100.0, 4.0  # 20 dB and 6 dB, as ratios of power
_CLIFF, _CLIFF_FROM_HZ = 100.0, 5000.0
_LEFT, _CODED_SHARE = 10.0, 0.1


def speech_bandwidth_hz(audio: AudioVector, sample_rate: int, *, step: float = 2.0**-15) -> float:
    """Return the upper edge of the highest band in which something happens.

    A band counts if its loudest twentieth of frames is 20 dB above the rounding noise and 6 dB above its
    quietest tenth: what was resampled from a lower rate has nothing there, and hiss is as loud between the
    words.

    Parameters
    ----------
    audio : AudioVector
        Full scale 1.0. Of a long one, 400 frames spread over it are looked at.
    sample_rate : int
        In Hz.
    step : float
        Size of a step of the samples as they were stored: 2^-15 for 16 bits.

    Returns
    -------
    float
        In Hz, to 500 Hz; 0 for a recording that is silent or shorter than two frames of 2048 samples.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> bursts = np.repeat(rng.random(40) > 0.5, 1200) * rng.standard_normal(48000) * 0.1
    >>> speech_bandwidth_hz(bursts.astype(np.float32), 48000)
    24000.0
    """
    power = _powers(audio)
    if len(power) < 2:
        return 0.0
    levels, edges = _levels(power, sample_rate)
    loud, quiet = np.quantile(levels, [0.95, 0.1], axis=0)
    active = (loud > _ABOVE_FLOOR * step**2 / 12) & (loud > _ABOVE_PAUSES * quiet)
    if not active.any():
        return 0.0
    return float(edges[np.flatnonzero(active)[-1]])


def frame_ends_hz(
    audio: AudioVector, sample_rate: int, *, hop_length: int, win_length: int, step: float = 2.0**-15
) -> np.ndarray:
    """Return how high each frame knows what was said, of a recording that a coder has thinned out.

    A coder for fewer bits leaves out what it takes for inaudible, which is another band in every frame: up to
    20 kHz in an *s*, but only up to 12 or 16 kHz in the vowel before it. What it left out begins at a cliff,
    20 dB within 1 kHz, which speech does not have; quiet frames have nothing but rounding noise there.

    Parameters
    ----------
    audio : AudioVector
        Full scale 1.0.
    sample_rate : int
        In Hz.
    hop_length, win_length : int
        Of the frames, those of `audenoise.spectral.stft`.
    step : float
        Size of a step of the samples as they were stored: 2^-15 for 16 bits.

    Returns
    -------
    ndarray
        (frames,) in Hz, to 500 Hz, the least of a frame and its two neighbours on each side, which share
        samples with it; half the sample rate where there is no sign of a coder: less than a tenth of the
        frames have such a cliff, of those that have something at 5 kHz.

    Examples
    --------
    >>> noise = 0.1 * np.random.default_rng(0).standard_normal(24000)
    >>> set(frame_ends_hz(noise, 48000, hop_length=256, win_length=1024).tolist())
    {24000.0}
    >>> spectrum = np.fft.rfft(noise)
    >>> spectrum[np.fft.rfftfreq(24000, 1 / 48000) > 16000] = 0
    >>> ends = frame_ends_hz(np.fft.irfft(spectrum), 48000, hop_length=256, win_length=1024)
    >>> bool(15000 < np.median(ends) <= 16000)
    True
    """
    sizes = {"n_fft": win_length, "hop_length": hop_length, "win_length": win_length, "window": "hann"}
    window = make_window("hann", win_length)
    power = np.square(np.abs(stft(audio, **sizes))).T / np.square(window).sum()
    levels, edges = _levels(power, sample_rate)
    rounding = step**2 / 12
    first, n_bands = int(np.searchsorted(edges, _CLIFF_FROM_HZ)), len(edges)
    complete = np.full(len(levels), float(edges[-1]))
    if n_bands - first < 3:
        return complete
    rest = np.maximum.accumulate(levels[:, ::-1], axis=1)[:, ::-1]  # the loudest band from each on
    heard = levels > _ABOVE_FLOOR * rounding
    cliffs = heard[:, first:-2] & (levels[:, first:-2] > _CLIFF * rest[:, first + 2 :])
    if not heard[:, first].any() or cliffs[heard[:, first]].any(axis=1).mean() < _CODED_SHARE:
        return complete
    ends = np.where(cliffs.any(axis=1), edges[first + cliffs.argmax(axis=1)], complete)
    left = levels > _LEFT * rounding
    highest = np.where(left.any(axis=1), n_bands - 1 - left[:, ::-1].argmax(axis=1), 0)
    return minimum_filter1d(np.minimum(ends, edges[highest]), 5)


def _levels(power: np.ndarray, sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean power in bands of 500 Hz, (frames, bands), and the upper edges of these in Hz, (bands,)."""
    n_fft = 2 * (power.shape[1] - 1)
    last = max(1, round(sample_rate / 2 / _BAND_HZ)) - 1  # what is left over belongs to the last band
    band = np.minimum(np.arange(power.shape[1]) * sample_rate / n_fft // _BAND_HZ, last).astype(int)
    starts = np.flatnonzero(np.diff(band, prepend=-1))
    levels = np.add.reduceat(power, starts, axis=1) / np.diff(np.append(starts, band.size))
    edges = np.minimum((band[starts] + 1) * _BAND_HZ, sample_rate / 2)
    return levels, np.append(edges[:-1], sample_rate / 2)


def upper_band_db(audio: AudioVector, sample_rate: int) -> float:
    """Return how loud 8 to 14 kHz gets in the brightest sounds, relative to the speech.

    The loudest twentieth of frames there, an *s* or a *t*, against the mean up to 4 kHz of the frames that
    are no more than 30 dB below the loudest. Near -20 dB in a studio, below -35 dB where a microphone or a
    filter has left little.

    Parameters
    ----------
    audio : AudioVector
        Of a long one, 400 frames spread over it are looked at.
    sample_rate : int
        In Hz.

    Returns
    -------
    float
        In dB; minus infinity for a recording that is silent, shorter than two frames of 2048 samples, or of a
        rate that leaves no room for such a band.
    """
    power = _powers(audio)
    hz = np.arange(power.shape[1]) * sample_rate / _FRAME
    upper, speech = (power[:, (hz >= low) & (hz < high)].sum(1) for low, high in (_UPPER_HZ, _SPEECH_HZ))
    if len(power) < 2 or not speech.any() or not upper.any():
        return -np.inf
    active = speech > 1e-3 * np.quantile(speech, 0.95)
    return float(10.0 * np.log10(np.quantile(upper, 0.95) / speech[active].mean()))


def _powers(audio: AudioVector) -> np.ndarray:
    """Power spectra of frames spread over a signal; white noise of variance v has the level v in each bin."""
    count = audio.size // _FRAME
    places = np.unique(np.linspace(0, count - 1, min(count, _MOST_FRAMES)).astype(int)) * _FRAME
    window = np.hanning(_FRAME + 1)[:-1]
    frames = np.array([audio[place : place + _FRAME] for place in places]).reshape(-1, _FRAME) * window
    return np.square(np.abs(np.fft.rfft(frames))) / np.square(window).sum()
