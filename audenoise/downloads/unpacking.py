"""Unpack an archive that may come from anywhere.

Stricter than `tarfile`'s data filter: only plain files and folders are made, all of them in a folder that is
new, and no link, device, absolute path or `..` is followed or left out silently: an archive that holds one is
refused. So are archives that are larger unpacked than they may be, whatever size they state.
"""

import bz2
import errno
import gzip
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, cast

from tqdm import tqdm

from audenoise.errors import DownloadError

_BLOCK = 1 << 20
_MAX_MEMBERS = 2_000_000
_MAGIC: dict[bytes, Callable[[IO[bytes]], IO[bytes]]] = {
    b"\x1f\x8b": lambda raw: cast(IO[bytes], gzip.GzipFile(fileobj=raw)),
    b"BZh": lambda raw: cast(IO[bytes], bz2.BZ2File(raw)),
    b"\xfd7zXZ\x00": lambda raw: cast(IO[bytes], lzma.LZMAFile(raw)),  # noqa: SIM115, the caller closes it
}
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile)


@dataclass(frozen=True)
class _Member:
    name: str
    size: int
    is_folder: bool
    opened: Callable[[], IO[bytes]]


def _damaged(archive: Path, error: Exception) -> DownloadError:
    return DownloadError(f"{archive}: is damaged ({error}). Remove it and download it again.")


def unpack(archive: Path, folder: Path, *, max_bytes: int, progress: bool = False) -> int:
    """Write the files of a zip or tar archive (plain, gzip, bzip2, xz) into a folder.

    What macOS adds to archives (`__MACOSX`, `._NAME`, `.DS_Store`) is left out: `._NAME.wav` is no audio.
    All of the archive is read, so its own checksums (CRC-32 of zip and gzip) are checked.

    Parameters
    ----------
    archive : Path
    folder : Path
        Made if missing. Nothing in it is replaced.
    max_bytes : int
        Refuse to write more than this.
    progress : bool
        Draw a bar with the time left.

    Returns
    -------
    int
        Bytes written.

    Raises
    ------
    DownloadError
        If the archive is damaged, of another kind, too large, or would write outside `folder` or twice to one
        file. What has been written by then stays.
    """
    written = 0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with ExitStack() as stack:
            raw = stack.enter_context(archive.open("rb"))
            bar = stack.enter_context(
                tqdm(
                    desc=f"unpacking {archive.name}",
                    total=archive.stat().st_size,
                    unit="B",
                    unit_scale=True,
                    disable=not progress,
                    leave=False,
                )
            )
            for number, member in enumerate(_members(archive, raw, stack, max_bytes)):
                if number >= _MAX_MEMBERS:
                    raise DownloadError(f"{archive}: holds more than {_MAX_MEMBERS} files; not unpacked")
                written += _write(archive, member, folder, room=max_bytes - written)
                bar.update(max(0, raw.tell() - bar.n))
    except _DAMAGED as error:
        raise _damaged(archive, error) from None
    except NotImplementedError as error:  # of zipfile, such as Deflate64
        raise DownloadError(
            f"{archive}: is packed in a way that can't be read here ({error}); unpack it by another program"
        ) from None
    except OSError as error:
        if error.errno is None:  # bz2's way of saying it
            raise _damaged(archive, error) from None
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DownloadError(
                f"{folder}: the disk is full. Free some space and run the command again."
            ) from None
        raise
    if not written:
        raise DownloadError(f"{archive}: holds no files")
    return written


def _members(archive: Path, raw: IO[bytes], stack: ExitStack, max_bytes: int) -> Iterator[_Member]:
    if zipfile.is_zipfile(raw):
        raw.seek(0)
        yield from _zip_members(archive, stack.enter_context(zipfile.ZipFile(raw)), max_bytes)
        return
    raw.seek(0)
    start = raw.read(6)
    raw.seek(0)
    unpacker = next((opener for magic, opener in _MAGIC.items() if start.startswith(magic)), None)
    stream = stack.enter_context(unpacker(raw)) if unpacker else raw
    try:
        tar = stack.enter_context(tarfile.TarFile.open(fileobj=stream, mode="r|"))
    except tarfile.ReadError:
        raise DownloadError(f"{archive}: is no zip or tar archive, or is damaged") from None
    yield from _tar_members(archive, tar)
    while stream.read(_BLOCK):
        pass  # up to the checksum at the end


def _zip_members(archive: Path, file: zipfile.ZipFile, max_bytes: int) -> Iterator[_Member]:
    infos = file.infolist()
    needed = sum(info.file_size for info in infos)
    _refuse_too_large(archive, needed, max_bytes)
    if (free := shutil.disk_usage(archive.parent).free) < needed:
        raise DownloadError(
            f"{archive}: {needed / 1e9:.2f} GB unpacked, and {free / 1e9:.2f} GB are free on the disk. "
            "Free some space and run the command again."
        )
    for info in infos:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DownloadError(f"{archive}: {info.filename!r} is a link or a device; not unpacked")
        if info.flag_bits & 1:
            raise DownloadError(f"{archive}: is encrypted; not unpacked")
        yield _Member(info.filename, info.file_size, info.is_dir(), lambda info=info: file.open(info))


def _tar_members(archive: Path, tar: tarfile.TarFile) -> Iterator[_Member]:
    def opened(info: tarfile.TarInfo) -> IO[bytes]:
        content = tar.extractfile(info)
        if content is None:
            raise tarfile.ReadError(f"{info.name} has no content")
        return content

    for info in tar:
        if not (info.isreg() or info.isdir()):
            raise DownloadError(f"{archive}: {info.name!r} is a link or a device; not unpacked")
        yield _Member(info.name, info.size, info.isdir(), lambda info=info: opened(info))


def _write(archive: Path, member: _Member, folder: Path, *, room: int) -> int:
    parts = _safe_parts(archive, member.name)
    if not parts or any(part in ("__MACOSX", ".DS_Store") or part.startswith("._") for part in parts):
        return 0
    path = folder.joinpath(*parts)
    try:
        if member.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            return 0
        path.parent.mkdir(parents=True, exist_ok=True)
        _refuse_too_large(archive, member.size, room)
        with member.opened() as content, path.open("xb") as file:
            written = 0
            while block := content.read(_BLOCK):
                written += len(block)
                _refuse_too_large(archive, written, room)
                file.write(block)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise DownloadError(f"{archive}: {member.name!r} is in it twice, or is there already") from None
    return written


def _safe_parts(archive: Path, name: str) -> tuple[str, ...]:
    path = PurePosixPath(name)
    backslash_or_drive = "\\" in name or (len(name) > 1 and name[1] == ":")
    if path.is_absolute() or ".." in path.parts or backslash_or_drive or "\0" in name:
        raise DownloadError(f"{archive}: {name!r} would lie outside the folder; not unpacked")
    return path.parts


def _refuse_too_large(archive: Path, n_bytes: int, room: int) -> None:
    if n_bytes > room:
        raise DownloadError(f"{archive}: is far larger unpacked than audio of its size can be; not unpacked")
