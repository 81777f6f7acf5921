"""Find recordings and describe them: length, rate, checksum, who speaks, which class of noise."""

import hashlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from audenoise.audio import audio_info, find_audio
from audenoise.errors import AudenoiseError, AudioFileError, DataError

from .layouts import LAYOUTS, traits_of
from .rules import LabelRule, SpeakerRule

_HASH_BLOCK = 1 << 20
_CHUNK = 32

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Recording:
    """An audio file that can be read, as far as its header tells.

    Attributes
    ----------
    path : Path
        Absolute.
    duration_s : float
    sample_rate : int
        The file's own, in Hz.
    channels : int
    speaker, label : str or None
        Who speaks; which class of noise it is.
    group : str or None
        What it was cut from, if that is known: recordings of one group never come on both sides of a split.
    n_samples : int
        Per channel, at its own rate.
    sha256 : str
        Of the file.
    """

    path: Path
    duration_s: float
    sample_rate: int
    channels: int
    speaker: str | None = None
    label: str | None = None
    group: str | None = None
    n_samples: int = 0
    sha256: str = ""


@dataclass(frozen=True)
class Skipped:
    """A file that was left out, and why."""

    path: Path
    reason: str


def checksum(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file in hexadecimal.

    Raises
    ------
    AudioFileError
        If it can't be read.
    """
    digest = hashlib.sha256()
    try:
        with open(path, "rb", buffering=0) as file:
            while block := file.read(_HASH_BLOCK):
                digest.update(block)
    except OSError as error:
        raise AudioFileError(f"{path}: can't be read ({error.strerror}).") from error
    return digest.hexdigest()


def reason_of(error: AudenoiseError, path: Path) -> str:
    """An error's words without the file's name in front."""
    return str(error).removeprefix(f"{path}: ")


def _describe(paths: Sequence[Path]) -> list[Recording | Skipped]:
    found: list[Recording | Skipped] = []
    for path in paths:
        try:
            info = audio_info(path)
            found.append(
                Recording(
                    path,
                    info.duration_s,
                    info.sample_rate,
                    info.channels,
                    n_samples=info.n_samples,
                    sha256=checksum(path),
                )
            )
        except AudenoiseError as error:
            found.append(Skipped(path, reason_of(error, path)))
    return found


def describe_files(
    paths: Sequence[Path], *, jobs: int, on_progress: Callable[[int], object] | None = None
) -> list[Recording | Skipped]:
    """Read headers and checksums in parallel; the result is in the order of `paths`."""
    chunks = [list(paths[i : i + _CHUNK]) for i in range(0, len(paths), _CHUNK)]
    by_path: dict[Path, Recording | Skipped] = {}
    for done in map_jobs(_describe, chunks, jobs):
        by_path.update((each.path, each) for each in done)
        if on_progress is not None:
            on_progress(len(done))
    return [by_path[path] for path in paths]


def map_jobs(function: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> Iterator[Result]:
    """Results in any order, from threads: reading, decoding and hashing wait for no other Python code."""
    executor = ThreadPoolExecutor(jobs)
    try:
        for future in as_completed([executor.submit(function, item) for item in items]):
            yield future.result()
    finally:
        executor.shutdown(cancel_futures=True)


def find_recordings(
    folders: Sequence[str | os.PathLike[str]],
    *,
    layout: str = "auto",
    speakers: SpeakerRule | None = None,
    labels: LabelRule | None = None,
    jobs: int = 1,
    known: Mapping[str, Recording] | None = None,
    on_progress: Callable[[int], object] | None = None,
) -> tuple[list[Recording], list[Skipped]]:
    """Find the recordings below folders, say what is known about them, and leave out what can't be used.

    Parameters
    ----------
    folders : sequence of path-like
        Searched recursively, or single files. The suffix is one of `audio.AUDIO_SUFFIXES` in any case.
    layout : str
        "auto" recognises the well-known corpora folder by folder (see `layouts`); the name of one of them
        applies that one alone; "plain" recognises none.
    speakers : SpeakerRule, optional
        Says who speaks, in place of what the layout says.
    labels : LabelRule, optional
        Classes to take and to leave out, and a table of them. Without it the class is the layout's, or the
        first folder below the one that was given.
    jobs : int
        Threads that read.
    known : mapping, optional
        Descriptions by path that are still right, so that these files aren't read again.
    on_progress : callable, optional
        Called with the number of files that were read.

    Returns
    -------
    recordings : list of Recording
        In the order of `folders`, sorted by path within each.
    skipped : list of Skipped
        Files that can't be read, and files with the content of an earlier one. Classes that were not wanted
        are not among them.

    Raises
    ------
    AudioFileError
        If a folder is missing or can't be listed.
    DataError
        If a class or layout isn't known, or a rule fits no file.
    """
    if layout not in ("auto", "plain", *LAYOUTS):
        raise DataError(f"layout must be auto, plain, {', '.join(LAYOUTS)}. Received: {layout}")
    places: dict[Path, Path] = {}
    for folder in folders:
        root = Path(os.path.abspath(folder))
        for path in find_audio(root):
            places.setdefault(path, root)
    known = known or {}
    new = [path for path in places if str(path) not in known]
    described = {each.path: each for each in describe_files(new, jobs=jobs, on_progress=on_progress)}
    traits = traits_of(places, layout)

    recordings: list[Recording] = []
    skipped: list[Skipped] = []
    first_with: dict[str, Path] = {}
    for path, root in places.items():
        each = described.get(path) or known[str(path)]
        if isinstance(each, Skipped):
            skipped.append(each)
            continue
        same = first_with.setdefault(each.sha256, path)
        if same != path:
            skipped.append(Skipped(path, f"has the same content as {same}"))
            continue
        trait = traits[path]
        label = trait.label or _folder_label(path, root)
        recordings.append(replace(each, speaker=trait.speaker, label=label, group=trait.group))
    if speakers is not None:
        recordings = speakers.apply(recordings, places)
    if labels is not None:
        recordings = labels.apply(recordings, places)
    return recordings, skipped


def _folder_label(path: Path, root: Path) -> str:
    if root == path:
        return path.parent.name
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else root.name
