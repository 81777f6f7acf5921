"""What a denoiser changed: before, after and the difference, under each other."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from audenoise.errors import SignalError

from .levels import LevelSpectrogram, read_level_spectrogram, shared_limits_db
from .panels import add_colour_bar, draw_levels, draw_matrix
from .style import FONT_SIZE, save_figure

DIFFERENCE_RANGE_DB = 40.0
DIFFERENCE_COLOUR_MAP = "RdBu_r"
_WIDE_INCHES, _NARROW_INCHES = (10.0, 8.6), (4.4, 7.6)


@dataclass(frozen=True)
class PanelBox:
    """Where a panel lies in its picture, in shares of its width and height from the top left corner."""

    left: float
    top: float
    width: float
    height: float


def read_before_after(
    noisy_path: str | os.PathLike, denoised_path: str | os.PathLike
) -> tuple[LevelSpectrogram, LevelSpectrogram]:
    """Read two recordings of one length by blocks, both at the rate of the second, for `save_differences`.

    Raises
    ------
    SignalError
        If they differ in length.
    AudioFileError
        If one can't be read.
    """
    after = read_level_spectrogram(Path(denoised_path))
    before = read_level_spectrogram(Path(noisy_path), sample_rate=after.sample_rate)
    if before.level_db.shape != after.level_db.shape:
        raise SignalError(f"{noisy_path} and {denoised_path} differ in length")
    return before, after


def save_differences(
    before: LevelSpectrogram,
    after: LevelSpectrogram,
    png_path: str | os.PathLike,
    *,
    narrow: bool = False,
) -> list[PanelBox]:
    """Write a picture of a recording before, after, both on one scale, and of the change between them.

    Parameters
    ----------
    before, after : LevelSpectrogram
        As `read_before_after` returns them.
    png_path : path
        Written at once in place of an older file, or not at all.
    narrow : bool
        For the screen of a phone: letters are larger in relation to the picture.

    Returns
    -------
    list of PanelBox
        Where the three panels are, from the top.

    Raises
    ------
    AudenoiseError
        If the picture can't be written.
    """
    figure = Figure(
        figsize=_NARROW_INCHES if narrow else _WIDE_INCHES, dpi=180 if narrow else 130, layout="constrained"
    )
    panels = figure.subplots(3, 1, sharex=True, sharey=True)
    limits_db = shared_limits_db([before, after])
    images = [draw_levels(axes, item, limits_db) for axes, item in zip(panels, (before, after), strict=False)]
    # Below the scale of both there is nothing to see, and the difference is rounding.
    unseen = (before.level_db <= limits_db[0]) & (after.level_db <= limits_db[0])
    images.append(
        draw_matrix(
            panels[2],
            np.ma.masked_where(unseen, after.level_db - before.level_db),
            duration_s=before.duration_s,
            sample_rate=before.sample_rate,
            limits=(-DIFFERENCE_RANGE_DB, DIFFERENCE_RANGE_DB),
            colour_map=DIFFERENCE_COLOUR_MAP,
        )
    )
    for axes, title in zip(panels, ("Before", "After", "Difference: after less before"), strict=True):
        axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left")
        if axes is not panels[2]:
            axes.set_xlabel("")
    add_colour_bar(
        figure, images[0], list(panels[:2]), label="level, dB" if narrow else "level, dB (full scale: 0)"
    )
    add_colour_bar(figure, images[2], [panels[2]], label="change, dB", extend="both")
    save_figure(figure, png_path)
    # The layout is fixed by drawing.
    boxes = [axes.get_position() for axes in panels]
    return [PanelBox(box.x0, 1.0 - box.y1, box.width, box.height) for box in boxes]
