"""The log of a training as curves."""

import csv
import os
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from audenoise.errors import DataError

from .style import FONT_SIZE, LINE_COLOURS, label_axes, save_figure


def training_curves_figure(csv_path: str | os.PathLike) -> Figure:
    """Draw a training log: one panel for each quantity, training and validation in it.

    Parameters
    ----------
    csv_path : path
        A table with a header, as Keras's CSVLogger writes it. The columns `NAME` and `val_NAME` share a
        panel; `step`, or else `epoch`, or else the row number, is the horizontal axis; a learning rate gets a
        logarithmic scale. Empty and non-numeric cells are left out.

    Raises
    ------
    DataError
        If the table is missing, has no rows, or no column of numbers.
    """
    columns = _read_numbers(Path(csv_path))
    axis_name = next((name for name in ("step", "epoch") if name in columns), "row")
    position = columns.get(axis_name, np.arange(1.0, 1 + len(next(iter(columns.values())))))
    names = [name for name in columns if name not in ("step", "epoch")]
    quantities = list(dict.fromkeys(name.removeprefix("val_") for name in names))
    if not quantities:
        raise DataError(f"{csv_path}: no column of numbers to draw")
    n_across = 1 if len(quantities) == 1 else 2
    n_down = -(-len(quantities) // n_across)
    figure = Figure(figsize=(6.5 * n_across, 0.6 + 3.2 * n_down), dpi=150, layout="constrained")
    panels = figure.subplots(n_down, n_across, squeeze=False).ravel()
    for axes, quantity in zip(panels, quantities, strict=False):
        for name, label, colour in zip(
            (quantity, f"val_{quantity}"), ("training", "validation"), LINE_COLOURS, strict=True
        ):
            if name in columns:
                known = np.isfinite(columns[name]) & np.isfinite(position)
                # Few points, such as one a validation, would vanish without marks.
                marker = "o" if known.sum() <= 40 else None
                axes.plot(
                    position[known],
                    columns[name][known],
                    color=colour,
                    label=label,
                    marker=marker,
                    markersize=3.5,
                )
        if f"val_{quantity}" in columns:
            axes.legend(fontsize=FONT_SIZE - 2, frameon=False)
        if quantity in ("lr", "learning_rate") and np.nanmin(columns[quantity]) > 0:
            axes.set_yscale("log")
        axes.grid(color="0.9")
        axes.set_title(quantity.replace("_", " "), fontsize=FONT_SIZE + 1, loc="left", parse_math=False)
        label_axes(axes, axis_name, "")
    for axes in panels[len(quantities) :]:
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
