"""Which recordings to denoise, and where each result goes."""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from audenoise.audio import AUDIO_SUFFIXES, find_audio, is_media
from audenoise.errors import AudioFileError, DataError


@dataclass(frozen=True)
class FilePair:
    """A recording and where its result goes."""

    source: Path
    target: Path


def plan_files(
    inputs: Sequence[Path],
    output: str | os.PathLike[str],
    *,
    suffix: str = "",
    on_error: Callable[[AudioFileError], object] | None = None,
) -> list[FilePair]:
    """Find the recordings and name their results.

    Parameters
    ----------
    inputs : sequence of Path
        Files, and folders that are searched with all below them. A file that is missing is planned all the
        same, and reported when its turn comes.
    output : str or PathLike
        A folder, under which the structure of each input folder is kept; for a single input file also a file
        name.
    suffix : str, optional
        Added to each file name before the dot.
    on_error : callable, optional
        Called for each folder below an input folder that can't be listed; without it, that is an error.
        Called also for each recording there of a kind that can't be read.

    Returns
    -------
    list of FilePair
        Results of an earlier run that lie inside an input folder are left out, as is a recording that was
        named twice.

    Raises
    ------
    DataError
        If an input folder holds no audio, two recordings would get the same result, a result would replace a
        recording, or several results have only a file's name to go to.
    AudioFileError
        If `output` names a file of a kind that can't be written, or an input folder can't be listed.
    """
    text = os.fspath(output)
    if text == "-":
        raise DataError("-: writing to standard output is not possible; name a file or a folder")
    if any(os.fspath(entry) == "-" and not entry.exists() for entry in inputs):
        raise DataError("-: reading from standard input is not possible; name a file or a folder")
    if any(separator in suffix for separator in ("/", "\\", "\0")):
        raise DataError(f"the suffix can't contain a slash. Received: {suffix!r}")
    if len(inputs) == 1 and not inputs[0].is_dir() and _names_a_file(text):
        if suffix:
            raise DataError(f"{text}: is the result's whole name; give a folder to use the suffix {suffix!r}")
        pairs = [FilePair(inputs[0], Path(text))]
    else:
        folder = Path(text)
        if folder.exists() and not (folder.is_file() or folder.is_dir()):
            raise DataError(f"{folder}: is neither a file nor a folder; name one for the results")
        if folder.is_file():
            raise DataError(f"{folder}: is a file; name a folder for the results")
        if not folder.exists() and folder.suffix.lower() in AUDIO_SUFFIXES and not _ends_in_slash(text):
            raise DataError(f"{text}: is the name of a file; several results need a folder")
        pairs = list(_pairs_in_folder(inputs, folder, suffix, on_error))
    pairs = list({(_real(pair.source), _real(pair.target)): pair for pair in reversed(pairs)}.values())[::-1]
    pairs = _media_apart(pairs, suffix)
    _refuse_collisions(pairs)
    return pairs


def _names_a_file(text: str) -> bool:
    path = Path(text)
    if _ends_in_slash(text) or path.is_dir() or not path.suffix:
        return False
    if path.suffix.lower() not in AUDIO_SUFFIXES:
        raise AudioFileError(
            f"{path}: can't write {path.suffix} files. Use one of {' '.join(AUDIO_SUFFIXES)}, "
            "or end the name with a slash if it is a folder's."
        )
    return True


def _ends_in_slash(text: str) -> bool:
    return text.endswith(("/", os.sep))


def _pairs_in_folder(
    inputs: Sequence[Path],
    folder: Path,
    suffix: str,
    on_error: Callable[[AudioFileError], object] | None,
) -> Iterator[FilePair]:
    def target_for(relative: Path) -> Path:
        ending = ".wav" if is_media(relative) else relative.suffix  # these are read, not written
        return folder / relative.with_name(relative.stem + suffix + ending)

    results_folder = _real(folder)
    for entry in inputs:
        if not entry.is_dir():
            yield FilePair(entry, target_for(Path(entry.name)))
            continue
        others: list[AudioFileError] = []
        recordings = find_audio(entry, on_error=others.append if on_error else None)
        found = [FilePair(source, target_for(source.relative_to(entry))) for source in recordings]
        if results_folder == _real(entry):
            # Results lie among the recordings: a file that is another one's result is no recording.
            results = {_real(pair.target) for pair in found} if suffix else set()
            found = [pair for pair in found if _real(pair.source) not in results]
        elif results_folder.is_relative_to(_real(entry)):
            found = [pair for pair in found if not _real(pair.source).is_relative_to(results_folder)]
        if not found:
            if others:
                raise others[0]
            raise DataError(f"{entry}: no audio files in this folder")
        if on_error is not None:
            for other in others:
                on_error(other)
        yield from found


def _media_apart(pairs: list[FilePair], suffix: str) -> list[FilePair]:
    """talk.m4a beside talk.wav or talk.mp4: its result is talk.m4a.wav then."""
    named = Counter(_real(pair.target) for pair in pairs)
    return [
        FilePair(pair.source, pair.target.with_name(f"{pair.source.name}{suffix}{pair.target.suffix}"))
        if named[_real(pair.target)] > 1 and is_media(pair.source)
        else pair
        for pair in pairs
    ]


def _refuse_collisions(pairs: Sequence[FilePair]) -> None:
    sources = {_real(pair.source) for pair in pairs}
    by_target: dict[Path, Path] = {}
    for pair in pairs:
        target = _real(pair.target)
        if target in sources:
            raise DataError(
                f"{pair.target}: the result would replace a recording; choose another folder or --suffix"
            )
        other = by_target.setdefault(target, pair.source)
        if other is not pair.source:
            raise DataError(
                f"{other} and {pair.source} would both be written to {pair.target}; denoise them apart"
            )


def _real(path: Path) -> Path:
    # Path.resolve raises for a link that points to itself.
    return Path(os.path.realpath(path))
