"""One panel of audio in memory, drawn on axes that the caller owns."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from audenoise.array_types import Audio

from .levels import MAX_COLUMNS, LevelSpectrogram, level_spectrogram, shared_limits_db, two_axes
from .style import FONT_SIZE, LINE_COLOURS, label_axes

COLOUR_MAP = "magma"  # perceptually uniform, and monotonic in print without colour


def plot_spectrogram(
    axes: Axes, audio: Audio, sample_rate: int, *, limits_db: tuple[float, float] | None = None
) -> AxesImage:
    """Draw a spectrogram of audio in memory (window 32 ms, Hann).

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        Get axes from `plt.subplots()` in a notebook, from `Figure().subplots()` in a program.
    audio : Audio, shape (samples,) or (samples, channels)
        Full scale 1.0; channels are drawn as one, by their mean power.
    sample_rate : int
        In Hz.
    limits_db : (float, float), optional
        Ends of the colour scale in dB, where a sine of full scale is at 0 dB. By default the loudest point,
        rounded up to 5 dB, and 80 dB below it.

    Returns
    -------
    matplotlib.image.AxesImage
        For a colour bar: `figure.colorbar(image, label="dB")`.

    Raises
    ------
    SignalError
        If the audio is empty, has other than one or two axes, or the rate isn't positive.
    """
    samples = two_axes(audio, sample_rate)
    spectrogram = level_spectrogram([samples], len(samples), sample_rate)
    return draw_levels(axes, spectrogram, limits_db or shared_limits_db([spectrogram]))


def plot_waveform(axes: Axes, audio: Audio, sample_rate: int, *, colour: str = LINE_COLOURS[0]) -> None:
    """Draw the envelope of audio: the smallest and the largest sample in each of up to 1600 columns.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    audio : Audio, shape (samples,) or (samples, channels)
        Full scale 1.0; the envelope spans all channels.
    sample_rate : int
        In Hz.
    colour : str
        Any colour that matplotlib knows.

    Raises
    ------
    SignalError
        If the audio is empty, has other than one or two axes, or the rate isn't positive.
    """
    samples = two_axes(audio, sample_rate)
    n_columns = min(len(samples), MAX_COLUMNS)
    starts = np.arange(n_columns) * len(samples) // n_columns
    lowest = np.minimum.reduceat(samples.min(axis=1), starts)
    highest = np.maximum.reduceat(samples.max(axis=1), starts)
    time_s = starts / sample_rate
    axes.fill_between(time_s, lowest, highest, step="post", color=colour, linewidth=0.6)
    axes.set_xlim(0, len(samples) / sample_rate)
    reach = max(1e-4, 1.05 * float(np.abs(samples).max()))
    axes.set_ylim(-reach, reach)
    axes.axhline(0, color="0.4", linewidth=0.5)
    label_axes(axes, "time, s", "amplitude")


def draw_levels(axes: Axes, spectrogram: LevelSpectrogram, limits_db: tuple[float, float]) -> AxesImage:
    return draw_matrix(
        axes,
        spectrogram.level_db,
        duration_s=spectrogram.duration_s,
        sample_rate=spectrogram.sample_rate,
        limits=limits_db,
        colour_map=COLOUR_MAP,
    )


def draw_matrix(
    axes: Axes,
    values: np.ndarray,
    *,
    duration_s: float,
    sample_rate: int,
    limits: tuple[float, float],
    colour_map: str,
) -> AxesImage:
    """Draw (frequency, columns) over time and frequency."""
    top_khz = sample_rate / 2000
    # Bins are centred on their frequencies: the first and the last reach half a bin over the ends of the
    # axis.
    half_bin = top_khz / (len(values) - 1) / 2
    image = axes.imshow(
        values,
        origin="lower",
        aspect="auto",
        cmap=colour_map,
        vmin=limits[0],
        vmax=limits[1],
        extent=(0.0, duration_s, -half_bin, top_khz + half_bin),
        interpolation="antialiased",
    )
    axes.set_facecolor("0.85")  # where a shorter recording has ended: grey isn't on the colour maps
    axes.set_xlim(0, duration_s)
    axes.set_ylim(0, top_khz)
    label_axes(axes, "time, s", "frequency, kHz")
    return image


def add_colour_bar(
    figure: Figure,
    image: AxesImage,
    panels: Sequence[Axes],
    *,
    label: str = "level, dB (sine of full scale: 0 dB)",
    extend: Literal["neither", "both", "min", "max"] = "min",
    ticks: Sequence[float] | None = None,
) -> None:
    """Put a scale of colours beside some panels.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    image : matplotlib.image.AxesImage
        As the functions that draw a panel return it; all panels must have its limits.
    panels : sequence of Axes
    label : str
        With the unit.
    extend : str
        At which ends there are values beyond the scale, as pointed ends say.
    ticks : sequence of float, optional
    """
    bar = figure.colorbar(image, ax=panels, pad=0.015, fraction=0.05, aspect=32, extend=extend, ticks=ticks)
    bar.set_label(label, fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE - 1)
