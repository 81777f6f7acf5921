# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false
"""Start a larger network from a trained smaller one: new residual blocks begin by adding nothing.

The larger network computes what the smaller one did until its first step, so nothing that was learnt is lost
(Chen et al., Net2Net, ICLR 2016; residual branches that start at zero as in Goyal et al. 2017).
"""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np

from audenoise.architectures import build_network
from audenoise.errors import TrainingError
from audenoise.layers import to_numpy
from audenoise.specs import ModelSpec, added_blocks, load_spec


def start_grown(
    network: keras.Model,
    source: Path,
    *,
    spec: ModelSpec,
    report: Callable[[str], object] | None = None,
) -> None:
    """Give a network the weights of a smaller one, and make its further blocks add nothing yet.

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
        If the network is not the smaller one and more blocks, or the weights don't fit the smaller one.
    """
    smaller_spec = load_spec(source.parent / "spec.yaml")
    added = added_blocks(spec, smaller_spec)
    if not added:
        raise TrainingError(f"{source}: the network is not the one of these weights with more blocks")
    smaller = build_network(smaller_spec)
    try:
        smaller.load_weights(source)
    except (ValueError, OSError, KeyError) as error:
        reason = " ".join(str(error).split())[:160]
        raise TrainingError(f"{source}: weights don't fit the spec ({reason})") from None
    given = {layer.name: layer for layer in smaller.layers}
    own = {layer.name: layer for layer in network.layers}
    for name in own.keys() & given.keys():
        for ours, theirs in zip(own[name].weights, given[name].weights, strict=True):
            ours.assign(np.array(to_numpy(theirs)))
    prefixes = {name.split("_")[0] for name in own.keys() - given.keys()}  # the new blocks
    for branch in (f"{prefix}_{axis}" for prefix in prefixes for axis in ("time", "bands")):
        ends = (own.get(f"{branch}{end}") for end in ("_norm", "_dense", ""))
        last = next((layer for layer in ends if layer is not None), None)
        if last is not None:
            _silence(last)
    if report is not None:
        fresh = network.count_params() - smaller.count_params()
        blocks = "1 block" if added == 1 else f"{added} blocks"
        report(f"{source}: the network grows by {blocks} with {fresh:,} parameters, adding nothing yet")


def _silence(layer: keras.layers.Layer) -> None:
    """Make a layer's output zero, whatever comes in: a norm, a Dense, or a layer that ends in a Dense."""
    end = getattr(layer, "merge", None) or getattr(layer, "spread", None) or layer
    for name in ("gamma", "beta", "kernel", "bias"):
        variable = getattr(end, name, None)
        if variable is not None:
            variable.assign(np.zeros(variable.shape, np.float32))
