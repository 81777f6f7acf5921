"""What all pictures share: fonts, colours, labels, and how a figure becomes a file."""

import os
import warnings
from contextlib import suppress
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from audenoise.errors import AudenoiseError, one_line

FONT_SIZE = 12.0
LINE_COLOURS = ("#0072b2", "#d55e00")

# Okabe and Ito's colours, which the colour-blind can tell apart; without the yellow, which is faint on white.
# The first series is what the others are compared with. Beyond eight, the lines differ.
_SERIES_COLOURS = ("#767676", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
_SERIES_MARKERS = "osD^vPX*"
_SERIES_LINES = ("-", "--", ":")


def series_style(number: int) -> dict[str, str]:
    """Colour, marker and line style of series `number`; different for the first 24."""
    return {
        "color": _SERIES_COLOURS[number % len(_SERIES_COLOURS)],
        "marker": _SERIES_MARKERS[number % len(_SERIES_MARKERS)],
        "linestyle": _SERIES_LINES[number // len(_SERIES_COLOURS) % len(_SERIES_LINES)],
    }


def label_axes(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label, fontsize=FONT_SIZE)
    axes.set_ylabel(y_label, fontsize=FONT_SIZE)
    axes.tick_params(labelsize=FONT_SIZE - 1)


def shortened(name: str, longest: int = 80) -> str:
    """A name that a picture can hold: on one line, and without bytes that are no text."""
    name = one_line(name)
    return name if len(name) <= longest else f"{name[: longest // 2 - 1]}…{name[-longest // 2 :]}"


def save_figure(figure: Figure, png_path: str | os.PathLike) -> None:
    """Write a figure as PNG at once, in place of an older file, or not at all.

    Raises
    ------
    AudenoiseError
        If it can't be written.
    """
    path = Path(png_path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with warnings.catch_warnings():
            # A file name in a script that the font lacks is drawn as boxes; that needs no warning for each
            # letter.
            warnings.filterwarnings("ignore", message="Glyph")
            figure.savefig(temporary, format="png")
        temporary.replace(path)
    except OSError as error:
        raise AudenoiseError(f"{path}: the picture can't be written: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # a read-only disk refuses even where there is nothing to remove
            temporary.unlink()
