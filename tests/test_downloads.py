"""Downloads from a server on this machine that cuts, lies and forgets; archives that bite."""

import bz2
import gzip
import hashlib
import io
import itertools
import json
import lzma
import os
import re
import signal
import socket
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from file_server import serving
from filelock import FileLock

from audenoise.cli import main
from audenoise.downloads import (
    RECORD_FILE,
    Checksum,
    Corpus,
    Patience,
    download_corpus,
    fetch,
    own_corpus,
    read_catalogue,
    unpack,
)
from audenoise.errors import DownloadError

CONTENT = np.random.default_rng(3).bytes(3_000_000)
SHA256 = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


def patient(slept: list[float] | None = None, **settings: object) -> Patience:
    return Patience(sleep=(slept if slept is not None else []).append, **settings)  # pyright: ignore[reportArgumentType]


def wav(seconds: float = 0.1) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(int(16000 * seconds), np.float32), 16000, format="WAV")
    return file.getvalue()


def damaged(packed: bytes) -> bytes:
    """In the middle, behind what tells the format."""
    middle = len(packed) // 2
    return packed[:middle] + bytes(1000) + packed[middle + 1000 :]


def deflate64(packed: bytes) -> bytes:
    """A zip of one file that says so."""
    changed = bytearray(packed)
    changed[8] = changed[changed.rindex(b"PK\x01\x02") + 10] = 9
    return bytes(changed)


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def tar_of(files: dict[str, bytes], *others: tarfile.TarInfo) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for info in others:
            archive.addfile(info)
    return buffer.getvalue()


def tar_entry(name: str, kind: bytes, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def corpus_of(address: str, archives: dict[str, bytes], name: str = "speech") -> Corpus:
    return Corpus.model_validate(
        {
            "name": name,
            "title": "For tests",
            "licence": "CC0 1.0",
            "archives": [
                {
                    "file": file,
                    "urls": [f"{address}/{file}"],
                    "bytes": len(content),
                    "md5": hashlib.md5(content).hexdigest(),
                    "checksum": "published",
                }
                for file, content in archives.items()
            ],
        }
    )


def closed_address() -> str:
    """An address of this machine where nothing listens."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


# One file


def test_a_file_arrives_whole(tmp_path: Path) -> None:
    with serving({"/a.bin": CONTENT}) as server:
        fetched = fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", size=len(CONTENT), checksum=SHA256)
    assert fetched.path.read_bytes() == CONTENT
    assert (fetched.bytes, fetched.sha256) == (len(CONTENT), SHA256.digits)
    assert os.listdir(tmp_path) == ["a.bin"]


@pytest.mark.parametrize("checksum", [SHA256, None], ids=["checksum", "tag only"])
def test_cut_connections_are_continued_where_they_broke(tmp_path: Path, checksum: Checksum | None) -> None:
    slept: list[float] = []
    with serving({"/a.bin": CONTENT}, cuts=[1_000_000, 700_000]) as server:
        fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", checksum=checksum, patience=patient(slept))
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked_ranges() == [None, "bytes=1000000-", "bytes=1700000-"]
    assert "If-Range" in server.requests[1]
    assert slept == [1.0, 1.0]


def test_what_an_earlier_call_got_is_used(tmp_path: Path) -> None:
    with serving({"/a.bin": CONTENT}, cuts=[2_000_000, 0, 0]) as server:
        urls = [f"{server.address}/a.bin"]
        with pytest.raises(DownloadError, match="is kept, run the command again"):
            fetch(urls, tmp_path / "a.bin", patience=patient(attempts=2))
        assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:2_000_000]
        assert not (tmp_path / "a.bin").exists()
        fetch(urls, tmp_path / "a.bin", patience=patient())
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked_ranges()[-1] == "bytes=2000000-"


def test_a_file_that_changed_meanwhile_is_begun_anew(tmp_path: Path) -> None:
    with serving({"/a.bin": CONTENT}, cuts=[2_000_000]) as server:
        urls = [f"{server.address}/a.bin"]
        with pytest.raises(DownloadError):
            fetch(urls, tmp_path / "a.bin", patience=patient(attempts=1))
        server.files["/a.bin"] = CONTENT[::-1]
        fetch(urls, tmp_path / "a.bin", patience=patient())
    assert (tmp_path / "a.bin").read_bytes() == CONTENT[::-1]


def test_without_tags_the_checksum_finds_out_and_the_file_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(b"of another version")
    with serving({"/a.bin": CONTENT}, tags=False) as server:
        fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", checksum=SHA256)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked_ranges() == ["bytes=18-", None]


def test_without_tags_and_checksum_nothing_is_continued(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT[:1000])
    with serving({"/a.bin": CONTENT}, tags=False) as server:
        fetch([f"{server.address}/a.bin"], tmp_path / "a.bin")
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked_ranges() == [None]


def test_a_server_without_ranges_sends_all_again(tmp_path: Path) -> None:
    with serving({"/a.bin": CONTENT}, ranges=False, cuts=[1_000_000]) as server:
        fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", checksum=SHA256, patience=patient())
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_part_that_is_complete_is_only_checked(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    with serving({"/a.bin": CONTENT}) as server:
        fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", checksum=SHA256)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert server.asked_ranges() == [f"bytes={len(CONTENT)}-"]


def test_a_part_that_is_too_long_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").write_bytes(CONTENT + b"more")
    with serving({"/a.bin": CONTENT}) as server:
        fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", checksum=SHA256, patience=patient())
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_busy_servers_are_asked_again_after_the_time_they_ask_for(tmp_path: Path) -> None:
    slept: list[float] = []
    statuses = [(503, {"Retry-After": "7"}), (429, {}), (502, {"Retry-After": "86400"})]
    with serving({"/a.bin": CONTENT}, statuses=statuses) as server:
        fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", checksum=SHA256, patience=patient(slept))
    assert slept == [7.0, 2.0, 60.0]


def test_the_gzip_of_a_tar_file_is_not_undone_on_the_way(tmp_path: Path) -> None:
    packed = gzip.compress(CONTENT)
    headers = {"Content-Encoding": "x-gzip", "Content-Type": "application/x-tar"}
    with serving({"/a.tar.gz": packed}, headers=headers) as server:
        fetch([f"{server.address}/a.tar.gz"], tmp_path / "a.tar.gz", size=len(packed))
    assert (tmp_path / "a.tar.gz").read_bytes() == packed


def test_mirrors_are_tried_in_order(tmp_path: Path) -> None:
    with (
        serving({}) as empty,
        serving({"/a.bin": CONTENT[:-1]}) as wrong,
        serving({"/a.bin": CONTENT}) as good,
    ):
        addresses = [closed_address(), empty.address, wrong.address, good.address]
        fetched = fetch(
            [f"{address}/a.bin" for address in addresses],
            tmp_path / "a.bin",
            checksum=SHA256,
            patience=patient(),
        )
    assert fetched.url == f"{good.address}/a.bin"
    assert fetched.path.read_bytes() == CONTENT


def test_a_second_mirror_continues_what_the_first_began(tmp_path: Path) -> None:
    with (
        serving({"/a.bin": CONTENT}, cuts=[1_000_000]) as first,
        serving({"/a.bin": CONTENT}, headers={"ETag": '"its own"'}) as second,
    ):
        fetch(
            [f"{first.address}/a.bin", f"{second.address}/a.bin"],
            tmp_path / "a.bin",
            checksum=SHA256,
            patience=patient(attempts=1),
        )
    assert (tmp_path / "a.bin").read_bytes() == CONTENT
    assert second.asked_ranges() == ["bytes=1000000-"]


@pytest.mark.parametrize(
    ("behaviour", "settings", "says"),
    [
        ({"files": {}}, {}, "a.bin: http.*answers 404 Not Found"),
        ({"statuses": [(403, {})]}, {}, "answers 403 Forbidden"),
        ({"statuses": [(503, {})] * 5}, {}, "answers 503 .*, 5 times in a row"),
        ({"cuts": [0] * 5}, {}, "5 times in a row"),
        ({"headers": {"Content-Type": "text/html; charset=utf-8"}}, {}, "a web page came instead"),
        ({}, {"size": 17}, "has 3000000 bytes where 17 were expected"),
        (
            {},
            {"checksum": Checksum("md5", "0" * 32)},
            f"its md5 is {hashlib.md5(CONTENT).hexdigest()} where 0000",
        ),
        ({}, {"checksum": Checksum("sha256", "0" * 64)}, "its sha256 is .* where 0000"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(
    tmp_path: Path, behaviour: dict, settings: dict, says: str
) -> None:
    with (
        serving(**{"files": {"/a.bin": CONTENT}, **behaviour}) as server,
        pytest.raises(DownloadError, match=says) as caught,
    ):
        fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", patience=patient(), **settings)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.bin").exists()


def test_no_connection_is_called_so(tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"a.bin: no connection \(http.*refused.*Is this machine online"):
        fetch([f"{closed_address()}/a.bin"], tmp_path / "a.bin", patience=patient())
    with pytest.raises(DownloadError, match="no connection"):
        fetch(["http://no-such-host.invalid/a.bin"], tmp_path / "a.bin", patience=patient())


def test_a_server_that_falls_silent_is_left(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/a.bin"
        with pytest.raises(DownloadError, match=r"[Tt]imed out.*2 times in a row"):
            fetch([url], tmp_path / "a.bin", patience=patient(attempts=2, timeout_s=0.2))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_called_so(tmp_path: Path) -> None:
    (tmp_path / "a.bin.part").symlink_to("/dev/full")
    with (
        serving({"/a.bin": CONTENT}) as server,
        pytest.raises(DownloadError, match=r"the disk is full\. Free some"),
    ):
        fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", patience=patient())


def test_a_disk_that_would_become_full_is_said_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1_000_000})
    monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
    with serving({"/a.bin": CONTENT}) as server:
        with pytest.raises(DownloadError, match=r"0\.00 GB are missing and 0\.00 GB are free"):
            fetch([f"{server.address}/a.bin"], tmp_path / "a.bin", patience=patient())
        with pytest.raises(DownloadError, match=r"speech needs at least 0\.01 GB"):
            download_corpus(corpus_of(server.address, {"a.bin": CONTENT}), tmp_path)


# Unpacking


@pytest.mark.parametrize(
    "packed",
    [
        zip_of({"a/1.wav": b"one", "a/b/2.wav": b"two", "__MACOSX/a/._1.wav": b"x", "a/._1.wav": b"x"}),
        tar_of(
            {"./a/1.wav": b"one", "a/b/2.wav": b"two", "a/.DS_Store": b"x"}, tar_entry("a", tarfile.DIRTYPE)
        ),
        gzip.compress(tar_of({"a/1.wav": b"one", "a/b/2.wav": b"two"})),
        bz2.compress(tar_of({"a/1.wav": b"one", "a/b/2.wav": b"two"})),
        lzma.compress(tar_of({"a/1.wav": b"one", "a/b/2.wav": b"two"})),
    ],
    ids=["zip", "tar", "gzip", "bzip2", "xz"],
)
def test_archives_are_unpacked(tmp_path: Path, packed: bytes) -> None:
    (tmp_path / "archive").write_bytes(packed)
    assert unpack(tmp_path / "archive", tmp_path / "out", max_bytes=1000) == 6
    found = {
        path.relative_to(tmp_path / "out").as_posix()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    }
    assert found == {"a/1.wav", "a/b/2.wav"}
    assert (tmp_path / "out/a/b/2.wav").read_bytes() == b"two"


def zip_with_link() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("link")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("packed", "says"),
    [
        (zip_of({"../escaped": b"x"}), "outside the folder"),
        (zip_of({"a/../../escaped": b"x"}), "outside the folder"),
        (zip_of({"/tmp/escaped": b"x"}), "outside the folder"),
        (zip_of({"a\\..\\..\\escaped": b"x"}), "outside the folder"),
        (zip_of({"C:/escaped": b"x"}), "outside the folder"),
        (tar_of({"../escaped": b"x"}), "outside the folder"),
        (tar_of({"/tmp/escaped": b"x"}), "outside the folder"),
        (zip_with_link(), "link or a device"),
        (tar_of({}, tar_entry("link", tarfile.SYMTYPE, "/etc")), "link or a device"),
        (tar_of({"a": b"x"}, tar_entry("link", tarfile.LNKTYPE, "a")), "link or a device"),
        (tar_of({}, tar_entry("device", tarfile.CHRTYPE)), "link or a device"),
        (tar_of({}, tar_entry("pipe", tarfile.FIFOTYPE)), "link or a device"),
        (zip_of({"bomb": bytes(10_000_000)}), "far larger unpacked"),
        (gzip.compress(tar_of({"bomb": bytes(10_000_000)})), "far larger unpacked"),
        (tar_of({"a": b"x", "./a": b"y"}), "in it twice"),
        (tar_of({"a": b"x", "a/b": b"y"}), "in it twice"),
        (zip_of({"a": CONTENT})[:-2000], "no zip or tar archive, or is damaged"),
        (zip_of({"a": CONTENT}).replace(CONTENT[1000:1004], b"oops"), "is damaged"),
        (gzip.compress(tar_of({"a": CONTENT}))[:-1000], "is damaged"),
        (gzip.compress(tar_of({"a": b"x"}))[:-8] + bytes(8), "is damaged"),
        (tar_of({"a": CONTENT})[:-100_000], "is damaged"),
        (damaged(bz2.compress(tar_of({"a": CONTENT}), 1)), "is damaged"),
        (deflate64(zip_of({"a": CONTENT})), "is packed in a way that can't be read here"),
        (b"<html>Please log in</html>" * 100, "no zip or tar archive"),
        (b"", "no zip or tar archive"),
        (zip_of({}), "holds no files"),
    ],
    ids=itertools.count(),  # not the bytes, which hold the time
)
def test_archives_that_bite_are_refused(tmp_path: Path, packed: bytes, says: str) -> None:
    archive = tmp_path / "inner" / "archive"
    archive.parent.mkdir()
    archive.write_bytes(packed)
    with pytest.raises(DownloadError, match=says):
        unpack(archive, archive.parent / "out", max_bytes=4_000_000)
    assert not list(tmp_path.glob("escaped")) + list(archive.parent.glob("escaped"))
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert not Path("/tmp/escaped").exists()


def test_a_zip_that_understates_its_size_is_stopped(tmp_path: Path) -> None:
    packed = zip_of({"bomb": bytes(10_000_000)})
    lie = packed.replace((10_000_000).to_bytes(4, "little"), (100).to_bytes(4, "little"))
    assert lie != packed
    (tmp_path / "archive").write_bytes(lie)
    with pytest.raises(DownloadError):
        unpack(tmp_path / "archive", tmp_path / "out", max_bytes=1_000_000)
    assert sum(path.stat().st_size for path in (tmp_path / "out").rglob("*")) <= 1_000_000


# A corpus


def two_archives() -> dict[str, bytes]:
    return {
        "clean.zip": zip_of({"clean/1.wav": wav(), "clean/2.wav": wav(0.2)}),
        "noisy.tar.gz": gzip.compress(tar_of({"noisy/1.wav": wav(), "noisy/2.wav": wav(0.2)})),
    }


def test_a_corpus_of_several_archives_appears_when_it_is_complete(tmp_path: Path) -> None:
    archives = two_archives()
    lines: list[str] = []
    with serving({f"/{name}": content for name, content in archives.items()}) as server:
        target = download_corpus(corpus_of(server.address, archives), tmp_path, report=lines.append)
        n_requests = len(server.requests)
        again = download_corpus(corpus_of(server.address, archives), tmp_path)
        assert len(server.requests) == n_requests
    assert target == again == tmp_path / "speech"
    assert os.listdir(tmp_path) == ["speech"]
    assert sorted(p.relative_to(target).as_posix() for p in target.rglob("*.wav")) == [
        "clean/1.wav",
        "clean/2.wav",
        "noisy/1.wav",
        "noisy/2.wav",
    ]
    record = json.loads((target / RECORD_FILE).read_text())
    assert record["licence"] == "CC0 1.0"
    assert [each["sha256"] for each in record["archives"]] == [
        hashlib.sha256(content).hexdigest() for content in archives.values()
    ]
    assert "CC0 1.0" in lines[-1]


def test_archives_that_were_kept_before_stop_a_download_before_it_begins(tmp_path: Path) -> None:
    archives = two_archives()
    (tmp_path / "speech.archives").mkdir()
    (tmp_path / "speech.archives" / "mine.zip").write_text("mine")
    with serving({f"/{name}": content for name, content in archives.items()}) as server:
        with pytest.raises(DownloadError, match=r"speech\.archives: is there already"):
            download_corpus(corpus_of(server.address, archives), tmp_path, keep_archives=True)
        assert not server.requests
    assert os.listdir(tmp_path) == ["speech.archives"]


def test_one_missing_archive_leaves_no_corpus_and_keeps_the_other(tmp_path: Path) -> None:
    archives = two_archives()
    with serving({"/clean.zip": archives["clean.zip"]}) as server:
        corpus = corpus_of(server.address, archives)
        with pytest.raises(DownloadError, match=r"noisy.tar.gz: .* 404"):
            download_corpus(corpus, tmp_path)
        assert os.listdir(tmp_path) == ["speech.partial"]
        server.files["/noisy.tar.gz"] = archives["noisy.tar.gz"]
        n_requests = len(server.requests)
        download_corpus(corpus, tmp_path, keep_archives=True)
        assert len(server.requests) == n_requests + 1
    assert sorted(os.listdir(tmp_path)) == ["speech", "speech.archives"]
    assert sorted(os.listdir(tmp_path / "speech.archives")) == ["clean.zip", "noisy.tar.gz"]


def test_archives_put_there_by_hand_are_checked_and_used(tmp_path: Path) -> None:
    archives = two_archives()
    corpus = corpus_of(closed_address(), archives)
    folder = tmp_path / "speech.partial" / "archives"
    folder.mkdir(parents=True)
    for name, content in archives.items():
        (folder / name).write_bytes(content[:-1])
    with pytest.raises(
        DownloadError, match=r"clean.zip: it has \d+ bytes where \d+ were expected. Remove it"
    ):
        download_corpus(corpus, tmp_path)
    for name, content in archives.items():
        (folder / name).write_bytes(content)
    assert (download_corpus(corpus, tmp_path) / "noisy" / "2.wav").is_file()


def test_an_interrupted_unpacking_is_done_again(tmp_path: Path) -> None:
    left = tmp_path / "speech.partial" / "unpacked" / "clean" / "1.wav"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    archives = two_archives()
    with serving({f"/{name}": content for name, content in archives.items()}) as server:
        download_corpus(corpus_of(server.address, archives), tmp_path)
    assert (tmp_path / "speech/clean/1.wav").read_bytes() == wav()


def test_folders_of_others_are_not_touched(tmp_path: Path) -> None:
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech" / "mine.wav").write_bytes(wav())
    with pytest.raises(DownloadError, match="is there already and is not this download"):
        download_corpus(corpus_of(closed_address(), two_archives()), tmp_path)
    assert os.listdir(tmp_path) == ["speech"]
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="can't be written"):
        download_corpus(corpus_of(closed_address(), two_archives()), tmp_path / "file")


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    (tmp_path / "speech.partial").mkdir()
    lock = FileLock(tmp_path / "speech.partial" / "lock")
    with lock, pytest.raises(DownloadError, match="another audenoise"):
        download_corpus(corpus_of(closed_address(), two_archives()), tmp_path)
    assert (tmp_path / "speech.partial" / "archives").is_dir()  # which the other one is about to use


# The catalogue


def test_every_corpus_of_the_catalogue_can_be_checked() -> None:
    catalogue = read_catalogue()
    wanted = {"librispeech-dev-clean", "librispeech-train-clean-100", "esc-50", "musan", "rirs-noises"}
    assert wanted | {"voicebank-demand"} <= set(catalogue)
    for corpus in catalogue.values():
        assert corpus.licence != "not stated"
        for archive in corpus.archives:
            assert archive.expected is not None
            assert all(url.startswith("https://") for url in archive.urls)
    assert len(catalogue["musan"].archives[0].urls) == 4
    assert "NC" in catalogue["esc-50"].licence


def test_data_readme_names_every_corpus() -> None:
    text = (Path(__file__).parents[1] / "data" / "README.md").read_text(encoding="utf-8")
    assert [name for name in read_catalogue() if f"`{name}`" not in text] == []


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "needs a key corpora"),
        ("[1", "is no YAML"),
        ("corpora: {a: {title: x, archives: []}}", "a: archives: "),
        ("corpora: {a: {title: x}}", "a: needs a list archives"),
        ("corpora: {../a: {title: x, archives: [{file: f, url: 'http://x/f'}]}}", "name: "),
        ("corpora: {a: {title: x, archives: [{file: ../f, url: 'http://x/f'}]}}", "archives.0.file: "),
        ("corpora: {a: {title: x, archives: [{file: f, url: 'ftp://x/f'}]}}", "must start with http"),
        ("corpora: {a: {title: x, archives: [{file: f, url: 'mirror:/f'}]}}", "must start with http"),
        ("corpora: {a: {title: x, archives: [{file: f, url: 'http://x/f', md5: 12}]}}", "archives.0.md5"),
        ("corpora: {a: {title: x, archives: [{file: f, url: 'http://x/f', sha: 12}]}}", "archives.0.sha"),
        (
            f"corpora: {{a: {{title: x, archives: [{{file: f, url: 'http://x', md5: {'a' * 32}}}]}}}}",
            "goes with",
        ),
        (
            "corpora: {a: {title: x, archives: [{file: f, url: 'http://x'}, {file: f, url: 'http://y'}]}}",
            "two have",
        ),
    ],
)
def test_a_wrong_catalogue_is_refused_with_the_key(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(DownloadError, match=re.escape(says)) as caught:
        read_catalogue(path)
    assert str(path) in str(caught.value)


def test_an_address_becomes_a_corpus() -> None:
    corpus = own_corpus("mine", ("https://example.org/a%20b/noise.tar.gz?download=1",), sha256="A" * 64)
    assert corpus.archives[0].file == "noise.tar.gz"
    assert str(corpus.archives[0].expected) == "sha256:" + "a" * 64
    with pytest.raises(DownloadError, match="sha256"):
        own_corpus("mine", ("https://example.org/a.zip",), sha256="abc")
    with pytest.raises(DownloadError, match="name"):
        own_corpus("../mine", ("https://example.org/a.zip",))


# The command


def test_the_command_lists_and_downloads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["download", "list"]) == 0
    assert "CC BY-NC 3.0" in capsys.readouterr().out
    packed = zip_of({"1.wav": wav()})
    with serving({"/n.zip": packed}) as server:
        (tmp_path / "mine.yaml").write_text(
            "mirrors: {here: ['" + server.address + "']}\n"
            "corpora: {n: {title: Mine, licence: CC0, archives: [{file: n.zip, url: 'here:/n.zip'}]}}"
        )
        catalogue = ["--catalogue", str(tmp_path / "mine.yaml")]
        assert main(["download", "n", *catalogue, "--out", str(tmp_path / "out")]) == 0
        url = ["--url", f"{server.address}/n.zip", "--out", str(tmp_path / "out")]
        assert main(["download", "m", *url, "--sha256", hashlib.sha256(packed).hexdigest()]) == 0
        capsys.readouterr()
        assert main(["download", "k", *url, "--sha256", "0" * 64]) == 1
        assert "error: n.zip: http" in capsys.readouterr().err
    assert (tmp_path / "out/n/1.wav").read_bytes() == (tmp_path / "out/m/1.wav").read_bytes() == wav()
    assert not (tmp_path / "out/k").exists()
    assert main(["download", "j", "--url", closed_address() + "/a.zip", "--out", str(tmp_path / "out")]) == 1
    assert "no connection (http" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("j*"))  # nothing was got, so nothing is left
    assert main(["download", "no-such-corpus"]) == 1
    assert "not in the catalogue; known: librispeech-dev-clean, " in capsys.readouterr().err
    assert main(["download", "a", "b", *url]) == 2
    assert main(["download", "musan", "--md5", "0" * 32]) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="sends POSIX signals")
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_an_interrupted_command_continues(tmp_path: Path, how: signal.Signals, code: int) -> None:
    packed = zip_of({"1.wav": CONTENT})
    part = tmp_path / "n.partial" / "archives" / "n.zip.part"
    with serving({"/n.zip": packed}, bytes_per_second=200_000) as server:
        command = [sys.executable, "-m", "audenoise", "download", "n", "--out", str(tmp_path)]
        command += ["--url", f"{server.address}/n.zip"]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        deadline = time.monotonic() + 30
        while not (part.exists() and part.stat().st_size > 300_000) and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(how)
        _, error = process.communicate(timeout=30)
        assert process.returncode == code
        assert "Traceback" not in error
        got = part.stat().st_size
        assert 300_000 < got < len(packed)
        assert not (tmp_path / "n").exists()
        server.bytes_per_second = None
        subprocess.run(command, check=True, capture_output=True)
    assert server.asked_ranges() == [None, f"bytes={got}-"]
    assert (tmp_path / "n" / "1.wav").read_bytes() == CONTENT
    assert os.listdir(tmp_path) == ["n"]
