"""A stand-in for sounddevice: devices that are made up, and a stream that a thread or the test drives."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class PortAudioError(Exception):
    pass


def device(name: str, inputs: int, outputs: int, *, rate: float = 48000.0, system: int = 0) -> dict[str, Any]:
    return {
        "name": name,
        "hostapi": system,
        "max_input_channels": inputs,
        "max_output_channels": outputs,
        "default_samplerate": rate,
    }


DEVICES = [
    device("Built-in Microphone", 2, 0),
    device("Built-in Speaker", 0, 2),
    device("USB Headset", 1, 2, rate=16000.0),
    device("USB Camera", 2, 0, rate=32000.0),
]


class FakeSoundDevice:
    """Has the part of the module sounddevice that audenoise uses.

    Parameters
    ----------
    devices : list of dict
    rates : dict
        Rates that a device can do by its number; without an entry any.
    microphone : callable
        Number of samples to what is heard, (samples,).
    pace_s : float
        Seconds from block to block.
    blocks : int
        After so many, the device is gone.
    gone : "inactive" or "silent"
        How that looks.
    """

    PortAudioError = PortAudioError

    def __init__(
        self,
        devices: list[dict[str, Any]] | None = None,
        *,
        rates: dict[int, set[int]] | None = None,
        channels: dict[int, set[int]] | None = None,
        microphone: Callable[[int], np.ndarray] | None = None,
        pace_s: float = 0.002,
        blocks: int = 1_000_000,
        gone: str = "inactive",
        refuses: str = "",
        status: Any = None,
    ) -> None:
        self.devices = DEVICES if devices is None else devices
        self.rates, self.channels = rates or {}, channels or {}
        self.default = SimpleNamespace(device=[0, 1], hostapi=0)
        self.microphone = microphone or (lambda n: np.full(n, 0.1, np.float32))
        self.pace_s, self.blocks, self.gone, self.refuses, self.status = pace_s, blocks, gone, refuses, status
        self.streams: list[FakeStream] = []

    def query_devices(self) -> list[dict[str, Any]]:
        return self.devices

    def query_hostapis(self) -> tuple[dict[str, Any], ...]:
        return ({"name": "ALSA"}, {"name": "JACK"})

    def check_input_settings(self, *, device: int, channels: int, dtype: str, samplerate: int) -> None:
        self._check(device, channels, samplerate, "max_input_channels")

    def check_output_settings(self, *, device: int, channels: int, dtype: str, samplerate: int) -> None:
        self._check(device, channels, samplerate, "max_output_channels")

    def _check(self, number: int, channels: int, rate: int, side: str) -> None:
        allowed = self.channels.get(number, set(range(1, self.devices[number][side] + 1)))
        if channels not in allowed:
            raise PortAudioError("Invalid number of channels", -9998)
        if number in self.rates and rate not in self.rates[number]:
            raise PortAudioError("Invalid sample rate", -9997)

    def Stream(self, **settings: Any) -> "FakeStream":
        if self.refuses:
            raise PortAudioError(self.refuses, -9985)
        stream = FakeStream(self, settings)
        self.streams.append(stream)
        return stream


class FakeStream:
    latency = (0.01, 0.02)

    def __init__(self, card: FakeSoundDevice, settings: dict[str, Any]) -> None:
        self.card, self.settings = card, settings
        self.active = self.closed = False
        self.played: list[np.ndarray] = []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stopped = threading.Event()

    def start(self) -> None:
        self.active = True
        self._thread.start()

    def _run(self) -> None:
        frames, (inputs, outputs) = self.settings["blocksize"], self.settings["channels"]
        for _ in range(self.card.blocks):
            if self._stopped.is_set():
                return
            heard = np.repeat(self.card.microphone(frames)[:, None], inputs, axis=1).astype(np.float32)
            played = np.full((frames, outputs), np.nan, np.float32)
            self.settings["callback"](heard, played, frames, None, self.card.status)
            self.played.append(played)
            time.sleep(self.card.pace_s)
        self.active = self.card.gone != "inactive"

    def abort(self, ignore_errors: bool = True) -> None:
        self._stopped.set()
        self._thread.join()

    def close(self, ignore_errors: bool = True) -> None:
        self.closed = True
