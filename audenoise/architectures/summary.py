# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalSubscript=false, reportOptionalOperand=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
"""What a network costs: parameters, multiply-accumulates, the frames of context that a block needs."""

import math
from dataclasses import dataclass
from typing import Any

import keras

from audenoise import layers as own
from audenoise.architectures import build_network
from audenoise.architectures.enhancer import build_generator, generator_layer_macs
from audenoise.errors import SpecError
from audenoise.specs import (
    MAX_PARAMETERS,
    ConvolutionBottleneck,
    DilatedBottleneck,
    ModelSpec,
    RecurrentBottleneck,
    StageSpec,
)
from audenoise.specs.enhancer import EnhancerSpec

BIDIRECTIONAL_CONTEXT_FRAMES = 128
"""What a recurrence that runs backwards is shown of what comes. It has no end to its context; what this one
costs is in the card of `large` in model_descriptions.md."""


@dataclass(frozen=True)
class Context:
    """Frames that a block needs on each side for a whole-file result; blocks start at multiples.

    None on the left where what came before is kept as states.
    """

    left: int
    right: int
    multiple: int


def _per_frame(layer: Any) -> int:
    """Multiply-accumulates of one output frame; element-wise work is not counted, as in the field."""
    if isinstance(layer, own.SpectralConv2D):
        kernel = layer.convolution.kernel.shape
        macs = kernel[0] * kernel[1] * kernel[2] * kernel[3]
        return macs * layer.output.shape[2]
    if isinstance(layer, keras.layers.Conv2DTranspose):
        kernel = layer.kernel.shape  # each input value meets the whole kernel
        return kernel[0] * kernel[1] * kernel[2] * kernel[3] * layer.input.shape[2] // layer.strides[0]
    if isinstance(layer, keras.layers.Conv2D):
        kernel = layer.kernel.shape
        return kernel[0] * kernel[1] * kernel[2] * kernel[3] * layer.output.shape[2]
    if isinstance(layer, keras.layers.Dense):
        return layer.kernel.shape[0] * layer.kernel.shape[1] * layer.input.shape[2]
    if isinstance(layer, own.BandProjection):
        return layer.kernel.shape[0] * layer.kernel.shape[1] * layer.input.shape[3]
    if isinstance(layer, own.AxisGRU):
        directions = 2 if layer.bidirectional else 1
        return 3 * layer.units * (layer.units + layer.input.shape[3]) * directions * layer.input.shape[2]
    if isinstance(layer, own.FullBandGRU):
        bands, channels = layer.input.shape[2], layer.input.shape[3]
        recurrence = 3 * layer.units * (layer.units + bands * layer.reduced)
        return bands * channels * layer.reduced + recurrence + layer.units * bands * channels
    if isinstance(layer, own.BandAttention):
        bands, channels = layer.input.shape[2], layer.input.shape[3]
        return 4 * channels * channels * bands + 2 * bands * bands * channels
    return 0


def _layers(network: keras.Model) -> list[Any]:
    return [layer for layer in network.operations if not isinstance(layer, keras.layers.InputLayer)]


def _frame_rates(network: keras.Model) -> dict[int, float]:
    """Frames at each layer's output as a share of the network's frames."""
    rates: dict[int, float] = {id(network.input): 1.0}
    shares: dict[int, float] = {}
    for layer in _layers(network):
        inputs = layer.input if isinstance(layer.input, list) else [layer.input]
        rate = rates[id(inputs[0])]
        if isinstance(layer, own.SpectralConv2D):
            rate /= layer.stride[0]
        elif isinstance(layer, keras.layers.Conv2DTranspose):
            rate *= layer.strides[0]
        elif isinstance(layer, keras.layers.MaxPooling2D):
            rate /= layer.pool_size[0]
        elif isinstance(layer, keras.layers.UpSampling2D):
            rate *= layer.size[0]
        rates[id(layer.output)] = shares[id(layer)] = rate
    return shares


def layer_macs(network: keras.Model, spec: ModelSpec) -> dict[str, float]:
    """Multiply-accumulates per second of audio of each layer that has any."""
    frames_per_s = spec.sample_rate / spec.stft.hop_length
    shares = _frame_rates(network)
    counted = {layer.name: _per_frame(layer) * shares[id(layer)] * frames_per_s for layer in _layers(network)}
    return {name: macs for name, macs in counted.items() if macs}


def macs_per_second(network: keras.Model, spec: ModelSpec) -> int:
    """Multiply-accumulates per second of audio, the network alone (no Fourier transform)."""
    return round(sum(layer_macs(network, spec).values()))


def sees_frames_around(network: keras.Model) -> bool:
    """Whether one of its layers makes a frame of those before *and* after it, for which blocks need context.

    Recurrences left out, and convolutions beside recurrences that come from the end: what those are shown of
    what comes is enough for these.
    """
    ahead = looks_ahead(network)

    def sees(layer: Any) -> bool:
        if isinstance(layer, own.SpectralConv2D):
            return not layer.causal and (layer.stride[0] > 1 or (layer.kernel[0] > 1 and not ahead))
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            return layer.kernel_size[0] > 1
        if isinstance(layer, keras.layers.MaxPooling2D):
            return layer.pool_size[0] > 1
        return isinstance(layer, keras.layers.UpSampling2D) and layer.size[0] > 1

    return any(sees(layer) for layer in _layers(network))


def looks_ahead(network: keras.Model) -> bool:
    """Whether it has a recurrence that comes from the end."""
    return any(
        isinstance(layer, own.AxisGRU) and layer.axis == "frames" and layer.bidirectional
        for layer in _layers(network)
    )


def context_frames(network: keras.Model, spec: ModelSpec) -> Context:
    """The context of a network. What runs forwards keeps its state between blocks and needs none."""
    if not sees_frames_around(network):
        return Context(0, BIDIRECTIONAL_CONTEXT_FRAMES if looks_ahead(network) else 0, 1)
    shares, reach = _frame_rates(network), 0.0
    for layer in _layers(network):
        if isinstance(layer, own.SpectralConv2D):
            # An even kernel reaches further to one side, so half of it is rounded up.
            reach += -(-(layer.kernel[0] - 1) * layer.dilation // 2) / (shares[id(layer)] * layer.stride[0])
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.Conv2DTranspose):
            reach += (layer.kernel_size[0] - 1) / shares[id(layer)]
    if isinstance(spec.bottleneck, RecurrentBottleneck):
        reach += BIDIRECTIONAL_CONTEXT_FRAMES * spec.time_factor
    multiple = spec.time_factor
    frames = math.ceil(reach / multiple) * multiple
    return Context(frames, frames, multiple)


def _convolved(stage: StageSpec, channels: int) -> int:
    """Weights of a stage's convolutions."""
    inputs = channels + (stage.convolutions - 1) * stage.filters if stage.convolutions else 0
    return stage.filters * inputs * stage.kernel[0] * stage.kernel[1]


def _upwards(spec: ModelSpec, channels: int) -> dict[str, int]:
    """The same for each part after the bottleneck, which `channels` leave; step by step as `build_unet`."""
    counts, stages, wanted = {}, spec.decoder_stages, 1 if spec.output_is_magnitude else 2
    for i, stage in enumerate(stages):
        down, key = spec.encoder[-1 - i], f"decoder[{i}]"
        if spec.decoder is None:
            key = f"encoder[{len(stages) - 1 - i}], mirrored"
        counts[key] = 0
        if down.pool != (1, 1) and spec.upsampling != "repeat":
            kernel = stage.up_kernel or down.pool
            counts[key] += channels * stage.filters * kernel[0] * kernel[1]
            channels = stage.filters
        for position in ("before", "after"):
            if spec.skip.position == position and spec.skip.kind == "concatenate":
                channels += down.filters
            elif spec.skip.position == position and spec.skip.kind == "add" and channels != down.filters:
                counts[key] += channels * down.filters
            if position == "before" and stage.convolutions:
                counts[key] += _convolved(stage, channels)
                channels = stage.filters
        if down.stride != (1, 1) and spec.upsampling != "repeat":
            following = next(iter((*stages[i + 1 :], *spec.output.stages)), None)
            filters = following.filters if following else wanted
            kernel = stage.up_kernel or (down.kernel[0] if down.stride[0] > 1 else 1, down.kernel[1])
            counts[key] += channels * filters * kernel[0] * kernel[1]
            channels = filters
    for i, stage in enumerate(spec.output.stages):
        counts[f"output.stages[{i}]"] = _convolved(stage, channels)
        channels = stage.filters
    counts["output.kernel"] = channels * spec.output.kernel[0] * spec.output.kernel[1]
    return counts


def least_parameters(spec: ModelSpec) -> dict[str, int]:
    """A lower bound of the parameters of each part of a spec, known before anything is built."""
    kind, bins, channels = spec.bottleneck, spec.stft.bins, spec.input.channels
    counts = {}
    for i, stage in enumerate(spec.encoder):
        counts[f"encoder[{i}]"], channels = _convolved(stage, channels), stage.filters
        bins = -(-bins // (stage.stride[1] * stage.pool[1]))
    if isinstance(kind, ConvolutionBottleneck):
        for i, stage in enumerate(kind.stages):
            counts[f"bottleneck.stages[{i}]"], channels = _convolved(stage, channels), stage.filters
    elif isinstance(kind, RecurrentBottleneck):
        bands = kind.bands or bins
        block = 7 * kind.channels**2
        if kind.across_bands == "full_band":
            reduced = max(1, kind.channels // 4)
            block += kind.full_band_units * bands * (3 * reduced + kind.channels)
        counts["bottleneck"] = kind.blocks * block + 2 * channels * kind.channels
        counts["bottleneck"] += 2 * bands * bins if kind.bands else 0
    elif isinstance(kind, DilatedBottleneck):
        each = kind.channels * (kind.channels + kind.kernel[0] * kind.kernel[1])
        counts["bottleneck"] = len(kind.dilations) * each + 2 * channels * kind.channels
    return counts | _upwards(spec, channels)


def build_checked(spec: ModelSpec, *, source: str = "spec") -> keras.Model:
    """Build a network, with sizes that are too large for any machine refused before memory is taken.

    Raises
    ------
    SpecError
        If the network would have more than 500 million parameters or cannot be built.
    """
    counts = least_parameters(spec)
    key = max(counts, key=lambda name: counts[name])
    for what, count in ((f"{key}: ", counts[key]), (f"{key} and the rest: ", sum(counts.values()))):
        if count > MAX_PARAMETERS:
            raise SpecError(
                f"{source}: {what}has over {count / 1e6:.0f} million parameters; reduce its sizes"
            )
    try:
        network = build_network(spec)
    except (ValueError, MemoryError) as error:
        raise SpecError(f"{source}: cannot be built: {' '.join(str(error).split())[:300]}") from error
    if network.count_params() > MAX_PARAMETERS:
        raise SpecError(
            f"{source}: has {network.count_params():,} parameters; at most {MAX_PARAMETERS:,} are allowed"
        )
    return network


def _size(shape: tuple[int | None, ...]) -> str:
    return " × ".join("frames" if size is None else str(size) for size in shape[1:])


def describe(spec: ModelSpec | EnhancerSpec, *, source: str = "spec") -> str:
    """A table of a spec's layers: output size, parameters, multiply-accumulates per second of audio.

    Parameters
    ----------
    spec : ModelSpec or EnhancerSpec
        Of an enhancer, the generator is described.
    source : str
        Named at the start of an error.

    Raises
    ------
    SpecError
        If the network can't be built.
    """
    if isinstance(spec, EnhancerSpec):
        try:
            generator = build_generator(spec)
        except SpecError as error:
            raise SpecError(f"{source}: {error}") from None
        reach = f"not causal, context {spec.generator.reach_frames} frames on each side"
        return "\n".join([*_table(generator, generator_layer_macs(generator, spec)), *_sizes(spec, reach)])
    network = build_checked(spec, source=source)
    macs = layer_macs(network, spec)
    if spec.causal:
        reach = f"causal, latency {1e3 * spec.stft.window_samples / spec.sample_rate:.0f} ms"
    else:
        context = context_frames(network, spec)
        around = (
            f"context {context.right} frames on each side"
            if context.left
            else f"looks {context.right} frames ahead"
        )
        reach = f"not causal, {around}"
    return "\n".join([*_table(network, macs), *_sizes(spec, reach)])


def _sizes(spec: ModelSpec | EnhancerSpec, reach: str) -> list[str]:
    window, hop = spec.stft.window_samples, spec.stft.hop_length
    return ["", f"{spec.name}: {spec.sample_rate} Hz, window {window} samples, hop {hop}, {reach}"]


def _table(network: keras.Model, macs: dict[str, float]) -> list[str]:
    lines = [f"{'layer':<24}{'output (frames × frequency × channels)':<42}{'parameters':>12}{'MAC/s':>12}"]
    for layer in network.layers:
        count = layer.count_params()
        cost = macs.get(layer.name, 0)
        if count or cost:
            lines.append(
                f"{layer.name:<24}{_size(layer.output.shape):<42}{count:>12,}{f'{cost / 1e6:.1f} M':>12}"
            )
    return [*lines, f"{'total':<66}{network.count_params():>12,}{f'{sum(macs.values()) / 1e6:.1f} M':>12}"]
