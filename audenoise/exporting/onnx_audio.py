"""A published graph with the Fourier transform around it: audio in, audio out, all state in and out."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from audenoise.exporting.transform import analysis_matrix, delay_samples, synthesis_matrix
from audenoise.presets import GRAPH_FILE, Preset

AHEAD = "ahead"
_PREFIX = "audio."
_END = np.iinfo(np.int64).max


def audio_graph(preset: Preset, settings: Mapping[str, Any]) -> onnx.ModelProto:
    """Build the graph.

    Parameters
    ----------
    preset : Preset
    settings : mapping
        Kept in the graph's metadata, key by key; what is no text as JSON.

    Returns
    -------
    onnx.ModelProto
        ``audio`` (batch, samples) → ``denoised`` (batch, samples), `delay_samples` later; samples must be a
        multiple of the hop. States ``NAME_in`` and ``NAME_out`` (batch, …), zeros at the start: ``past`` and
        ``tail`` and those of the network. Where that looks ahead, also ``ahead``, int64 of shape (1,): so
        many hops at the end of ``audio`` are looked at only; ``denoised`` is shorter by them, and the next
        block begins with them.
    """
    model = onnx.load_from_string(preset.read_file(GRAPH_FILE))
    inner, stft, delay = model.graph, preset.stft, delay_samples(preset.stft)
    before: list[onnx.NodeProto] = []
    after: list[onnx.NodeProto] = []
    nodes = before
    constants: list[onnx.TensorProto] = []

    def constant(value: Any, dtype: Any = np.int64) -> str:
        name = f"{_PREFIX}c{len(constants)}"
        constants.append(numpy_helper.from_array(np.ascontiguousarray(value, dtype), name))
        return name

    def add(op: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        output = output or f"{_PREFIX}v{len(before) + len(after)}"
        nodes.append(helper.make_node(op, inputs, [output], **attributes))
        return output

    def cut(x: str, start: str, end: str, output: str = "") -> str:
        return add("Slice", [x, start, end, constant([1])], output)

    samples = add("Shape", ["audio"], start=1, end=2)
    zero, end, hop = constant([0]), constant([_END]), constant([stft.hop_length])
    looks_ahead = any(info.name == AHEAD for info in inner.input)
    if looks_ahead:
        samples = add("Sub", [samples, add("Mul", [AHEAD, hop])])
    joined = add("Concat", ["past_in", "audio"], axis=1)
    cut(joined, samples, add("Add", [samples, constant([delay])]), "past_out")
    analysis = constant(analysis_matrix(stft).T[:, None], np.float32)
    frames = add("Conv", [add("Unsqueeze", [joined, constant([1])]), analysis], strides=[stft.hop_length])
    bins = stft.n_fft // 2 + 1
    add("Reshape", [add("Transpose", [frames], perm=[0, 2, 1]), constant([0, 0, bins, 2])], f"{_PREFIX}noisy")

    nodes = after
    # Whatever a network makes of nothing, silence stays silent.
    level = add("ReduceSum", [add("Abs", [f"{_PREFIX}noisy"]), constant([2, 3])])
    sounding = add("Cast", [add("Greater", [level, constant([0.0], np.float32)])], to=TensorProto.FLOAT)
    masked = add("Mul", [f"{_PREFIX}denoised", sounding])
    if looks_ahead:
        masked = cut(masked, zero, add("Div", [samples, hop]))
    rows = add("Transpose", [add("Reshape", [masked, constant([0, 0, 2 * bins])])], perm=[0, 2, 1])
    synthesis = constant(synthesis_matrix(stft)[:, None], np.float32)
    overlapped = add("ConvTranspose", [rows, synthesis], strides=[stft.hop_length])
    fresh = add("Squeeze", [overlapped, constant([1])])
    tail = add("Pad", ["tail_in", add("Concat", [constant([0, 0, 0]), samples], axis=0)])
    total = add("Add", [fresh, tail])
    cut(total, zero, samples, "denoised")
    cut(total, samples, end, "tail_out")

    for node in inner.node:
        _rename(node.input, "noisy")
        _rename(node.output, "denoised")
        _rename(node.input, "denoised")
    states = [info for info in inner.input if info.name not in ("noisy", AHEAD)]
    others = [info for info in inner.input if info.name == AHEAD]
    graph = helper.make_graph(
        [*before, *inner.node, *after],
        "audenoise",
        [_info("audio", "batch", "samples"), *_states("_in", delay), *states, *others],
        [
            _info("denoised", "batch", "denoised_samples" if looks_ahead else "samples"),
            *_states("_out", delay),
            *(info for info in inner.output if info.name != "denoised"),
        ],
        [*inner.initializer, *constants],
    )
    exported = helper.make_model(graph, opset_imports=model.opset_import, producer_name="audenoise")
    exported.ir_version = model.ir_version
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in settings.items()}
    helper.set_model_props(exported, texts)
    onnx.checker.check_model(exported, full_check=True)
    return exported


def _rename(names: Any, name: str) -> None:
    names[:] = [f"{_PREFIX}{each}" if each == name else each for each in names]


def _info(name: str, *sizes: int | str) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, list(sizes))


def _states(suffix: str, delay: int) -> list[onnx.ValueInfoProto]:
    return [_info(f"{name}{suffix}", "batch", delay) for name in ("past", "tail")]


def state_shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Shapes of the states by name, without the batch."""
    return {
        info.name.removesuffix("_in"): tuple(size.dim_value for size in info.type.tensor_type.shape.dim[1:])
        for info in model.graph.input
        if info.name not in ("audio", AHEAD)
    }
