"""A headless Chromium for tests, where there is one."""

import importlib
import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_ARGUMENTS = (
    "--no-sandbox",  # which a container doesn't allow
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
)
# What is heard, as the mean square of the last samples that go to the loudspeaker.
HEARING = """
const connect = AudioNode.prototype.connect;
AudioNode.prototype.connect = function (target, ...rest) {
  if (target instanceof AudioDestinationNode) {
    this.context.ear ??= new AnalyserNode(this.context, { fftSize: 8192 });
    connect.call(this, this.context.ear);
    window.heardLevel = () => {
      const samples = new Float32Array(8192);
      this.context.ear.getFloatTimeDomainData(samples);
      return samples.reduce((sum, x) => sum + x * x, 0) / samples.length;
    };
  }
  return connect.call(this, target, ...rest);
};
"""


def chromium() -> str | None:
    """Path of a Chromium: AUDENOISE_CHROMIUM, or one on the search path."""
    return os.environ.get("AUDENOISE_CHROMIUM") or next(filter(None, map(shutil.which, _NAMES)), None)


needs_browser = pytest.mark.skipif(
    importlib.util.find_spec("playwright") is None or chromium() is None,
    reason="no browser: pip install playwright, and install chromium or name one in AUDENOISE_CHROMIUM",
)


@contextmanager
def browser() -> Iterator[Any]:
    # By name, so that a type check does without it.
    sync_api = importlib.import_module("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium(), args=list(_ARGUMENTS))
        yield running
        running.close()


@contextmanager
def visitor(browser: Any, address: str, *, width: int = 1200, height: int = 900) -> Iterator[Any]:
    """A page that is open; at its end there must have been no error, and no request to another place."""
    context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
    page, problems = context.new_page(), []
    page.set_default_timeout(60_000)
    page.on("pageerror", lambda error: problems.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith((address, "data:", "blob:")) else problems.append(request.url)
        ),
    )
    page.add_init_script(HEARING)
    page.goto(address)
    yield page
    context.close()
    assert problems == []
