"""What noise does to a spectrogram and what a network undoes: masks, phase, mean spectra."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from audenoise.array_types import Audio, AudioVector
from audenoise.errors import SignalError
from audenoise.spectral import stft

from .levels import FLOOR_DB, MAX_COLUMNS, RANGE_DB, WINDOW_S, level_spectrogram, two_axes
from .panels import draw_matrix
from .style import FONT_SIZE, label_axes, series_style

MASK_RANGE_DB = (-30.0, 0.0)
MASK_COLOUR_MAP = "cividis"  # made for the colour-blind
PHASE_COLOUR_MAP = "twilight"  # cyclic, as angles are
_LOWEST_HZ = 50.0


def plot_mask(
    axes: Axes,
    noisy: Audio,
    kept: Audio,
    *,
    sample_rate: int,
    limits_db: tuple[float, float] = MASK_RANGE_DB,
) -> AxesImage:
    """Draw by how much each point of a spectrogram was turned down: the level of `kept` less that of `noisy`.

    With the denoised recording it is the mask that a network applied, with the clean one the ideal mask.
    Points where `noisy` is more than 80 dB below its loudest one are grey: their ratio is rounding.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    noisy, kept : Audio, shape (samples,) or (samples, channels)
        Of one length, aligned.
    sample_rate : int
        In Hz.
    limits_db : (float, float)
        Ends of the colour scale in dB; 0 is untouched.

    Returns
    -------
    matplotlib.image.AxesImage
        For a colour bar.

    Raises
    ------
    SignalError
        If the lengths differ, a recording is empty, or the rate isn't positive.
    """
    before, after = two_axes(noisy, sample_rate), two_axes(kept, sample_rate)
    _same_length(before, after, "kept")
    levels = [level_spectrogram([each], len(each), sample_rate).level_db for each in (before, after)]
    gain_db = np.ma.masked_where(
        levels[0] <= max(FLOOR_DB, levels[0].max() - RANGE_DB), levels[1] - levels[0]
    )
    return draw_matrix(
        axes,
        gain_db,
        duration_s=len(before) / sample_rate,
        sample_rate=sample_rate,
        limits=limits_db,
        colour_map=MASK_COLOUR_MAP,
    )


def plot_phase(
    axes: Axes, audio: AudioVector, sample_rate: int, *, reference: AudioVector | None = None
) -> AxesImage:
    """Draw the phase of a spectrogram, or how far it is from that of another one.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    audio : AudioVector, shape (samples,)
    sample_rate : int
        In Hz.
    reference : AudioVector, optional
        Of the same length. With it, what is drawn is the angle between the two, 0° to 180°, and points where
        the reference is more than 60 dB below its loudest one are grey: there is no phase to be right about.
        Without it, only digital silence is grey.

    Returns
    -------
    matplotlib.image.AxesImage
        In degrees, for a colour bar.

    Raises
    ------
    SignalError
        If the lengths differ, a recording is empty or has channels, or the rate isn't positive.
    """
    samples = two_axes(audio, sample_rate)
    spectra = [_spectrum(samples, sample_rate)]
    if reference is None:
        magnitude = np.abs(spectra[0])
        silent = magnitude <= 10 ** (FLOOR_DB / 20) * magnitude.max()
        angle, limits = np.ma.masked_where(silent, np.degrees(np.angle(spectra[0]))), (-180.0, 180.0)
    else:
        other = two_axes(reference, sample_rate)
        _same_length(samples, other, "reference")
        spectra.append(_spectrum(other, sample_rate))
        magnitude = np.abs(spectra[1])
        angle = np.ma.masked_where(
            magnitude <= 1e-3 * magnitude.max(),
            np.degrees(np.abs(np.angle(spectra[0] * spectra[1].conj()))),
        )
        limits = (0.0, 180.0)
    return draw_matrix(
        axes,
        angle,
        duration_s=len(samples) / sample_rate,
        sample_rate=sample_rate,
        limits=limits,
        colour_map=PHASE_COLOUR_MAP if reference is None else MASK_COLOUR_MAP,
    )


def plot_mean_spectra(axes: Axes, recordings: Mapping[str, Audio], sample_rate: int) -> None:
    """Draw the mean levels of some recordings over frequency, as lines, 80 dB down from the loudest point.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    recordings : mapping
        Name → audio, (samples,) or (samples, channels). The first is grey: what the others are compared with.
    sample_rate : int
        In Hz, of all of them.

    Raises
    ------
    SignalError
        If a recording is empty, or the rate isn't positive.
    """
    loudest = -RANGE_DB
    for number, (name, audio) in enumerate(recordings.items()):
        samples = two_axes(audio, sample_rate)
        level_db = level_spectrogram([samples], len(samples), sample_rate).level_db
        mean_db = 10 * np.log10(np.mean(10 ** (level_db / 10), axis=1))
        frequency_hz = np.linspace(0, sample_rate / 2, len(mean_db))
        loudest = max(loudest, float(mean_db.max()))
        style = series_style(number)
        axes.plot(
            frequency_hz, mean_db, label=name, color=style["color"], linewidth=2.6 if number == 0 else 1.5
        )
    axes.set_xscale("log")
    ticks = [hz for hz in (50, 100, 200, 500, 1000, 2000, 5000, 10_000, 20_000) if hz <= sample_rate / 2]
    axes.set_xticks(ticks, [f"{hz / 1000:g} k" if hz >= 1000 else f"{hz}" for hz in ticks], minor=False)
    axes.set_xticks([], minor=True)
    axes.set_xlim(min(_LOWEST_HZ, sample_rate / 8), sample_rate / 2)
    axes.set_ylim(loudest - RANGE_DB, loudest + 5)
    axes.grid(color="0.9")
    axes.legend(frameon=False, fontsize=FONT_SIZE - 1, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=4)
    label_axes(axes, "frequency, Hz", f"mean level in {1 / WINDOW_S:.0f} Hz, dB")


def _spectrum(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """(frequency, frames): no more frames than can be drawn, of a single channel."""
    if samples.shape[1] != 1:
        raise SignalError(f"a phase is that of one channel. Received: {samples.shape}")
    win_length = max(4, 2 * round(WINDOW_S * sample_rate / 2))
    hop_length = min(win_length, max(win_length // 4, -(-len(samples) // MAX_COLUMNS)))
    audio = np.ascontiguousarray(samples[:, 0], np.float32)
    spectrum = stft(audio, n_fft=win_length, hop_length=hop_length, window="hann")
    # The first frames begin before the recording does.
    lead = (win_length - hop_length) // (2 * hop_length)
    spectrum = spectrum[:, lead : spectrum.shape[1] - lead] if spectrum.shape[1] > 2 * lead else spectrum
    return spectrum[:, :: -(-spectrum.shape[1] // MAX_COLUMNS)]


def _same_length(audio: np.ndarray, other: np.ndarray, name: str) -> None:
    if len(audio) != len(other):
        raise SignalError(
            f"{name} must have the length of the recording. Received: {len(other)} and {len(audio)} samples"
        )
