"""The log of a training as curves."""

import csv
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from audenoise.errors import DataError

from .style import FONT_SIZE, LINE_COLOURS, label_axes, save_figure

_TITLES = {
    "loss": "loss",
    "si_sdr_db": "SI-SDR, dB",
    "estoi": "ESTOI",
    "pesq_wb": "WB-PESQ",
    "sdr_db": "SDR, dB",
    "level_db": "level of the output over that of the speech, dB",
    "learning_rate": "learning rate",
    "data_wait": "share of the time that training waited for data",
}
"""In the order of the panels; what isn't here comes after it, under its own name."""


def training_curves_figure(csv_path: str | os.PathLike, *, quantities: Sequence[str] = ()) -> Figure:
    """Draw a training log: one panel for each quantity, training and validation in it.

    Parameters
    ----------
    csv_path : path
        A table with a header, as Keras's CSVLogger writes it. The columns `NAME` and `val_NAME` share a
        panel; `step`, or else `epoch`, or else the row number, is the horizontal axis; a learning rate gets a
        logarithmic scale. Empty and non-numeric cells are left out.
    quantities : sequence of str, optional
        What to draw, as far as the log has it: "loss", "si_sdr_db". By default all of it.

    Raises
    ------
    DataError
        If the table is missing, has no rows, or nothing to draw.
    """
    columns = _read_numbers(Path(csv_path))
    axis_name = next((name for name in ("step", "epoch") if name in columns), "row")
    position = columns.get(axis_name, np.arange(1.0, 1 + len(next(iter(columns.values()), []))))
    if axis_name == "epoch" and np.nanmin(position, initial=1.0) == 0:
        position = position + 1  # Keras counts from 0, people and everything else here from 1
    there = dict.fromkeys(name.removeprefix("val_") for name in columns if name not in ("step", "epoch"))
    known = [name for name in _TITLES if name in there]
    shown = [name for name in quantities or dict.fromkeys([*known, *there]) if name in there]
    if not shown:
        wanted = f" of {', '.join(quantities)}" if quantities else " of numbers"
        raise DataError(f"{csv_path}: no column{wanted} to draw")
    n_across = 1 if len(shown) == 1 else 2
    n_down = -(-len(shown) // n_across)
    figure = Figure(figsize=(6.5 * n_across, 0.6 + 3.2 * n_down), dpi=150, layout="constrained")
    panels = figure.subplots(n_down, n_across, squeeze=False).ravel()
    for axes, quantity in zip(panels, shown, strict=False):
        for name, label, colour, marker in zip(
            (quantity, f"val_{quantity}"), ("training", "validation"), LINE_COLOURS, "os", strict=True
        ):
            if name in columns:
                finite = np.isfinite(columns[name]) & np.isfinite(position)
                axes.plot(
                    position[finite],
                    columns[name][finite],
                    color=colour,
                    label=label,
                    # Few points, such as one a validation, would vanish without marks.
                    marker=marker if finite.sum() <= 40 else None,
                    markersize=4,
                )
        if f"val_{quantity}" in columns:
            axes.legend(fontsize=FONT_SIZE - 2, frameon=False)
        if quantity in ("lr", "learning_rate") and np.nanmin(columns[quantity]) > 0:
            axes.set_yscale("log")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(color="0.9")
        title = _TITLES.get(quantity, quantity.replace("_", " "))
        axes.set_title(title, fontsize=FONT_SIZE + 1, loc="left", parse_math=False)
        label_axes(axes, axis_name, "")
    for axes in panels[len(shown) :]:
        axes.set_axis_off()
    return figure


def plot_training_curves(csv_path: str | os.PathLike, png_path: str | os.PathLike) -> None:
    """Write what `training_curves_figure` draws as PNG, at once in place of an older file, or not at all.

    Raises
    ------
    DataError
        If the table is missing, has no rows, or no column of numbers.
    AudenoiseError
        If the picture can't be written.
    """
    save_figure(training_curves_figure(csv_path), png_path)


def _read_numbers(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path}: not a readable table: {error}") from error
    if not rows:
        raise DataError(f"{path}: no rows yet")
    columns = {
        name: np.array([_number(row[name]) for row in rows])
        for name in rows[0]
        if isinstance(name, str) and name
    }
    return {name: values for name, values in columns.items() if np.isfinite(values).any()}


def _number(cell: object) -> float:
    try:
        return float(str(cell))
    except ValueError:
        return float("nan")
