# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false
"""A Keras denoising network written as an ONNX graph, with native GRU nodes and its state in and out.

Each kind of layer has one translator below. Inside the graph tensors are (batch, channels, frames,
frequency), which is what ONNX Runtime's convolutions want. From a recurrence on they are (frames, batch,
frequency, channels), which is what its GRUs want, until a layer comes that has no translator for this; so
nothing is transposed between recurrences.
"""

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import onnx
from onnx import helper

from audenoise import layers as own
from audenoise.architectures.summary import looks_ahead, sees_frames_around
from audenoise.errors import ModelError
from audenoise.onnx_graph import Graph, info

Translator = Callable[["Graph", Any, list[str]], str]
_TRANSLATORS: dict[type, Translator] = {}
_SEQUENCE_TRANSLATORS: dict[type, Translator] = {}
"""Of layers that follow a recurrence."""


def _translates(*kinds: type) -> Callable[[Translator], Translator]:
    def register(function: Translator) -> Translator:
        _TRANSLATORS.update(dict.fromkeys(kinds, function))
        return function

    return register


def _continues(*kinds: type) -> Callable[[Translator], Translator]:
    """Register what translates a layer after a recurrence: inputs and output are sequences."""

    def register(function: Translator) -> Translator:
        def translate(g: Graph, layer: Any, inputs: list[str]) -> str:
            y = function(g, layer, [g.sequence(x) for x in inputs])
            g.sequences.add(y)
            return y

        _SEQUENCE_TRANSLATORS.update(dict.fromkeys(kinds, translate))
        return translate

    return register


def translate(g: Graph, layer: Any, inputs: list[str]) -> str:
    """Write a layer.

    Raises
    ------
    ModelError
        If it has no translator.
    """
    kinds = inspect.getmro(type(layer))
    if isinstance(layer, own.AxisGRU):
        sequence = layer.axis == "frames"
    else:
        sequence = isinstance(layer, own.FullBandGRU) or any(x in g.sequences for x in inputs)
    if sequence:
        for kind in kinds:
            if kind in _SEQUENCE_TRANSLATORS:
                return _SEQUENCE_TRANSLATORS[kind](g, layer, inputs)
    for kind in kinds:
        if kind in _TRANSLATORS:
            return _TRANSLATORS[kind](g, layer, [g.image(x) for x in inputs])
    raise ModelError(f"{layer.name}: {type(layer).__name__} cannot be written as ONNX")


def _static(tensor: Any) -> tuple[int, int]:
    """(frequency, channels) of a Keras tensor."""
    return tensor.shape[2], tensor.shape[3]


# --- spectra ------------------------------------------------------------------------------------------------


def _planes(g: Graph, x: str) -> tuple[str, str]:
    real, imag = g.add("Split", [x], 2, axis=1, num_outputs=2)
    return real, imag


def _power(g: Graph, x: str) -> str:
    real, imag = _planes(g, x)
    return g.add("Add", [g.add("Mul", [real, real]), g.add("Mul", [imag, imag])])


def _root(g: Graph, x: str, exponent: float) -> str:
    return g.add("Exp", [g.add("Mul", [g.add("Log", [x]), g.constant(exponent)])])


def _warp(g: Graph, x: str, exponent: float) -> str:
    """|X|^exponent with the phase kept."""
    if exponent == 1:
        return x
    power = g.add("Add", [_power(g, x), g.constant(own.TINY_POWER)])
    return g.add("Mul", [x, _root(g, power, (exponent - 1) / 2)])


def _level_db(g: Graph, x: str, low_db: float) -> str:
    power = g.add("Max", [_power(g, x), g.constant(10 ** (low_db / 10))])
    return g.add("Mul", [g.add("Log", [power]), g.constant(10 / np.log(10))])


@_translates(own.SpectrumFeatures)
def _features(g: Graph, layer: own.SpectrumFeatures, inputs: list[str]) -> str:
    x = inputs[0]
    if layer.representation == "complex":
        return _warp(g, x, layer.compression)
    if layer.representation == "decibel":
        low, high = layer.range_db
        mean, scale = layer.scaling or (low, high - low)
        level = g.add("Sub", [_level_db(g, x, low), g.constant(mean)])
        level = g.add("Mul", [level, g.constant(1 / scale)])
        if layer.scaling is not None:
            return level
        return g.add("Clip", [level, g.constant(0.0), g.constant(1.0)])
    power = g.add("Add", [_power(g, x), g.constant(own.TINY_POWER)])
    magnitude = _root(g, power, layer.compression / 2)
    if layer.representation == "magnitude":
        return magnitude
    return g.add("Concat", [magnitude, _warp(g, x, layer.compression)], axis=1)


@_translates(own.ApplyOutput)
def _apply(g: Graph, layer: own.ApplyOutput, inputs: list[str]) -> str:
    noisy, prediction = inputs
    exponent = layer.exponent
    if layer.kind == "complex_mask":
        (a, b), (c, d) = _planes(g, _warp(g, noisy, exponent)), _planes(g, prediction)
        real = g.add("Sub", [g.add("Mul", [a, c]), g.add("Mul", [b, d])])
        imag = g.add("Add", [g.add("Mul", [a, d]), g.add("Mul", [b, c])])
        return _warp(g, g.add("Concat", [real, imag], axis=1), 1 / exponent)
    if layer.kind == "magnitude_mask":
        return _warp(g, g.add("Mul", [_warp(g, noisy, exponent), prediction]), 1 / exponent)
    if layer.representation in ("complex", "magnitude_complex"):
        if layer.kind == "noise":
            prediction = g.add("Sub", [_warp(g, noisy, exponent), prediction])
        return _warp(g, prediction, 1 / exponent)
    linear = g.add("Sqrt", [g.add("Add", [_power(g, noisy), g.constant(own.TINY_POWER)])])
    if layer.representation == "decibel":
        mean, scale = layer.scaling
        floor = g.add("Max", [linear, g.constant(10 ** (layer.range_db[0] / 20))])
        target = g.add("Add", [g.add("Mul", [prediction, g.constant(scale)]), g.constant(mean)])
        if layer.kind == "noise":
            level = g.add("Mul", [g.add("Log", [floor]), g.constant(20 / np.log(10))])
            target = g.add("Sub", [level, target])
        magnitude = g.add("Exp", [g.add("Mul", [target, g.constant(np.log(10) / 20)])])
        return g.add("Mul", [noisy, g.add("Div", [magnitude, floor])])
    target = prediction
    if layer.kind == "noise":
        target = g.add("Sub", [_root(g, linear, exponent), prediction])
    magnitude = _root(g, g.add("Max", [target, g.constant(1e-6)]), 1 / exponent)
    return g.add("Mul", [noisy, g.add("Div", [magnitude, linear])])


# --- convolutions -------------------------------------------------------------------------------------------


@_translates(own.SpectralConv2D)
def _spectral_conv(g: Graph, layer: own.SpectralConv2D, inputs: list[str]) -> str:
    x, (frequency, channels) = inputs[0], _static(layer.input)
    frames, bins = layer.paddings(frequency)
    if g.stateful and frames[0]:
        # The frames before the block come from the block before: what was zero padding becomes the state.
        sizes = (channels, frames[0], frequency)
        x = g.add("Concat", [g.state(layer.name, *sizes), x], axis=2)
        g.next_state(layer.name, g.last_frames(x, frames[0]), *sizes)
        frames = (0, frames[1])
    convolution = layer.convolution
    depthwise = layer.depthwise
    weight = g.weight(convolution.kernel, *((2, 3, 0, 1) if depthwise else (3, 2, 0, 1)))
    return g.add(
        "Conv",
        [x, weight, g.weight(convolution.bias)],
        strides=list(layer.stride),
        dilations=[layer.dilation, 1],
        pads=[frames[0], bins[0], frames[1], bins[1]],
        group=channels if depthwise else 1,
    )


@_translates(keras.layers.Conv2D)
def _conv(g: Graph, layer: keras.layers.Conv2D, inputs: list[str]) -> str:
    totals = [size - 1 for size in layer.kernel_size]
    pads = [t // 2 for t in totals] + [t - t // 2 for t in totals]
    return g.add("Conv", [inputs[0], g.weight(layer.kernel, 3, 2, 0, 1), g.weight(layer.bias)], pads=pads)


@_translates(keras.layers.Conv2DTranspose)
def _conv_transpose(g: Graph, layer: keras.layers.Conv2DTranspose, inputs: list[str]) -> str:
    totals = [max(k - s, 0) for k, s in zip(layer.kernel_size, layer.strides, strict=True)]
    extra = [max(s - k, 0) for k, s in zip(layer.kernel_size, layer.strides, strict=True)]
    return g.add(
        "ConvTranspose",
        [inputs[0], g.weight(layer.kernel, 3, 2, 0, 1), g.weight(layer.bias)],
        strides=list(layer.strides),
        pads=[t // 2 for t in totals] + [t - t // 2 for t in totals],
        output_padding=extra,
    )


@_translates(keras.layers.UpSampling2D)
def _upsample(g: Graph, layer: keras.layers.UpSampling2D, inputs: list[str]) -> str:
    scales = g.constant([1, 1, *layer.size])
    return g.add(
        "Resize",
        [inputs[0], "", scales],
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    )


@_translates(keras.layers.MaxPooling2D)
def _max_pool(g: Graph, layer: keras.layers.MaxPooling2D, inputs: list[str]) -> str:
    frequency, _ = _static(layer.input)
    size = layer.pool_size[1]
    total = -(-frequency // size) * size - frequency
    return g.add(
        "MaxPool",
        [inputs[0]],
        kernel_shape=list(layer.pool_size),
        strides=list(layer.pool_size),
        pads=[0, total // 2, 0, total - total // 2],
    )


@_translates(keras.layers.Dense)
def _dense(g: Graph, layer: keras.layers.Dense, inputs: list[str]) -> str:
    kernel = own.to_numpy(layer.kernel).T[:, :, None, None]
    return g.add("Conv", [inputs[0], g.constant(kernel), g.weight(layer.bias)])


@_translates(own.BandProjection)
def _band_projection(g: Graph, layer: own.BandProjection, inputs: list[str]) -> str:
    y = g.add("MatMul", [inputs[0], g.weight(layer.kernel, 1, 0)])
    return g.add("Add", [y, g.constant(own.to_numpy(layer.bias).ravel())])


@_translates(own.BandPosition)
def _band_position(g: Graph, layer: own.BandPosition, inputs: list[str]) -> str:
    position = own.to_numpy(layer.position).T[None, :, None, :]
    return g.add("Add", [inputs[0], g.constant(position)])


# --- norms, activations, joins ------------------------------------------------------------------------------


@_translates(keras.layers.BatchNormalization)
def _batch_norm(g: Graph, layer: keras.layers.BatchNormalization, inputs: list[str]) -> str:
    values = (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    return g.add("BatchNormalization", [inputs[0], *map(g.weight, values)], epsilon=layer.epsilon)


@_translates(keras.layers.LayerNormalization)
def _layer_norm(g: Graph, layer: keras.layers.LayerNormalization, inputs: list[str]) -> str:
    x = g.transpose(inputs[0], 0, 2, 3, 1)
    y = g.add(
        "LayerNormalization", [x, g.weight(layer.gamma), g.weight(layer.beta)], axis=-1, epsilon=layer.epsilon
    )
    return g.transpose(y, 0, 3, 1, 2)


@_translates(keras.layers.Activation)
def _activation(g: Graph, layer: keras.layers.Activation, inputs: list[str]) -> str:
    name, x = layer.activation.__name__, inputs[0]
    if name == "silu":
        return g.add("Mul", [x, g.add("Sigmoid", [x])])
    if name == "gelu":  # x·Φ(x) by the error function, in the form that ONNX Runtime makes one operator of
        half = g.add("Mul", [x, g.constant(0.5)])
        error = g.add("Erf", [g.add("Div", [x, g.constant(2**0.5)])])
        return g.add("Mul", [half, g.add("Add", [error, g.constant(1.0)])])
    if name == "elu":  # max(x, exp(min(x, 0)) - 1): ONNX Runtime's Exp is vectorised better than its Elu
        low = g.add("Exp", [g.add("Clip", [x, "", g.constant(0.0)])])
        return g.add("Max", [x, g.add("Sub", [low, g.constant(1.0)])])
    plain = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid", "softplus": "Softplus"}
    return g.add(plain[name], [x])


@_translates(keras.layers.LeakyReLU)
def _leaky_relu(g: Graph, layer: keras.layers.LeakyReLU, inputs: list[str]) -> str:
    return g.add("LeakyRelu", inputs, alpha=float(layer.negative_slope))


@_continues(keras.layers.Add)
@_translates(keras.layers.Add)
def _add(g: Graph, layer: keras.layers.Add, inputs: list[str]) -> str:
    return g.add("Add", inputs)


@_translates(keras.layers.Concatenate)
def _concatenate(g: Graph, layer: keras.layers.Concatenate, inputs: list[str]) -> str:
    return g.add("Concat", inputs, axis=1)


@_translates(keras.layers.Dropout)
def _dropout(g: Graph, layer: keras.layers.Dropout, inputs: list[str]) -> str:
    return inputs[0]


@_translates(own.PadFrames)
def _pad_frames(g: Graph, layer: own.PadFrames, inputs: list[str]) -> str:
    multiple = g.constant([layer.multiple], np.int64)
    missing = g.add("Mod", [g.add("Neg", [g.frames]), multiple])
    pads = g.shape(0, 0, 0, 0, 0, 0, missing, 0)
    return g.add("Pad", [inputs[0], pads])


@_translates(own.CropLike)
def _crop_like(g: Graph, layer: own.CropLike, inputs: list[str]) -> str:
    x, like = layer.input
    y = inputs[0]
    if x.shape[2] != like.shape[2]:
        y = g.slice(y, 3, start=0, end=like.shape[2])
    return g.slice(y, 2, start=0, end=g.frames) if layer.name == "crop_frames" else y


# --- recurrences and attention ------------------------------------------------------------------------------


def _gru_weights(g: Graph, *cells: keras.layers.GRU) -> list[str]:
    """W, R, B of one or two directions. Keras and ONNX both order the gates update, reset, candidate."""
    stacks: list[list[np.ndarray]] = [[], [], []]
    for layer in cells:
        kernel, recurrent, bias = (
            own.to_numpy(v) for v in (layer.cell.kernel, layer.cell.recurrent_kernel, layer.cell.bias)
        )
        for stack, value in zip(stacks, (kernel.T, recurrent.T, bias.ravel()), strict=True):
            stack.append(value)
    return [g.constant(np.stack(stack)) for stack in stacks]


def _gru(
    g: Graph, x: str, cells: list[keras.layers.GRU], initial: str = "", *, reverse: bool = False
) -> tuple[str, str]:
    """(sequence, rows, features) → (sequence, directions, rows, units) and the last state."""
    y, last = g.add(
        "GRU",
        [x, *_gru_weights(g, *cells), "", initial],
        2,
        hidden_size=cells[0].units,
        direction="bidirectional" if len(cells) == 2 else "reverse" if reverse else "forward",
        linear_before_reset=1,
    )
    return y, last


@_translates(own.AxisGRU)
def _gru_along_bands(g: Graph, layer: own.AxisGRU, inputs: list[str]) -> str:
    bands, channels = _static(layer.input)
    cells = [layer.forward] + ([layer.backward] if layer.backward else [])
    y, _ = _gru(g, g.reshape(g.transpose(inputs[0], 3, 0, 2, 1), bands, -1, channels), cells)
    if len(cells) == 2:
        y = g.transpose(y, 0, 2, 1, 3)
    return g.transpose(g.reshape(y, bands, -1, g.frames, layer.units * len(cells)), 1, 3, 2, 0)


@_continues(own.AxisGRU)
def _gru_along_frames(g: Graph, layer: own.AxisGRU, inputs: list[str]) -> str:
    bands, channels = _static(layer.input)
    units, x = layer.units, g.reshape(inputs[0], 0, -1, channels)
    if g.stateful:
        initial = g.reshape(g.state(layer.name, bands, units), 1, -1, units)
        y, last = _gru(g, x, [layer.forward], initial)
        last = g.last_kept(y, last)
        g.next_state(layer.name, g.reshape(last, -1, bands, units), bands, units)
    else:
        y, _ = _gru(g, x, [layer.forward])
    y = g.reshape(y, 0, -1, bands, units)
    if layer.backward is None:
        return y
    z, _ = _gru(g, x, [layer.backward], reverse=True)
    return g.add("Concat", [y, g.reshape(z, 0, -1, bands, units)], axis=3)


@_continues(own.FullBandGRU)
def _full_band_gru(g: Graph, layer: own.FullBandGRU, inputs: list[str]) -> str:
    bands, channels = _static(layer.input)
    x = g.reshape(_last_axis(g, layer.reduce, inputs[0]), 0, 0, bands * layer.reduced)
    if g.stateful:
        initial = g.reshape(g.state(layer.name, layer.units), 1, -1, layer.units)
        y, last = _gru(g, x, [layer.recurrence], initial)
        last = g.last_kept(y, last)
        g.next_state(layer.name, g.reshape(last, -1, layer.units), layer.units)
    else:
        y, _ = _gru(g, x, [layer.recurrence])
    spread = _last_axis(g, layer.spread, g.reshape(y, 0, -1, layer.units))
    y = g.reshape(spread, 0, 0, bands, channels)

    def scaled(factor: np.ndarray, offset: np.ndarray) -> str:
        again = g.scaled[spread](np.tile(factor, bands), np.tile(offset, bands))
        return g.reshape(again, 0, 0, bands, channels)

    g.scaled[y] = scaled
    return y


@_continues(keras.layers.Dense)
def _sequence_dense(g: Graph, layer: keras.layers.Dense, inputs: list[str]) -> str:
    return _last_axis(g, layer, inputs[0])


def _last_axis(g: Graph, layer: keras.layers.Dense, x: str) -> str:
    kernel, bias = g.weight(layer.kernel), own.to_numpy(layer.bias)

    def scaled(factor: np.ndarray, offset: np.ndarray) -> str:
        # The kernel stays as it is stored, perhaps in half precision; ONNX Runtime multiplies at loading.
        product = g.add("MatMul", [x, g.add("Mul", [kernel, g.constant(factor)])])
        return g.add("Add", [product, g.constant(bias * factor + offset)])

    y = g.add("Add", [g.add("MatMul", [x, kernel]), g.constant(bias)])
    g.scaled[y] = scaled
    return y


@_continues(keras.layers.BatchNormalization)
def _sequence_norm(g: Graph, layer: keras.layers.BatchNormalization, inputs: list[str]) -> str:
    gamma, beta, mean, variance = (
        own.to_numpy(v).astype(np.float64)
        for v in (layer.gamma, layer.beta, layer.moving_mean, layer.moving_variance)
    )
    factor = gamma / np.sqrt(variance + layer.epsilon)
    offset = beta - mean * factor
    if inputs[0] in g.scaled:
        return g.scaled[inputs[0]](factor, offset)
    return g.add("Add", [g.add("Mul", [inputs[0], g.constant(factor)]), g.constant(offset)])


@_translates(own.BandAttention)
def _band_attention(g: Graph, layer: own.BandAttention, inputs: list[str]) -> str:
    bands, channels = _static(layer.input)
    size = channels // layer.heads
    x = g.transpose(inputs[0], 0, 2, 3, 1)
    x = g.add("MatMul", [x, g.weight(layer.project.kernel)])
    x = g.add("Add", [x, g.weight(layer.project.bias)])
    x = g.transpose(g.reshape(x, -1, bands, 3, layer.heads, size), 2, 0, 3, 1, 4)
    query, key, value = (
        g.add("Squeeze", [part, g.constant([0], np.int64)])
        for part in g.add("Split", [x], 3, axis=0, num_outputs=3)
    )
    scores = g.add("MatMul", [query, g.transpose(key, 0, 1, 3, 2)])
    weights = g.add("Softmax", [g.add("Mul", [scores, g.constant(size**-0.5)])], axis=-1)
    y = g.transpose(g.add("MatMul", [weights, value]), 0, 2, 1, 3)
    y = g.add("MatMul", [g.reshape(y, -1, g.frames, bands, channels), g.weight(layer.merge.kernel)])
    return g.transpose(g.add("Add", [y, g.weight(layer.merge.bias)]), 0, 3, 1, 2)


# --- the whole graph ----------------------------------------------------------------------------------------


def to_onnx(network: keras.Model) -> onnx.ModelProto:
    """Write a network as an ONNX graph.

    Parameters
    ----------
    network : keras.Model
        From `audenoise.architectures.build_network`.

    Returns
    -------
    onnx.ModelProto
        Input ``noisy`` and output ``denoised``, (batch, frames, bins, 2) float32, dynamic batch and frames;
        and, for each state, ``NAME_in`` and ``NAME_out`` of shape (batch, …), zeros at the start. Beside
        them, where recurrences run backwards too, input ``ahead``, int64 of shape (1,): how many frames at
        the end come to be looked at only, so that states are those before them. Any other network with
        layers that see frames to both sides has no states: its blocks come with context instead.

    Raises
    ------
    ModelError
        If the network holds a layer that has no translator.
    """
    graph = Graph()
    graph.stateful = not sees_frames_around(network)
    bins = network.input.shape[2]
    graph.inputs.append(info("noisy", "batch", "frames", bins, 2))
    noisy = graph.transpose("noisy", 0, 3, 1, 2)
    graph.frames = graph.add("Shape", ["noisy"], start=1, end=2)
    if graph.stateful and looks_ahead(network):
        graph.look_ahead()
    values: dict[int, str] = {id(network.input): noisy}
    for layer in network.operations:
        if isinstance(layer, keras.layers.InputLayer):
            continue
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        values[id(layer.output)] = translate(graph, layer, [values[id(tensor)] for tensor in inputs])
    denoised = graph.image(values[id(network.output)])
    graph.nodes.append(helper.make_node("Transpose", [denoised], ["denoised"], perm=[0, 2, 3, 1]))
    graph.outputs.insert(0, info("denoised", "batch", "frames", bins, 2))
    return graph.model("audenoise")
