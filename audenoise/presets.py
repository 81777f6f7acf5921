"""Published models: find a folder, check it, hand out its files, write its metadata.

A model folder is data that may come from anywhere. Nothing in it is unpickled or executed, its metadata is
checked by hand (importing pydantic takes as long as importing numpy, and `audenoise predict` must start
fast), and a file is used only after the bytes read have the checksum that the metadata states.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from audenoise.errors import ModelError
from audenoise.processors import cores

DEFAULT_PRESET = "standard"
"""Keeps up with a microphone, and gives a stream what it gives a whole signal."""
FILE_PRESET = "large"
"""For what is there as a whole: better, since it listens to what comes next."""
FORMAT_VERSION = 1
METADATA_FILE = "metadata.json"
GRAPH_FILE = "model.onnx"
PHASES = ("network", "griffin_lim")
"""As the network's output has it (often the noisy one's), or found for its magnitudes."""

_MAX_METADATA_BYTES = 1 << 20
_MAX_FILE_BYTES = 1 << 30
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,127}\Z")
_SHA256 = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class StftSettings:
    """The analysis that a model was trained with, in samples at the model's rate."""

    n_fft: int
    hop_length: int
    win_length: int
    window: str


@dataclass(frozen=True)
class Preset:
    """A model folder whose metadata has been checked. The other files are checked when they are read.

    Attributes
    ----------
    folder : Path
    name, description, licence : str
    sample_rate : int
        In Hz; the rate that the model was trained at.
    stft : StftSettings
    context_left, context_right : int
        Frames around a block that a graph without states needs for the result of a whole-file run.
    phase : str
        Where the phase of the output comes from: one of `PHASES`.
    context_multiple : int
        Blocks begin at multiples of this many frames; above 1 for a graph that strides over frames.
    files : Mapping[str, str]
        File name to SHA-256, in lower-case hexadecimal.
    metadata : Mapping[str, Any]
        All of metadata.json, for what is only shown: training, data, scores.
    """

    folder: Path
    name: str
    description: str
    licence: str
    sample_rate: int
    stft: StftSettings
    context_left: int
    context_right: int
    context_multiple: int
    phase: str
    files: Mapping[str, str]
    metadata: Mapping[str, Any] = field(repr=False)

    @property
    def is_enhancer(self) -> bool:
        """Whether it is a model for `audenoise enhance`, and no denoiser."""
        return self.metadata.get("kind") == "enhancer"

    def read_file(self, filename: str) -> bytes:
        """Read a file of the model and check it.

        The bytes that were checked are the bytes returned: nothing can change between the check and the use.

        Raises
        ------
        ModelError
            If the file isn't listed, is missing or differs from its checksum.
        """
        expected = self.files.get(filename)
        if expected is None:
            raise ModelError(
                f"{self.folder}: {METADATA_FILE} lists no file {filename}; publish the model again"
            )
        content = _read_regular_file(self.folder, filename, limit=_MAX_FILE_BYTES)
        if hashlib.sha256(content).hexdigest() != expected:
            raise ModelError(
                f"{self.folder}: {filename} differs from its checksum in {METADATA_FILE}; "
                "the file is damaged or was changed, get the folder again"
            )
        return content

    def verify(self) -> None:
        """Check every file that the metadata lists. Raises `ModelError` for the first bad one."""
        for filename in self.files:
            self.read_file(filename)


class AppliedModel:
    """What a denoiser and an enhancer have in common: a model folder, and threads to run its graph.

    Parameters
    ----------
    preset : Preset
    threads : int, optional
        Default: 2, or 1 where the process has one core.

    Raises
    ------
    ModelError
        If there are fewer threads than one.
    """

    def __init__(self, preset: Preset, *, threads: int | None = None) -> None:
        self.preset = preset
        self.threads = min(2, cores()) if threads is None else threads
        if self.threads < 1:
            raise ModelError(f"threads must be at least 1. Received: {threads}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str(self.preset.folder)!r}, threads={self.threads})"

    def __reduce__(self) -> tuple:
        # A graph that was loaded can't be pickled; another process loads it again, from the same folder.
        return partial(type(self), threads=self.threads), (self.preset,)


def models_folder() -> Path:
    """Return where the bundled models are: inside the installed package, or at the top of a checkout.

    Returns
    -------
    Path
        It need not exist: a checkout may have no model yet.
    """
    package = Path(__file__).resolve().parent
    installed = package / "_models"
    return installed if installed.is_dir() else package.parent / "models"


def list_presets() -> list[str]:
    """Return the names of the bundled models, sorted.

    >>> all(isinstance(name, str) for name in list_presets())
    True
    """
    folder = models_folder()
    if not folder.is_dir():
        return []
    return sorted(entry.name for entry in folder.iterdir() if (entry / METADATA_FILE).is_file())


def bundled_denoisers() -> list[str]:
    """Return the names of the bundled models that take noise out, those that are defaults first."""
    names = [name for name in list_presets() if not load_preset(name).is_enhancer]
    return sorted(names, key=lambda name: (name != FILE_PRESET, name != DEFAULT_PRESET, name))


def find_preset(name_or_path: str | os.PathLike[str] | None = None) -> Path:
    """Find a model folder.

    Parameters
    ----------
    name_or_path : str or PathLike, optional
        Name of a bundled model, or path to a model folder. A bundled name wins over a folder of the same name
        in the current directory; write `./name` for the latter. Default: `DEFAULT_PRESET`.

    Returns
    -------
    Path
        A folder that holds a metadata.json (not yet checked).

    Raises
    ------
    ModelError
        If there is no such model.
    """
    wanted = DEFAULT_PRESET if name_or_path is None else os.fspath(name_or_path)
    if isinstance(name_or_path, str | None) and _PLAIN_NAME.match(wanted):
        bundled = models_folder() / wanted
        if (bundled / METADATA_FILE).is_file():
            return bundled
        if not Path(wanted).is_dir():
            denoisers = bundled_denoisers()
            others = [name for name in list_presets() if name not in denoisers]
            known = ", ".join(denoisers) or "none"
            if others:
                known += f"; for enhance: {', '.join(others)}"
            raise ModelError(
                f"no model called {wanted!r}; bundled models: {known}; or give the path to a folder"
            )
    folder = Path(wanted)
    if not folder.is_dir():
        raise ModelError(f"{folder}: no such model folder")
    if not (folder / METADATA_FILE).is_file():
        raise ModelError(f"{folder}: not a model folder, it has no {METADATA_FILE}")
    return folder


def for_files(name_or_path: str | os.PathLike[str] | None = None) -> str | os.PathLike[str]:
    """The model that files go through: the one named, or `FILE_PRESET`."""
    return FILE_PRESET if name_or_path is None else name_or_path


def load_preset(name_or_path: str | os.PathLike[str] | None = None) -> Preset:
    """Find a model folder and check its metadata.

    Parameters
    ----------
    name_or_path : str or PathLike, optional
        As for `find_preset`.

    Raises
    ------
    ModelError
        If there is no such model, or its metadata is damaged, hostile or of a newer format. The message names
        the folder, the file and the key.
    """
    folder = find_preset(name_or_path)
    content = _read_regular_file(folder, METADATA_FILE, limit=_MAX_METADATA_BYTES)
    try:
        metadata = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{folder}: {METADATA_FILE} is not valid JSON ({type(error).__name__})") from error
    return _parse_metadata(folder, metadata)


def write_metadata(folder: str | os.PathLike[str], metadata: Mapping[str, Any]) -> Preset:
    """Write metadata.json for the files that lie in a folder, with their checksums.

    The text is checked as it will be on loading and replaces the old one in one step.

    Parameters
    ----------
    folder : str or PathLike
        Holds model.onnx and whatever else the model consists of.
    metadata : Mapping
        All keys but `files`; `format_version` is set here.

    Returns
    -------
    Preset
        As `load_preset` would return it.

    Raises
    ------
    ModelError
        If a key is missing or wrong, or the folder holds something that can't be published.
    """
    folder = Path(folder)
    names = sorted(entry.name for entry in folder.iterdir() if entry.name != METADATA_FILE)
    files = {
        name: hashlib.sha256(_read_regular_file(folder, name, limit=_MAX_FILE_BYTES)).hexdigest()
        for name in names
    }
    complete = {**metadata, "format_version": FORMAT_VERSION, "files": files}
    text = json.dumps(complete, indent=2, ensure_ascii=False) + "\n"
    preset = _parse_metadata(folder, json.loads(text))
    temporary = folder / f".{METADATA_FILE}.{os.getpid()}.tmp"
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, folder / METADATA_FILE)
    finally:
        temporary.unlink(missing_ok=True)
    return preset


def _read_regular_file(folder: Path, filename: str, *, limit: int) -> bytes:
    path = folder / filename
    try:
        if path.resolve().parent != folder.resolve():
            raise ModelError(f"{folder}: {filename} lies outside the model folder")
        # A device or a named pipe could block or never end.
        if not stat.S_ISREG(path.stat().st_mode):
            raise ModelError(f"{folder}: {filename} is not a regular file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except FileNotFoundError as error:
        raise ModelError(f"{folder}: {filename} is missing") from error
    except (OSError, RuntimeError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise ModelError(f"{folder}: {filename} can't be read ({reason})") from error
    if len(content) > limit:
        raise ModelError(f"{folder}: {filename} is larger than {limit >> 20} MiB")
    return content


def _parse_metadata(folder: Path, metadata: object) -> Preset:
    where = f"{folder}: {METADATA_FILE}"
    if not isinstance(metadata, dict):
        raise ModelError(f"{where} must hold a JSON object. Received: {type(metadata).__name__}")
    version = _integer(where, metadata, "format_version", low=1, high=1 << 30)
    if version > FORMAT_VERSION:
        raise ModelError(
            f"{where} is of format {version}, this audenoise reads {FORMAT_VERSION}; update audenoise"
        )
    stft_where, stft = f"{where}: stft", _mapping(where, metadata, "stft")
    win_length = _integer(stft_where, stft, "win_length", low=2, high=1 << 16)
    settings = StftSettings(
        n_fft=_integer(stft_where, stft, "n_fft", low=win_length, high=1 << 16),
        hop_length=_integer(stft_where, stft, "hop_length", low=1, high=win_length),
        win_length=win_length,
        window=_text(stft_where, stft, "window"),
    )
    if settings.n_fft % 2:
        raise ModelError(f"{stft_where}.n_fft: must be even. Received: {settings.n_fft}")
    context_where, context = f"{where}: context_frames", _mapping(where, metadata, "context_frames")
    left = _integer(context_where, context, "left", low=0, high=10_000)
    multiple = _integer(context_where, {"multiple": 1, **context}, "multiple", low=1, high=1024)
    if left % multiple:
        raise ModelError(f"{context_where}.left: must be a multiple of {multiple}. Received: {left}")
    phase = _text(where, {"phase": "network", **metadata}, "phase")
    if phase not in PHASES:
        raise ModelError(f"{where}: phase: must be one of {', '.join(PHASES)}. Received: {phase[:80]!r}")
    files = _mapping(where, metadata, "files")
    for filename, checksum in files.items():
        if not _PLAIN_NAME.match(filename):
            raise ModelError(f"{where}: files: must be plain file names. Received: {filename[:80]!r}")
        if not (isinstance(checksum, str) and _SHA256.match(checksum)):
            raise ModelError(
                f"{where}: files.{filename}: must be a SHA-256 of 64 lower-case hexadecimal digits"
            )
    name = _text(where, metadata, "name")
    if not _PLAIN_NAME.match(name):
        raise ModelError(
            f"{where}: name: must consist of letters, digits and . _ + -. Received: {name[:80]!r}"
        )
    return Preset(
        folder=folder,
        name=name,
        description=_text(where, metadata, "description"),
        licence=_text(where, metadata, "licence"),
        sample_rate=_integer(where, metadata, "sample_rate", low=1000, high=768_000),
        stft=settings,
        context_left=left,
        context_right=_integer(context_where, context, "right", low=0, high=10_000),
        context_multiple=multiple,
        phase=phase,
        files=files,
        metadata=metadata,
    )


def _value(where: str, mapping: Mapping[str, Any], key: str) -> object:
    if key not in mapping:
        raise ModelError(f"{where}: key {key} is missing")
    return mapping[key]


def _integer(where: str, mapping: Mapping[str, Any], key: str, *, low: int, high: int) -> int:
    value = _value(where, mapping, key)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ModelError(
            f"{where}: {key}: must be an integer from {low} to {high}. Received: {str(value)[:80]!r}"
        )
    return value


def _text(where: str, mapping: Mapping[str, Any], key: str) -> str:
    value = _value(where, mapping, key)
    if not isinstance(value, str):
        raise ModelError(f"{where}: {key}: must be text. Received: {type(value).__name__}")
    return value


def _mapping(where: str, mapping: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = _value(where, mapping, key)
    if not isinstance(value, dict):
        raise ModelError(f"{where}: {key}: must be an object. Received: {type(value).__name__}")
    return value
