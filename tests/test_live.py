"""`audenoise live` with a sound card that is made up."""

import io
import itertools
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import model_folders
import numpy as np
import pytest
import soundfile
from fake_sounddevice import FakeSoundDevice, device
from hypothesis import given, settings
from hypothesis import strategies as st

from audenoise.audio import AudioWriter
from audenoise.cli import main
from audenoise.denoiser import Denoiser
from audenoise.errors import AudioFileError, DeviceError, ModelError, SignalError
from audenoise.live import LiveEngine, choose_device, describe_devices, run_live, session, set_up
from audenoise.live.devices import choose_sample_rate
from audenoise.live.engine import FADE_S, block_samples
from audenoise.live.ring import Ring
from audenoise.live.terminal import Keys, Meter

RATE = 16000


def noise(n_samples: int, *, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(n_samples)).astype(np.float32)


@pytest.fixture(scope="session")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    return Denoiser(model_folders.recurrent_model(tmp_path_factory.mktemp("live") / "recurrent"), threads=1)


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Denoiser:
    return Denoiser(model_folders.gain_model(tmp_path_factory.mktemp("live") / "half", 0.5), threads=1)


@pytest.fixture(autouse=True)
def in_the_callback(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by measurement, which on a busy machine may come out either way."""
    monkeypatch.setattr("audenoise.live.engine._SMALL_PART", 1e9)


def play(engine: LiveEngine, audio: np.ndarray, blocks: list[int], *, works: bool = True) -> np.ndarray:
    """What a sound card hears back that brings `audio` in these blocks, with the worker always in time."""
    heard, start = [], 0
    for frames in blocks:
        out = np.full((frames, 2), np.nan, np.float32)
        engine.callback(audio[start : start + frames, None], out, frames, None, None)
        if works:
            engine.work()
        assert engine.error is None
        np.testing.assert_array_equal(out[:, 0], out[:, 1])
        heard.append(out[:, 0])
        start += frames
    return np.concatenate(heard)


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100, 48000])
@pytest.mark.parametrize("block_ms", [1.0, 4.0, 8.0, 10.0, 13.7, 16.0, 50.0])
def test_what_is_heard_is_the_denoised_signal_after_the_stated_delay(
    denoiser: Denoiser, rate: int, block_ms: float, threaded: bool
) -> None:
    block = block_samples(denoiser, rate, block_ms)
    engine = LiveEngine(denoiser, rate, block=block, threaded=threaded)
    stated = engine.delay_samples
    audio = noise(rate)
    heard = play(engine, audio, [block] * (rate // block))
    assert engine.counts.late_blocks == 0
    assert engine.delay_samples == stated
    assert not heard[:stated].any()
    expected = denoiser.denoise(audio, rate)[: len(heard) - stated]
    np.testing.assert_allclose(heard[stated:], expected, atol=1e-6)


@pytest.mark.parametrize(
    ("block_ms", "delay_ms"), [(4.0, 32.0), (8.0, 32.0), (16.0, 32.0), (32.0, 48.0), (10.0, 40.0)]
)
@pytest.mark.parametrize("rate", [8000, 16000, 44100, 48000])
def test_delay_in_closed_form(half: Denoiser, rate: int, block_ms: float, delay_ms: float) -> None:
    """With a thread a block, and the window less what the blocks share with the hop of 16 ms."""
    block = block_samples(half, rate, block_ms)
    engine = LiveEngine(half, rate, block=block, threaded=True)
    assert 1000 * engine.delay_samples / rate == pytest.approx(delay_ms, abs=2.0 if rate == 44100 else 0.1)
    assert LiveEngine(half, rate, block=block, threaded=False).delay_samples == engine.delay_samples - block


def test_a_shorter_delay_would_not_do(denoiser: Denoiser) -> None:
    """Proof that the delay is the least that works."""
    for threaded in (False, True):
        engine = LiveEngine(denoiser, RATE, block=128, threaded=threaded)
        engine.delay_samples -= 1
        play(engine, noise(RATE), [128] * 100)
        assert engine.counts.late_blocks > 0


def test_a_network_that_takes_long_gets_a_thread(denoiser: Denoiser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audenoise.live.engine._SMALL_PART", 0.25)
    for cost_s, threaded in ((0.0, False), (0.01, True)):
        clock = SimpleNamespace(perf_counter=itertools.count(0.0, cost_s).__next__)
        monkeypatch.setattr("audenoise.live.engine.time", clock)
        assert LiveEngine(denoiser, RATE, block=128).threaded is threaded


@settings(max_examples=30, deadline=None)
@given(
    rate=st.sampled_from([8000, 16000, 44100]),
    odd=st.lists(st.integers(1, 3000), min_size=1, max_size=40),
    threaded=st.booleans(),
)
def test_odd_blocks_raise_the_delay_until_it_suffices(
    denoiser: Denoiser, rate: int, odd: list[int], threaded: bool
) -> None:
    engine = LiveEngine(denoiser, rate, block=100, threaded=threaded)
    play(engine, noise(sum(odd), seed=1), odd)
    late, delay, received = engine.counts.late_blocks, engine.delay_samples, engine.counts.samples
    assert delay >= (max(odd) if threaded else 0)
    audio = noise(3 * sum(odd), seed=2)
    heard = play(engine, audio, odd * 3)
    assert engine.delay_samples == delay
    assert engine.counts.late_blocks == late
    whole = np.concatenate([noise(sum(odd), seed=1), audio])
    expected = denoiser.denoise(whole, rate)
    numbers = np.arange(received - delay, received - delay + len(heard))
    # Right after a raise, the last samples of before are heard again, within a fade.
    settled = numbers >= round(FADE_S * rate)
    np.testing.assert_allclose(heard[settled], expected[numbers[settled]], atol=1e-6)


def test_bypass_changes_nothing_in_time_and_fades(half: Denoiser) -> None:
    engine, audio = LiveEngine(half, RATE, block=128), noise(128 * 300)
    delay, fade = engine.delay_samples, round(FADE_S * RATE)
    parts = [play(engine, audio[: 128 * 100], [128] * 100)]
    engine.bypassed = True
    parts.append(play(engine, audio[128 * 100 : 128 * 200], [128] * 100))
    engine.bypassed = False
    parts.append(play(engine, audio[128 * 200 :], [128] * 100))
    heard = np.concatenate(parts)
    gains = heard[delay:] / audio[:-delay]
    off, on = 128 * 100 - delay, 128 * 200 - delay
    np.testing.assert_allclose(gains[:off], 0.5, atol=1e-3)
    np.testing.assert_allclose(gains[off + fade : on], 1.0, atol=1e-3)
    np.testing.assert_allclose(gains[on + fade :], 0.5, atol=1e-3)
    steps = 0.5 + 0.5 * np.arange(1, fade + 1) / fade
    np.testing.assert_allclose(gains[off : off + fade], steps, atol=1e-3)
    np.testing.assert_allclose(gains[on : on + fade], 1.5 - steps, atol=1e-3)


def test_a_late_worker_lets_the_noisy_signal_through_and_moves_nothing(denoiser: Denoiser) -> None:
    engine, audio = LiveEngine(denoiser, RATE, block=128, threaded=True), noise(128 * 120)
    delay = engine.delay_samples
    first = play(engine, audio[: 128 * 50], [128] * 50)
    stalled = play(engine, audio[128 * 50 : 128 * 70], [128] * 20, works=False)
    engine.work()
    rest = play(engine, audio[128 * 70 :], [128] * 50)
    assert 10 < engine.counts.late_blocks <= 20
    heard, fade = np.concatenate([first, stalled, rest])[delay:], round(FADE_S * RATE)
    expected = denoiser.denoise(audio, RATE)[: len(heard)]
    np.testing.assert_allclose(heard[: 128 * 50 - delay], expected[: 128 * 50 - delay], atol=1e-6)
    noisy = slice(128 * 55 - delay, 128 * 70 - delay)
    np.testing.assert_array_equal(heard[noisy], audio[noisy])
    back = 128 * 70 - delay + fade
    np.testing.assert_allclose(heard[back:], expected[back:], atol=1e-6)
    assert engine.counts.skipped_samples == 0


def test_seconds_behind_the_worker_starts_afresh(denoiser: Denoiser) -> None:
    engine, audio = LiveEngine(denoiser, RATE, block=160, threaded=True), noise(RATE * 8)
    play(engine, audio[: RATE * 5], [160] * 500, works=False)
    engine.work()
    assert engine.counts.skipped_samples == RATE * 5
    heard = play(engine, audio[RATE * 5 :], [160] * 300)
    delay, fade = engine.delay_samples, round(FADE_S * RATE)
    np.testing.assert_array_equal(heard[:delay], audio[RATE * 5 - delay : RATE * 5])
    fresh = denoiser.denoise(audio[RATE * 5 :], RATE)
    np.testing.assert_allclose(heard[delay + 160 + fade :], fresh[160 + fade : len(heard) - delay], atol=1e-6)


def test_samples_that_are_none_are_silence(half: Denoiser) -> None:
    engine, audio = LiveEngine(half, RATE, block=128), noise(128 * 100)
    broken = audio.copy()
    broken[[1000, 2000, 3000]] = np.nan, np.inf, 1e30
    heard = play(engine, broken, [128] * 100)
    audio[[1000, 2000, 3000]] = 0.0
    delay = engine.delay_samples
    np.testing.assert_allclose(heard[delay:], 0.5 * audio[:-delay], atol=1e-6)
    assert engine.counts.bad_samples == 3


def test_faults_of_the_sound_card_are_counted(half: Denoiser) -> None:
    engine = LiveEngine(half, RATE, block=128)
    for overflow, underflow in ((True, False), (False, True), (False, True)):
        status = SimpleNamespace(input_overflow=overflow, output_underflow=underflow)
        engine.callback(np.zeros((128, 1), np.float32), np.zeros((128, 1), np.float32), 128, None, status)
    counts = engine.counts
    assert (counts.input_overflows, counts.output_underflows, counts.blocks) == (1, 2, 3)


def test_stereo_microphones_are_averaged(half: Denoiser) -> None:
    engine, audio = LiveEngine(half, RATE, block=256), noise(256 * 20)
    stereo, heard = np.stack([2 * audio, np.zeros_like(audio)], axis=1), []
    for start in range(0, len(audio), 256):
        out = np.zeros((256, 1), np.float32)
        engine.callback(stereo[start : start + 256], out, 256, None, None)
        engine.work()
        heard.append(out[:, 0])
    delay = engine.delay_samples
    np.testing.assert_allclose(np.concatenate(heard)[delay:], 0.5 * audio[:-delay], atol=1e-6)


def test_threads_give_the_same(denoiser: Denoiser) -> None:
    """The engine's own thread; the test waits for it as a sound card with time would."""
    engine, audio = LiveEngine(denoiser, RATE, block=256, threaded=True), noise(256 * 100)
    engine.start()
    heard = []
    for start in range(0, len(audio), 256):
        out = np.zeros((256, 1), np.float32)
        engine.callback(audio[start : start + 256, None], out, 256, None, None)
        heard.append(out[:, 0])
        end = time.monotonic() + 60
        while engine._position < start + 256 and time.monotonic() < end:
            time.sleep(0.0005)
    engine.stop()
    delay = engine.delay_samples
    expected = denoiser.denoise(audio, RATE)[: len(audio) - delay]
    np.testing.assert_allclose(np.concatenate(heard)[delay:], expected, atol=1e-6)


def test_parameters_out_of_range_are_refused(half: Denoiser) -> None:
    with pytest.raises(SignalError, match="block_ms"):
        block_samples(half, RATE, 0.5)
    with pytest.raises(SignalError, match="block must"):
        LiveEngine(half, RATE, block=0)
    with pytest.raises(SignalError, match="strength"):
        LiveEngine(half, RATE, block=128, strength=2.0)


@given(sizes=st.lists(st.integers(0, 150), max_size=30), back=st.integers(0, 100))
def test_ring_against_a_list(sizes: list[int], back: int) -> None:
    ring, everything = Ring(100), np.zeros(0, np.float32)
    for seed, size in enumerate(sizes):
        block = noise(size, seed=seed)
        ring.append(block)
        everything = np.concatenate([everything, block])
    assert ring.end == len(everything)
    start = ring.end - back
    padded = np.concatenate([np.zeros(100, np.float32), everything])
    np.testing.assert_array_equal(ring.read(start, back), padded[100 + start : 100 + ring.end])


def test_devices_are_listed_with_their_defaults() -> None:
    assert describe_devices(FakeSoundDevice()).splitlines() == [
        "0: Built-in Microphone (ALSA), 2 in, 48000 Hz, default input",
        "1: Built-in Speaker (ALSA), 2 out, 48000 Hz, default output",
        "2: USB Headset (ALSA), 1 in, 2 out, 16000 Hz",
        "3: USB Camera (ALSA), 2 in, 32000 Hz",
    ]


@pytest.mark.parametrize(
    ("side", "wanted", "index"),
    [
        ("input", None, 0),
        ("output", None, 1),
        ("input", "2", 2),
        ("output", "usb", 2),
        ("input", "  HEADSET ", 2),
        ("input", "usb camera", 3),
    ],
)
def test_devices_are_found(side, wanted: str | None, index: int) -> None:
    assert choose_device(FakeSoundDevice(), side, wanted).index == index


@pytest.mark.parametrize(
    ("side", "wanted", "says"),
    [
        ("input", "usb", r"'usb' fits several. Name one of: 2: USB Headset.*3: USB Camera"),
        ("input", "speaker", "'speaker' is no input device. Name one of: 0: Built-in Microphone"),
        ("output", "3", "'3' is no output device"),
        ("output", "", "is no output device"),
    ],
)
def test_devices_that_are_not_there(side, wanted: str, says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        choose_device(FakeSoundDevice(), side, wanted)


def test_one_device_in_two_sound_systems_is_the_default_systems() -> None:
    card = FakeSoundDevice([device("Mic", 1, 0, system=1), device("Mic", 1, 0, system=0)])
    assert choose_device(card, "input", "mic").index == 1


def test_no_devices() -> None:
    card = FakeSoundDevice([device("Speaker", 0, 2)])
    with pytest.raises(DeviceError, match="there is no input device"):
        choose_device(card, "input")
    with pytest.raises(DeviceError, match="no sound devices"):
        describe_devices(FakeSoundDevice([]))
    card = FakeSoundDevice()
    card.default.device = [-1, -1]
    with pytest.raises(DeviceError, match="no default input device; choose one with --input"):
        choose_device(card, "input")


def test_a_model_that_looks_seconds_ahead_is_for_files(half: Denoiser) -> None:
    for frames, refused in ((128, True), (20, False)):
        denoiser = Denoiser(replace(half.preset, context_right=frames), threads=1)
        with pytest.raises(ModelError, match=r"looks 2\.0 s ahead") if refused else nullcontext():
            set_up(denoiser, FakeSoundDevice())
    iterative = Denoiser(replace(half.preset, phase="griffin_lim"), threads=1)
    with pytest.raises(ModelError, match=r"looks .* s ahead, so it is for files"):
        set_up(iterative, FakeSoundDevice())


def test_the_rate_suits_both() -> None:
    card = FakeSoundDevice(rates={1: {44100, 48000}, 3: {16000, 32000, 44100}})
    camera, speaker = choose_device(card, "input", "3"), choose_device(card, "output", "1")
    headset = choose_device(card, "output", "2")
    assert choose_sample_rate(card, camera, speaker, wanted=44100) == 44100
    assert choose_sample_rate(card, camera, headset) == 32000
    assert choose_sample_rate(card, choose_device(card, "input", "2"), speaker) == 48000
    with pytest.raises(
        DeviceError, match=r"48000 Hz: USB Camera can't \(Invalid sample rate\).*32000 and 48000"
    ):
        choose_sample_rate(card, camera, speaker)
    with pytest.raises(DeviceError, match=r"8000 Hz: .*Built-in Speaker can't.*--sample-rate"):
        choose_sample_rate(card, headset, speaker, wanted=8000)


def test_channels_are_what_the_device_takes(half: Denoiser) -> None:
    setup = set_up(half, FakeSoundDevice(channels={0: {2}, 1: {6, 8}}, devices=[
        device("Microphone", 2, 0), device("Surround", 0, 8)
    ]))  # fmt: skip
    assert (setup.source_channels, setup.target_channels) == (2, 8)
    setup = set_up(half, FakeSoundDevice())
    assert (setup.source_channels, setup.target_channels) == (1, 2)


class ScriptedKeys(Keys):
    """Presses keys one after the other, each when so many samples have come."""

    def __init__(self, script: list[tuple[int, str]]) -> None:
        super().__init__(io.StringIO())
        self.script = script
        self.available = True
        self.engine: LiveEngine | None = None

    def wait(self, seconds: float) -> str:
        time.sleep(min(seconds, 0.005))
        if not self.script or self.engine is None or self.engine.counts.samples < self.script[0][0]:
            return ""
        key = self.script.pop(0)[1]
        if key == "^C":
            raise KeyboardInterrupt
        return key


def run(card: FakeSoundDevice, denoiser: Denoiser, script: list[tuple[int, str]], **options):
    keys, lines = ScriptedKeys(script), io.StringIO()
    setup = set_up(denoiser, card, source="2", target="2", block_ms=16)
    keys.engine = setup.engine
    said: list[str] = []
    report = run_live(setup, card, keys=keys, meter=Meter(lines), report=said.append, **options)
    return report, said, lines.getvalue()


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("end", ["q", "^C"])
def test_a_session_from_start_to_end(
    half: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, threaded: bool
) -> None:
    if threaded:
        monkeypatch.setattr("audenoise.live.engine._SMALL_PART", -1.0)
    delay = 512 if threaded else 256
    card, target = FakeSoundDevice(), tmp_path / "heard.wav"
    report, said, lines = run(card, half, [(8000, "b"), (16000, " "), (24000, end)], record=target)
    assert said == [
        f"delay {delay // 16} ms here and 30 ms in the devices (their own word), {delay // 16 + 30} ms in all"
    ]
    (stream,) = card.streams
    assert stream.closed
    assert stream.settings["channels"] == (1, 2)
    assert stream.settings["samplerate"] == RATE
    assert report.duration_s >= 1.5
    assert report.counts.blocks == len(stream.played)
    assert lines.startswith("in -20.0 dBFS, out")
    recorded, rate = soundfile.read(target, dtype="float32")
    assert rate == RATE
    played = np.concatenate(stream.played)[delay:, 0]
    np.testing.assert_allclose(recorded, played[: len(recorded)], atol=2**-15)
    assert len(played) == len(recorded)
    if report.counts.late_blocks == 0:
        assert np.median(recorded[2000:7000]) == pytest.approx(0.05, abs=1e-4)
    assert np.median(recorded[9000:15000]) == pytest.approx(0.1, abs=1e-4)


@pytest.mark.parametrize("gone", ["inactive", "silent"])
def test_a_device_that_goes_away_leaves_the_recording(
    half: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    monkeypatch.setattr(session, "_SILENT_DEVICE_S", 0.3)
    card, target = FakeSoundDevice(blocks=125, gone=gone), tmp_path / "heard.flac"
    with pytest.raises(DeviceError, match=r"2: USB Headset .*stopped after 2 s; is it still connected"):
        run(card, half, [], record=target)
    assert card.streams[0].closed
    assert soundfile.info(target).frames == 125 * 256 - 256
    assert list(tmp_path.iterdir()) == [target]


def test_a_device_that_can_not_be_opened(half: Denoiser, tmp_path: Path) -> None:
    card = FakeSoundDevice(refuses="Device unavailable")
    with pytest.raises(DeviceError, match=r"can't be opened together \(Device unavailable\); close other"):
        run(card, half, [], record=tmp_path / "heard.wav")
    assert not list(tmp_path.iterdir())
    mixed = FakeSoundDevice(
        [device("Mic", 1, 0, system=0), device("Speaker", 0, 2, system=1)], refuses="Illegal combination"
    )
    with pytest.raises(DeviceError, match=r"same sound system \(ALSA or JACK\)"):
        run_live(set_up(half, mixed), mixed, keys=ScriptedKeys([]), meter=Meter(io.StringIO()))


def test_a_defect_in_the_callback_or_the_worker_is_raised(half: Denoiser, tmp_path: Path) -> None:
    card = FakeSoundDevice()
    setup = set_up(half, card, source="2", target="2")
    setup.engine._stream.process = None  # type: ignore[method-assign]
    with pytest.raises(TypeError, match="not callable"):
        run_live(
            setup, card, keys=ScriptedKeys([]), meter=Meter(io.StringIO()), record=tmp_path / "heard.wav"
        )
    broken = set_up(half, FakeSoundDevice(), source="2", target="2").engine
    out = np.ones((10, 2), np.float32)
    broken.callback(np.zeros(10, np.float32), out, 10, None, None)
    assert isinstance(broken.error, IndexError)
    assert not out.any()


@pytest.mark.parametrize("trouble", ["disk", "name"])
def test_a_recording_outlives_what_goes_wrong_with_its_file(
    half: Denoiser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str
) -> None:
    target, card = tmp_path / "heard.wav", FakeSoundDevice()
    write = AudioWriter.write

    def failing(self: AudioWriter, block: np.ndarray) -> None:
        if trouble == "disk" and self.n_written > 8000:
            raise AudioFileError(f"{self.path}: the disk is full.")
        if trouble == "name":
            target.write_bytes(b"mine")
        write(self, block)

    monkeypatch.setattr(AudioWriter, "write", failing)
    with pytest.raises(AudioFileError, match="What was heard until then is in ") as caught:
        run(card, half, [(24_000, "q")], record=target)
    if trouble == "disk":
        assert list(tmp_path.iterdir()) == [target]
        kept = target
    else:
        assert target.read_bytes() == b"mine"
        (kept,) = tmp_path.glob("heard.unfinished-*.wav")
    assert str(kept) in str(caught.value)
    heard, rate = soundfile.read(kept)
    assert rate == RATE
    assert len(heard) > 8000


def test_an_existing_recording_is_kept(half: Denoiser, tmp_path: Path) -> None:
    target, card = tmp_path / "heard.wav", FakeSoundDevice()
    target.write_bytes(b"mine")
    with pytest.raises(AudioFileError, match="exists already"):
        run(card, half, [], record=target)
    assert target.read_bytes() == b"mine"
    assert not card.streams
    run(card, half, [(8000, "q")], record=target, overwrite=True)
    assert soundfile.info(target).frames >= 8000 - 512


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_meter_redraws_one_line_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    terminal, plain = Terminal(), io.StringIO()
    for target in (terminal, plain):
        meter = Meter(target)
        meter.show(input_db=-30.0, output_db=-90.0, state="denoised")
        meter.show(input_db=0.0, output_db=-60.0, state="bypassed")
        meter.close()
    assert plain.getvalue() == "in -30.0 dBFS, out -90.0 dBFS, denoised\n"
    _, first, second = terminal.getvalue().split("\r")
    assert first.startswith("in [######......] -30.0 out [............] -90.0 dBFS")
    assert second.startswith("in [############]   0.0 out [............] -60.0 dBFS")
    assert len(first) == 59
    assert second.endswith("\n")


def test_no_keys_without_a_terminal() -> None:
    with Keys(io.StringIO("q")) as keys:
        assert not keys.available
        assert keys.wait(0.0) == ""


def test_keys_on_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    pressed = list("bq")
    console = SimpleNamespace(kbhit=lambda: bool(pressed), getwch=lambda: pressed.pop(0))
    monkeypatch.setitem(sys.modules, "msvcrt", console)
    monkeypatch.setattr(sys, "platform", "win32")
    with Keys(Terminal()) as keys:
        assert [keys.wait(0.01) for _ in range(3)] == ["b", "q", ""]
    assert not keys.available


KEYS_SCRIPT = """
import os, signal, sys
from audenoise.live.terminal import Keys
from audenoise.live.session import _ended_by_signals
with _ended_by_signals(), Keys() as keys:
    print("ready", keys.available, flush=True)
    while (key := keys.wait(5.0)) != "x":
        print("key", repr(key), flush=True)
        if key == "k":
            os.kill(os.getpid(), signal.SIGTERM)
    raise RuntimeError("crash")
"""


@pytest.fixture
def terminal() -> Iterator[tuple[int, subprocess.Popen]]:
    pty = pytest.importorskip("pty")
    primary, secondary = pty.openpty()
    # In a session of its own, whose terminal this becomes by being opened.
    take = f"import os; os.setsid(); os.close(os.open(os.ttyname(0), os.O_RDWR))\n{KEYS_SCRIPT}"
    process = subprocess.Popen(
        [sys.executable, "-c", take], stdin=secondary, stdout=secondary, stderr=subprocess.DEVNULL
    )
    yield primary, process
    process.kill()
    process.wait()
    os.close(primary)
    os.close(secondary)


def read_until(descriptor: int, text: str) -> str:
    seen = ""
    while text not in seen:
        seen += os.read(descriptor, 1024).decode()
    return seen


@pytest.mark.parametrize(("key", "code"), [("x", 1), ("k", 128 + signal.SIGTERM)])
def test_the_terminal_is_as_before_after_a_crash_and_after_a_kill(terminal, key: str, code: int) -> None:
    import termios

    primary, process = terminal
    echo = termios.ECHO | termios.ICANON
    assert termios.tcgetattr(primary)[3] & echo == echo
    read_until(primary, "ready True")
    assert termios.tcgetattr(primary)[3] & echo == 0
    os.write(primary, b"b")
    read_until(primary, "key 'b'")
    os.write(primary, key.encode())
    assert process.wait(timeout=30) == code
    assert termios.tcgetattr(primary)[3] & echo == echo


@pytest.fixture
def model(tmp_path: Path) -> str:
    return str(model_folders.gain_model(tmp_path / "model", 0.5).folder)


def test_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, model: str
) -> None:
    card = FakeSoundDevice(blocks=60, status=SimpleNamespace(input_overflow=True, output_underflow=False))
    monkeypatch.setitem(sys.modules, "sounddevice", card)
    assert main(["live", "--list-devices"]) == 0
    assert "2: USB Headset" in capsys.readouterr().out
    command = ["live", "--model", model, "--input", "usb headset", "--output", "speaker", "--block-ms", "20"]
    target = tmp_path / "heard.wav"
    # The sound card goes away, which is an error; what was heard until then is kept.
    assert main([*command, "--sample-rate", "48000", "--record", str(target)]) == 1
    said = capsys.readouterr().err
    assert "from 2: USB Headset" in said
    assert "to 1: Built-in Speaker (ALSA), 48000 Hz" in said
    assert "delay 28 ms here and 30 ms in the devices" in said
    assert "error: 2: USB Headset (ALSA) or 1: Built-in Speaker (ALSA) stopped after 1 s" in said
    assert soundfile.info(target).frames == 60 * 960 - 48 * 28
    card.blocks = 1_000_000
    monkeypatch.setattr(session, "Keys", lambda: pressed)
    pressed = ScriptedKeys([(8000, "q")])
    real_set_up = set_up

    def remembered(*arguments, **options):
        setup = real_set_up(*arguments, **options)
        pressed.engine = setup.engine
        return setup

    monkeypatch.setattr("audenoise.live.set_up", remembered)
    assert main(command) == 0
    said = capsys.readouterr().err
    assert "input overflows, 0 output underflows; late:" in said


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--input", "kitchen"], 1, "error: --input 'kitchen' is no input device"),
        (["--sample-rate", "7"], 1, "sample_rate must be a whole number"),
        (["--block-ms", "0.2"], 2, "0.2 is not in the range"),
        (["--record", "talk.xyz"], 1, "talk.xyz: can't write this kind of file"),
    ],
)
def test_the_command_line_refuses(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    model: str,
    arguments: list[str],
    code: int,
    says: str,
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", FakeSoundDevice())
    assert main(["live", "--model", model, *arguments]) == code
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said


def test_without_sounddevice_or_portaudio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert main(["live", "--list-devices"]) == 1
    assert "pip install 'audenoise[live]'" in capsys.readouterr().err
    monkeypatch.delitem(sys.modules, "sounddevice")
    (tmp_path / "sounddevice.py").write_text("raise OSError('PortAudio library not found')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["live", "--list-devices"]) == 1
    assert "apt install libportaudio2" in capsys.readouterr().err
