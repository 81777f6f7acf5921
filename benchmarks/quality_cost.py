"""The plot of quality against cost: one panel for each metric, one point for each system."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

METRICS = {
    "pesq_wb": ("Wideband PESQ", 1.0),
    "estoi": ("ESTOI, %", 100.0),
    "si_sdr_db": ("SI-SDR, dB", 1.0),
    "dnsmos_ovrl": ("DNSMOS, overall", 1.0),
}
SPEED_OF = {"rnnoise": "rnnoise", "rnnoise-flushed": "rnnoise", "noisereduce": "noisereduce"}
LABELS = {"rnnoise-flushed": "RNNoise", "rnnoise": "RNNoise", "noisy": "noisy input"}
CASE = "16000 Hz 1 cores"
OURS, THEIRS, NOTHING = "#1b6ca8", "#d1495b", "#888888"


@dataclass(frozen=True)
class Point:
    """A system: throughput over RNNoise's in the same run (None for the noisy input), mean scores."""

    name: str
    ratio: float | None
    scores: dict[str, float]
    ours: bool


def points(quality: dict[str, Any], speeds: dict[str, Any]) -> list[Point]:
    """Join quality.py's results with those of speed.py by model; a system without a speed is left out.

    Parameters
    ----------
    quality : dict
        What quality.py wrote with --json.
    speeds : dict
        Model to what speed.py wrote with --json.
    """
    ratios: dict[str, float] = {}
    for model, result in speeds.items():
        times = result["throughput"]["times_real_time"]
        base = times.get(f"rnnoise {CASE}")
        if base:
            ratios[f"audenoise {model}"] = ratios["audenoise"] = times[f"audenoise {CASE}"] / base
            ratios |= {
                name: times[key] / base for name in SPEED_OF.values() if (key := f"{name} {CASE}") in times
            }
    found = []
    for system in quality["systems"]:
        name, mean = system["name"], system.get("mean") or {}
        # RNNoise's package loses the end of a file; its better row stands for it.
        if name == "rnnoise" and any(other["name"] == "rnnoise-flushed" for other in quality["systems"]):
            continue
        ratio = ratios.get(SPEED_OF.get(name, name))
        if mean and (ratio is not None or name == "noisy"):
            found.append(Point(LABELS.get(name, name), ratio, mean, name.startswith("audenoise")))
    return found


def draw(systems: list[Point], path: Path) -> None:
    """Write the picture as PNG."""
    figure = Figure(figsize=(11, 8), layout="constrained")
    FigureCanvasAgg(figure)
    measured = [system for system in systems if system.ratio is not None]
    ratios = [system.ratio for system in measured if system.ratio is not None]
    for axes, (key, (title, scale)) in zip(figure.subplots(2, 2).flat, METRICS.items(), strict=True):
        axes.set_title(f"{title} (higher is better)", fontsize=12)
        axes.set_xscale("log", base=2)
        axes.set_xlim(min(ratios) / 1.7, max(ratios) * 1.7)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda ratio, _: f"{ratio:g}×"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.grid(color="#dddddd", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[["top", "right"]].set_visible(False)
        before = -float("inf")  # of the next slower system: names keep out of each other's way
        for system in sorted(systems, key=lambda each: each.ratio or 0.0):
            if key not in system.scores:
                continue
            value = system.scores[key] * scale
            if system.ratio is None:
                axes.axhline(value, color=NOTHING, linestyle="--", linewidth=1.2)
                axes.annotate(
                    system.name, (0.0, value), xycoords=("axes fraction", "data"), xytext=(4, 4),
                    textcoords="offset points", color=NOTHING, fontsize=11,
                )  # fmt: skip
                continue
            colour = OURS if system.ours else THEIRS
            axes.plot(system.ratio, value, "o", color=colour, markersize=9)
            right = system.ratio**3 > min(ratios) * max(ratios) ** 2  # in the last third: its name goes left
            axes.annotate(
                system.name.removeprefix("audenoise "), (system.ratio, value),
                xytext=(-9 if right else 9, -16 if value < before else 6),
                ha="right" if right else "left", textcoords="offset points", color=colour, fontsize=11,
            )  # fmt: skip
            before = value
        axes.margins(y=0.18)
    figure.supxlabel(
        "Throughput over RNNoise's Python package, one core, 16 kHz (further right is faster); blue is ours"
    )
    figure.savefig(path, dpi=110, format="png")
