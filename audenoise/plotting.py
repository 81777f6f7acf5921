"""Pictures of recordings and of training: spectrograms, waveforms, learning curves.

Nothing here touches `matplotlib.pyplot` or its backend: figures are made directly and drawn by Agg, so it
works without a display, in threads, and inside a notebook that has a backend of its own. The `plot_…`
functions for audio draw on axes that the caller owns; `save_before_after` and `plot_training_curves` write a
PNG file.
"""

import csv
import os
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from audenoise.array_types import Audio, SpectrogramMatrix
from audenoise.audio import AudioReader
from audenoise.errors import AudenoiseError, DataError, SignalError

COLOUR_MAP = "magma"  # perceptually uniform, and monotonic in print without colour
RANGE_DB = 80.0
FONT_SIZE = 12.0

_WINDOW_S = 0.032
_FLOOR_DB = -120.0
_MAX_COLUMNS = 1600  # about the pixels of a printed panel: more would be averaged away in drawing
_FRAMES_PER_COLUMN = (
    8  # of a long file; the others are skipped, so that the cost of an hour is that of minutes
)
_BLOCK_S = 2.0
_LINE_COLOURS = ("#1b6ca8", "#d1495b")


@dataclass(frozen=True)
class LevelSpectrogram:
    """Levels ready to draw: `level_db` is (frequency, columns) in dB; a sine of full scale is at 0 dB."""

    level_db: SpectrogramMatrix
    duration_s: float
    sample_rate: int


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
    spectrograms = [_read_level_spectrogram(path) for path in paths]
    figure = Figure(figsize=(10, 6.6), dpi=150, layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    limits_db = _limits_db(spectrograms)
    images = [_draw_levels(axes, item, limits_db) for axes, item in zip(panels, spectrograms, strict=True)]
    for axes, path, what in zip(panels, paths, ("Before", "After"), strict=True):
        axes.set_title(
            f"{what}: {_shortened(path.name)}", fontsize=FONT_SIZE + 1, loc="left", parse_math=False
        )
    panels[0].set_xlabel("")
    panels[0].set_xlim(0, max(item.duration_s for item in spectrograms))
    panels[0].set_ylim(0, max(item.sample_rate for item in spectrograms) / 2000)
    _add_colour_bar(figure, images[0], list(panels))
    _save(figure, Path(png_path))


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
    samples = _two_axes(audio, sample_rate)
    spectrogram = _level_spectrogram([samples], len(samples), sample_rate)
    return _draw_levels(axes, spectrogram, limits_db or _limits_db([spectrogram]))


def plot_waveform(axes: Axes, audio: Audio, sample_rate: int, *, colour: str = _LINE_COLOURS[0]) -> None:
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
    samples = _two_axes(audio, sample_rate)
    n_columns = min(len(samples), _MAX_COLUMNS)
    starts = np.arange(n_columns) * len(samples) // n_columns
    lowest = np.minimum.reduceat(samples.min(axis=1), starts)
    highest = np.maximum.reduceat(samples.max(axis=1), starts)
    time_s = starts / sample_rate
    axes.fill_between(time_s, lowest, highest, step="post", color=colour, linewidth=0.6)
    axes.set_xlim(0, len(samples) / sample_rate)
    reach = max(1e-4, 1.05 * float(np.abs(samples).max()))
    axes.set_ylim(-reach, reach)
    axes.axhline(0, color="0.4", linewidth=0.5)
    _label(axes, "time, s", "amplitude")


def plot_training_curves(csv_path: str | os.PathLike, png_path: str | os.PathLike) -> None:
    """Write a picture of a training log: one panel for each quantity, training and validation in it.

    Parameters
    ----------
    csv_path : path
        A table with a header, as Keras's CSVLogger writes it. The columns `NAME` and `val_NAME` share a
        panel; `step`, or else `epoch`, or else the row number, is the horizontal axis; a learning rate gets a
        logarithmic scale. Empty and non-numeric cells are left out.
    png_path : path
        Written at once in place of an older file, or not at all.

    Raises
    ------
    DataError
        If the table is missing, has no rows, or no column of numbers.
    AudenoiseError
        If the picture can't be written.
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
            (quantity, f"val_{quantity}"), ("training", "validation"), _LINE_COLOURS, strict=True
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
        _label(axes, axis_name, "")
    for axes in panels[len(quantities) :]:
        axes.set_axis_off()
    _save(figure, Path(png_path))


def _read_level_spectrogram(path: Path) -> LevelSpectrogram:
    with AudioReader(path) as reader:
        info = reader.info
        blocks = reader.blocks(max(1, round(_BLOCK_S * info.sample_rate)))
        return _level_spectrogram(blocks, info.n_samples, info.sample_rate)


def _level_spectrogram(blocks: Iterable[np.ndarray], n_samples: int, sample_rate: int) -> LevelSpectrogram:
    """Mean power of the frames in each column, from blocks of shape (samples, channels)."""
    win_length = max(2, 2 * round(_WINDOW_S * sample_rate / 2))
    window = np.hanning(win_length + 1)[:-1]
    n_frames = max(1, min(-(-n_samples // (win_length // 4)), _MAX_COLUMNS * _FRAMES_PER_COLUMN))
    n_columns = min(n_frames, _MAX_COLUMNS)
    # Frames stay inside the recording, or the cut at its ends would show as a bright line; one that is
    # shorter than a window lies in the middle of it.
    centres = np.arange(n_frames) * n_samples // n_frames
    starts = np.clip(centres - win_length // 2, 0, max(0, n_samples - win_length))
    lead = max(0, win_length - n_samples) // 2
    columns = np.arange(n_frames) * n_columns // n_frames
    power = np.zeros((win_length // 2 + 1, n_columns))
    for frame, column in zip(_frames(blocks, starts, win_length, lead), columns, strict=True):
        spectrum = np.fft.rfft(frame * window[:, np.newaxis], axis=0)
        power[:, column] += np.mean(spectrum.real**2 + spectrum.imag**2, axis=1)
    power /= np.bincount(columns, minlength=n_columns) * (window.sum() / 2) ** 2
    level_db = 10 * np.log10(np.maximum(power, 10 ** (_FLOOR_DB / 10)))
    return LevelSpectrogram(level_db, n_samples / sample_rate, sample_rate)


def _frames(
    blocks: Iterable[np.ndarray], starts: np.ndarray, win_length: int, lead: int
) -> Iterator[np.ndarray]:
    """Yield (win_length, channels) from each start, rising, in a stream that begins with `lead` zeros."""
    waiting = iter(starts.tolist())
    start = next(waiting, None)
    buffer, origin = np.zeros((lead, 0)), 0
    for block in _with_tail(blocks, win_length):
        if buffer.shape[1] != block.shape[1]:
            buffer = np.zeros((len(buffer), block.shape[1]))
        buffer = np.concatenate([buffer, block])
        while start is not None and start + win_length <= origin + len(buffer):
            yield buffer[start - origin : start - origin + win_length]
            start = next(waiting, None)
        if start is None:
            return
        dropped = max(0, min(len(buffer), start - origin))
        buffer, origin = buffer[dropped:], origin + dropped


def _with_tail(blocks: Iterable[np.ndarray], n_samples: int) -> Iterator[np.ndarray]:
    n_channels = 1
    for block in blocks:
        n_channels = block.shape[1]
        yield block
    yield np.zeros((n_samples, n_channels))


def _limits_db(spectrograms: list[LevelSpectrogram]) -> tuple[float, float]:
    loudest = max(float(item.level_db.max()) for item in spectrograms)
    # A tenth of a dB over a step is rounding or an onset, and not worth 5 dB of the scale.
    top = 5.0 * float(np.ceil((loudest - 0.1) / 5.0)) if loudest > _FLOOR_DB else 0.0
    return top - RANGE_DB, top


def _draw_levels(axes: Axes, spectrogram: LevelSpectrogram, limits_db: tuple[float, float]) -> AxesImage:
    duration_s, top_khz = spectrogram.duration_s, spectrogram.sample_rate / 2000
    # Bins are centred on their frequencies: the first and the last reach half a bin over the ends of the
    # axis.
    half_bin = top_khz / (len(spectrogram.level_db) - 1) / 2
    image = axes.imshow(
        spectrogram.level_db,
        origin="lower",
        aspect="auto",
        cmap=COLOUR_MAP,
        vmin=limits_db[0],
        vmax=limits_db[1],
        extent=(0.0, duration_s, -half_bin, top_khz + half_bin),
        interpolation="antialiased",
    )
    axes.set_facecolor("0.85")  # where a shorter recording has ended: grey isn't on the colour map
    axes.set_xlim(0, duration_s)
    axes.set_ylim(0, top_khz)
    _label(axes, "time, s", "frequency, kHz")
    return image


def _add_colour_bar(figure: Figure, image: AxesImage, panels: list[Axes]) -> None:
    bar = figure.colorbar(image, ax=panels, pad=0.015, fraction=0.05, aspect=32, extend="min")
    bar.set_label("level, dB (sine of full scale: 0 dB)", fontsize=FONT_SIZE)
    bar.ax.tick_params(labelsize=FONT_SIZE - 1)


def _label(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlabel(x_label, fontsize=FONT_SIZE)
    axes.set_ylabel(y_label, fontsize=FONT_SIZE)
    axes.tick_params(labelsize=FONT_SIZE - 1)


def _shortened(name: str, longest: int = 80) -> str:
    return name if len(name) <= longest else f"{name[: longest // 2 - 1]}…{name[-longest // 2 :]}"


def _two_axes(audio: Audio, sample_rate: int) -> np.ndarray:
    samples = np.asarray(audio)
    if samples.ndim not in (1, 2) or samples.size == 0:
        raise SignalError(
            f"audio must be (samples,) or (samples, channels), not empty. Received: {samples.shape}"
        )
    if sample_rate < 1:
        raise SignalError(f"sample_rate must be at least 1 Hz. Received: {sample_rate}")
    return samples[:, np.newaxis] if samples.ndim == 1 else samples


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


def _save(figure: Figure, path: Path) -> None:
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
        temporary.unlink(missing_ok=True)
