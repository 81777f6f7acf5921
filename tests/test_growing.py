"""A larger network that starts as the smaller one it grew from."""

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from architecture_specs import BASE, SPECS
from model_folders import published
from recordings import write_corpus
from training_batches import RECURRENT

from audenoise.architectures import build_network
from audenoise.cli import main
from audenoise.errors import TrainingError
from audenoise.growing import start_grown
from audenoise.layers import ops, to_numpy
from audenoise.publishing import load_keras_model
from audenoise.specs import ModelSpec, dump_spec, grows_from, parse_spec, spec_to_dict


def with_bottleneck(spec: dict[str, Any], **keys: Any) -> ModelSpec:
    return parse_spec({**spec, "bottleneck": {**spec["bottleneck"], **keys}})


def shaken(spec: ModelSpec) -> keras.Model:
    """A network whose weights are nowhere zero or one by chance."""
    keras.utils.set_random_seed(4)
    network, rng = build_network(spec), np.random.default_rng(0)
    for weight in network.weights:
        weight.assign(to_numpy(weight) + 0.02 * np.abs(rng.standard_normal(weight.shape)))
    return network


@pytest.mark.parametrize("name", ["full_band", "attention", "gru", "bidirectional"])
@pytest.mark.parametrize("norm", ["batch", "none"])
def test_it_computes_what_the_smaller_one_did_and_every_new_branch_learns(
    name: str, norm: str, tmp_path: Path
) -> None:
    small = with_bottleneck(SPECS[name], norm=norm, blocks=1)
    network = shaken(small)
    network.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "spec.yaml").write_text(dump_spec(small))
    large = with_bottleneck(SPECS[name], norm=norm, blocks=3)
    grown, lines = build_network(large), []
    start_grown(grown, tmp_path / "model.weights.h5", spec=large, report=lines.append)
    new = f"{grown.count_params() - network.count_params():,}"
    assert len(lines) == 1
    assert f"grows by 2 blocks: {new} parameters" in lines[0]
    noisy = 0.1 * np.random.default_rng(1).standard_normal((2, 30, small.stft.bins, 2))
    noisy = noisy.astype(np.float32)
    expected = to_numpy(network(noisy, training=False))
    np.testing.assert_array_equal(to_numpy(grown(noisy, training=False)), expected)

    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    with tf.GradientTape() as tape:
        loss = ops.mean(ops.square(grown(noisy, training=True)))
    names = [variable.path for variable in grown.trainable_variables]
    slopes: Any = tape.gradient(loss, [variable.value for variable in grown.trainable_variables])
    moved = {path for path, slope in zip(names, slopes, strict=True) if np.abs(slope).max() > 0}
    for block in ("block2", "block3"):
        branches = {path.split("/")[0].split("_")[1] for path in moved if path.startswith(block)}
        assert branches == ({"time"} if name == "bidirectional" else {"time", "bands"})


@pytest.mark.parametrize("blocks", [2, 3])
@pytest.mark.parametrize("across_bands", ["full_band", "none"])
def test_gru_that_runs_backwards_too_adds_nothing_yet_and_learns(
    across_bands: str, blocks: int, tmp_path: Path
) -> None:
    small = with_bottleneck(SPECS["full_band"], blocks=2, across_bands=across_bands)
    network = shaken(small)
    network.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "spec.yaml").write_text(dump_spec(small))
    keys = {"blocks": blocks, "across_bands": across_bands, "bidirectional": True}
    large = with_bottleneck({**SPECS["full_band"], "causal": False}, **keys)
    grown, lines = build_network(large), []
    start_grown(grown, tmp_path / "model.weights.h5", spec=large, report=lines.append)
    assert f"{grown.count_params() - network.count_params():,} parameters" in lines[0]
    assert ("1 block and GRUs that run backwards" in lines[0]) == (blocks == 3)
    noisy = 0.1 * np.random.default_rng(1).standard_normal((2, 30, small.stft.bins, 2)).astype(np.float32)
    expected = to_numpy(network(noisy, training=False))
    np.testing.assert_allclose(to_numpy(grown(noisy, training=False)), expected, atol=1e-6)
    dense = grown.get_layer("block1_time_dense")
    dense.kernel.assign(to_numpy(dense.kernel) + 0.1)
    late = noisy.copy()
    late[:, 20:] = 0
    early = [to_numpy(grown(part, training=False))[:, :20] for part in (noisy, late)]
    assert np.abs(early[0] - early[1]).max() > 1e-3 * np.abs(early[0]).max()  # it looks ahead now


def with_frames(spec: dict[str, Any], frames: int, **keys: Any) -> ModelSpec:
    encoder = [{**stage, "kernel": [frames, stage.get("kernel", [1, 3])[1]]} for stage in spec["encoder"]]
    return with_bottleneck({**spec, "encoder": encoder}, **keys)


@pytest.mark.parametrize(
    ("before", "after", "causal"), [(1, 3, True), (2, 3, True), (1, 3, False), (2, 5, False)]
)
@pytest.mark.parametrize("blocks", [1, 2])
def test_kernel_over_more_frames_adds_nothing_yet_and_learns(
    before: int, after: int, causal: bool, blocks: int, tmp_path: Path
) -> None:
    data = {**SPECS["full_band"], "causal": causal}
    small = with_frames(data, before, blocks=1)
    network = shaken(small)
    network.save_weights(tmp_path / "model.weights.h5")
    (tmp_path / "spec.yaml").write_text(dump_spec(small))
    large = with_frames(data, after, blocks=blocks)
    grown, lines = build_network(large), []
    start_grown(grown, tmp_path / "model.weights.h5", spec=large, report=lines.append)
    assert f"by {'1 block and ' * (blocks - 1)}kernels over more frames: " in lines[0]
    noisy = 0.1 * np.random.default_rng(1).standard_normal((2, 30, small.stft.bins, 2)).astype(np.float32)
    expected = to_numpy(network(noisy, training=False))
    np.testing.assert_allclose(to_numpy(grown(noisy, training=False)), expected, atol=1e-6)
    kernel = grown.get_layer("encoder2_conv1").convolution.kernel
    kernel.assign(to_numpy(kernel) + 0.1 * np.random.default_rng(2).standard_normal(kernel.shape))
    changed = np.abs(to_numpy(grown(noisy, training=False)) - expected).max()
    assert changed > 1e-3 * np.abs(expected).max()  # all of it is heard now


def test_what_growth_is() -> None:
    one, three = (with_bottleneck(SPECS["full_band"], blocks=blocks) for blocks in (1, 3))
    assert grows_from(three, one)
    assert not grows_from(one, three)
    assert not grows_from(one, one)
    assert not grows_from(with_bottleneck(SPECS["full_band"], blocks=3, channels=10), one)
    assert not grows_from(parse_spec({**BASE, "bottleneck": {"kind": "dilated"}}), one)
    assert grows_from(parse_spec({**spec_to_dict(three), "training": {"seed": 9}, "name": "another"}), one)
    open_ = {**SPECS["full_band"], "causal": False}
    both_ways = with_bottleneck(open_, blocks=1, bidirectional=True)
    assert grows_from(both_ways, one)
    assert not grows_from(both_ways, three)
    assert not grows_from(three, both_ways)
    assert not grows_from(with_bottleneck(open_, blocks=1), one)
    longer = {**SPECS["full_band"]["encoder"][0], "kernel": [2, 8]}
    pair = [
        with_bottleneck({**spec, "encoder": [longer, *spec["encoder"][1:]]}, blocks=1, bidirectional=ways)
        for spec, ways in ((open_, True), (SPECS["full_band"], False))
    ]
    assert not grows_from(*pair)  # the longer kernels would see other frames
    assert grows_from(pair[0], one)
    assert not grows_from(one, pair[1])


def test_what_does_not_fit_is_one_error(tmp_path: Path) -> None:
    one, three = (with_bottleneck(SPECS["full_band"], blocks=blocks) for blocks in (1, 3))
    weights = tmp_path / "model.weights.h5"
    shaken(three).save_weights(weights)
    (tmp_path / "spec.yaml").write_text(dump_spec(three))
    with pytest.raises(TrainingError, match="not the one of these weights with more blocks, with"):
        start_grown(build_network(one), weights, spec=one)
    (tmp_path / "spec.yaml").write_text(dump_spec(one))
    weights.write_bytes(b"nothing")
    with pytest.raises(TrainingError, match=r"model\.weights\.h5: weights don't fit"):
        start_grown(build_network(three), weights, spec=three)


def test_train_grows_a_published_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clean, noise = write_corpus(tmp_path)
    small = spec_to_dict(parse_spec(RECURRENT))
    small["training"].update(epochs=1, steps_per_epoch=2, validation_mixtures=2)
    large = {**small, "bottleneck": {**small["bottleneck"], "blocks": small["bottleneck"]["blocks"] + 1}}
    folders = ["--clean", str(clean), "--noise", str(noise), "--workers", "0"]
    (tmp_path / "large.yaml").write_text(dump_spec(parse_spec(large)))
    published(parse_spec(small), tmp_path / "model")
    command = [
        "train",
        *folders,
        "--spec",
        str(tmp_path / "large.yaml"),
        "--from-preset",
        str(tmp_path / "model"),
    ]
    assert main([*command, "--out", str(tmp_path / "grown")]) == 0
    assert "the network grows by 1 block:" in capsys.readouterr().err
    assert main(["publish", str(tmp_path / "grown"), str(tmp_path / "larger")]) == 0
    network, spec = load_keras_model(tmp_path / "larger")
    assert spec_to_dict(spec)["bottleneck"] == spec_to_dict(parse_spec(large))["bottleneck"]
    assert network.count_params() > load_keras_model(tmp_path / "model")[0].count_params()
