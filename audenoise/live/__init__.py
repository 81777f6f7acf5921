"""Microphone to speaker through a denoiser.

`set_up` chooses devices and makes a `LiveEngine`, whose callback the sound card's thread runs; `run_live`
opens the stream, looks after it and ends it in good order.
"""

from .devices import Device, choose_device, describe_devices, find_sounddevice
from .engine import LiveCounts, LiveEngine
from .session import LiveReport, LiveSetup, run_live, set_up

__all__ = [
    "Device",
    "LiveCounts",
    "LiveEngine",
    "LiveReport",
    "LiveSetup",
    "choose_device",
    "describe_devices",
    "find_sounddevice",
    "run_live",
    "set_up",
]
