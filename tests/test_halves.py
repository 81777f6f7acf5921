"""Graphs cut into two halves: the same results, by two threads, wherever there is enough to do."""

import threading
from collections import deque
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from architecture_specs import SPECS
from model_folders import cut_at_once
from recordings import hiss, voice

from audenoise import graph_halves, network
from audenoise.architectures import build_network
from audenoise.denoiser import Denoiser
from audenoise.errors import SignalError
from audenoise.graph_halves import halves_of
from audenoise.onnx_export import to_onnx
from audenoise.presets import GRAPH_FILE, load_preset
from audenoise.specs import parse_spec


def session_of(content: bytes) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def graph_of(name: str) -> bytes:
    if name == "standard model":
        return load_preset().read_file(GRAPH_FILE)
    return to_onnx(build_network(parse_spec({"name": name, **SPECS[name]}))).SerializeToString()


@pytest.mark.parametrize("name", ["standard model", *SPECS])
def test_two_halves_are_the_whole_and_share_no_state(name: str) -> None:
    content = graph_of(name)
    whole, halves = session_of(content), halves_of(content)
    recurrences = [node.op_type for node in onnx.load_from_string(content).graph.node].count("GRU")
    if recurrences < 2 or name == "bidirectional":  # the two of one block are side by side
        assert halves is None
        return
    assert halves is not None
    rng = np.random.default_rng(0)
    values: dict[str, np.ndarray] = {}
    for node in whole.get_inputs():
        sizes = [size if isinstance(size, int) else {"batch": 2, "frames": 9}[size] for size in node.shape]
        values[node.name] = rng.normal(0, 0.1, sizes).astype(np.float32)
        if node.name == "ahead":
            values[node.name] = np.array([3], np.int64)
    names = [node.name for node in whole.get_outputs()]
    expected = dict(zip(names, whole.run(names, values), strict=True))
    found = dict(values)
    for half in halves:
        results = session_of(half.content).run(
            list(half.outputs), {name: found[name] for name in half.inputs}
        )
        found |= dict(zip(half.outputs, results, strict=True))
    for output in names:
        np.testing.assert_array_equal(found[output], expected[output])
    early, late = ({each for each in half.inputs if each.endswith("_in")} for half in halves)
    assert not early & late
    assert early | late == values.keys() - {"noisy", "ahead"}
    for half in halves:  # a state comes out where it goes in
        assert {f"{each.removesuffix('_in')}_out" for each in half.inputs if each.endswith("_in")} == {
            each for each in half.outputs if each.endswith("_out")
        }
    counts = [
        [node.op_type for node in onnx.load_from_string(half.content).graph.node].count("GRU")
        for half in halves
    ]
    assert counts == [recurrences // 2, recurrences - recurrences // 2]


def test_the_list_of_networks_has_both_kinds() -> None:
    counts = [graph_of(name).count(b"GRU") for name in ("dilated", "full_band")]
    assert counts[0] == 0 < counts[1]


@pytest.fixture
def halved(monkeypatch: pytest.MonkeyPatch) -> tuple[Denoiser, set[str]]:
    """A denoiser that works in halves from the first block on, and the threads its second half ran in."""
    cut_at_once(monkeypatch, 0.0)
    finish, threads = network.Network.finish, set()

    def watched(*args: Any) -> np.ndarray:
        threads.add(threading.current_thread().name)
        return finish(*args)

    monkeypatch.setattr(network.Network, "finish", watched)
    return Denoiser.from_preset(threads=2), threads


@pytest.mark.parametrize(("rate", "channels"), [(16000, 1), (48000, 2), (22050, 1), (8000, 3)])
def test_two_threads_give_what_one_gives(halved: tuple[Denoiser, set[str]], rate: int, channels: int) -> None:
    audio = np.stack([voice(14.0, rate, seed=i) + hiss(14.0, rate, seed=9 + i) for i in range(channels)], 1)
    denoiser, threads = halved
    alone = Denoiser.from_preset(threads=1).denoise(audio, rate, strength=0.8)
    assert not threads
    np.testing.assert_allclose(denoiser.denoise(audio, rate, strength=0.8), alone, atol=1e-6)
    assert threads
    assert threading.current_thread().name not in threads


def test_a_whole_file_in_pieces_keeps_the_second_thread_busy(halved: tuple[Denoiser, set[str]]) -> None:
    rate, (denoiser, threads) = 16000, halved
    audio = voice(20.0, rate, seed=3) + hiss(20.0, rate, seed=4)
    alone = Denoiser.from_preset(threads=1).denoise(audio, rate)
    before = threading.active_count()
    stream = denoiser.stream(rate, block_s=None)
    for start in range(0, 8 * rate, 2 * rate):
        stream.process(audio[start : start + 2 * rate])
    assert threading.active_count() == before + 1
    stream.reset()
    assert threading.active_count() == before
    parts, late = [], 0
    for start in range(0, audio.size, 2 * rate):
        parts.append(stream.process(audio[start : start + 2 * rate]))
        late = max(late, start + 2 * rate - sum(part.size for part in parts))
    assert late > 2 * rate  # blocks are under way from one piece to the next
    assert late <= stream.latency_samples
    parts.append(stream.flush())
    np.testing.assert_allclose(np.concatenate(parts), alone, atol=1e-6)
    assert len(threads) == 1
    assert threading.active_count() == before


def test_the_graph_may_be_cut_while_a_file_is_on_its_way(monkeypatch: pytest.MonkeyPatch) -> None:
    rate, audio = 16000, voice(16.0, 16000, seed=5) + hiss(16.0, 16000, seed=6)
    expected = Denoiser.from_preset(threads=1).denoise(audio, rate)
    denoiser = Denoiser.from_preset(threads=2)
    stream = denoiser.stream(rate, block_s=None)
    parts = [stream.process(audio[: 7 * rate])]
    assert not denoiser._network.in_halves(1)
    cut_at_once(monkeypatch, 0.0)
    denoiser._network.expect(1.0)
    parts += [stream.process(audio[7 * rate :]), stream.flush()]
    assert denoiser._network.in_halves(1)
    np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-6)


def test_halves_and_whole_take_turns_in_one_stream(halved: tuple[Denoiser, set[str]]) -> None:
    rate, (denoiser, threads) = 16000, halved
    audio = voice(20.0, rate, seed=1) + hiss(20.0, rate, seed=2)
    stream, parts = denoiser.stream(rate), []
    for begin, end in ((0, 100), (100, 5 * rate), (5 * rate, 5 * rate + 7), (5 * rate + 7, 20 * rate)):
        parts.append(stream.process(audio[begin:end]))
    parts.append(stream.flush())
    assert threads
    np.testing.assert_allclose(np.concatenate(parts), denoiser.denoise(audio, rate), atol=1e-4)


def test_an_error_in_the_second_thread_is_raised_and_the_denoiser_stays_usable(
    halved: tuple[Denoiser, set[str]],
) -> None:
    rate, (denoiser, _) = 16000, halved
    audio = voice(8.0, rate, seed=1)
    expected, before = denoiser.denoise(audio, rate), threading.active_count()
    with pytest.raises(SignalError, match="too large"):
        denoiser.denoise(np.where(np.arange(audio.size) > 2 * rate, 3e38, audio).astype(np.float32), rate)
    assert threading.active_count() == before
    stream = denoiser.stream(rate, block_s=None)
    stream.process(audio)
    loud = [np.full(4 * rate, 3e38, np.float32)] * 4  # what is wrong with a block is found a few blocks later
    with pytest.raises(SignalError, match="too large"):
        deque(map(stream.process, loud))
    assert threading.active_count() == before
    np.testing.assert_array_equal(np.concatenate([stream.process(audio), stream.flush()]), expected)
    np.testing.assert_array_equal(denoiser.denoise(audio, rate), expected)


def test_a_graph_that_cannot_be_cut_stays_whole(
    halved: tuple[Denoiser, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(content: bytes) -> None:
        raise ValueError("an operator of others")

    monkeypatch.setattr(graph_halves, "halves_of", broken)
    (denoiser, threads), audio = halved, hiss(6.0, 16000, seed=1)
    expected = Denoiser.from_preset(threads=1).denoise(audio, 16000)
    np.testing.assert_allclose(denoiser.denoise(audio, 16000), expected, atol=1e-6)
    assert not threads


def test_a_graph_is_cut_once_enough_audio_has_come(monkeypatch: pytest.MonkeyPatch) -> None:
    cut_at_once(monkeypatch, 20.0)
    audio = hiss(8.0, 16000, seed=1)
    for threads, ends in ((2, [False, False, True]), (1, [False] * 3)):
        denoiser, in_blocks = Denoiser.from_preset(threads=threads), Denoiser.from_preset(threads=threads)
        found = []
        for _ in ends:
            denoiser.denoise(audio, 16000)
            in_blocks.stream(16000, block_s=None).process(audio)
            found.append([each._network.in_halves(1) for each in (denoiser, in_blocks)])
        assert found == [[end, end] for end in ends]
