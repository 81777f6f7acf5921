"""Networks: code that turns a spec into a `keras.Model`. A model is a spec with weights."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from audenoise.specs import ModelSpec

if TYPE_CHECKING:
    import keras


def _unet(spec: ModelSpec) -> "keras.Model":
    from audenoise.architectures.unet import build_unet

    return build_unet(spec)


ARCHITECTURES: dict[str, Callable[[ModelSpec], "keras.Model"]] = {"unet": _unet}


def build_network(spec: ModelSpec) -> "keras.Model":
    """The network of a spec: (batch, frames, bins, 2) noisy → denoised spectrum."""
    return ARCHITECTURES[spec.architecture](spec)
