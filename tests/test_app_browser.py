"""The web page in a headless Chromium. Skipped where there is none."""

import importlib.util
import io
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from app_server import AppServer, app_server
from browser import browser, needs_browser, visitor
from model_folders import gain_enhancer, gain_model
from recordings import hiss

from audenoise.app import AppSettings, offered_enhancer, offered_models
from audenoise.audio import resample

pytestmark = [
    needs_browser,
    pytest.mark.skipif(importlib.util.find_spec("uvicorn") is None, reason="pip install 'audenoise[app]'"),
]
ALL_DONE = "#list:not(:has(progress:not([hidden])))"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppServer]:
    folder = tmp_path_factory.mktemp("app")
    for name, gain in (("half", 0.5), ("mute", 0.0)):
        gain_model(folder / name, gain)
    models = offered_models((folder / "half", folder / "mute"))
    gain_enhancer(folder / "louder", 2.0)
    settings = AppSettings(
        models=models,
        enhancer=offered_enhancer(folder / "louder"),
        max_upload_mb=1.0,
        max_minutes=1.0,
        max_files=3,
    )
    with app_server(folder / "recordings", settings) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


def upload_of(name: str, seconds: float = 4.0, rate: int = 16000) -> dict[str, Any]:
    file = io.BytesIO()
    soundfile.write(file, hiss(seconds, rate, seed=len(name)), rate, format="WAV")
    return {"name": name, "mimeType": "audio/wav", "buffer": file.getvalue()}


def give(page: Any, *files: dict[str, Any]) -> None:
    page.locator("#limits:not(:empty)").wait_for()
    page.set_input_files("#files", list(files))


def heard_level(page: Any) -> float:
    """The highest of some readings: a busy machine leaves gaps. Right from one level to a louder one."""
    readings = []
    for _ in range(12):
        time.sleep(0.15)  # in all, past the cross-fade and the analyser's window of half a second
        readings.append(page.evaluate("heardLevel()"))
    return max(readings)


def test_upload_denoise_play_switch_and_download(server: AppServer, chromium: Any) -> None:
    file = upload_of("my talk.wav", 20.0)
    with visitor(chromium, server.address) as page:
        give(page, file)
        page.click("#play")
        page.locator("#play:has-text('Pause')").wait_for()
        after = heard_level(page)
        at, began = clock(page), time.monotonic()
        page.keyboard.press("b")
        assert 0 <= clock(page) - at <= time.monotonic() - began + 0.2  # the place isn't lost
        before = heard_level(page)
        assert after > 1e-5
        assert before / after == pytest.approx(4.0, rel=0.15)  # the model halves: a quarter of the power
        page.click("#play")
        stopped = clock(page)
        time.sleep(0.3)
        assert clock(page) == stopped

        page.locator("#pictures:not([hidden])").wait_for()
        panel = page.locator("#heads > div").nth(1)
        panel.click(position={"x": 0.75 * panel.bounding_box()["width"], "y": 9})
        assert clock(page) == pytest.approx(15.0, abs=0.11)

        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename == "my talk_denoised.wav"
        result, _ = soundfile.read(download.value.path(), dtype="int16")
        given, _ = soundfile.read(io.BytesIO(file["buffer"]), dtype="int16")
        assert np.abs(result - given / 2).max() <= 1.01

        page.select_option("#model", "mute")
        page.click("#again")
        page.locator("#listen[hidden]").wait_for(state="attached")
        page.locator(ALL_DONE).wait_for()
        with page.expect_download() as download:
            page.click("#download")
        assert not soundfile.read(download.value.path(), dtype="int16")[0].any()
        page.close(run_before_unload=True)  # as a person does, with what the page does at its end
        for _ in range(200):
            if not list(server.folder.iterdir()):
                break
            time.sleep(0.05)
        assert list(server.folder.iterdir()) == []


def test_enhancing_is_a_choice_and_is_heard_in_step_at_another_rate(
    server: AppServer, chromium: Any, tmp_path: Path
) -> None:
    file = upload_of("call.wav", 12.0)
    with visitor(chromium, server.address, width=375, height=740) as page:
        page.locator("#limits:not(:empty)").wait_for()
        assert page.inner_text("#amount-value") == "off"
        assert page.locator("#amount").is_disabled()
        assert "48 kHz" in page.inner_text("#enhancer-about")
        page.check("#enhance")
        page.locator("#amount").fill("50")
        assert page.inner_text("#amount-value") == "50 %"
        give(page, file)
        page.locator(ALL_DONE).wait_for()
        assert page.locator("#list .said").inner_text() == "done, 0:12.0"
        with page.expect_download() as download:
            page.click("#download")
        assert download.value.suggested_filename == "call_enhanced.wav"
        result, rate = soundfile.read(download.value.path(), dtype="float32")
        given = resample(soundfile.read(io.BytesIO(file["buffer"]), dtype="float32")[0], 16000, 48000)
        assert (rate, len(result)) == (48000, len(given))
        assert np.abs(result - 0.75 * given).max() < 1e-3  # half of it, and half-way to twice that
        page.click("#play")
        page.locator("#play:has-text('Pause')").wait_for()
        after = heard_level(page)
        page.keyboard.press("b")
        assert heard_level(page) / after == pytest.approx(1 / 0.75**2, rel=0.15)
        page.locator("#pictures:not([hidden])").wait_for()
        assert page.locator("#heads > div").count() == 3
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        page.screenshot(path=tmp_path / "enhanced.png", full_page=True)


def test_where_there_is_no_enhancer_there_is_no_such_choice(chromium: Any, tmp_path: Path) -> None:
    gain_model(tmp_path / "half", 0.5)
    plain = AppSettings(models=offered_models((tmp_path / "half",)))
    with app_server(tmp_path / "recordings", plain) as running, visitor(chromium, running.address) as page:
        page.locator("#limits:not(:empty)").wait_for()
        assert not page.locator("#enhance").is_visible()
        assert page.locator("#strength").is_visible()


def clock(page: Any) -> float:
    minutes, seconds = page.inner_text("#time").split(" / ")[0].split(":")
    return 60 * int(minutes) + float(seconds)


def test_bad_and_oversized_files_are_sentences_and_the_others_come_as_a_zip(
    server: AppServer, chromium: Any, tmp_path: Path
) -> None:
    with visitor(chromium, server.address, width=375, height=740) as page:
        large = {"name": "large.wav", "mimeType": "audio/wav", "buffer": b"x" * 1_200_000}
        bad = {"name": "<b>no.wav", "mimeType": "audio/wav", "buffer": b"nothing" * 99}
        give(page, large, bad, upload_of("good.wav", 1.0))
        page.locator(ALL_DONE).wait_for()
        said = [each.inner_text() for each in page.locator("#list .said").all()]
        assert said[0] == "large.wav is 1.2 MB; 1 MB are allowed here."
        assert said[1].startswith("bno.wav: is not audio that can be read here.")
        assert page.locator("#list .name").nth(1).inner_text() == "<b>no.wav"
        give(page, upload_of("more.wav"))
        assert page.inner_text("#problem") == "3 recordings are allowed at a time; 4 would be here."
        for _ in range(2):
            page.locator("#list li button:has-text('Remove')").first.click()
        give(page, upload_of("good.wav", 1.0))
        page.locator(ALL_DONE).wait_for()
        with page.expect_download() as download:
            page.click("#zip")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert archive.namelist() == ["good_denoised.wav", "good_denoised (2).wav"]
        # On a phone nothing is wider than the screen.
        assert page.evaluate("document.documentElement.scrollWidth") == 375
        page.screenshot(path=tmp_path / "phone.png", full_page=True)


def test_two_people_at_once_and_a_recording_from_the_microphone(server: AppServer, chromium: Any) -> None:
    with visitor(chromium, server.address) as first, visitor(chromium, server.address) as second:
        give(first, upload_of("first.wav", 30.0))
        give(second, upload_of("second.wav"))
        first.locator("#listen:not([hidden])").wait_for()
        second.locator(ALL_DONE).wait_for()
        assert [page.inner_text("#playing") for page in (first, second)] == ["first.wav", "second.wav"]
        second.click("#record")
        second.locator("#record.recording").wait_for()
        time.sleep(1.0)
        second.click("#record")
        second.locator("#list li:nth-child(2)").wait_for()
        second.locator(ALL_DONE).wait_for()
        said = second.locator("#list .said").nth(1).inner_text()
        assert said.startswith("done, 0:0")


def test_cancelling_removes_the_recording(server: AppServer, chromium: Any) -> None:
    with visitor(chromium, server.address) as page:
        give(page, upload_of("a.wav", 30.0), upload_of("b.wav", 1.0))
        page.locator("#list li button:has-text('Cancel')").first.click()
        page.locator(ALL_DONE).wait_for()
        assert page.locator("#list .name").all_inner_texts() == ["b.wav"]
