"""Scores: means with intervals, their spread, changes file by file, quality against cost."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from audenoise.errors import DataError

from .style import FONT_SIZE, LINE_COLOURS, label_axes, save_figure, series_style, shortened


def plot_intervals(
    axes: Axes,
    groups: Sequence[str],
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    score_label: str,
    horizontal: bool = False,
    first_style: int = 0,
) -> None:
    """Draw the means of some series over groups, with bars for their confidence intervals.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    groups : sequence of str
        In the order of the axis.
    series : mapping
        Name → (mean, half of the interval) for each group, not a number where there is none.
    score_label : str
        With the unit.
    horizontal : bool
        Write the groups under each other, as long names need it, and leave out the lines between them.
    first_style : int
        Style of the first series, see `series_style`: 1 where the one that it is compared with isn't drawn.
    """
    positions = np.arange(len(groups), dtype=float)
    for number, (name, points) in enumerate(series.items()):
        means, widths = np.array(points, float).reshape(-1, 2).T
        widths = np.nan_to_num(widths)
        style = series_style(number + first_style)
        # Side by side, or the bars would hide each other.
        step = min(0.14 if horizontal else 0.07, 0.8 / len(series))
        place = positions + (number - (len(series) - 1) / 2) * step
        axes.errorbar(
            means if horizontal else place,
            place if horizontal else means,
            xerr=widths if horizontal else None,
            yerr=None if horizontal else widths,
            color=style["color"],
            marker=style["marker"],
            linestyle="none" if horizontal else style["linestyle"],
            label=name,
            markersize=5.5,
            linewidth=1.3,
            elinewidth=1.1,
            capsize=2,
        )
    if horizontal:
        axes.set_yticks(positions, groups, parse_math=False)
        axes.set_ylim(len(groups) - 0.5, -0.5)
        for border in positions[:-1] + 0.5:
            axes.axhline(border, color="0.85", linewidth=0.6)
        axes.grid(axis="x", color="0.9")
        label_axes(axes, score_label, "")
    else:
        axes.set_xticks(positions, groups, parse_math=False)
        axes.set_xlim(-0.5, len(groups) - 0.5)
        axes.grid(axis="y", color="0.9")
        label_axes(axes, "", score_label)


def plot_boxes(
    axes: Axes, groups: Sequence[str], series: Mapping[str, Sequence[Sequence[float]]], *, score_label: str
) -> None:
    """Draw how the scores of some series are spread in each group, as boxes side by side.

    A box goes from quartile to quartile with the median in it, its whiskers to the last score within 1.5 box
    lengths, points are what lies beyond.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    groups : sequence of str
        In the order of the axis.
    series : mapping
        Name → scores in each group.
    score_label : str
        With the unit.
    """
    width = 0.8 / max(1, len(series))
    for number, (name, scores) in enumerate(series.items()):
        colour = series_style(number)["color"]
        drawn = axes.boxplot(
            [list(each) for each in scores],
            positions=np.arange(len(groups)) + (number - (len(series) - 1) / 2) * width,
            widths=0.85 * width,
            manage_ticks=False,
            patch_artist=True,
            boxprops={"facecolor": colour, "alpha": 0.55, "edgecolor": colour},
            medianprops={"color": "black", "linewidth": 1.4},
            whiskerprops={"color": colour},
            capprops={"color": colour},
            flierprops={"marker": ".", "markersize": 4, "markeredgecolor": colour},
        )
        drawn["boxes"][0].set_label(name)
    axes.set_xticks(np.arange(len(groups)), groups, parse_math=False)
    axes.set_xlim(-0.5, len(groups) - 0.5)
    axes.grid(axis="y", color="0.9")
    label_axes(axes, "", score_label)


def plot_changes(
    axes: Axes,
    names: Sequence[str],
    changes: Sequence[tuple[float, float]],
    *,
    score_label: str,
    legend: tuple[str, str] = ("noisy", "denoised"),
) -> None:
    """Draw how the score of each file changed: a line from before to after, the largest rise on top.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
        About 0.25 inch high for each file.
    names : sequence of str
        Files.
    changes : sequence of (float, float)
        Scores of each file before and after; more is better.
    score_label : str
        With the unit.
    legend : (str, str)
        What before and after are called.

    Raises
    ------
    DataError
        If there are no files, or names and scores are not as many.
    """
    if not names or len(names) != len(changes):
        raise DataError(f"each file needs a score before and after. Received: {len(names)}, {len(changes)}")
    order = sorted(range(len(names)), key=lambda i: changes[i][1] - changes[i][0])
    before, after = np.array([changes[i] for i in order], float).T
    rows = np.arange(len(order))
    worse = after < before
    axes.hlines(rows, before, after, color=[LINE_COLOURS[int(each)] for each in worse], linewidth=2)
    axes.plot(before, rows, "o", color=series_style(0)["color"], markersize=5, label=legend[0])
    axes.plot(
        after[~worse], rows[~worse], "s", color=LINE_COLOURS[0], markersize=6, label=f"{legend[1]}, better"
    )
    if worse.any():
        axes.plot(
            after[worse], rows[worse], "X", color=LINE_COLOURS[1], markersize=7, label=f"{legend[1]}, worse"
        )
    axes.set_yticks(rows, [shortened(names[i], 40) for i in order], parse_math=False)
    axes.set_ylim(-0.7, len(order) - 0.3)
    axes.grid(axis="x", color="0.9")
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=FONT_SIZE - 2, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=3)
    label_axes(axes, score_label, "")


@dataclass(frozen=True)
class FrontPoint:
    """One network in a picture of quality against cost."""

    cost: float
    score: float
    name: str
    on_front: bool


def plot_cost_fronts(
    panels: dict[str, list[FrontPoint]], png_path: str | os.PathLike, *, score_label: str
) -> None:
    """Write a picture of scores against costs: a panel for each kind of cost, its front as a staircase.

    Parameters
    ----------
    panels : dict
        Label of the cost → points. Costs above 0; the axis is logarithmic.
    png_path : path
        Written at once in place of an older file, or not at all.
    score_label : str
        What the score is.

    Raises
    ------
    DataError
        If there are no points.
    AudenoiseError
        If the picture can't be written.
    """
    drawn = {label: points for label, points in panels.items() if points}
    if not drawn:
        raise DataError(f"{png_path}: no points to draw")
    figure = Figure(figsize=(6.5 * len(drawn), 4.8), dpi=150, layout="constrained")
    for axes, (label, points) in zip(
        figure.subplots(1, len(drawn), squeeze=False)[0], drawn.items(), strict=True
    ):
        beaten = [point for point in points if not point.on_front]
        axes.scatter(
            [point.cost for point in beaten],
            [point.score for point in beaten],
            s=22,
            color="0.65",
            label="beaten",
        )
        front = sorted((point for point in points if point.on_front), key=lambda point: point.cost)
        # On to the dearest network: more cost than that of the front's end has not bought more.
        costs = [point.cost for point in front] + [max(point.cost for point in points)]
        scores = [point.score for point in front] + [max((point.score for point in front), default=0.0)]
        axes.step(costs, scores, where="post", color=LINE_COLOURS[0], linewidth=1.4)
        axes.scatter(costs[:-1], scores[:-1], s=36, color=LINE_COLOURS[0], label="front", zorder=3)
        for point in front:
            axes.annotate(
                point.name, (point.cost, point.score), xytext=(5, -13), textcoords="offset points",
                fontsize=FONT_SIZE - 4, parse_math=False,
            )  # fmt: skip
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_axisbelow(True)
        axes.margins(0.12)
        axes.grid(color="0.9")
        axes.legend(
            fontsize=FONT_SIZE - 2, frameon=False, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=2
        )
        label_axes(axes, label, score_label)
    save_figure(figure, png_path)
