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
from audenoise.encoder_weights import take_layers
from audenoise.errors import TrainingError
from audenoise.run_folders import load_weights
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
    load_weights(smaller, source)
    taken = take_layers(network, smaller)
    own = {layer.name: layer for layer in network.layers}
    prefixes = {name.split("_")[0] for name in taken.new}  # the new blocks
    for branch in (f"{prefix}_{axis}" for prefix in prefixes for axis in ("time", "bands")):
        ends = (own.get(f"{branch}{end}") for end in ("_norm", "_dense", ""))
        last = next((layer for layer in ends if layer is not None), None)
        if last is not None:
            _silence(last)
    if report is not None:
        fresh = taken.n_parameters - taken.n_taken
        blocks = "1 block" if added == 1 else f"{added} blocks"
        report(f"{source}: the network grows by {blocks} with {fresh:,} parameters, adding nothing yet")


def _silence(layer: keras.layers.Layer) -> None:
    """Make a layer's output zero, whatever comes in: a norm, a Dense, or a layer that ends in a Dense."""
    end = getattr(layer, "merge", None) or getattr(layer, "spread", None) or layer
    for name in ("gamma", "beta", "kernel", "bias"):
        variable = getattr(end, name, None)
        if variable is not None:
            variable.assign(np.zeros(variable.shape, np.float32))
