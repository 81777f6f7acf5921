# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false
"""The part of a network that makes something of the spectrum, before the part that makes a spectrum of it."""

import keras

from audenoise.architectures.enhancer import build_generator
from audenoise.architectures.summary import build_checked
from audenoise.specs import ModelSpec
from audenoise.specs.enhancer import EnhancerSpec

_BEHIND = ("decoder", "output", "head", "crop_frames", "denoised")


def encoder_of(network: keras.Model, spec: ModelSpec | EnhancerSpec) -> keras.Model:
    """Cut the encoder out of a network; both share their weights.

    Parameters
    ----------
    network : keras.Model
        What `build_network` or `build_generator` made of the spec.
    spec : ModelSpec or EnhancerSpec

    Returns
    -------
    keras.Model
        From the network's inputs to (batch, frames / time_factor, bands, channels): for a U-Net the encoder
        and the bottleneck, for an enhancer's generator the blocks before the enhanced mel.
    """
    if isinstance(spec, EnhancerSpec):
        last = network.get_layer(f"block{spec.generator.mel_blocks}_add")
    else:
        last = [each for each in network.operations if not each.name.startswith(_BEHIND)][-1]
    return keras.Model(network.input, last.output, name="encoder")


def build_whole(spec: ModelSpec | EnhancerSpec) -> keras.Model:
    """The network of a spec of either kind."""
    return build_generator(spec) if isinstance(spec, EnhancerSpec) else build_checked(spec)


def build_encoder(spec: ModelSpec | EnhancerSpec) -> keras.Model:
    """The encoder of a new network, see `encoder_of`."""
    return encoder_of(build_whole(spec), spec)
