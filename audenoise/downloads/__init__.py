"""Get well-known corpora: find, fetch, check, unpack.

`catalogue` says what there is, `fetching` gets one file, `unpacking` opens it; here they become a folder that
is either complete or not there.
"""

import datetime
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from audenoise.downloads.catalogue import Archive, Checksum, Corpus, own_corpus, read_catalogue
from audenoise.downloads.fetching import Fetched, Patience, fetch, file_hash
from audenoise.downloads.unpacking import unpack
from audenoise.errors import DownloadError
from audenoise.locks import only_one

__all__ = [
    "RECORD_FILE",
    "Archive",
    "Checksum",
    "Corpus",
    "Fetched",
    "Patience",
    "download_corpus",
    "fetch",
    "file_hash",
    "own_corpus",
    "read_catalogue",
    "unpack",
]

RECORD_FILE = "audenoise-download.json"
# Silence packs well, speech does not: the corpora of the catalogue grow less than threefold.
_MAX_GROWTH = 20
_SMALL = 100_000_000


def download_corpus(
    corpus: Corpus,
    out: Path,
    *,
    keep_archives: bool = False,
    patience: Patience | None = None,
    progress: bool = False,
    report: Callable[[str], object] | None = None,
) -> Path:
    """Download a corpus and unpack it into `out/NAME`.

    Everything happens in `out/NAME.partial`, whose `archives` may also be filled by hand: what lies there is
    checked and used. `out/NAME` appears at the end, complete, with a record of what was got.

    Parameters
    ----------
    corpus : Corpus
    out : Path
        Made if missing.
    keep_archives : bool
        Leave the archives in `out/NAME.archives`.
    patience : Patience, optional
    progress : bool
        Draw bars with the time left.
    report : callable, optional
        Called with each line worth telling.

    Returns
    -------
    Path
        `out/NAME`. If it is complete already, nothing is done.

    Raises
    ------
    DownloadError
        If a file can't be had or isn't right, the disk is or would be full, `out/NAME` is something else, or
        another process is at it. What was got stays for the next call.
    """
    tell = report or (lambda line: None)
    target, partial = out / corpus.name, out / f"{corpus.name}.partial"
    if target.exists() or target.is_symlink():
        _refuse_another(target, corpus)
        tell(f"{target}: is there already")
        return target
    archives, unpacked, locked = partial / "archives", partial / "unpacked", False
    try:
        archives.mkdir(parents=True, exist_ok=True)
        refusal = DownloadError(f"{partial}: another audenoise is downloading this")
        with only_one(partial / "lock", refusal, patience_s=0.0):
            locked = True
            if target.exists():
                raise DownloadError(f"{target}: another audenoise has just made it")
            kept = out / f"{corpus.name}.archives"
            if keep_archives and kept.exists():
                raise DownloadError(f"{kept}: is there already. Move it away, or leave --keep-archives out.")
            _refuse_full_disk(corpus, archives)
            got = []
            for archive in corpus.archives:
                tell(f"{corpus.name}: {archive.file}")
                got.append(
                    fetch(
                        archive.urls,
                        archives / archive.file,
                        size=archive.bytes,
                        checksum=archive.expected,
                        patience=patience,
                        progress=progress,
                    )
                )
            if unpacked.exists():
                shutil.rmtree(unpacked)  # an earlier call was interrupted here
            room = max(_SMALL, _MAX_GROWTH * sum(each.bytes for each in got))
            written = 0
            for each in got:
                written += unpack(each.path, unpacked, max_bytes=room - written, progress=progress)
            _write_record(unpacked, corpus, got, written)
            os.replace(unpacked, target)
            if keep_archives:
                archives.rename(kept)
        shutil.rmtree(partial)
    except DownloadError:
        if locked and archives.is_dir() and not any(archives.iterdir()):
            shutil.rmtree(partial)  # nothing was got
        raise
    except OSError as error:
        raise DownloadError(
            f"{error.filename or target}: can't be written ({error.strerror or error})"
        ) from None
    tell(f"{target}: {written / 1e9:.2f} GB, licence {corpus.licence}")
    return target


def _refuse_another(target: Path, corpus: Corpus) -> None:
    try:
        record = json.loads((target / RECORD_FILE).read_text(encoding="utf-8"))
        sources = [(each["file"], each["expected"]) for each in record["archives"]]
    except (OSError, ValueError, KeyError, TypeError):
        sources = None
    if sources != [(each.file, str(each.expected or "")) for each in corpus.archives]:
        raise DownloadError(
            f"{target}: is there already and is not this download. Move it away or choose another --out."
        )


def _refuse_full_disk(corpus: Corpus, archives: Path) -> None:
    def got(name: str) -> int:
        return next((p.stat().st_size for p in (archives / name, archives / f"{name}.part") if p.exists()), 0)

    missing = sum(max(0, archive.size - got(archive.file)) for archive in corpus.archives)
    # The archives and their content, which is at least as large, lie side by side at the end.
    needed, free = missing + corpus.size, shutil.disk_usage(archives).free
    if needed > free:
        raise DownloadError(
            f"{archives}: {corpus.name} needs at least {needed / 1e9:.2f} GB (archives and what is in them), "
            f"{free / 1e9:.2f} GB are free. Free some space, or choose another --out."
        )


def _write_record(folder: Path, corpus: Corpus, got: list[Fetched], written: int) -> None:
    record = {
        "name": corpus.name,
        "title": corpus.title,
        "licence": corpus.licence,
        "homepage": corpus.homepage,
        "downloaded": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "bytes_unpacked": written,
        "archives": [
            {
                "file": archive.file,
                "url": each.url,
                "bytes": each.bytes,
                "expected": str(archive.expected or ""),
                "checksum": archive.checksum,
                "sha256": each.sha256,
            }
            for archive, each in zip(corpus.archives, got, strict=True)
        ],
    }
    path = folder / RECORD_FILE
    path.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
