"""Listening tests in a headless Chromium. Skipped where there is none."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import browser, needs_browser, visitor

from audenoise.listening import Trial, read_answers, score_answers, write_page

pytestmark = needs_browser
RATE = 16000
LEVELS = {"noisy": 0.4, "model": 0.2, "clean": 0.1}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with browser() as running:
        yield running


def trials() -> list[Trial]:
    """Sines that only their level tells apart: what is heard tells what is behind a button."""
    time_s = np.arange(RATE)[:, np.newaxis] / RATE
    wave = np.sin(2 * np.pi * 500 * time_s).astype(np.float32)
    return [Trial(name, RATE, {key: a * wave for key, a in LEVELS.items()}, 0.0, -26.0) for name in "pq"]


def heard(page: Any) -> str:
    time.sleep(0.5)
    amplitude = (2 * page.evaluate("heardLevel()")) ** 0.5
    return min(LEVELS, key=lambda name: abs(LEVELS[name] - amplitude))


def finished(page: Any, folder: Path) -> Path:
    with page.expect_download() as download:
        page.click("#answers")
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_mushra_from_page_to_scores(chromium: Any, tmp_path: Path) -> None:
    write_page(tmp_path / "test.html", trials(), kind="mushra", reference="clean", title="Größe")
    given = {"noisy": 20, "model": 70, "clean": 100}
    address = (tmp_path / "test.html").as_uri()
    with visitor(chromium, address, width=375, height=740) as page:
        page.fill("#listener", "Ann B")
        page.click("#begin")
        for number in range(2):
            page.locator(f"#count:has-text('Question {number + 1} of 2')").wait_for()
            assert page.locator("#next").is_disabled()
            page.click("[data-slot=Reference]")
            assert heard(page) == "clean"
            for slot in "ABC":
                page.click(f"[data-slot={slot}]")
                name = heard(page)
                slider = page.locator(f"input[aria-label='Quality of {slot}']")
                slider.fill(str(given[name]))
            assert page.evaluate("document.documentElement.scrollWidth") == 375
            page.screenshot(path=tmp_path / "mushra.png", full_page=True)
            page.click("#next")
        answers = finished(page, tmp_path)
    assert answers.name.endswith("-Ann_B.json")
    result = score_answers(read_answers([answers]))
    assert {each.name: each.mean for each in result.conditions} == given
    assert sorted(trial["name"] for trial in json.loads(answers.read_text())["trials"]) == ["p", "q"]


def test_abx_from_page_to_scores(chromium: Any, tmp_path: Path) -> None:
    write_page(tmp_path / "test.html", trials(), kind="abx")
    with visitor(chromium, (tmp_path / "test.html").as_uri()) as page:
        page.click("#begin")
        for number in range(6):
            page.locator(f"#count:has-text('Question {number + 1} of 6')").wait_for()
            behind = {}
            for slot in "ABX":
                page.click(f"[data-slot={slot}]")
                behind[slot] = heard(page)
            assert behind["A"] != behind["B"]
            right = "A" if behind["X"] == behind["A"] else "B"
            # The last question is answered wrongly.
            page.check(f"input[value={right if number < 5 else 'AB'.replace(right, '')}]")
            page.click("#next")
        answers = finished(page, tmp_path)
    result = score_answers(read_answers([answers]))
    assert Counter(pair.total for pair in result.pairs) == {2: 3}
    assert sum(pair.correct for pair in result.pairs) == 5
