"""The web page: its parts, and the server as a client sees it. A browser is in test_app_browser.py."""

import importlib.util
import io
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import requests
import soundfile
from app_server import ASKING, AppServer, app_server
from model_folders import gain_enhancer, gain_model
from recordings import coded, hiss, voice

from audenoise.app import AppSettings, offered_enhancer, offered_models, open_socket
from audenoise.app.jobs import DONE, FAILED, Busy, Cancelled, Job, JobStore
from audenoise.app.names import safe_name
from audenoise.audio import resample
from audenoise.cli import main
from audenoise.errors import AudenoiseError, DataError, ModelError
from audenoise.locks import only_one, temporary_folder

needs_server = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("starlette", "uvicorn")),
    reason="starlette or uvicorn is missing: pip install 'audenoise[app]'",
)
PAGES = Path(__file__).parents[1] / "audenoise" / "app" / "page"


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> AppSettings:
    folder = tmp_path_factory.mktemp("models")
    gain_model(folder / "half", 0.5)
    gain_enhancer(folder / "louder", 1.5)
    return AppSettings(
        models=offered_models((folder / "half",)),
        enhancer=offered_enhancer(folder / "louder"),
        max_upload_mb=1.0,
        max_minutes=0.2,
        max_files=3,
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, settings: AppSettings) -> Iterator[AppServer]:
    with app_server(tmp_path_factory.mktemp("app") / "recordings", settings) as running:
        yield running


def encoded(audio: np.ndarray, rate: int, format: str = "WAV", subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format=format, subtype=subtype)
    return file.getvalue()


def levels(content: bytes) -> np.ndarray:
    return soundfile.read(io.BytesIO(content), dtype="int16", always_2d=True)[0]


@needs_server
@pytest.mark.parametrize(("rate", "format", "suffix"), [(44100, "FLAC", "flac"), (16000, "WAV", "wav")])
def test_a_recording_comes_back_denoised_and_is_heard_beside_itself(
    server: AppServer, rate: int, format: str, suffix: str
) -> None:
    audio = np.stack([voice(1.3, rate, seed=1), hiss(1.3, rate, seed=2)], axis=1)
    content = encoded(audio, rate, format)
    key = server.upload(content, name=f"Größe talk.{suffix}").json()["key"]
    answer = server.finished(key)
    assert answer["state"] == "done"
    assert (answer["sample_rate"], answer["n_samples"], answer["channels"]) == (rate, len(audio), 2)

    response = server.ask("GET", f"/api/jobs/{key}/result")
    assert "filename*=UTF-8''Gr%C3%B6%C3%9Fe%20talk_denoised." in response.headers["content-disposition"]
    info = soundfile.info(io.BytesIO(response.content))
    assert (info.format, info.samplerate, info.frames, info.channels) == (format, rate, len(audio), 2)
    before, after = levels(content), levels(response.content)
    assert np.abs(after - before / 2).max() <= 1.01  # the model halves; one step for rounding

    piece = server.ask("GET", f"/api/jobs/{key}/audio?start=1000&count=500").content
    heard = np.frombuffer(piece, "<i2").reshape(-1, 4)
    assert np.array_equal(heard, np.concatenate([before, after], axis=1)[1000:1500])
    assert len(server.ask("GET", f"/api/jobs/{key}/audio?start={len(audio) - 3}&count=500").content) == 3 * 8
    assert server.ask("GET", f"/api/jobs/{key}/audio?start={len(audio)}&count=5").content == b""
    assert server.ask("GET", f"/api/jobs/{key}/audio?start=-1&count=5").content == b""
    assert server.ask("GET", f"/api/jobs/{key}/audio?start=x").status_code == 400

    assert len(answer["panels"]) == 3
    assert server.ask("GET", f"/api/jobs/{key}/picture").content.startswith(b"\x89PNG")
    assert server.ask("DELETE", f"/api/jobs/{key}").status_code == 204
    assert server.ask("GET", f"/api/jobs/{key}").status_code == 404
    assert list(server.folder.iterdir()) == []


@needs_server
def test_a_recording_of_a_phone_comes_back_as_wav(server: AppServer, tmp_path: Path) -> None:
    pytest.importorskip("av")
    audio = voice(1.3, 48000, seed=1)[:, None]
    content = coded(tmp_path / "memo.m4a", audio, "aac").read_bytes()
    assert server.ask("GET", "/api/settings").json()["media"]
    key = server.upload(content, name="memo.m4a").json()["key"]
    assert server.finished(key)["state"] == "done"
    response = server.ask("GET", f"/api/jobs/{key}/result")
    assert "memo_denoised.wav" in response.headers["content-disposition"]
    result = levels(response.content) / 32768
    assert abs(len(result) - len(audio)) <= 1024
    error = result[: len(audio)] - audio[: len(result)] / 2  # the model halves
    assert np.mean(error**2) < 0.01 * np.mean(audio**2)
    server.ask("DELETE", f"/api/jobs/{key}")


@needs_server
def test_strength_and_limit_are_those_of_the_denoiser(server: AppServer) -> None:
    content = encoded(hiss(0.5, 16000, seed=3), 16000)
    for query, factor in (({"strength": "0.5"}, 0.75), ({"max_attenuation_db": "0"}, 1.0)):
        key = server.upload(content, name="a.wav", **query).json()["key"]
        assert server.finished(key)["state"] == "done"
        result = levels(server.ask("GET", f"/api/jobs/{key}/result").content)
        assert np.abs(result - factor * levels(content)).max() <= 1.01
        server.ask("DELETE", f"/api/jobs/{key}")


@needs_server
@pytest.mark.parametrize(
    ("rate", "format", "subtype", "query", "factor"),
    [
        (8000, "WAV", "ULAW", {"enhance": "1"}, 0.75),  # half of it, then one and a half times that
        (22050, "FLAC", "PCM_16", {"enhance": "0.5", "strength": "0"}, 1.25),
        (96000, "WAV", "PCM_24", {"enhance": "1", "max_attenuation_db": "0"}, 1.5),
    ],
)
def test_an_enhanced_recording_has_the_enhancers_rate_and_is_heard_beside_itself(
    server: AppServer, rate: int, format: str, subtype: str, query: dict[str, str], factor: float
) -> None:
    audio = np.stack([voice(7.3, rate, seed=1), 0.5 * voice(7.3, rate, seed=2)], axis=1)[: 700_000 // 6]
    content = encoded(audio, rate, format, subtype)
    key = server.upload(content, name="talk.wav", **query).json()["key"]
    answer = server.finished(key)
    assert answer["state"] == "done"
    result = server.ask("GET", f"/api/jobs/{key}/result")
    assert "talk_enhanced." in result.headers["content-disposition"]
    info = soundfile.info(io.BytesIO(result.content))
    before = resample(soundfile.read(io.BytesIO(content), dtype="float32")[0], rate, 48000)
    assert (info.samplerate, info.frames, info.format) == (48000, len(before), format)
    assert info.subtype == ("PCM_16" if subtype == "ULAW" else subtype)
    assert (answer["sample_rate"], answer["n_samples"]) == (48000, len(before))
    after = soundfile.read(io.BytesIO(result.content), dtype="float32")[0]
    middle = slice(2000, -2000)  # a denoiser at 8 kHz has an end of its own to resample
    assert np.abs(after - factor * before)[middle].max() < 1e-3

    start = len(before) // 2
    piece = server.ask("GET", f"/api/jobs/{key}/audio?start={start}&count=4800").content
    heard = np.frombuffer(piece, "<i2").reshape(-1, 4) / 32768
    expected = np.concatenate([before, after], axis=1)[start : start + 4800]
    assert np.abs(heard - expected).max() < 2 / 32768
    assert len(answer["panels"]) == 3
    assert server.ask("GET", f"/api/jobs/{key}/picture").content.startswith(b"\x89PNG")
    assert server.ask("GET", f"/api/zip?key={key}").status_code == 200
    server.ask("DELETE", f"/api/jobs/{key}")
    assert list(server.folder.iterdir()) == []


@needs_server
def test_what_did_not_fit_the_file_is_told(server: AppServer) -> None:
    for peak, query, over_db in ((1.0, {"enhance": "1", "max_attenuation_db": "0"}, 3.5), (0.5, {}, None)):
        content = encoded(peak * np.sin(np.arange(24_000) / 10), 48000)
        key = server.upload(content, name="loud.wav", **query).json()["key"]
        assert server.finished(key)["clipped_db"] == over_db
        server.ask("DELETE", f"/api/jobs/{key}")


@needs_server
def test_a_kind_of_file_that_lacks_the_enhancers_rate_comes_back_as_wav(
    tmp_path: Path, settings: AppSettings
) -> None:
    enhancer = gain_enhancer(tmp_path / "odd", 1.0, sample_rate=44000)
    odd = AppSettings(models=settings.models, enhancer=enhancer, max_upload_mb=1.0)
    with app_server(tmp_path / "recordings", odd) as running:
        content = encoded(voice(1.0, 48000, seed=1), 48000, "OGG", "OPUS")
        key = running.upload(content, name="note.ogg", enhance="1").json()["key"]
        assert running.finished(key)["state"] == "done"
        header = running.ask("GET", f"/api/jobs/{key}/result").headers["content-disposition"]
        assert "note_enhanced.wav" in header


@needs_server
def test_without_an_enhancer_nothing_is_enhanced(tmp_path: Path, settings: AppSettings) -> None:
    plain = AppSettings(models=settings.models, max_upload_mb=1.0)
    with app_server(tmp_path / "recordings", plain) as running:
        assert running.ask("GET", "/api/settings").json()["enhancer"] is None
        response = running.upload(b"", enhance="0.5")
        assert (response.status_code, response.json()["error"]) == (400, "There is no enhancer here.")
        assert list(running.folder.iterdir()) == []


@needs_server
@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "talk.wav: is empty"),
        (b"this is no audio at all" * 50, "talk.wav: is not audio that can be read here"),
        (encoded(hiss(1, 8000, seed=1), 8000)[:-4000], "talk.wav: is cut short"),
        (encoded(np.zeros(8000 * 13), 8000, "FLAC"), "talk.wav is 0.2 minutes long; 0.2 minutes are allowed"),
        (encoded(np.zeros((800, 9)), 8000), "talk.wav has 9 channels"),
        (encoded(np.full(900, np.nan), 8000, "WAV", "FLOAT"), "talk.wav: sample 0"),
    ],
)
def test_what_can_not_be_denoised_gets_a_sentence(server: AppServer, content: bytes, sentence: str) -> None:
    answer = server.finished(server.upload(content, name="talk.wav").json()["key"])
    assert answer["state"] == "failed"
    assert sentence in answer["error"]
    assert str(server.folder.parent) not in answer["error"]
    assert list(server.folder.iterdir()) == []


@needs_server
def test_too_large_an_upload_is_refused_with_and_without_a_stated_length(server: AppServer) -> None:
    for body in (b"x" * 1_000_001, iter([b"x" * 300_000] * 4)):
        response = server.ask("POST", "/api/jobs?name=a.wav", data=body)
        assert response.status_code == 413
        assert response.json()["error"] == "The recording is larger than 1 MB, which is the limit here."
    # One that only claims to be is refused before it is sent.
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        lines = [
            "POST /api/jobs HTTP/1.1",
            "Host: 127.0.0.1",
            "X-Audenoise: 1",
            "Content-Length: 9999999999999",
        ]
        client.sendall("\r\n".join([*lines, "", ""]).encode())
        assert b" 413 " in client.recv(100)
    assert list(server.folder.iterdir()) == []


@needs_server
def test_an_upload_that_breaks_off_leaves_nothing(server: AppServer) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        lines = ["POST /api/jobs HTTP/1.1", "Host: 127.0.0.1", "X-Audenoise: 1", "Content-Length: 1000"]
        client.sendall("\r\n".join([*lines, "", "only this"]).encode())
    for _ in range(200):
        if not list(server.folder.iterdir()):
            break
        time.sleep(0.02)
    assert list(server.folder.iterdir()) == []


@needs_server
@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("model=../standard", "There is no such model here."),
        ("strength=1.5", "strength must be a number from 0 to 1."),
        ("strength=nan", "strength must be a number from 0 to 1."),
        ("max_attenuation_db=-1", "max_attenuation_db must be a number from 0 to 1000."),
        ("enhance=1.5", "enhance must be a number from 0 to 1."),
        ("enhance=", "enhance must be a number from 0 to 1."),
        ("max_attenuation_db=loud", "max_attenuation_db must be a number from 0 to 1000."),
    ],
)
def test_wrong_settings_get_a_sentence(server: AppServer, query: str, sentence: str) -> None:
    response = server.ask("POST", f"/api/jobs?{query}", data=b"")
    assert (response.status_code, response.json()["error"]) == (400, sentence)


@needs_server
@pytest.mark.parametrize("name", ["../../../evil.wav", "a\x00\r\nb.wav", "x" * 5000 + ".wav"])
def test_a_hostile_name_is_never_a_path(server: AppServer, name: str) -> None:
    before = sorted(server.folder.parent.parent.rglob("*"))
    key = server.upload(encoded(hiss(0.3, 16000, seed=1), 16000), name=name).json()["key"]
    answer = server.finished(key)
    assert answer["state"] == "done"
    assert answer["name"] == safe_name(name)
    (folder,) = server.folder.iterdir()
    assert {file.name for file in folder.iterdir()} == {"result.wav", "heard.flac", "picture.png"}
    header = server.ask("GET", f"/api/jobs/{key}/result").headers["content-disposition"]
    assert "/" not in header.replace("UTF-8''", "")
    assert len(header) < 400
    server.ask("DELETE", f"/api/jobs/{key}")
    assert sorted(server.folder.parent.parent.rglob("*")) == before


@needs_server
def test_no_file_of_the_server_can_be_reached(server: AppServer) -> None:
    host, port = server.address.removeprefix("http://").split(":")
    paths = ["/static/../settings.py", "/static/%2e%2e/settings.py", "/static//etc/passwd", "/static/app.py"]
    paths += ["/../pyproject.toml", "/api/jobs/../../etc/passwd/result", "/api/jobs/%2e%2e%2f%2e%2e/result"]
    for path in paths:
        with socket.create_connection((host, int(port)), timeout=10) as client:
            client.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            assert b" 404 " in client.recv(100), path


@needs_server
def test_other_sites_are_refused_and_the_page_is_whole_without_a_network(server: AppServer) -> None:
    get = requests.get
    assert get(server.address, headers={"Host": "evil.example"}, timeout=9).status_code == 403
    # What a form or a simple script of another site can send.
    assert requests.post(f"{server.address}/api/jobs", data=b"x", timeout=9).status_code == 403
    assert requests.delete(f"{server.address}/api/jobs/x", timeout=9).status_code == 403
    answer = requests.options(
        f"{server.address}/api/jobs", headers={"Origin": "http://evil.example"}, timeout=9
    )
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]
    page = get(server.address, timeout=9)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    for name in re.findall(r'(?:src|href)="/static/([^"]+)"', page.text):
        assert get(f"{server.address}/static/{name}", timeout=9).status_code == 200
    for file in PAGES.iterdir():
        links = re.findall(r"https?://[^\s\"']+", file.read_text(encoding="utf-8"))
        assert set(links) <= {"http://www.w3.org/2000/svg"}
    assert get(f"{server.address}/nothing", timeout=9).json() == {"error": "Not Found."}


@needs_server
def test_two_visitors_do_not_get_in_each_others_way(server: AppServer) -> None:
    contents = [encoded(hiss(2.0, 16000, seed=seed), 16000) for seed in (1, 2)]
    results: dict[int, bytes] = {}

    def visit(number: int) -> None:
        client = AppServer(server.address, server.folder)
        key = client.upload(contents[number], name="same.wav").json()["key"]
        client.finished(key)
        results[number] = client.ask("GET", f"/api/jobs/{key}/result").content
        client.ask("DELETE", f"/api/jobs/{key}")

    visitors = [threading.Thread(target=visit, args=(number,)) for number in (0, 1)]
    for visitor in visitors:
        visitor.start()
    for visitor in visitors:
        visitor.join(60)
    for number in (0, 1):
        assert np.abs(levels(results[number]) - levels(contents[number]) / 2).max() <= 1.01


@needs_server
def test_a_zip_has_every_result_under_a_name_of_its_own(server: AppServer) -> None:
    names = ["a/talk.wav", "b/talk.wav"]
    keys = [
        server.upload(encoded(hiss(0.3, 16000, seed=7), 16000), name=name).json()["key"] for name in names
    ]
    results = []
    for key in keys:
        server.finished(key)
        results.append(server.ask("GET", f"/api/jobs/{key}/result").content)
    response = server.ask("GET", f"/api/zip?key={keys[0]}&key={keys[1]}")
    with zipfile.ZipFile(io.BytesIO(response.content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["talk_denoised.wav", "talk_denoised (2).wav"]
        assert [archive.read(name) for name in archive.namelist()] == results
    assert server.ask("GET", "/api/zip").status_code == 400
    assert server.ask("GET", f"/api/zip?key={keys[0]}&key=other").status_code == 404
    assert server.ask("GET", "/api/zip?" + "&".join(f"key={i}" for i in range(4))).status_code == 400
    for key in keys:
        server.ask("DELETE", f"/api/jobs/{key}")


@needs_server
def test_the_end_of_the_server_removes_everything(tmp_path: Path, settings: AppSettings) -> None:
    with app_server(tmp_path / "recordings", settings) as running:
        key = running.upload(encoded(hiss(0.5, 16000, seed=1), 16000), name="a.wav").json()["key"]
        running.finished(key)
        assert list(running.folder.iterdir())
    assert not running.folder.exists()


class Worker:
    """Work that goes on until it is told what to do."""

    def __init__(self) -> None:
        self.started, self.go = threading.Event(), threading.Event()

    def __call__(self, job: Job) -> None:
        (job.folder / "result").write_bytes(b"x")
        self.started.set()
        while not self.go.wait(0.005):
            job.advance("working", 0.5)


def store_with(worker: object, folder: Path, settings: AppSettings) -> JobStore:
    folder.mkdir()
    return JobStore(settings, folder, worker, report=print)  # pyright: ignore[reportArgumentType]


def opened(store: JobStore) -> Job:
    return store.open("a.wav", "half", strength=1.0, max_attenuation_db=None)


def settled(condition: object) -> bool:
    for _ in range(500):
        if condition():  # pyright: ignore[reportCallIssue]
            return True
        time.sleep(0.01)
    return False


def test_cancelling_stops_the_work_and_removes_the_files(tmp_path: Path, settings: AppSettings) -> None:
    worker = Worker()
    store = store_with(worker, tmp_path / "jobs", settings)
    running, waiting = opened(store), opened(store)
    store.submit(running)
    store.submit(waiting)
    assert worker.started.wait(5)
    assert (store.ahead(running), store.ahead(waiting)) == (0, 1)
    assert store.remove(waiting.key)
    assert not waiting.folder.exists()
    assert store.remove(running.key)
    assert settled(lambda: not running.folder.exists())
    assert not store.remove(running.key)
    store.close()
    assert not (tmp_path / "jobs").exists()


def test_too_many_wait_no_longer(tmp_path: Path, settings: AppSettings) -> None:
    limited = AppSettings(models=settings.models, max_upload_mb=1.0, max_waiting=1)
    store = store_with(Worker(), tmp_path / "jobs", limited)
    opened(store)
    with pytest.raises(Busy, match="The server is busy: 1 recordings are waiting"):
        opened(store)
    store.close()


def test_what_nobody_asks_for_is_removed(tmp_path: Path, settings: AppSettings) -> None:
    brief = AppSettings(models=settings.models, max_upload_mb=1.0, keep_minutes=0.05 / 60)
    store = store_with(lambda _job: None, tmp_path / "jobs", brief)
    job = opened(store)
    store.submit(job)
    assert settled(lambda: job.state == DONE)
    store.expire()
    time.sleep(0.1)
    store.expire()
    assert store.find(job.key) is None
    assert not job.folder.exists()
    store.close()


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (DataError("a.wav is odd."), "a.wav is odd."),
        (OSError(28, "No space left on device"), "The server has no room left for this recording"),
        (ZeroDivisionError("secret /root/path"), "Something went wrong on the server"),
    ],
)
def test_every_failure_is_a_sentence(
    tmp_path: Path, settings: AppSettings, error: Exception, sentence: str
) -> None:
    def fail(_job: Job) -> None:
        raise error

    store = store_with(fail, tmp_path / "jobs", settings)
    job = opened(store)
    store.submit(job)
    assert settled(lambda: job.state == FAILED)
    assert sentence in job.error
    assert "/root" not in job.error
    store.close()


def test_a_cancelled_job_says_so() -> None:
    job = Job("key", Path("nowhere"), "a.wav", "half", 1.0, None)
    job.advance("reading", 2.0)
    assert job.progress == 1.0
    job.cancelled.set()
    with pytest.raises(Cancelled):
        job.advance("reading", 0.5)


def test_folders_of_killed_servers_are_removed_and_others_are_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    left, held, young = (tmp_path / f"audenoise-app-{name}" for name in ("left", "held", "young"))
    for folder in (left, held, young):
        (folder / "recordings").mkdir(parents=True)
    (tmp_path / "audenoise-app-link").symlink_to(tmp_path / "audenoise-app-young")
    for folder in (left, held):
        (folder / ".lock").touch()
        os.utime(folder, (0.0, time.time() - 3600))
    with only_one(held / ".lock", AudenoiseError("taken")), temporary_folder("audenoise-app-") as mine:
        assert mine.is_dir()
        if os.name == "posix":
            assert mine.stat().st_mode & 0o077 == 0
        assert not left.exists()
        assert held.is_dir()
        assert young.is_dir()
    assert not mine.exists()


def test_an_address_that_is_taken_is_one_line() -> None:
    with open_socket("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            AudenoiseError, match=rf"127\.0\.0\.1 port {port}: can't listen there .*choose another"
        ):
            open_socket("127.0.0.1", port)
    with pytest.raises(AudenoiseError, match="can't listen there"):
        open_socket("no.such.host.invalid", 0)


def test_settings_and_models_are_checked(settings: AppSettings) -> None:
    with pytest.raises(DataError, match="max_minutes must be above 0"):
        AppSettings(models=settings.models, max_minutes=0)
    with pytest.raises(ModelError, match="no model"):
        AppSettings()
    folder = next(iter(settings.models.values())).folder
    with pytest.raises(ModelError, match="has the same name"):
        offered_models((folder, folder))
    with pytest.raises(ModelError, match=r"half: metadata\.json: is no enhancer's; offer it with --model"):
        offered_enhancer(folder)
    assert settings.enhancer is not None
    with pytest.raises(ModelError, match=r"louder: .*is an enhancer's; offer it with --enhancer"):
        offered_models((settings.enhancer.folder,))


def test_what_is_bundled_is_offered_as_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audenoise.presets.models_folder", lambda: tmp_path)
    gain_model(tmp_path / "standard")
    gain_model(tmp_path / "large")
    assert offered_enhancer() is None
    gain_enhancer(tmp_path / "enhancer", 1.0)
    assert list(offered_models()) == ["large", "standard"]
    bundled = offered_enhancer()
    assert bundled is not None
    assert bundled.name == "enhancer"


def test_a_missing_extra_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert main(["app"]) == 1
    assert capsys.readouterr().err == (
        "audenoise: error: the web page needs starlette and uvicorn: pip install 'audenoise[app]'\n"
    )


@needs_server
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM to catch")
def test_the_command_serves_and_leaves_nothing_when_it_is_ended(
    tmp_path: Path, settings: AppSettings
) -> None:
    model = next(iter(settings.models.values())).folder
    command = [sys.executable, "-m", "audenoise", "app", "--port", "0", "--model", str(model)]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as process:
        line = process.stderr.readline() if process.stderr else ""
        address = re.search(r"http://127\.0\.0\.1:\d+", line)
        try:
            assert address
            answer = requests.post(
                f"{address[0]}/api/jobs?name=a.wav",
                data=encoded(hiss(9, 16000, seed=1), 16000),
                headers=ASKING,
                timeout=9,
            )
            assert answer.status_code == 201
            assert list(tmp_path.glob("audenoise-app-*/recordings/*"))
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 143
    assert list(tmp_path.glob("audenoise-app-*")) == []
