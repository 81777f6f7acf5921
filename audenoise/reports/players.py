"""Recordings of a report: which ones, what is heard, what is seen."""

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.figure import Figure

from audenoise.audio import flac_base64
from audenoise.denoiser import Denoiser
from audenoise.evaluation import Evaluation, Pair, SystemScores
from audenoise.evaluation.report import COLUMNS, main_metrics
from audenoise.html_pages import escaped
from audenoise.plotting import TitledAudio, spectrograms_figure

SHOWN_S = 12.0
"""Of a recording: more would make the page too large to send."""
_DPI = 100


@dataclass(frozen=True)
class Ranked:
    """A file and how much it gained."""

    pair: Pair
    gain: float


def ranked_files(
    evaluation: Evaluation, system: SystemScores, pairs: Sequence[Pair]
) -> tuple[str, list[Ranked]]:
    """Order files by what a system gains on them over the input, the largest gain first.

    Returns
    -------
    metric : str
        The one that decides: the first of `MAIN_METRICS` that was computed.
    ranked : list of Ranked
        Those with a score.
    """
    metric = main_metrics(evaluation, 1)[0]
    sign = 1.0 if COLUMNS[metric].higher_is_better else -1.0
    gains = {
        name: sign * (scores[metric] - evaluation.noisy.scores[name][metric])
        for name, scores in system.scores.items()
        if metric in scores and metric in evaluation.noisy.scores.get(name, {})
    }
    found = [Ranked(pair, gains[pair.name]) for pair in pairs if pair.name in gains]
    return metric, sorted(found, key=lambda each: (-each.gain, each.pair.name))


def recordings_of(pair: Pair, denoiser: Denoiser) -> list[TitledAudio]:
    """The beginning of a pair, noisy, denoised and clean.

    Raises
    ------
    AudioFileError
        If a file can't be read.
    """
    noisy, rate = pair.noisy.read(0.0, SHOWN_S)
    clean, clean_rate = pair.clean.read(0.0, SHOWN_S)
    denoised = denoiser.denoise(noisy, rate)
    return [
        TitledAudio("noisy", noisy, rate),
        TitledAudio("denoised", denoised, rate),
        TitledAudio("clean", clean, clean_rate),
    ]


def player(recordings: Sequence[TitledAudio], *, title: str, about: str) -> str:
    """HTML of one file: a switch between recordings that play at once, and their spectrograms."""
    switches = "".join(
        f'<button type="button" data-side="{number}">{escaped(each.title)}</button>'
        for number, each in enumerate(recordings)
    )
    sounds = "".join(
        f'<script type="application/octet-stream">{_heard(each)}</script>' for each in recordings
    )
    picture = png(spectrograms_figure(recordings))
    return (
        f'<article class="player"><h3>{escaped(title)}</h3><p>{escaped(about)}</p>'
        f'<p class="row"><button type="button" class="main">Play</button>{switches}'
        '<span class="time"></span></p>'
        f'{sounds}<img src="{picture}" alt="Spectrograms of {escaped(title)}" loading="lazy"></article>'
    )


def png(figure: Figure) -> str:
    """A figure as the address of an image."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(file, format="png", dpi=_DPI)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _heard(recording: TitledAudio) -> str:
    """Two channels at most."""
    audio = recording.audio
    return flac_base64(audio[:, :2] if audio.ndim == 2 else audio, recording.sample_rate)
