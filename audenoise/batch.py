"""Files in, files out: one in blocks, many in several processes."""

import math
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from audenoise.audio import (
    AudioReader,
    AudioWriter,
    audio_info,
    can_write,
    output_format,
    remove_left_parts,
)
from audenoise.denoiser import Denoiser
from audenoise.errors import AudenoiseError, AudioFileError, SignalError
from audenoise.file_plan import FilePair
from audenoise.presets import for_files
from audenoise.stream import work_samples

_DISK_FULL_BYTES = 1 << 20
_PEAK_BLOCK = 65_536
_WORTH_A_START_S = 120.0
"""Audio that takes one process about as long as another one takes to start and load the model, twice over."""


@dataclass(frozen=True)
class Clipped:
    """What did not fit into a result that holds integers or is coded.

    Attributes
    ----------
    target : Path
    n_samples : int
        Over all channels.
    peak : float
        Magnitude of the largest; full scale is 1.0.
    """

    target: Path
    n_samples: int
    peak: float

    @property
    def over_db(self) -> float:
        """How far the largest is over full scale."""
        return 20.0 * math.log10(self.peak)


@dataclass
class BatchResult:
    """What became of a batch: files denoised, those of them that are clipped, results that existed and were
    kept, files that failed."""

    denoised: int = 0
    kept: list[Path] = field(default_factory=list)
    failed: int = 0
    clipped: list[Clipped] = field(default_factory=list)


Outcome = str | Clipped | None
"""Of a file: in one line what went wrong, or what was clipped, or nothing to tell."""


@dataclass(frozen=True)
class _Settings:
    """What a worker process needs to know, all of it picklable."""

    model: str | os.PathLike[str]
    threads: int | None
    strength: float
    max_attenuation_db: float | None
    shifts: int
    gain_db: float
    overwrite: bool
    plot: bool


def denoise_file(
    denoiser: Denoiser,
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    strength: float = 1.0,
    max_attenuation_db: float | None = None,
    shifts: int = 1,
    gain_db: float = 0.0,
    overwrite: bool = False,
    on_progress: Callable[[float], object] | None = None,
) -> Clipped | None:
    """Denoise one file, block by block, in memory that doesn't depend on its length.

    Parameters
    ----------
    denoiser : Denoiser
    source, target : str or PathLike
        The target gets the source's length, rate and channels; also its format and sample format if the
        suffixes agree, otherwise the format that the target's suffix names. It appears when it is complete,
        or not at all.
    strength, max_attenuation_db, shifts : optional
        As for `Denoiser.denoise`.
    gain_db : float, optional
        See `gain_factor`.
    overwrite : bool, optional
        Replace an existing target.
    on_progress : callable, optional
        Called with the seconds of audio in each block read.

    Returns
    -------
    Clipped or None
        What is beyond full scale and did not fit the target's sample format.

    Raises
    ------
    AudioFileError
        If the source can't be read, or the target exists or can't be written.
    """
    source, target, gain = Path(source), Path(target), gain_factor(gain_db)
    with AudioReader(source) as reader:
        info = reader.info
        stream = denoiser.whole_stream(
            info.sample_rate,
            info.channels,
            strength=strength,
            max_attenuation_db=max_attenuation_db,
            shifts=shifts,
            peak=file_peak(reader),
        )
        stream.expect(info.n_samples)
        kind = output_format(target, info)
        content = info.format, info.subtype
        if source.suffix.lower() == target.suffix.lower() and kind[0] != info.format and can_write(*content):
            kind = content  # should the suffix lie about it
        make_folder(target.parent)
        with AudioWriter(
            target,
            sample_rate=info.sample_rate,
            channels=info.channels,
            format=kind[0],
            subtype=kind[1],
            n_samples=info.n_samples,
            overwrite=overwrite,
            tags=info.tags,
        ) as writer:
            try:
                for block in reader.blocks(work_samples(info.sample_rate, info.channels * shifts)):
                    writer.write(gain * stream.process(block))
                    if on_progress is not None:
                        on_progress(len(block) / info.sample_rate)
                writer.write(gain * stream.flush())
            except SignalError as error:
                raise AudioFileError(f"{source}: {error}") from error
    return clipped_in(writer)


def file_peak(reader: AudioReader) -> float:
    """The largest sample of a floating-point file, which may be beyond full scale; 1.0 for all others."""
    if reader.info.subtype not in ("FLOAT", "DOUBLE"):
        return 1.0
    return max(float(np.abs(block).max()) for block in reader.blocks(_PEAK_BLOCK))


def make_folder(folder: Path) -> None:
    """Make a folder for results, with those above it. Raises `AudioFileError` if that can't be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise AudioFileError(f"{folder}: is a file, not a folder; name another folder") from error
    except PermissionError as error:
        raise AudioFileError(f"{folder}: no permission to make this folder. Choose another one.") from error


def gain_factor(gain_db: float) -> np.float32:
    """The factor of a gain in decibels, from -120 to 60. Raises `SignalError` for any other."""
    if not -120.0 <= gain_db <= 60.0:
        raise SignalError(f"gain_db must be from -120 to 60 decibels. Received: {gain_db}")
    return np.float32(10.0 ** (gain_db / 20.0))


def clipped_in(writer: AudioWriter) -> Clipped | None:
    """What a writer had to clip, if anything."""
    return Clipped(writer.path, writer.n_clipped, writer.clipped_peak) if writer.n_clipped else None


def clipping_line(clipped: Sequence[Clipped], gain_db: float) -> str:
    """Say what was clipped in results that were made with a gain, and the gain that avoids it."""
    loudest = max(clipped, key=lambda each: each.peak)
    over_db = loudest.over_db
    others = f" and in {len(clipped) - 1} more" if len(clipped) > 1 else ""
    room = math.floor(10.0 * (gain_db - over_db)) / 10.0
    return (
        f"clipped {sum(each.n_samples for each in clipped)} samples in {loudest.target}{others}, up to "
        f"{over_db:.1f} dB over full scale; --gain-db {room:.1f} --overwrite makes room for them"
    )


def denoise_files(
    pairs: Sequence[FilePair],
    *,
    model: str | os.PathLike[str] | None = None,
    strength: float = 1.0,
    max_attenuation_db: float | None = None,
    shifts: int = 1,
    gain_db: float = 0.0,
    overwrite: bool = False,
    plot: bool = False,
    jobs: int | None = None,
    ray: str | None = None,
    report: Callable[[str], object] = print,
    progress: bool = False,
) -> BatchResult:
    """Denoise many files; one that fails is reported and doesn't stop the rest.

    Parameters
    ----------
    pairs : sequence of FilePair
        As `plan_files` makes them.
    model : str or PathLike, optional
        As for `for_files`.
    strength, max_attenuation_db, shifts : optional
        As for `Denoiser.denoise`.
    gain_db : float, optional
        See `gain_factor`.
    overwrite : bool, optional
        Replace existing results; otherwise they are kept.
    plot : bool, optional
        Write a picture of the spectrograms before and after beside each result, as `<result>.png`.
    jobs : int, optional
        Processes; see `fitting_jobs`. With more than one, each uses a single thread.
    ray : str, optional
        Address of a Ray cluster, whose cores do the work in place of these: see `cluster.map_on_cluster`.
    report : callable, optional
        Called with one line for each file that fails.
    progress : bool, optional
        Show a progress bar on stderr.

    Returns
    -------
    BatchResult

    Raises
    ------
    ModelError
        If the model can't be used.
    AudenoiseError
        If the disk is full or a worker process dies: the rest would fail as well. On a cluster, the file
        that kills its workers is reported and the others go on.
    """
    result = BatchResult()
    todo = []
    for pair in pairs:
        if pair.target.exists() and not overwrite:
            result.kept.append(pair.target)
        else:
            todo.append(pair)
    jobs = fitting_jobs(todo, jobs)
    threads = 1 if jobs > 1 or ray else None
    settings = _Settings(
        for_files(model), threads, strength, max_attenuation_db, shifts, gain_db, overwrite, plot
    )
    gain_factor(gain_db)
    # Also when other processes do the work: a model or a number that can't be used is said once, at once.
    denoiser = Denoiser.from_preset(settings.model, threads=settings.threads)
    denoiser.whole_stream(
        denoiser.preset.sample_rate, strength=strength, max_attenuation_db=max_attenuation_db, shifts=shifts
    )
    for folder in {pair.target.parent for pair in todo}:
        remove_left_parts(folder)
    with progress_bar(progress, todo) as bar:
        if jobs == 1 and ray is None:
            outcomes = (_denoise_pair(denoiser, pair, settings, bar.add_seconds) for pair in todo)
        else:
            from audenoise.workers import map_in_processes

            outcomes = map_in_processes(
                partial(_denoise_pair_in_worker, settings), todo, jobs, ray=ray, lost=_lost_pair
            )
        tally(outcomes, result, bar=bar, report=report)
    return result


def fitting_jobs(todo: Sequence[FilePair], jobs: int | None = None) -> int:
    """How many processes should work on some files.

    Parameters
    ----------
    todo : sequence of FilePair
    jobs : int, optional
        What the user asked for, at most one for each file. By default that is one for each core where there
        are minutes of audio, and one where they would be done before more had started.
    """
    if jobs is None:
        from audenoise.processors import cores

        jobs = cores() if len(todo) > 1 and _lasts(todo, _WORTH_A_START_S) else 1
    return min(jobs, max(1, len(todo)))


def _lasts(pairs: Sequence[FilePair], seconds: float) -> bool:
    """Whether the recordings last so long together."""
    for pair in pairs:
        try:
            info = audio_info(pair.source)
        except (AudenoiseError, OSError):
            continue  # the file's own turn reports what is wrong with it
        seconds -= info.n_samples / info.sample_rate
        if seconds <= 0:
            return True
    return False


class Progress:
    """A tqdm bar in files, or in seconds of audio for a single file; does nothing where none is wanted."""

    def __init__(self, bar: Any, *, by_seconds: bool) -> None:
        self._bar = bar
        self.by_seconds = by_seconds

    def add_seconds(self, seconds: float) -> None:
        if self._bar is not None and self.by_seconds:
            self._bar.update(seconds)

    def finished_one(self) -> None:
        if self._bar is not None and not self.by_seconds:
            self._bar.update(1)

    def clear(self) -> None:
        if self._bar is not None:
            self._bar.clear()


@contextmanager
def progress_bar(wanted: bool, pairs: Sequence[FilePair]) -> Iterator[Progress]:
    if not wanted or not pairs:
        yield Progress(None, by_seconds=False)
        return
    from tqdm import tqdm

    columns, lines = shutil.get_terminal_size()  # where the terminal doesn't say, tqdm alone draws nothing
    if len(pairs) > 1:
        with tqdm(total=len(pairs), unit="file", ncols=columns, nrows=lines) as bar:
            yield Progress(bar, by_seconds=False)
        return
    try:
        info = audio_info(pairs[0].source)
        seconds = info.n_samples / info.sample_rate
    except (AudenoiseError, OSError):
        seconds = None  # The file's own turn reports what is wrong with it.
    shape = "{l_bar}{bar}| {n:.0f} of {total:.0f} s of audio [{elapsed}<{remaining}]" if seconds else None
    with tqdm(total=seconds, unit="s", unit_scale=True, ncols=columns, nrows=lines, bar_format=shape) as bar:
        yield Progress(bar, by_seconds=True)


def tally(
    outcomes: Generator[Outcome, None, None],
    result: BatchResult,
    *,
    bar: Progress,
    report: Callable[[str], object],
) -> None:
    """Count what becomes of files, and report what went wrong."""
    with closing(outcomes):
        for outcome in outcomes:
            if isinstance(outcome, str):
                result.failed += 1
                bar.clear()
                report(f"error: {outcome}")
            else:
                result.denoised += 1
                result.clipped += [outcome] if outcome else []
            bar.finished_one()


def outcome_of(pair: FilePair, work: Callable[[], Clipped | None]) -> Outcome:
    """Work on a file. Return what was clipped, if anything, or in one line what went wrong. Raises only what
    concerns all files."""
    try:
        return work()
    except AudenoiseError as error:
        if isinstance(error, AudioFileError) and _is_full(pair.target.parent):
            raise AudenoiseError(str(error)) from error
        return str(error)
    except OSError as error:
        return f"{error.filename or pair.source}: {error.strerror or error}"
    except MemoryError:
        return f"{pair.source}: not enough memory"


def _denoise_pair(
    denoiser: Denoiser,
    pair: FilePair,
    settings: _Settings,
    on_progress: Callable[[float], object] | None = None,
) -> Outcome:
    """As `outcome_of`."""

    picture = pair.target.with_name(pair.target.name + ".png") if settings.plot else None

    def work() -> Clipped | None:
        if picture is not None and picture.exists() and not settings.overwrite:
            raise AudioFileError(f"{picture}: exists already; move it, or replace it with --overwrite")
        clipped = denoise_file(
            denoiser,
            pair.source,
            pair.target,
            strength=settings.strength,
            max_attenuation_db=settings.max_attenuation_db,
            shifts=settings.shifts,
            gain_db=settings.gain_db,
            overwrite=settings.overwrite,
            on_progress=on_progress,
        )
        if picture is not None:
            from audenoise.plotting import save_before_after

            save_before_after(pair.source, pair.target, picture)
        return clipped

    return outcome_of(pair, work)


def _is_full(folder: Path) -> bool:
    try:
        return shutil.disk_usage(folder).free < _DISK_FULL_BYTES
    except OSError:
        return False


@lru_cache(maxsize=1)
def _worker_denoiser(model: str | os.PathLike[str], threads: int | None) -> Denoiser:
    """Load the model once per worker process."""
    return Denoiser.from_preset(model, threads=threads)


def _lost_pair(pair: FilePair, reason: str) -> str:
    return f"{pair.source}: {reason}"


def _denoise_pair_in_worker(settings: _Settings, pair: FilePair) -> Outcome:
    return _denoise_pair(_worker_denoiser(settings.model, settings.threads), pair, settings)
