"""A network whose recurrences run backwards too: its blocks keep states and are shown what comes."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from architecture_specs import SPECS
from model_folders import cut_at_once, published
from recordings import hiss, voice

import audenoise.stream
from audenoise.architectures import build_network
from audenoise.architectures.summary import context_frames
from audenoise.denoiser import Denoiser
from audenoise.errors import ModelError
from audenoise.exporting import export_model
from audenoise.layers import to_numpy
from audenoise.network import Network
from audenoise.presets import Preset, write_metadata
from audenoise.specs import ModelSpec, parse_spec, spec_to_dict

RATE = 16000


def spec_of(**keys: object) -> ModelSpec:
    both = SPECS["full_band"]
    return parse_spec(
        {**both, "causal": False, "bottleneck": {**both["bottleneck"], "bidirectional": True, **keys}}
    )


def seeing_frames_around(spec: ModelSpec) -> ModelSpec:
    """With kernels over several frames beside the recurrences, to both sides alike or not."""
    data = spec_to_dict(spec)
    for stage, frames in zip(data["encoder"], (4, 3), strict=True):
        stage["kernel"][0] = frames
    return parse_spec(data)


@pytest.fixture(scope="module", params=["one frame", "several frames"])
def preset(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Preset:
    """Untrained; what runs forwards remembers for long, what runs backwards doesn't."""
    spec = spec_of(blocks=2)
    if request.param == "several frames":
        spec = seeing_frames_around(spec)
    keras.utils.set_random_seed(3)
    network, rng = build_network(spec), np.random.default_rng(0)
    for weight in network.weights:
        if "moving" not in weight.path:
            weight.assign(to_numpy(weight) + 0.2 * rng.standard_normal(weight.shape))
        if weight.path.endswith("gru_cell/bias"):
            value = to_numpy(weight).copy()
            # Of the update gates: how much of the state is kept.
            value[:, : value.shape[1] // 3] += -1.5 if "backward" in weight.path else 1.5
            weight.assign(value)
    return published(spec, tmp_path_factory.mktemp("ahead") / "model", network)


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    return (0.5 * voice(9.0, RATE, seed=0) + hiss(9.0, RATE, seed=1)).astype(np.float32)


@pytest.fixture(scope="module")
def whole(preset: Preset, audio: np.ndarray) -> np.ndarray:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(audenoise.stream, "_CONTEXTS_PER_BLOCK", 1000)
        return Denoiser(preset, threads=1).denoise(audio, RATE)


def test_only_what_comes_is_needed(preset: Preset) -> None:
    assert (preset.context_left, preset.context_right) == (0, 128)
    assert context_frames(build_network(spec_of()), spec_of()).right == 128


@pytest.mark.parametrize("block_s", [0.0, 0.3, None])
def test_blocks_give_what_the_whole_file_does(
    preset: Preset, audio: np.ndarray, whole: np.ndarray, block_s: float | None
) -> None:
    stream = Denoiser(preset, threads=1).stream(RATE, block_s=block_s)
    parts = [stream.process(audio[start : start + 7000]) for start in range(0, len(audio), 7000)]
    found = np.concatenate([*parts, stream.flush()])
    assert len(found) == len(audio)
    assert np.abs(found - whole).max() < 1e-3 * np.abs(whole).max()


def test_without_what_comes_or_what_was_they_would_not(
    preset: Preset, audio: np.ndarray, whole: np.ndarray
) -> None:
    """Proof that the test above can fail."""
    denoiser, cut = Denoiser(preset, threads=1), 4 * RATE
    late = denoiser.denoise(audio[cut:], RATE)
    early = denoiser.denoise(audio[:cut], RATE)
    differences = (
        np.abs(late[200:4000] - whole[cut + 200 : cut + 4000]).max(),
        np.abs(early[-4000:-200] - whole[cut - 4000 : cut - 200]).max(),
    )
    assert min(differences) > 5e-3 * np.abs(whole).max(), differences


def test_two_threads_give_the_same(
    preset: Preset, audio: np.ndarray, whole: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at_once(monkeypatch, 1.0)
    denoiser = Denoiser(preset, threads=2)
    found = denoiser.denoise(audio, RATE)
    assert denoiser._network.in_halves(1)
    assert np.abs(found - whole).max() < 1e-3 * np.abs(whole).max()


@pytest.mark.parametrize("threads", [1, 2])
def test_many_channels_give_the_same_one_by_one(
    preset: Preset, audio: np.ndarray, whole: np.ndarray, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_at_once(monkeypatch, 1.0)
    sizes = []
    results = Network._results

    def counted(self: Network, session: Any, outputs: Any, values: Any, states: Any) -> Any:
        sizes.append(len(values["noisy"]))
        return results(self, session, outputs, values, states)

    monkeypatch.setattr(Network, "_results", counted)
    channels = np.stack([audio, -0.5 * audio, np.roll(audio, 4000)], axis=1)
    denoiser = Denoiser(preset, threads=threads)
    found = denoiser.denoise(channels, RATE)
    assert set(sizes) == {1}
    alone = Denoiser(preset, threads=1).denoise(channels[:, 2], RATE)
    peak = np.abs(whole).max()
    assert np.abs(found[:, 0] - whole).max() < 1e-3 * peak
    assert np.abs(found[:, 2] - alone).max() < 1e-3 * peak
    assert np.abs(found[:, 0] - found[:, 2]).max() > 0.1 * peak
    monkeypatch.undo()
    assert denoiser._network.in_halves(2) == (threads == 2)
    assert np.abs(denoiser.denoise(channels[:, [2, 0]], RATE) - found[:, [2, 0]]).max() < 1e-3 * peak


def test_it_is_exported_for_whole_signals(preset: Preset, tmp_path: Path) -> None:
    exported = export_model(preset.folder, tmp_path / "out", format="onnx")
    assert exported.difference < 1e-4


def test_a_graph_whose_states_need_the_past_as_well_is_refused(preset: Preset) -> None:
    lying = {**preset.metadata, "context_frames": {"left": 2, "right": 2}}
    original = (preset.folder / "metadata.json").read_text()
    try:
        with pytest.raises(ModelError, match=r"has states; then context_frames .* must be 0 on the left"):
            Network(write_metadata(preset.folder, lying), threads=1)
    finally:
        (preset.folder / "metadata.json").write_text(original)
