"""One harness over every kind of network and every shipped recipe."""

import functools
import itertools
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnxruntime
import pytest
from architecture_specs import SPECS
from enhancer_specs import tiny

from audenoise.architectures import build_network
from audenoise.architectures.enhancer import build_generator, generator_macs_per_second
from audenoise.architectures.summary import (
    build_checked,
    context_frames,
    describe,
    layer_macs,
    macs_per_second,
)
from audenoise.cli import main
from audenoise.errors import ModelError, SpecError
from audenoise.layers import to_numpy
from audenoise.onnx_export import to_onnx
from audenoise.publishing import parity_error
from audenoise.specs import RECIPES, ModelSpec, load_recipe, load_spec, parse_spec
from audenoise.specs.enhancer import dump_enhancer_spec

RECIPE_NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))
NAMES = [*SPECS, *RECIPE_NAMES]
tensorflow_only = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="uses TensorFlow's tape")


def spec_of(name: str) -> ModelSpec:
    return parse_spec(SPECS[name]) if name in SPECS else load_recipe(name)


CAUSAL = [name for name in NAMES if spec_of(name).causal]
AROUND = [
    name
    for name in NAMES
    if not spec_of(name).causal and name not in ("bidirectional", "one_way_not_causal", "large")
]
"""Those with layers that see frames to both sides."""


@functools.cache
def network_of(name: str) -> keras.Model:
    """Built once, with every weight away from its start, so that nothing is zero or one by chance."""
    keras.utils.set_random_seed(1)
    network, rng = build_network(spec_of(name)), np.random.default_rng(0)
    for weight in network.weights:
        # As large as the weights themselves in a wide layer: more would drive activations beyond all bounds.
        inputs = np.prod(weight.shape[:-1]) if len(weight.shape) == 4 else 1
        change = min(0.1, inputs**-0.5) * rng.standard_normal(weight.shape)
        weight.assign(to_numpy(weight) + (np.abs(change) if "variance" in weight.path else change))
    return network


@functools.cache
def session_of(name: str) -> onnxruntime.InferenceSession:
    graph = to_onnx(network_of(name)).SerializeToString()
    return onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])


def spectra(name: str, frames: int, *, batch: int = 2, seed: int = 0) -> np.ndarray:
    bins = spec_of(name).stft.bins
    return (np.random.default_rng(seed).standard_normal((batch, frames, bins, 2)) * 0.03).astype(np.float32)


def run(name: str, noisy: np.ndarray) -> np.ndarray:
    return to_numpy(network_of(name)(noisy, training=False))


def run_blocks(name: str, noisy: np.ndarray, cuts: tuple[int, ...]) -> np.ndarray:
    """The ONNX graph over consecutive blocks, its states carried on by their names.

    One that looks ahead is shown all that comes.
    """
    session, total = session_of(name), noisy.shape[1]
    ahead = any(node.name == "ahead" for node in session.get_inputs())
    outputs = [node.name for node in session.get_outputs()]
    states = {
        node.name: np.zeros((len(noisy), *node.shape[1:]), np.float32)
        for node in session.get_inputs()
        if node.name not in ("noisy", "ahead")
    }
    pieces = []
    for start, end in itertools.pairwise(cuts):
        shown = {"noisy": noisy[:, start : total if ahead else end], **states}
        if ahead:
            shown["ahead"] = np.array([total - end], np.int64)
        results = dict(zip(outputs, session.run(outputs, shown), strict=True))
        pieces.append(np.asarray(results["denoised"])[:, : end - start])
        states = {key: np.asarray(results[key.removesuffix("_in") + "_out"]) for key in states}
    return np.concatenate(pieces, axis=1)


def assert_close(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-4) -> None:
    """Differences relative to the peak."""
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


@pytest.mark.parametrize("name", NAMES)
def test_any_number_of_frames_and_any_level_gives_finite_output(name: str) -> None:
    for frames in (1, 2, 7, 37):
        noisy = spectra(name, frames)
        denoised = run(name, noisy)
        assert denoised.shape == noisy.shape
        assert np.isfinite(denoised).all()
        assert np.abs(denoised).max() > 0
    for level in (0.0, 1e-6, 1e2):
        assert np.isfinite(run(name, spectra(name, 7) * np.float32(level))).all()


@tensorflow_only
@pytest.mark.parametrize("name", NAMES)
def test_every_weight_is_trained(name: str) -> None:
    import tensorflow as tf

    network, noisy = network_of(name), spectra(name, 12)
    # Not in training mode, where a bias before a batch norm rightly has no gradient.
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(network(noisy, training=False) - 0.5 * noisy))
    gradients: list[Any] = tape.gradient(loss, [weight.value for weight in network.trainable_weights])
    for weight, gradient in zip(network.trainable_weights, gradients, strict=True):
        assert gradient is not None, weight.path
        assert np.isfinite(gradient).all(), weight.path
        by_output = np.abs(gradient).reshape(-1, gradient.shape[-1]).max(axis=0)
        assert by_output.any(), weight.path
        if weight.path.startswith("head/") or "/head/" in weight.path:
            assert by_output.all(), f"{weight.path}: an output that nothing uses"


@pytest.mark.parametrize("name", NAMES)
def test_saved_weights_give_the_same_output(name: str, tmp_path: Path) -> None:
    network_of(name).save_weights(tmp_path / "a.weights.h5")
    again = build_network(spec_of(name))
    noisy = spectra(name, 9)
    assert np.abs(to_numpy(again(noisy)) - run(name, noisy)).max() > 1e-4
    again.load_weights(tmp_path / "a.weights.h5")
    np.testing.assert_array_equal(to_numpy(again(noisy, training=False)), run(name, noisy))


@pytest.mark.parametrize("name", NAMES)
def test_onnx_is_the_keras_network(name: str) -> None:
    for frames in (1, 6, 37):
        noisy = spectra(name, frames)
        assert_close(run_blocks(name, noisy, (0, frames)), run(name, noisy))


@pytest.mark.parametrize("name", [name for name in NAMES if name not in AROUND])
def test_blocks_with_carried_states_are_the_whole_run(name: str) -> None:
    noisy = spectra(name, 37)
    assert_close(run_blocks(name, noisy, (0, 1, 2, 3, 10, 11, 37)), run(name, noisy))
    assert context_frames(network_of(name), spec_of(name)).multiple == 1


@pytest.mark.parametrize("name", CAUSAL)
def test_causal_networks_do_not_see_the_future(name: str) -> None:
    noisy = spectra(name, 20)
    before = run(name, noisy)
    noisy[:, 12:] = spectra(name, 8, seed=1)
    after = run(name, noisy)
    assert_close(after[:, :12], before[:, :12], 1e-6)
    assert np.abs(after[:, 12:] - before[:, 12:]).max() > 1e-4


@pytest.mark.parametrize("name", AROUND)
def test_blocks_with_their_context_are_the_whole_run(name: str) -> None:
    assert [node.name for node in session_of(name).get_inputs()] == ["noisy"]
    spec = spec_of(name)
    context = context_frames(network_of(name), spec)
    assert context.left % context.multiple == 0
    assert context.multiple == spec.time_factor
    start = context.left + 2 * context.multiple
    total = start + 3 * context.multiple + context.right + 2 * context.multiple + 1
    noisy = spectra(name, total, batch=1)
    whole = run_blocks(name, noisy, (0, total))
    for first in (start, start + context.multiple):
        last = first + 2 * context.multiple
        shown = noisy[:, first - context.left : last + context.right]
        block = run_blocks(name, shown, (0, shown.shape[1]))
        assert_close(block[:, context.left :][:, : last - first], whole[:, first:last], 1e-5)


@pytest.mark.parametrize("name", ["even_kernels", "time_strides"])
def test_the_context_is_not_far_more_than_needed(name: str) -> None:
    """Half of it is too little, or blocks would cost more than they must."""
    context = context_frames(network_of(name), spec_of(name))
    less = context.right // 2 // context.multiple * context.multiple
    first = context.left + 2 * context.multiple
    noisy = spectra(name, first + 4 * context.multiple + context.right, batch=1)
    whole = run(name, noisy)[:, first : first + context.multiple]
    block = run(name, noisy[:, first - less : first + context.multiple + less])
    assert np.abs(block[:, less : less + context.multiple] - whole).max() > 1e-4 * np.abs(whole).max()


def test_parity_is_measured_not_assumed() -> None:
    network = network_of("full_band")
    assert parity_error(network, to_onnx(network).SerializeToString()) < 1e-4
    other = to_onnx(build_network(spec_of("full_band"))).SerializeToString()
    assert parity_error(network, other) > 1e-2


def test_a_layer_without_a_translator_is_refused() -> None:
    noisy = keras.Input((None, 33, 2), name="noisy")
    network = keras.Model(noisy, keras.layers.GaussianNoise(0.1, name="hiss")(noisy))
    with pytest.raises(ModelError, match="hiss: GaussianNoise cannot be written as ONNX"):
        to_onnx(network)


HAND: dict[str, Any] = {
    "name": "hand",
    "stft": {"n_fft": 64, "hop_length": 32},  # 33 bins, 500 frames a second
    "encoder": [{"filters": 4, "kernel": [1, 5], "stride": [1, 2]}],  # 33 → 17 bins
    "bottleneck": {"kind": "recurrent", "bands": 6, "channels": 8, "blocks": 1, "heads": 2, "norm": "none"},
    "decoder": [{"filters": 4, "kernel": [1, 3]}],
}
HAND_LAYERS = {  # parameters, multiply-accumulates per frame
    "encoder1_conv1": (5 * 2 * 4 + 4, 17 * 5 * 2 * 4),
    "to_bands": (6 * 17 + 6, 6 * 17 * 4),
    "to_channels": (4 * 8 + 8, 6 * 4 * 8),
    "position": (6 * 8, 0),
    "block1_time": (3 * 8 * (8 + 8) + 2 * 3 * 8, 6 * 3 * 8 * (8 + 8)),
    "block1_time_dense": (8 * 8 + 8, 6 * 8 * 8),
    "block1_bands": (4 * (8 * 8 + 8), 6 * 4 * 8 * 8 + 2 * 6 * 6 * 8),
    "from_channels": (8 * 4 + 4, 6 * 8 * 4),
    "from_bands": (17 * 6 + 17, 17 * 6 * 4),
    "decoder1_conv1": (3 * (4 + 4) * 4 + 4, 17 * 3 * (4 + 4) * 4),
    "decoder1_up": (5 * 4 * 2 + 2, 17 * 5 * 4 * 2),  # every input bin meets the whole kernel
}


def test_costs_are_those_counted_by_hand(tmp_path: Path) -> None:
    spec = parse_spec(HAND)
    network = build_checked(spec)
    counts = {layer.name: layer.count_params() for layer in network.layers if layer.count_params()}
    assert counts == {name: count for name, (count, _) in HAND_LAYERS.items()}
    macs = {name: 500 * cost for name, (_, cost) in HAND_LAYERS.items() if cost}
    assert layer_macs(network, spec) == macs
    assert macs_per_second(network, spec) == sum(macs.values())
    path = tmp_path / "hand.json"
    path.write_text(spec.model_dump_json())
    text = describe(load_spec(path))
    assert f"{sum(count for count, _ in HAND_LAYERS.values()):,}" in text
    assert f"{sum(macs.values()) / 1e6:.1f} M" in text
    assert "causal, latency 4 ms" in text


def test_an_enhancers_spec_is_described_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(dump_enhancer_spec(tiny(auxiliary={"pitch": 0.1, "residual": 0})))
    assert main(["models", "show", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    generator = build_generator(tiny(auxiliary={"pitch": 0.1, "residual": 0}))
    cells = {line.split()[0]: re.split(r" {2,}", line) for line in lines[1:-2]}
    # 250 frames a second of 65 bins, 12 bands and 12 channels.
    assert cells["block1_frames"][1:] == ["frames × 1 × 12", "48", f"{250 * 3 * 12 / 1e6:.1f} M"]
    assert cells["mask"][1:] == ["frames × 1 × 130", f"{13 * 130:,}", f"{250 * 12 * 130 / 1e6:.1f} M"]
    assert cells["mel_in"][-1] == f"{250 * 3 * 65 * 12 / 1e6:.1f} M"
    assert cells["pitch_head"][-1] == "0.0 M"
    assert "residual_head" not in cells
    macs = generator_macs_per_second(generator, tiny())
    assert cells["total"][1:] == [f"{generator.count_params():,}", f"{macs / 1e6:.1f} M"]
    assert lines[-1] == "tiny: 8000 Hz, window 128 samples, hop 32, not causal, context 3 frames on each side"
    path.write_text("kind: enhancer\ngenerator: {channels: 0}\n")
    assert main(["models", "show", str(path)]) == 1
    assert f"{path}: generator.channels: must be at least 1" in capsys.readouterr().err
    coarse = tiny(
        sample_rate=96000, stft={"n_fft": 512, "hop_length": 128}, mel={"bands": 60}, training={"crop_s": 1}
    )
    path.write_text(dump_enhancer_spec(coarse))
    assert main(["models", "show", str(path)]) == 1
    assert f"{path}: mel.bands: n_mels=60 is too many" in capsys.readouterr().err


def test_costs_of_strides_over_frames_count_the_frames() -> None:
    spec = spec_of("time_strides")
    macs = layer_macs(build_network(spec), spec)
    # 250 frames a second; 65 bins become 33. The first stage leaves 125 frames, the second 125/3.
    assert macs["encoder1_conv1"] == pytest.approx(125 * 33 * 4 * 3 * 2 * 4)
    assert macs["dilated1_dense"] == pytest.approx(125 / 3 * 33 * 6 * 6)
    # Back up: each of the 125/3 frames of 33 bins meets a 3 × 3 kernel of 5 to 4 channels.
    assert macs["decoder1_up"] == pytest.approx(125 / 3 * 33 * 9 * 5 * 4)


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"encoder": [{"filters": 4096, "kernel": [1, 4096]}] * 2}, r"encoder\[1\], mirrored"),
        (
            {"bottleneck": {"kind": "convolution", "stages": [{"filters": 4096, "kernel": [4096, 9]}]}},
            r"bottleneck\.stages\[0\]",
        ),
        (
            {
                "bottleneck": {
                    "kind": "recurrent", "bands": 4096, "channels": 4096,
                    "across_bands": "full_band", "full_band_units": 4096,
                }
            },
            "bottleneck",
        ),
        ({"bottleneck": {"kind": "dilated", "channels": 4096, "dilations": [1] * 64}}, "bottleneck"),
        ({"output": {"kernel": [4096, 4096]}, "encoder": [{"filters": 64}]}, r"output\.kernel"),
    ],
)  # fmt: skip
def test_networks_beyond_any_machine_are_refused_before_they_are_built(
    change: dict[str, Any], key: str
) -> None:
    with pytest.raises(SpecError, match=f"^big.yaml: {key}: has over .* million parameters; reduce"):
        build_checked(parse_spec({**HAND, "decoder": None, **change}), source="big.yaml")
