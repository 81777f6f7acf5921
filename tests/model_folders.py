"""Tiny model folders for tests: the graphs are known arithmetic, so expected outputs have a closed form."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from audenoise import network
from audenoise.presets import Preset, load_preset, write_metadata

SAMPLE_RATE = 16000
N_FFT = 512
HOP_LENGTH = 256
BINS = N_FFT // 2 + 1
GRU_UNITS = 4


def cut_at_once(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    """From so many seconds of audio on networks are cut into halves, and cut when they are expected to."""
    expect = network.Network.expect

    def expect_and_wait(self: network.Network, seconds: float) -> None:
        expect(self, seconds)
        if self._cutting is not None:
            self._cutting.join()

    monkeypatch.setattr(network, "_WORTH_CUTTING_S", seconds)
    monkeypatch.setattr(network.Network, "expect", expect_and_wait)


def gain_model(folder: Path, gain: float = 1.0, *, bins: int = BINS) -> Preset:
    """Multiply everything by `gain`; no state, no context. 1.0 gives the identity."""
    mask = numpy_helper.from_array(np.array([gain], np.float32), "gain")
    return _write(folder, [helper.make_node("Mul", ["noisy", "gain"], ["denoised"])], [mask], bins=bins)


def gain_enhancer(folder: Path, gain: float, *, sample_rate: int = 48000) -> Preset:
    """An enhancer that multiplies everything by `gain`, and looks at nothing but the spectrum."""
    factor = numpy_helper.from_array(np.array([gain], np.float32), "gain")
    size = {"n_fft": N_FFT, "hop_length": N_FFT // 4, "win_length": N_FFT, "window": "hann"}
    return _write(
        folder,
        [helper.make_node("Mul", ["spectrum", "gain"], ["enhanced"])],
        [factor],
        names=("spectrum", "enhanced"),
        changed={"kind": "enhancer", "sample_rate": sample_rate, "stft": size},
    )


def band_gain_model(folder: Path, gains: np.ndarray) -> Preset:
    """Multiply bin k by `gains[k]`."""
    mask = numpy_helper.from_array(gains.astype(np.float32).reshape(1, 1, BINS, 1), "gains")
    return _write(folder, [helper.make_node("Mul", ["noisy", "gains"], ["denoised"])], [mask])


def offset_model(folder: Path) -> Preset:
    """Add 0.01 to every bin, silence included."""
    offset = numpy_helper.from_array(np.array([0.01], np.float32), "offset")
    return _write(folder, [helper.make_node("Add", ["noisy", "offset"], ["denoised"])], [offset])


def context_model(folder: Path, *, declared: tuple[int, int] = (2, 2)) -> Preset:
    """Average each frame with the two before and the two after, zeros outside the run; no state."""
    constants = {
        "pads": np.array([0, 2, 0, 0, 0, 2, 0, 0], np.int64),
        "frames_axis": np.array([1], np.int64),
        "fifth": np.array([0.2], np.float32),
    }
    nodes = [helper.make_node("Pad", ["noisy", "pads"], ["padded"])]
    for k in range(5):
        constants[f"start{k}"] = np.array([k], np.int64)
        constants[f"end{k}"] = np.array([k - 4 if k < 4 else np.iinfo(np.int64).max], np.int64)
        nodes.append(
            helper.make_node("Slice", ["padded", f"start{k}", f"end{k}", "frames_axis"], [f"shifted{k}"])
        )
    nodes.append(helper.make_node("Sum", [f"shifted{k}" for k in range(5)], ["total"]))
    nodes.append(helper.make_node("Mul", ["total", "fifth"], ["denoised"]))
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return _write(folder, nodes, initializers, context=declared)


def pair_model(folder: Path) -> Preset:
    """Replace frames 2k and 2k + 1 by their mean, a zero frame behind an odd number; blocks must be even."""
    constants = {
        "two": np.array([2], np.int64),
        "zero": np.array([0], np.int64),
        "axis_1": np.array([1], np.int64),
        "before": np.zeros(5, np.int64),
        "behind": np.zeros(2, np.int64),
        "as_pairs": np.array([0, -1, 2, BINS * 2], np.int64),
        "as_frames": np.array([0, -1, BINS, 2], np.int64),
    }
    nodes = [
        helper.make_node("Shape", ["noisy"], ["frames"], start=1, end=2),
        helper.make_node("Mod", ["frames", "two"], ["missing"]),
        helper.make_node("Concat", ["before", "missing", "behind"], ["pads"], axis=0),
        helper.make_node("Pad", ["noisy", "pads"], ["padded"]),
        helper.make_node("Reshape", ["padded", "as_pairs"], ["pairs"]),
        helper.make_node("ReduceMean", ["pairs"], ["mean"], axes=[2], keepdims=1),
        helper.make_node("Concat", ["mean", "mean"], ["twice"], axis=2),
        helper.make_node("Reshape", ["twice", "as_frames"], ["all"]),
        helper.make_node("Slice", ["all", "zero", "frames", "axis_1"], ["denoised"]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    return _write(folder, nodes, initializers, multiple=2)


def recurrent_model(folder: Path) -> Preset:
    """Set each frame's gain with a GRU over the frame's level; state `memory` of shape (batch, units)."""
    rng = np.random.default_rng(7)
    constants = {
        "scale": np.array([30.0], np.float32),
        "W": rng.normal(size=(1, 3 * GRU_UNITS, 1)).astype(np.float32),
        "R": rng.normal(size=(1, 3 * GRU_UNITS, GRU_UNITS)).astype(np.float32),
        "B": rng.normal(size=(1, 6 * GRU_UNITS)).astype(np.float32),
        "axes_23": np.array([2, 3], np.int64),
        "axis_0": np.array([0], np.int64),
        "axis_1": np.array([1], np.int64),
        "axis_2": np.array([2], np.int64),
        "axis_3": np.array([3], np.int64),
    }
    nodes = [
        helper.make_node("Mul", ["noisy", "noisy"], ["power"]),
        helper.make_node("ReduceSum", ["power", "axes_23"], ["energy"], keepdims=0),
        helper.make_node("Sqrt", ["energy"], ["level"]),
        helper.make_node("Mul", ["level", "scale"], ["feature"]),
        helper.make_node("Transpose", ["feature"], ["by_frame"], perm=[1, 0]),
        helper.make_node("Unsqueeze", ["by_frame", "axis_2"], ["sequence"]),
        helper.make_node("Unsqueeze", ["memory_in", "axis_0"], ["initial"]),
        helper.make_node(
            "GRU", ["sequence", "W", "R", "B", "", "initial"], ["hidden4", "last"], hidden_size=GRU_UNITS
        ),
        helper.make_node("Squeeze", ["last", "axis_0"], ["memory_out"]),
        helper.make_node("Squeeze", ["hidden4", "axis_1"], ["hidden"]),
        helper.make_node("ReduceSum", ["hidden", "axis_2"], ["sum"], keepdims=1),
        helper.make_node("Sigmoid", ["sum"], ["gain_by_frame"]),
        helper.make_node("Transpose", ["gain_by_frame"], ["gain3"], perm=[1, 0, 2]),
        helper.make_node("Unsqueeze", ["gain3", "axis_3"], ["gain"]),
        helper.make_node("Mul", ["noisy", "gain"], ["denoised"]),
    ]
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    state = ["batch", GRU_UNITS]
    return _write(
        folder,
        nodes,
        initializers,
        extra_inputs=[helper.make_tensor_value_info("memory_in", TensorProto.FLOAT, state)],
        extra_outputs=[helper.make_tensor_value_info("memory_out", TensorProto.FLOAT, state)],
    )


def metadata_of(name: str, *, context: tuple[int, int] = (0, 0), multiple: int = 1) -> dict[str, object]:
    """Return valid metadata for a 16 kHz model, without the keys that `write_metadata` fills in."""
    return {
        "name": name,
        "created": "2026-01-01T00:00:00Z",
        "licence": "MIT",
        "description": "a test model",
        "sample_rate": SAMPLE_RATE,
        "stft": {"n_fft": N_FFT, "hop_length": HOP_LENGTH, "win_length": N_FFT, "window": "sqrt_hann"},
        "parameters": 1,
        "macs_per_second": 1,
        "context_frames": {"left": context[0], "right": context[1], "multiple": multiple},
        "training": {},
        "data": [],
        "scores": {},
    }


def _write(
    folder: Path,
    nodes: list[NodeProto],
    initializers: list[TensorProto],
    *,
    bins: int = BINS,
    context: tuple[int, int] = (0, 0),
    multiple: int = 1,
    extra_inputs: list[ValueInfoProto] | None = None,
    extra_outputs: list[ValueInfoProto] | None = None,
    names: tuple[str, str] = ("noisy", "denoised"),
    changed: dict[str, object] | None = None,
) -> Preset:
    shape = ["batch", "frames", bins, 2]
    graph = helper.make_graph(
        nodes,
        folder.name,
        [helper.make_tensor_value_info(names[0], TensorProto.FLOAT, shape), *(extra_inputs or [])],
        [helper.make_tensor_value_info(names[1], TensorProto.FLOAT, shape), *(extra_outputs or [])],
        initializers,
    )
    model: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 9
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "model.onnx").write_bytes(model.SerializeToString())
    metadata = metadata_of(folder.name, context=context, multiple=multiple) | (changed or {})
    return write_metadata(folder, metadata)


def published(spec: Any, folder: Path, network: Any = None) -> Preset:
    """A network of Keras as `audenoise publish` leaves it, by default an untrained one.

    Parameters
    ----------
    spec : ModelSpec
    folder : Path
        To make.
    network : keras.Model, optional
    """
    from audenoise.architectures import build_network
    from audenoise.publishing import publish
    from audenoise.run_folders import RunState
    from audenoise.specs import dump_spec

    run = folder.with_name(f"{folder.name}-run")
    run.mkdir(parents=True)
    (network or build_network(spec)).save_weights(run / "best.weights.h5")
    (run / "spec.yaml").write_text(dump_spec(spec), encoding="utf-8")
    RunState(epoch=1, best_epoch=1, best_loss=1.0, seconds=1.0, last="best.weights.h5").write(run)
    publish(run, folder, description="Untrained.", licence="MIT", data=["none"])
    return load_preset(folder)
