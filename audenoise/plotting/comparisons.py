"""Recordings beside each other, on one scale."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audenoise.array_types import Audio, AudioVector
from audenoise.errors import DataError, SignalError

from .levels import level_spectrogram, read_level_spectrogram, shared_limits_db, two_axes
from .panels import add_colour_bar, draw_levels, plot_waveform
from .style import FONT_SIZE, save_figure, shortened


def save_before_after(
    noisy_path: str | os.PathLike, denoised_path: str | os.PathLike, png_path: str | os.PathLike
) -> None:
    """Write a picture of two recordings: their spectrograms above each other, on one scale.

    The files are read by blocks and their frames thinned out, so an hour takes no more memory than a minute.
    The channels of a file are drawn as one, by their mean power.

    Parameters
    ----------
    noisy_path, denoised_path : path
        Audio files; they may differ in rate and length, then the axes span the larger one.
    png_path : path
        Written at once in place of an older file, or not at all.

    Raises
    ------
    AudioFileError
        If an audio file can't be read.
    AudenoiseError
        If the picture can't be written.
    """
    paths = Path(noisy_path), Path(denoised_path)
    spectrograms = [read_level_spectrogram(path) for path in paths]
    figure = Figure(figsize=(10, 6.6), dpi=150, layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    limits_db = shared_limits_db(spectrograms)
    images = [draw_levels(axes, item, limits_db) for axes, item in zip(panels, spectrograms, strict=True)]
    for axes, path, what in zip(panels, paths, ("Before", "After"), strict=True):
        axes.set_title(
            f"{what}: {shortened(path.name)}", fontsize=FONT_SIZE + 1, loc="left", parse_math=False
        )
    panels[0].set_xlabel("")
    panels[0].set_xlim(0, max(item.duration_s for item in spectrograms))
    panels[0].set_ylim(0, max(item.sample_rate for item in spectrograms) / 2000)
    add_colour_bar(figure, images[0], list(panels))
    save_figure(figure, png_path)


@dataclass(frozen=True)
class AudioTriple:
    """A mixture and what it is made of, (samples,) each."""

    title: str
    clean: AudioVector
    noise: AudioVector
    noisy: AudioVector


def triples_figure(triples: Sequence[AudioTriple], sample_rate: int) -> Figure:
    """Draw mixtures: a row for each, with clean, noise and noisy beside each other.

    All spectrograms are on one scale, so that levels can be compared.

    Parameters
    ----------
    triples : sequence of AudioTriple
        At least one.
    sample_rate : int
        In Hz.

    Raises
    ------
    DataError
        If there are none.
    """
    if not triples:
        raise DataError("there are no mixtures to draw")
    figure = Figure(figsize=(12, 0.8 + 2.7 * len(triples)), dpi=150, layout="constrained")
    panels = figure.subplots(len(triples), 3, squeeze=False, sharex="row", sharey=True)
    rows = [
        [
            level_spectrogram([two_axes(audio, sample_rate)], len(audio), sample_rate)
            for audio in (triple.clean, triple.noise, triple.noisy)
        ]
        for triple in triples
    ]
    limits_db = shared_limits_db([item for row in rows for item in row])
    images = []
    for i, (row, triple) in enumerate(zip(rows, triples, strict=True)):
        for j, (item, what) in enumerate(zip(row, ("clean", "noise", "noisy"), strict=True)):
            axes = panels[i, j]
            images.append(draw_levels(axes, item, limits_db))
            # The row's title stands above all three, where the others' titles have no first line.
            title = what if j else f"{shortened(triple.title, 110)}\n{what}"
            axes.set_title(title, fontsize=FONT_SIZE, loc="left", parse_math=False)
            if j:
                axes.set_ylabel("")
            if i < len(rows) - 1:
                axes.set_xlabel("")
    add_colour_bar(figure, images[0], list(panels.ravel()))
    return figure


def plot_triples(triples: Sequence[AudioTriple], sample_rate: int, png_path: str | os.PathLike) -> None:
    """Write what `triples_figure` draws as PNG.

    Raises
    ------
    DataError
        If there are no mixtures.
    AudenoiseError
        If the picture can't be written.
    """
    save_figure(triples_figure(triples, sample_rate), png_path)


@dataclass(frozen=True)
class TitledAudio:
    """Audio in memory under a heading."""

    title: str
    audio: Audio
    sample_rate: int


def spectrograms_figure(recordings: Sequence[TitledAudio], *, columns: int = 1) -> Figure:
    """Draw the spectrograms of some recordings, on one scale of time, frequency and level.

    Parameters
    ----------
    recordings : sequence of TitledAudio
        At least one.
    columns : int
        Panels beside each other.

    Raises
    ------
    SignalError
        If there is nothing to draw, or a recording is empty.
    """
    arrays = _arrays(recordings)
    spectrograms = [
        level_spectrogram([samples], len(samples), each.sample_rate)
        for samples, each in zip(arrays, recordings, strict=True)
    ]
    figure, panels = _grid(recordings, columns, height=2.6)
    limits_db = shared_limits_db(spectrograms)
    images = [draw_levels(axes, item, limits_db) for axes, item in zip(panels, spectrograms, strict=True)]
    _finish(panels, recordings, columns)
    panels[0].set_ylim(0, max(item.sample_rate for item in spectrograms) / 2000)
    add_colour_bar(figure, images[0], panels)
    return figure


def waveforms_figure(recordings: Sequence[TitledAudio], *, columns: int = 1) -> Figure:
    """Draw the waveforms of some recordings, on one scale of time and of amplitude.

    Parameters
    ----------
    recordings : sequence of TitledAudio
        At least one.
    columns : int
        Panels beside each other.

    Raises
    ------
    SignalError
        If there is nothing to draw, or a recording is empty.
    """
    arrays = _arrays(recordings)
    figure, panels = _grid(recordings, columns, height=1.7)
    for axes, samples, each in zip(panels, arrays, recordings, strict=True):
        plot_waveform(axes, samples, each.sample_rate)
    _finish(panels, recordings, columns)
    reach = max(1e-4, 1.05 * max(float(np.abs(samples).max()) for samples in arrays))
    panels[0].set_ylim(-reach, reach)
    return figure


def save_spectrograms(recordings: Sequence[TitledAudio], png_path: str | os.PathLike) -> None:
    """Write what `spectrograms_figure` draws as PNG, in one column.

    Raises
    ------
    SignalError
        If there is nothing to draw, or a recording is empty.
    AudenoiseError
        If the picture can't be written.
    """
    save_figure(spectrograms_figure(recordings), png_path)


def _arrays(recordings: Sequence[TitledAudio]) -> list[np.ndarray]:
    if not recordings:
        raise SignalError("there are no recordings to draw")
    return [two_axes(each.audio, each.sample_rate) for each in recordings]


def _grid(recordings: Sequence[TitledAudio], columns: int, *, height: float) -> tuple[Figure, list[Axes]]:
    n_across = min(max(1, columns), len(recordings))
    n_down = -(-len(recordings) // n_across)
    figure = Figure(figsize=(8.0 + 2.0 * n_across, 0.6 + height * n_down), dpi=150, layout="constrained")
    grid = figure.subplots(n_down, n_across, sharex=True, sharey=True, squeeze=False).ravel()
    for axes in grid[len(recordings) :]:
        axes.set_axis_off()
    return figure, list(grid[: len(recordings)])


def _finish(panels: list[Axes], recordings: Sequence[TitledAudio], columns: int) -> None:
    """Titles, the longest recording's time axis, and labels at the edge of the grid only."""
    n_across = min(max(1, columns), len(panels))
    longest = 110 // n_across
    for i, (axes, each) in enumerate(zip(panels, recordings, strict=True)):
        axes.set_title(shortened(each.title, longest), fontsize=FONT_SIZE, loc="left", parse_math=False)
        if i + n_across < len(panels):
            axes.set_xlabel("")
        else:
            axes.tick_params(labelbottom=True)
        if i % n_across:
            axes.set_ylabel("")
    panels[0].set_xlim(0, max(len(each.audio) / each.sample_rate for each in recordings))
