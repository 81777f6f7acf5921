"""Weights that are kept in half precision and computed with in single precision."""

import os

import h5py
import keras
import numpy as np
import onnxruntime
import pytest
from architecture_specs import SPECS

from audenoise.architectures import build_network
from audenoise.half_weights import halve_file, halve_graph, round_to_half, survives_half
from audenoise.layers import to_numpy
from audenoise.onnx_export import to_onnx
from audenoise.publishing import parity_error
from audenoise.specs import parse_spec


@pytest.fixture(scope="module")
def network() -> keras.Model:
    keras.utils.set_random_seed(3)
    network, rng = build_network(parse_spec(SPECS["full_band"])), np.random.default_rng(0)
    for weight in network.weights:  # away from zeros and ones, which survive everything
        weight.assign(to_numpy(weight) + 0.01 * np.abs(rng.standard_normal(weight.shape)))
    return network


@pytest.fixture(scope="module")
def before(network: keras.Model) -> list[np.ndarray]:
    return [np.array(to_numpy(weight)) for weight in network.weights]


@pytest.fixture(scope="module")
def rounded(network: keras.Model, before: list[np.ndarray]) -> keras.Model:
    round_to_half(network)
    return network


def test_kernels_are_rounded_and_vectors_are_not(rounded: keras.Model, before: list[np.ndarray]) -> None:
    changed = 0
    for weight, old in zip(rounded.weights, before, strict=True):
        new = to_numpy(weight)
        if old.ndim < 2 or old.size < 256:
            np.testing.assert_array_equal(new, old)
        else:
            changed += not np.array_equal(new, old)
            assert survives_half(new)
            np.testing.assert_allclose(new, old, rtol=2**-11, atol=2**-25)
    assert changed > 4


def test_a_halved_graph_computes_the_same_in_half_the_space(rounded: keras.Model) -> None:
    model = to_onnx(rounded)
    whole = model.SerializeToString()
    halve_graph(model)
    halved = model.SerializeToString()
    kernels = [v for v in rounded.weights if survives_half(to_numpy(v))]
    saved = 2 * sum(int(np.prod(v.shape)) for v in kernels)
    assert saved - 60 * len(kernels) < len(whole) - len(halved) <= saved  # a Cast takes some bytes
    assert parity_error(rounded, halved) < 1e-5
    bins = parse_spec(SPECS["full_band"]).stft.bins
    noisy = np.random.default_rng(1).standard_normal((1, 20, bins, 2)).astype(np.float32)
    outputs = []
    for graph in (whole, halved):
        session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
        shapes = {i.name: (1, *i.shape[1:]) for i in session.get_inputs() if i.name != "noisy"}
        states = {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}
        outputs.append(np.asarray(session.run(None, {"noisy": noisy, **states})[0]))
    np.testing.assert_array_equal(*outputs)


def test_a_halved_file_loads_the_same_weights(rounded: keras.Model, tmp_path) -> None:
    wide = keras.Sequential([keras.Input((300,)), keras.layers.Dense(200), keras.layers.BatchNormalization()])
    round_to_half(wide)
    for model in (rounded, wide):
        path = tmp_path / "model.weights.h5"
        model.save_weights(path)
        whole = path.stat().st_size
        halve_file(path)
        assert model is rounded or path.stat().st_size < 0.55 * whole  # small files are HDF5's own tables
        assert os.listdir(tmp_path) == ["model.weights.h5"]
        other = keras.models.clone_model(model)
        other.load_weights(path)
        for mine, theirs in zip(model.weights, other.weights, strict=True):
            np.testing.assert_array_equal(to_numpy(mine), to_numpy(theirs))
        items = []
        with h5py.File(path) as file:
            file.visititems(lambda _, item, items=items: items.append(getattr(item, "dtype", None)))
        assert {np.dtype(np.float16), np.dtype(np.float32)} <= set(items)


def test_what_half_precision_cannot_hold_is_kept() -> None:
    small = np.full((32, 32), 1 / 3, np.float32)
    assert not survives_half(small)
    assert survives_half(small.astype(np.float16).astype(np.float32))
    assert not survives_half(np.full((32, 32), 1e6, np.float32))
    assert not survives_half(np.ones(1024, np.float32))
    assert not survives_half(np.ones((32, 32), np.int64))
    wide = keras.Sequential([keras.Input((32,)), keras.layers.Dense(32)])
    large = [np.full((32, 32), 1e6, np.float32), np.zeros(32, np.float32)]
    wide.set_weights(large)
    round_to_half(wide)
    np.testing.assert_array_equal(wide.get_weights()[0], large[0])
