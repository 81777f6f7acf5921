# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false
"""Start a larger network from a trained smaller one: what is new begins by adding nothing.

That is residual blocks, GRUs over time that run backwards too, and kernels over more frames.

The larger network computes what the smaller one did until its first step, so nothing that was learnt is lost
(Chen et al., Net2Net, ICLR 2016; residual branches that start at zero as in Goyal et al. 2017).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from audenoise.architectures import build_network
from audenoise.encoder_weights import take_layers
from audenoise.errors import TrainingError
from audenoise.layers import SpectralConv2D, to_numpy
from audenoise.run_folders import load_weights
from audenoise.specs import ModelSpec, grows_from, load_spec


def start_grown(
    network: keras.Model,
    source: Path,
    *,
    spec: ModelSpec,
    report: Callable[[str], object] | None = None,
) -> None:
    """Give a network the weights of a smaller one, and make what it has beside them add nothing yet.

    Parameters
    ----------
    network : keras.Model
        The larger one.
    source : Path
        Weights of the smaller network, beside its spec.yaml.
    spec : ModelSpec
        Of `network`.
    report : callable, optional
        Called with a line on what was added.

    Raises
    ------
    TrainingError
        If the network is not the smaller one and more (`specs.grows_from`), or the weights don't fit the
        smaller one.
    """
    smaller_spec = load_spec(source.parent / "spec.yaml")
    if not grows_from(spec, smaller_spec):
        raise TrainingError(
            f"{source}: the network is not the one of these weights with more blocks, with GRUs that run "
            "backwards too or with kernels over more frames"
        )
    smaller = build_network(smaller_spec)
    load_weights(smaller, source)
    taken = take_layers(network, smaller)
    own = {layer.name: layer for layer in network.layers}
    longer = [name for name in taken.misfits if isinstance(own[name], SpectralConv2D)]
    backwards = [name for name in taken.misfits if name not in longer]
    for name in longer:
        _lengthen(own[name], smaller.get_layer(name))
    for name in backwards:
        _widen(own[name], smaller.get_layer(name))
    prefixes = {name.split("_")[0] for name in {*taken.new} - {*taken.misfits}}  # the new blocks
    for branch in (f"{prefix}_{axis}" for prefix in prefixes for axis in ("time", "bands")):
        ends = (own.get(f"{branch}{end}") for end in ("_norm", "_dense", ""))
        last = next((layer for layer in ends if layer is not None), None)
        if last is not None:
            _silence(last)
    if report is not None:
        more = [f"{len(prefixes)} block{'s' * (len(prefixes) > 1)}"] if prefixes else []
        more += ["GRUs that run backwards"] if backwards else []
        more += ["kernels over more frames"] if longer else []
        fresh, what = network.count_params() - smaller.count_params(), " and ".join(more)
        report(f"{source}: the network grows by {what}: {fresh:,} parameters, adding nothing yet")


def _widen(layer: keras.layers.Layer, smaller: keras.layers.Layer) -> None:
    """Take over a recurrence that ran forwards only, or the layer after it, which doesn't hear of the other
    direction yet."""
    pair = getattr(layer, "forward", layer).weights, getattr(smaller, "forward", smaller).weights
    for weight, given in zip(*pair, strict=True):
        value = to_numpy(given)
        rest = np.zeros((weight.shape[0] - value.shape[0], *value.shape[1:]), value.dtype)
        weight.assign(np.concatenate([value, rest]))


def _lengthen(layer: Any, smaller: Any) -> None:
    """Take over a convolution over fewer frames; the frames that are new have no weight yet."""
    value, bins = to_numpy(smaller.convolution.kernel), layer.input.shape[2]
    start = layer.paddings(bins)[0][0] - smaller.paddings(bins)[0][0]
    kernel = np.zeros(layer.convolution.kernel.shape, value.dtype)
    kernel[start : start + len(value)] = value
    layer.convolution.kernel.assign(kernel)
    layer.convolution.bias.assign(to_numpy(smaller.convolution.bias))


def _silence(layer: keras.layers.Layer) -> None:
    """Make a layer's output zero, whatever comes in: a norm, a Dense, or a layer that ends in a Dense."""
    end = getattr(layer, "merge", None) or getattr(layer, "spread", None) or layer
    for name in ("gamma", "beta", "kernel", "bias"):
        variable = getattr(end, name, None)
        if variable is not None:
            variable.assign(np.zeros(variable.shape, np.float32))
