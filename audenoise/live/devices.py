"""Which microphone and which speaker, found through sounddevice (PortAudio)."""

from dataclasses import dataclass
from typing import Any, Literal

from audenoise.errors import AudenoiseError, DeviceError

Side = Literal["input", "output"]
_SHOWN = 8


@dataclass(frozen=True)
class Device:
    """A sound device as one side of a stream.

    Attributes
    ----------
    index : int
        The sound system's number for it.
    name, system : str
        Its name, and that of the sound system (ALSA, Core Audio, WASAPI, ...) through which it is reached.
    channels : int
        Of this side, at most.
    sample_rate : int
        Its own, in Hz.
    """

    index: int
    name: str
    system: str
    channels: int
    sample_rate: int

    def __str__(self) -> str:
        return f"{self.index}: {self.name} ({self.system})"


def find_sounddevice() -> Any:
    """Import sounddevice.

    Raises
    ------
    AudenoiseError
        If it or the PortAudio library is missing; says what to install.
    """
    try:
        import sounddevice
    except ImportError as error:
        raise AudenoiseError("live needs the package sounddevice: pip install 'audenoise[live]'") from error
    except OSError as error:
        raise AudenoiseError(
            "sounddevice finds no PortAudio library. Install it: apt install libportaudio2, "
            "dnf install portaudio, or brew install portaudio"
        ) from error
    return sounddevice


def choose_device(backend: Any, side: Side, wanted: str | None = None) -> Device:
    """Find a device by its number, by its name or by a part of the name that only one device has.

    Parameters
    ----------
    backend : module
        sounddevice, or something like it.
    side : "input" or "output"
    wanted : str, optional
        Default: the system's default device.

    Raises
    ------
    DeviceError
        If there is none, or more than one.
    """
    devices = _devices(backend, side)
    if not devices:
        raise DeviceError(f"there is no {side} device; connect one, and check that the system shows it")
    if wanted is None:
        number = _default_index(backend, side)
        default = next((device for device in devices if device.index == number), None)
        if default is None:
            raise DeviceError(
                f"the system has no default {side} device; choose one with --{side} from --list-devices"
            )
        return default
    if wanted.strip().isdigit():
        found = [device for device in devices if device.index == int(wanted)]
    else:
        text = " ".join(wanted.lower().split())
        named = [(" ".join(device.name.lower().split()), device) for device in devices]
        found = [device for name, device in named if name == text]
        found = found or [device for name, device in named if text and text in name]
    if len(found) > 1:
        # The same microphone is there once for each sound system: the default system's is meant.
        system = _default_system(backend)
        found = [device for device in found if device.system == system] if _same_name(found) else found
    if len(found) == 1:
        return found[0]
    shown = "; ".join(str(device) for device in (found or devices)[:_SHOWN])
    reason = "fits several" if found else f"is no {side} device"
    raise DeviceError(f"--{side} {wanted!r} {reason}. Name one of: {shown}")


def choose_sample_rate(backend: Any, source: Device, target: Device, *, wanted: int | None = None) -> int:
    """Find a rate that both devices can do: the one wanted, or the input's or the output's own.

    Raises
    ------
    DeviceError
        If there is none, with the rates to try.
    """
    candidates = [wanted] if wanted else list(dict.fromkeys([source.sample_rate, target.sample_rate]))
    problems = []
    for rate in candidates:
        problems = [
            f"{device.name} can't ({_reason(error)})"
            for side, device in (("input", source), ("output", target))
            if (error := _refusal(backend, side, device, rate)) is not None
        ]
        if not problems:
            return rate
    advice = f"their own rates are {source.sample_rate} and {target.sample_rate} Hz; try --sample-rate"
    raise DeviceError(f"{candidates[-1]} Hz: {'; '.join(problems)}. {advice}")


def channel_count(backend: Any, side: Side, device: Device, *, sample_rate: int) -> int:
    """Channels to open: one microphone channel and two of the speaker where the device lets us choose."""
    wanted = (1, device.channels) if side == "input" else (min(2, device.channels), device.channels, 1)
    check = getattr(backend, f"check_{side}_settings")
    for channels in dict.fromkeys(wanted):
        try:
            check(device=device.index, channels=channels, dtype="float32", samplerate=sample_rate)
        except (backend.PortAudioError, ValueError):
            continue
        return channels
    return wanted[0]


def describe_devices(backend: Any) -> str:
    """One line for each device: number, name, channels in and out, own rate; the defaults are marked.

    Raises
    ------
    DeviceError
        If there is none.
    """
    both: tuple[Side, Side] = ("input", "output")
    sides = {side: _devices(backend, side) for side in both}
    defaults = {side: _default_index(backend, side) for side in both}
    everything = {device.index: device for devices in sides.values() for device in devices}
    if not everything:
        raise DeviceError("there are no sound devices; connect one, and check that the system shows it")
    lines = []
    for index, device in sorted(everything.items()):
        counts = [
            f"{entry.channels} {'in' if side == 'input' else 'out'}"
            for side, devices in sides.items()
            for entry in devices
            if entry.index == index
        ]
        marks = [f"default {side}" for side, default in defaults.items() if default == index]
        lines.append(", ".join([str(device), *counts, f"{device.sample_rate} Hz", *marks]))
    return "\n".join(lines)


def _devices(backend: Any, side: Side) -> list[Device]:
    try:
        entries, systems = list(backend.query_devices()), list(backend.query_hostapis())
    except backend.PortAudioError as error:
        raise DeviceError(f"the sound system can't be asked for its devices ({_reason(error)})") from error
    return [
        Device(
            index=number,
            name=entry["name"],
            system=systems[entry["hostapi"]]["name"],
            channels=entry[f"max_{side}_channels"],
            sample_rate=round(entry["default_samplerate"]),
        )
        for number, entry in enumerate(entries)
        if entry[f"max_{side}_channels"] > 0
    ]


def _default_index(backend: Any, side: Side) -> int:
    # Numbers, or whatever the user of the library has set; -1 where there is none.
    chosen = backend.default.device[0 if side == "input" else 1]
    return chosen if isinstance(chosen, int) else -1


def _default_system(backend: Any) -> str:
    number = backend.default.hostapi
    systems = list(backend.query_hostapis())
    return systems[number]["name"] if isinstance(number, int) and 0 <= number < len(systems) else ""


def _same_name(devices: list[Device]) -> bool:
    # Windows' MME cuts names off at 31 characters.
    return len({device.name[:31] for device in devices}) == 1


def _refusal(backend: Any, side: str, device: Device, sample_rate: int) -> Exception | None:
    check = getattr(backend, f"check_{side}_settings")
    refusal = None
    for channels in dict.fromkeys((1, min(2, device.channels), device.channels)):
        try:
            check(device=device.index, channels=channels, dtype="float32", samplerate=sample_rate)
        except (backend.PortAudioError, ValueError) as error:
            refusal = error
        else:
            return None
    return refusal


def _reason(error: Exception) -> str:
    text = str(error.args[0]) if error.args else str(error)
    return " ".join(text.split()).rstrip(".")
