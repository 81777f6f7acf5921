"""The bundled model live: blocks of any size against the whole file, beginnings, hours, broken samples."""

import gc
import tracemalloc

import numpy as np
import pytest
from recordings import hiss, voice

from audenoise.denoiser import Denoiser
from audenoise.errors import SignalError
from audenoise.stream import DenoiserStream

RATES = [8000, 16000, 44100, 48000]
TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def denoiser() -> Denoiser:
    return Denoiser.from_preset(threads=1)


def noisy_voice(seconds: float, rate: int, *, seed: int = 0) -> np.ndarray:
    return 0.5 * voice(seconds, rate, seed=seed) + hiss(seconds, rate, seed=seed + 1)


def streamed(stream: DenoiserStream, audio: np.ndarray, block: int) -> np.ndarray:
    """What has come out after each block, without a flush: as live."""
    return np.concatenate([stream.process(audio[i : i + block]) for i in range(0, len(audio), block)])


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("block", [1, 7, 127, 256, 977, 7919, 10_000_000])
def test_any_block_is_the_whole_file_after_the_latency(denoiser: Denoiser, rate: int, block: int) -> None:
    audio = noisy_voice(0.4 if block == 1 else 1.5, rate)
    offline, stream = denoiser.denoise(audio, rate), denoiser.stream(rate)
    live = streamed(stream, audio, block)
    assert 0 <= len(audio) - len(live) <= stream.latency_samples
    np.testing.assert_allclose(live, offline[: len(live)], atol=TOLERANCE)
    rest = stream.flush()
    np.testing.assert_allclose(np.concatenate([live, rest]), offline, atol=TOLERANCE)


@pytest.mark.parametrize("rate", RATES)
def test_the_standard_model_looks_32_ms_back_and_never_ahead(denoiser: Denoiser, rate: int) -> None:
    stream = denoiser.stream(rate)
    assert denoiser.preset.context_right == 0
    assert stream.latency_samples / rate <= 0.0321
    # Truth, not the stated number: what comes after sample n + latency changes nothing up to sample n.
    audio, n = noisy_voice(1.0, rate), rate // 2
    changed = audio.copy()
    changed[n + stream.latency_samples :] = hiss(1.0, rate, seed=5)[n + stream.latency_samples :]
    first, second = denoiser.denoise(audio, rate), denoiser.denoise(changed, rate)
    np.testing.assert_allclose(first[:n], second[:n], atol=1e-6)
    assert np.abs(first - second).max() > 1e-2


@pytest.mark.parametrize("rate", RATES)
def test_nothing_is_heard_of_the_start(denoiser: Denoiser, rate: int) -> None:
    """No click and no burst while the states are new: not louder than what came in, silence stays silent."""
    audio = hiss(2.0, rate, seed=3)
    live = streamed(denoiser.stream(rate), audio, rate // 100)
    part = rate // 50
    levels = np.sqrt(np.square(live[: part * 20].reshape(20, part)).mean(axis=1))
    before = np.sqrt(np.square(audio[: part * 20].reshape(20, part)).mean(axis=1))
    assert (levels <= 1.05 * before).all()
    assert np.abs(live[: rate // 10]).max() <= np.abs(audio).max()
    late_start = np.concatenate([np.zeros(rate, np.float32), audio])
    live = streamed(denoiser.stream(rate), late_start, rate // 100)
    window = 2 * denoiser.preset.stft.win_length * rate // denoiser.preset.sample_rate
    assert not live[: rate - window].any()


def test_speech_is_there_from_the_start(denoiser: Denoiser) -> None:
    """Clean speech that begins with the first sample comes through as it does later."""
    speech = voice(4.0, 16000, seed=4)
    onset = int(np.argmax(np.abs(speech) > 0.1))
    at_once = streamed(denoiser.stream(16000), speech[onset:], 160)
    later = streamed(
        denoiser.stream(16000), np.concatenate([np.zeros(32000, np.float32), speech[onset:]]), 160
    )
    first, second = at_once[:8000], later[32000:40000]
    assert np.square(first - second).sum() < 0.1 * np.square(second).sum()


def endless(seconds: int, rate: int, seed: int) -> np.ndarray:
    """One part of a long recording: every tenth is silent, every seventh loud, the rest speech in noise."""
    if seed % 10 == 9:
        return np.zeros(seconds * rate, np.float32)
    return noisy_voice(seconds, rate, seed=seed) * (1.8 if seed % 7 == 6 else 0.3)


def test_a_long_stream_neither_grows_nor_drifts(denoiser: Denoiser) -> None:
    """Three minutes live; benchmarks/latency.py --parts hour does it for an hour."""
    rate, part_s, n_parts = 16000, 10, 18
    parts = [endless(part_s, rate, number) for number in range(12)]
    stream, sizes = denoiser.stream(rate), []
    received = sent = 0
    last = np.zeros(0, np.float32)
    tracemalloc.start()
    try:
        for number in range(n_parts):
            last = streamed(stream, parts[number % 12], 1600)
            received, sent = received + part_s * rate, sent + len(last)
            gc.collect()
            sizes.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    # Caches fill in the first minute; a leak goes on. 17 bytes a block would be seen.
    assert max(sizes[12:]) - max(sizes[6:12]) < 10_000
    assert 0 <= received - sent <= stream.latency_samples
    # Who has listened for long hears what someone hears who came 20 s ago: what differs is memory.
    fresh = denoiser.stream(rate)
    for number in (n_parts - 3, n_parts - 2):
        streamed(fresh, parts[number % 12], 1600)
    newcomer = streamed(fresh, parts[(n_parts - 1) % 12], 1600)
    assert np.square(newcomer - last).sum() < 2e-2 * np.square(last).sum()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", RATES)
def test_a_broken_block_is_refused_and_the_stream_goes_on(denoiser: Denoiser, rate: int, bad: float) -> None:
    audio, stream = noisy_voice(1.0, rate), denoiser.stream(rate)
    middle = rate // 3
    parts = [streamed(stream, audio[:middle], 500)]
    broken = audio[middle : middle + 300].copy()
    broken[17] = bad
    with pytest.raises(SignalError, match=f"sample {middle + 17} is NaN or infinite"):
        stream.process(broken)
    parts += [streamed(stream, audio[middle:], 500), stream.flush()]
    np.testing.assert_allclose(np.concatenate(parts), denoiser.denoise(audio, rate), atol=TOLERANCE)


def test_a_block_of_nothing_gives_what_is_ready(denoiser: Denoiser) -> None:
    stream = denoiser.stream(16000)
    assert stream.process(np.zeros(0, np.float32)).shape == (0,)
    assert stream.process(np.zeros((0, 1), np.float32)).shape == (0, 1)
    assert stream.flush().shape[0] == 0


def test_a_block_may_have_more_channels_than_samples(denoiser: Denoiser) -> None:
    stream = denoiser.stream(8000, 70)
    parts = [stream.process(np.zeros((count, 70), np.float32)) for count in (0, 3, 900)]
    assert sum(map(len, [*parts, stream.flush()])) == 903


def test_streams_of_one_denoiser_do_not_mix(denoiser: Denoiser) -> None:
    first, second = noisy_voice(1.0, 16000, seed=1), noisy_voice(1.0, 16000, seed=2)
    streams = [denoiser.stream(16000), denoiser.stream(16000)]
    parts: list[list[np.ndarray]] = [[], []]
    for start in range(0, 16000, 333):
        for stream, audio, out in zip(streams, (first, second), parts, strict=True):
            out.append(stream.process(audio[start : start + 333]))
    for stream, audio, out in zip(streams, (first, second), parts, strict=True):
        result = np.concatenate([*out, stream.flush()])
        np.testing.assert_allclose(result, denoiser.denoise(audio, 16000), atol=TOLERANCE)
