# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false, reportCallIssue=false, reportArgumentType=false
"""The generator as an ONNX graph, without the heads of its auxiliary tasks.

Layers that denoisers have too are written by the translators of `audenoise.onnx_export`; here are those of
the two ends. Inside the graph tensors are (batch, channels, frames, 1).
"""

import keras
import onnx
from onnx import helper

from audenoise import onnx_export as export
from audenoise.architectures import enhancer_layers as ends
from audenoise.layers import TINY_POWER
from audenoise.onnx_graph import Graph, info

_HEADS = ("pitch_head", "residual_head")


def _rows(g: Graph, x: str) -> str:
    """(batch, channels, frames, 1) ↔ (batch, 1, frames, channels)."""
    return g.transpose(x, 0, 3, 2, 1)


@export._translates(ends.LogMel)
def _log_mel(g: Graph, layer: ends.LogMel, inputs: list[str]) -> str:
    power = g.add("MatMul", [export._power(g, inputs[0]), g.constant(layer.weights_)])
    level = g.add("Log", [g.add("Add", [power, g.constant(ends.MEL_FLOOR)])])
    level = g.add("Mul", [level, g.constant(0.5 / ends.MEL_SCALE)])
    return _rows(g, g.add("Add", [level, g.constant(ends.MEL_OFFSET / ends.MEL_SCALE)]))


@export._translates(ends.FrameFeatures)
def _features(g: Graph, layer: ends.FrameFeatures, inputs: list[str]) -> str:
    power = g.add("Add", [export._power(g, inputs[0]), g.constant(TINY_POWER)])
    magnitude = export._root(g, power, layer.compression / 2)
    real, imag = export._planes(g, export._warp(g, inputs[0], layer.compression))
    return _rows(g, g.add("Concat", [magnitude, real, imag], axis=3))


@export._translates(ends.ChosenColumns)
def _chosen(g: Graph, layer: ends.ChosenColumns, inputs: list[str]) -> str:
    chosen = g.add("MatMul", [inputs[0], g.constant(layer.matrix)])  # (batch, frames, columns)
    return g.transpose(g.add("Unsqueeze", [chosen, g.constant([2], "int64")]), 0, 3, 1, 2)


@export._translates(ends.Synthesis)
def _synthesis(g: Graph, layer: ends.Synthesis, inputs: list[str]) -> str:
    spectrum, *rest = inputs
    mel_in, mel, mask, level, phase = (_rows(g, each) for each in rest)
    spread = g.constant(layer.spread)

    def spread_out(bands: str) -> str:
        return g.add("Mul", [g.add("MatMul", [bands, spread]), g.constant(ends.MEL_SCALE)])

    def halves(x: str) -> tuple[str, str]:
        first, second = g.add("Split", [x], 2, axis=3, num_outputs=2)
        return first, second

    def product(x: str, y: str) -> str:
        return g.add("Mul", [x, y])

    envelope = g.add("Sub", [spread_out(mel), g.constant(ends.MEL_OFFSET)])
    risen = spread_out(g.add("Sub", [mel, mel_in]))
    bend = g.add("Tanh", [g.add("Mul", [level, g.constant(1 / 6.0)])])
    shaped = g.add("Add", [envelope, g.add("Mul", [bend, g.constant(6.0)])])
    missing = g.add("Softplus", [g.add("Sub", [g.constant(ends.PRESENT), risen])])
    amplitude = g.add("Exp", [g.add("Min", [g.add("Sub", [shaped, missing]), g.constant(ends.LOUDEST)])])
    (p_real, p_imag), (m_real, m_imag) = halves(phase), halves(mask)
    x_real, x_imag = export._planes(g, spectrum)
    squared = g.add("Add", [product(p_real, p_real), product(p_imag, p_imag)])
    length = g.add("Sqrt", [g.add("Add", [squared, g.constant(ends.PHASE_TINY)])])
    gain = g.add("Div", [amplitude, length])
    m_real = g.add("Add", [m_real, g.constant(1.0)])
    real = g.add("Sub", [product(x_real, m_real), product(x_imag, m_imag)])
    imag = g.add("Add", [product(x_real, m_imag), product(x_imag, m_real)])
    real = g.add("Add", [real, product(gain, p_real)])
    imag = g.add("Add", [imag, product(gain, p_imag)])
    return g.add("Concat", [real, imag], axis=1)


def generator_to_onnx(generator: keras.Model) -> onnx.ModelProto:
    """Write a generator as an ONNX graph.

    Parameters
    ----------
    generator : keras.Model
        From `build_generator`.

    Returns
    -------
    onnx.ModelProto
        Inputs ``spectrum`` (batch, frames, bins, 2) and, where the generator has it, ``conditioning`` (batch,
        frames, 4); output ``enhanced`` (batch, frames, bins, 2); float32, dynamic batch and frames.

    Raises
    ------
    ModelError
        If the network holds a layer that has no translator.
    """
    graph = Graph()
    graph.stateful = False
    inputs = generator.input
    bins = inputs["spectrum"].shape[2]
    graph.inputs.append(info("spectrum", "batch", "frames", bins, 2))
    graph.frames = graph.add("Shape", ["spectrum"], start=1, end=2)
    values = {id(inputs["spectrum"]): graph.transpose("spectrum", 0, 3, 1, 2)}
    if "conditioning" in inputs:
        sizes = inputs["conditioning"].shape[2:]
        graph.inputs.append(info("conditioning", "batch", "frames", *sizes))
        values[id(inputs["conditioning"])] = "conditioning"
    for layer in generator.operations:
        if isinstance(layer, keras.layers.InputLayer) or layer.name in _HEADS:
            continue
        tensors = layer.input if isinstance(layer.input, list) else [layer.input]
        values[id(layer.output)] = export.translate(graph, layer, [values[id(tensor)] for tensor in tensors])
    enhanced = values[id(generator.output["spectrum"])]
    graph.nodes.append(helper.make_node("Transpose", [enhanced], ["enhanced"], perm=[0, 2, 3, 1]))
    graph.outputs.append(info("enhanced", "batch", "frames", bins, 2))
    return graph.model("audenoise-enhancer")
