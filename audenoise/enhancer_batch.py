"""Files in, enhanced files out: denoised first if wanted, one in blocks, many in several processes."""

import os
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, TypeVar

from audenoise.array_types import MultichannelAudio
from audenoise.audio import (
    AudioInfo,
    AudioReader,
    AudioWriter,
    output_format,
    remove_left_parts,
    resampled_length,
)
from audenoise.batch import (
    BatchResult,
    Clipped,
    Outcome,
    clipped_in,
    file_peak,
    fitting_jobs,
    gain_factor,
    make_folder,
    outcome_of,
    progress_bar,
    tally,
)
from audenoise.denoiser import Denoiser
from audenoise.enhancer import Enhancer
from audenoise.errors import AudioFileError, SignalError
from audenoise.file_plan import FilePair
from audenoise.presets import for_files
from audenoise.stream import DenoiserStream, work_samples

Item = TypeVar("Item")

_SPEECH_ONLY = ("ULAW", "ALAW", "GSM610", "ADPCM", "VOX", "G72", "NMS")
"""Sample formats of telephones and of old devices, which would undo what was done."""


@dataclass(frozen=True)
class EnhanceSettings:
    """How files are enhanced, all of it picklable.

    Attributes
    ----------
    model : str, PathLike or None
        The enhancer, as for `Enhancer.from_preset`.
    denoiser : str, PathLike or None
        The model that recordings go through first, as for `for_files`.
    denoise : bool
        Whether they do.
    strength, max_attenuation_db : optional
        Of the denoiser, see `Denoiser.denoise`.
    amount : float
        0 to 1, see `Enhancer.enhance`.
    sample_rate : int or None
        In Hz, of the results; the model's own for none.
    gain_db : float
        See `gain_factor`.
    overwrite : bool
        Replace existing results.
    """

    model: str | os.PathLike[str] | None = None
    denoiser: str | os.PathLike[str] | None = None
    denoise: bool = True
    strength: float = 1.0
    max_attenuation_db: float | None = None
    amount: float = 1.0
    sample_rate: int | None = None
    gain_db: float = 0.0
    overwrite: bool = False


@dataclass(frozen=True)
class Tools:
    """What is loaded once and used for every file."""

    enhancer: Enhancer
    denoiser: Denoiser | None


def load_tools(settings: EnhanceSettings, threads: int | None = None) -> Tools:
    """Load the models of some settings.

    Raises
    ------
    ModelError
        If one can't be used.
    """
    enhancer = Enhancer.from_preset(settings.model, threads=threads)
    if not settings.denoise:
        return Tools(enhancer, None)
    return Tools(enhancer, Denoiser.from_preset(for_files(settings.denoiser), threads=threads))


def result_format(target: Path, info: AudioInfo) -> tuple[str, str]:
    """Container and sample format of the result for a source, as `output_format` returns them."""
    return output_format(target, None if info.subtype.startswith(_SPEECH_ONLY) else info)


def enhance_file(
    tools: Tools,
    pair: FilePair,
    settings: EnhanceSettings,
    *,
    on_progress: Callable[[float], object] | None = None,
) -> Clipped | None:
    """Enhance one file, block by block, in memory that doesn't depend on its length.

    The target gets the source's channels and duration, and its sample format where that can hold what is
    given back; it appears when it is complete, or not at all.

    Returns
    -------
    Clipped or None
        What is beyond full scale and did not fit the target's sample format: a peak that was cut off and is
        given back may be.

    Raises
    ------
    AudioFileError
        If the source can't be read, or the target exists or can't be written.
    """
    source, target, gain = pair.source, pair.target, gain_factor(settings.gain_db)
    with AudioReader(source) as reader:
        info = reader.info
        peak = file_peak(reader)
        output_rate = tools.enhancer.sample_rate if settings.sample_rate is None else settings.sample_rate
        stream = tools.enhancer.stream(
            info.sample_rate, info.channels, amount=settings.amount, output_rate=output_rate, peak=peak
        )
        first = None
        if tools.denoiser is not None:
            first = tools.denoiser.stream(
                info.sample_rate,
                info.channels,
                strength=settings.strength,
                max_attenuation_db=settings.max_attenuation_db,
                block_s=None,
                peak=peak,
            )
            first.expect(info.n_samples)
        container, subtype = result_format(target, info)
        make_folder(target.parent)
        expected = resampled_length(info.n_samples, info.sample_rate, output_rate)
        with AudioWriter(
            target,
            sample_rate=output_rate,
            channels=info.channels,
            format=container,
            subtype=subtype,
            n_samples=expected,
            overwrite=settings.overwrite,
            tags=info.tags,
        ) as writer:
            blocks = reader.blocks(work_samples(info.sample_rate, info.channels))
            if first is not None:
                blocks = _denoised(blocks, first)
                if tools.enhancer.threads > 1:
                    blocks = _one_ahead(blocks)
            try:
                with closing(blocks):
                    for block in blocks:
                        writer.write(gain * stream.process(block))
                        if on_progress is not None:
                            on_progress(len(block) / info.sample_rate)
                writer.write(gain * stream.flush())
            except SignalError as error:
                raise AudioFileError(f"{source}: {error}") from error
    return clipped_in(writer)


def _denoised(
    blocks: Generator[MultichannelAudio, None, None], stream: DenoiserStream
) -> Generator[MultichannelAudio, None, None]:
    """What a denoiser makes of blocks, with its last."""
    for block in blocks:
        yield stream.process(block)
    yield stream.flush().reshape(-1, stream.channels)


def _one_ahead(items: Generator[Item, None, None]) -> Generator[Item, None, None]:
    """The same items, each made in a thread while the one before it is worked on: neither network keeps two
    cores busy with a few seconds of audio."""
    end: Any = object()
    with ThreadPoolExecutor(1, "audenoise-ahead") as pool:
        coming = pool.submit(next, items, end)
        while (item := coming.result()) is not end:
            coming = pool.submit(next, items, end)
            yield item


def enhance_files(
    pairs: Sequence[FilePair],
    settings: EnhanceSettings,
    *,
    jobs: int | None = None,
    report: Callable[[str], object] = print,
    progress: bool = False,
) -> BatchResult:
    """Enhance many files; one that fails is reported and doesn't stop the rest.

    Parameters
    ----------
    pairs : sequence of FilePair
        As `plan_files` makes them.
    settings : EnhanceSettings
    jobs : int, optional
        Processes; see `batch.fitting_jobs`. With more than one, each uses a single thread.
    report : callable, optional
        Called with one line for each file that fails.
    progress : bool, optional
        Show a progress bar on stderr.

    Raises
    ------
    ModelError
        If a model can't be used.
    AudenoiseError
        If the disk is full or a worker process dies: the rest would fail as well.
    """
    result = BatchResult()
    result.kept += [pair.target for pair in pairs if pair.target.exists() and not settings.overwrite]
    todo = [pair for pair in pairs if settings.overwrite or not pair.target.exists()]
    jobs = fitting_jobs(todo, jobs)
    # Also when other processes do the work: what can't be used is said once, at once.
    tools = load_tools(settings, 1 if jobs > 1 else None)
    tools.enhancer.stream(48000, amount=settings.amount, output_rate=settings.sample_rate)
    gain_factor(settings.gain_db)
    for folder in {pair.target.parent for pair in todo}:
        remove_left_parts(folder)
    with progress_bar(progress, todo) as bar:
        if jobs == 1:
            outcomes = (_enhance_pair(tools, pair, settings, bar.add_seconds) for pair in todo)
        else:
            from audenoise.workers import map_in_processes

            outcomes = map_in_processes(partial(_enhance_in_worker, settings), todo, jobs)
        tally(outcomes, result, bar=bar, report=report)
    return result


def _enhance_pair(
    tools: Tools,
    pair: FilePair,
    settings: EnhanceSettings,
    on_progress: Callable[[float], object] | None = None,
) -> Outcome:
    """As `outcome_of`."""
    return outcome_of(pair, lambda: enhance_file(tools, pair, settings, on_progress=on_progress))


@lru_cache(maxsize=1)
def _worker_tools(settings: EnhanceSettings) -> Tools:
    """Load the models once per worker process."""
    return load_tools(settings, 1)


def _enhance_in_worker(settings: EnhanceSettings, pair: FilePair) -> Outcome:
    return _enhance_pair(_worker_tools(settings), pair, settings)
