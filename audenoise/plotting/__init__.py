"""Pictures of recordings, of training and of scores.

Nothing here touches `matplotlib.pyplot` or its backend: figures are made directly and drawn by Agg, so it
works without a display, in threads, and inside a notebook that has a backend of its own. The functions that
take axes draw on what the caller owns; `…_figure` returns a figure, which a notebook shows and `save_figure`
writes; the others write a PNG file.
"""

from .comparisons import (
    AudioTriple,
    TitledAudio,
    plot_triples,
    save_before_after,
    save_spectrograms,
    spectrograms_figure,
    triples_figure,
    waveforms_figure,
)
from .differences import PanelBox, read_before_after, save_differences
from .levels import RANGE_DB, LevelSpectrogram
from .panels import COLOUR_MAP, add_colour_bar, plot_spectrogram, plot_waveform
from .scores import FrontPoint, plot_boxes, plot_changes, plot_cost_fronts, plot_intervals
from .spectra import plot_mask, plot_mean_spectra, plot_phase
from .style import FONT_SIZE, save_figure, series_style
from .training_curves import plot_training_curves, training_curves_figure

__all__ = [
    "COLOUR_MAP",
    "FONT_SIZE",
    "RANGE_DB",
    "AudioTriple",
    "FrontPoint",
    "LevelSpectrogram",
    "PanelBox",
    "TitledAudio",
    "add_colour_bar",
    "plot_boxes",
    "plot_changes",
    "plot_cost_fronts",
    "plot_intervals",
    "plot_mask",
    "plot_mean_spectra",
    "plot_phase",
    "plot_spectrogram",
    "plot_training_curves",
    "plot_triples",
    "plot_waveform",
    "read_before_after",
    "save_before_after",
    "save_differences",
    "save_figure",
    "save_spectrograms",
    "series_style",
    "spectrograms_figure",
    "training_curves_figure",
    "triples_figure",
    "waveforms_figure",
]
