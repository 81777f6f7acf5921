"""One session: open the devices, show the levels, obey the keys, record, and end in good order."""

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from audenoise.audio import AudioWriter, shown
from audenoise.denoiser import Denoiser
from audenoise.errors import AudioFileError, DeviceError

from .devices import Device, channel_count, choose_device, choose_sample_rate
from .engine import LiveCounts, LiveEngine, block_samples, refuse_far_sighted
from .terminal import Keys, Meter

_LOOK_S = 0.05
_SILENT_DEVICE_S = 3.0
_FLOOR_POWER = 1e-12


@dataclass(frozen=True)
class LiveSetup:
    """What a session runs on; `set_up` makes it.

    Attributes
    ----------
    source, target : Device
        Microphone and speaker.
    source_channels, target_channels : int
        Opened of each.
    engine : LiveEngine
    """

    source: Device
    target: Device
    source_channels: int
    target_channels: int
    engine: LiveEngine


@dataclass(frozen=True)
class LiveReport:
    """What a session did.

    Attributes
    ----------
    duration_s : float
        Seconds of audio.
    delay_s : float
        From the sound card and back to it, at the end; more than was said at the start if the sound card's
        blocks were not as asked.
    counts : LiveCounts
    unrecorded_samples : int
        Heard but not written, as the disk was seconds behind.
    """

    duration_s: float
    delay_s: float
    counts: LiveCounts
    unrecorded_samples: int = 0


def set_up(
    denoiser: Denoiser,
    backend: Any,
    *,
    source: str | None = None,
    target: str | None = None,
    sample_rate: int | None = None,
    block_ms: float = 8.0,
    strength: float = 1.0,
    max_attenuation_db: float | None = None,
) -> LiveSetup:
    """Choose devices and a rate that suits both, and make the engine between them.

    Parameters
    ----------
    denoiser : Denoiser
    backend : module
        sounddevice, or something like it.
    source, target : str, optional
        Number, name or part of the name. Default: the system's.
    sample_rate : int, optional
        In Hz. Default: the microphone's own, or else the speaker's.
    block_ms : float, optional
        Length of the sound card's blocks; longer ones are safer on a busy machine, and later.
    strength, max_attenuation_db : optional
        As for `Denoiser.denoise`.

    Raises
    ------
    DeviceError
        If a device or a rate doesn't fit.
    SignalError
        If a parameter is out of range.
    ModelError
        If the model looks further ahead than anyone would wait.
    """
    refuse_far_sighted(denoiser)
    microphone = choose_device(backend, "input", source)
    speaker = choose_device(backend, "output", target)
    rate = choose_sample_rate(backend, microphone, speaker, wanted=sample_rate)
    engine = LiveEngine(
        denoiser,
        rate,
        block=block_samples(denoiser, rate, block_ms),
        strength=strength,
        max_attenuation_db=max_attenuation_db,
    )
    return LiveSetup(
        microphone,
        speaker,
        channel_count(backend, "input", microphone, sample_rate=rate),
        channel_count(backend, "output", speaker, sample_rate=rate),
        engine,
    )


def run_live(
    setup: LiveSetup,
    backend: Any,
    *,
    record: Path | None = None,
    overwrite: bool = False,
    keys: Keys | None = None,
    meter: Meter | None = None,
    report: Callable[[str], object] = print,
) -> LiveReport:
    """Denoise the microphone to the speaker until q, Ctrl-C or the loss of a device.

    Parameters
    ----------
    setup : LiveSetup
    backend : module
        sounddevice, or something like it.
    record : Path, optional
        Write what is heard to this file, in the format of its suffix. It appears at the end, also if that
        comes by Ctrl-C or by the loss of a device.
    overwrite : bool, optional
        Replace an existing file.
    keys : Keys, optional
        Default: those of standard input.
    meter : Meter, optional
        Default: on standard error.
    report : callable, optional
        Called once with a line on the delay.

    Raises
    ------
    DeviceError
        If a device can't be opened or goes away.
    AudioFileError
        If the recording can't be written.
    """
    engine = setup.engine
    writer = None
    if record is not None:
        writer = AudioWriter(
            record, sample_rate=engine.sample_rate, channels=1, overwrite=overwrite, irreplaceable=True
        )
    session = _Session(setup, backend, keys or Keys(), meter or Meter(sys.stderr), report)
    try:
        with _ended_by_signals(), writer or nullcontext():
            session.run(writer)
        # After the recording has got its name.
        if session.problem is not None:
            raise session.problem
    except AudioFileError as error:
        if writer is None or writer.kept is None:
            raise
        raise AudioFileError(f"{error} What was heard until then is in {shown(writer.kept)}.") from error
    counts, rate = engine.counts, engine.sample_rate
    return LiveReport(counts.samples / rate, engine.delay_samples / rate, counts, session.unrecorded_samples)


class _Session:
    def __init__(
        self,
        setup: LiveSetup,
        backend: Any,
        keys: Keys,
        meter: Meter,
        report: Callable[[str], object],
    ) -> None:
        self._setup, self._engine, self._backend = setup, setup.engine, backend
        self._keys, self._meter, self._report = keys, meter, report
        self._stream: Any = None
        self.problem: BaseException | None = None
        self.unrecorded_samples = 0
        self._recorded = setup.engine.delay_samples  # before it, nothing that came in has come out
        self._last_energies = (0.0, 0.0, 0)
        self._last_count, self._last_sign = 0, time.monotonic()

    def run(self, writer: AudioWriter | None) -> None:
        """Return when it is over; `problem` says if something is to be raised."""
        self._engine.start()
        try:
            with self._keys:
                self._open()
                self._last_sign = time.monotonic()
                while self._look():
                    self._record(writer)
        except KeyboardInterrupt:
            pass  # the usual way to end it
        except BaseException as error:  # raised later: first the recording gets its name
            self.problem = error
        finally:
            if self._stream is not None:
                # With a device that is gone, neither can be expected to work.
                self._stream.abort(ignore_errors=True)
                self._stream.close(ignore_errors=True)
            self._engine.stop()
            self._meter.close()
        if not isinstance(self.problem, AudioFileError):  # that is the writer's
            self._record(writer)
        if writer is not None and writer.n_written == 0 and self.problem is not None:
            raise self.problem

    def _open(self) -> None:
        setup, engine = self._setup, self._engine
        try:
            self._stream = self._backend.Stream(
                samplerate=engine.sample_rate,
                blocksize=engine.block,
                device=(setup.source.index, setup.target.index),
                channels=(setup.source_channels, setup.target_channels),
                dtype="float32",
                latency="low",
                callback=engine.callback,
            )
            self._stream.start()
        except (self._backend.PortAudioError, ValueError) as error:
            raise DeviceError(self._refused(error)) from error
        self._report(self._delay_line())

    def _refused(self, error: Exception) -> str:
        reason = " ".join(str(error.args[0] if error.args else error).split())
        source, target = self._setup.source, self._setup.target
        advice = "close other programs that use them"
        if source.system != target.system:
            advice = f"choose both from the same sound system ({source.system} or {target.system})"
        return f"{source} and {target} can't be opened together ({reason}); {advice}"

    def _delay_line(self) -> str:
        delay_ms = 1000 * self._engine.delay_samples / self._engine.sample_rate
        devices_ms = 1000 * float(sum(self._stream.latency))
        return (
            f"delay {delay_ms:.0f} ms here and {devices_ms:.0f} ms in the devices (their own word), "
            f"{delay_ms + devices_ms:.0f} ms in all"
        )

    def _look(self) -> bool:
        """Wait a moment, look after everything once; return whether to go on."""
        for key in self._keys.wait(_LOOK_S):
            if key in "qQ":
                return False
            if key in " bB":
                self._engine.bypassed = not self._engine.bypassed
        if self._engine.error is not None:
            raise self._engine.error
        counts, now = self._engine.counts, time.monotonic()
        if counts.blocks != self._last_count:
            self._last_count, self._last_sign = counts.blocks, now
        if not self._stream.active or now - self._last_sign > _SILENT_DEVICE_S:
            raise DeviceError(
                f"{self._setup.source} or {self._setup.target} stopped after "
                f"{counts.samples / self._engine.sample_rate:.0f} s; is it still connected?"
            )
        self._show(counts)
        return True

    def _show(self, counts: LiveCounts) -> None:
        energies = self._engine.energies
        n_samples = energies[2] - self._last_energies[2]
        if not n_samples:
            return
        levels = [
            10 * math.log10(max((energies[side] - self._last_energies[side]) / n_samples, _FLOOR_POWER))
            for side in (0, 1)
        ]
        self._last_energies = energies
        faults = counts.input_overflows + counts.output_underflows
        state = "bypassed" if self._engine.bypassed else "denoised"
        state += f"  {faults} xruns  {counts.late_blocks} late"
        if self._keys.available:
            state += "  (space: bypass, q: quit)"
        self._meter.show(input_db=levels[0], output_db=levels[1], state=state)

    def _record(self, writer: AudioWriter | None) -> None:
        if writer is None:
            return
        kept = self._engine.heard_kept
        if self._recorded < kept.start:
            self.unrecorded_samples += kept.start - self._recorded
            self._recorded = kept.start
        if kept.stop > self._recorded:
            writer.write(self._engine.heard(self._recorded, kept.stop - self._recorded))
            self._recorded = kept.stop


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let `kill` and a closed terminal unwind the stack: they would leave the terminal without an echo."""

    def end(number: int, _frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {name: signal.signal(getattr(signal, name), end) for name in names}
    try:
        yield
    finally:
        for name, handler in before.items():
            signal.signal(getattr(signal, name), handler)
