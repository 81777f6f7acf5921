# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportAttributeAccessIssue=false
"""Start a network from the encoder of another: what fits is taken over, layer by layer, and listed."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from audenoise.architectures.encoders import build_encoder, build_whole, encoder_of
from audenoise.errors import TrainingError, brief
from audenoise.layers import to_numpy
from audenoise.run_folders import ENCODER_FILE
from audenoise.specs import ModelSpec, load_document, load_recipe, override_training, parse_spec
from audenoise.specs.enhancer import (
    ENHANCER_RECIPES,
    EnhancerSpec,
    load_enhancer_spec,
    parse_enhancer_spec,
)

_WHOLE_FILES = ("best.weights.h5", "model.weights.h5")
_LISTED = 12


def load_either_spec(name_or_path: str | Path) -> ModelSpec | EnhancerSpec:
    """Read the spec of a denoiser or of an enhancer, by path or by the name of a shipped recipe.

    Raises
    ------
    SpecError
        If there is none, or it is not valid.
    """
    path = Path(name_or_path)
    if path.is_file():
        data = load_document(path)
        if isinstance(data, dict) and (data.get("kind") == "enhancer" or "generator" in data):
            return parse_enhancer_spec(data, source=str(path))
        return parse_spec(data, source=str(path))
    if not path.suffix and (ENHANCER_RECIPES / f"{name_or_path}.yaml").is_file():
        return load_enhancer_spec(name_or_path)
    return load_recipe(name_or_path)


def with_training(spec: ModelSpec | EnhancerSpec, overrides: dict[str, Any]) -> ModelSpec | EnhancerSpec:
    """A spec of either kind with keys of its section `training` replaced; None leaves one alone.

    Raises
    ------
    SpecError
        If a value is not valid.
    """
    if isinstance(spec, ModelSpec):
        return override_training(spec, overrides)
    data = spec.model_dump(mode="json")
    data["training"].update({key: value for key, value in overrides.items() if value is not None})
    return parse_enhancer_spec(data)


@dataclass(frozen=True)
class Taken:
    """What a network got from an encoder.

    Attributes
    ----------
    layers : tuple of str
        Names of the layers that were taken over, with all their weights.
    misfits : tuple of str
        Layers of the encoder whose weights have other shapes in the network.
    missing : tuple of str
        Layers of the encoder that the network doesn't have.
    new : tuple of str
        Layers of the network with weights that keep what they had.
    n_taken, n_parameters : int
        Parameters that were taken over, and all of the network.
    """

    layers: tuple[str, ...]
    misfits: tuple[str, ...]
    missing: tuple[str, ...]
    new: tuple[str, ...]
    n_taken: int
    n_parameters: int

    def lines(self) -> list[str]:
        """The same in words."""
        share = 100 * self.n_taken / self.n_parameters
        of_all = len(self.layers) + len(self.new)
        lines = [
            f"{len(self.layers)} of {of_all} layers start from the encoder, {self.n_taken:,} of "
            f"{self.n_parameters:,} parameters ({share:.0f} %): {_names(self.layers)}"
        ]
        if self.misfits:
            lines.append(f"not taken, as their shapes differ: {_names(self.misfits)}")
        if self.missing:
            lines.append(f"not taken, as the network has no such layer: {_names(self.missing)}")
        return lines


def _names(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def stored_spec(source: Path) -> ModelSpec | EnhancerSpec:
    """The spec of a run, of a model folder, or beside a file of weights.

    Raises
    ------
    TrainingError
        If there is none.
    SpecError
        If it is not valid.
    """
    path = (source if source.is_dir() else source.parent) / "spec.yaml"
    if not path.is_file():
        raise TrainingError(f"{path}: is missing; an encoder is built from the spec beside its weights")
    return load_either_spec(path)


def load_encoder(source: Path) -> keras.Model:
    """The encoder of a pre-training, or of a whole network.

    Parameters
    ----------
    source : Path
        The folder of a run or of a published model; or a file of weights beside its spec.yaml, which is that
        of a whole network unless it is called encoder.weights.h5.

    Raises
    ------
    TrainingError
        If the weights are missing, damaged, or not those of the spec.
    """
    spec = stored_spec(source)
    if source.is_dir():
        files = [source / name for name in (ENCODER_FILE, *_WHOLE_FILES)]
        weights = next((file for file in files if file.is_file()), None)
        if weights is None:
            raise TrainingError(
                f"{source}: holds none of {', '.join(file.name for file in files)}; train for at least one "
                "epoch first"
            )
    else:
        weights = source
    model = whole = build_encoder(spec) if weights.name == ENCODER_FILE else build_whole(spec)
    try:
        whole.load_weights(weights)
    except (ValueError, OSError, KeyError) as error:
        reason = brief(error)
        raise TrainingError(f"{weights}: weights don't fit spec.yaml ({reason})") from None
    return model if weights.name == ENCODER_FILE else encoder_of(whole, spec)


def take_layers(network: keras.Model, source: keras.Model) -> Taken:
    """Copy the weights of every layer that both have by the same name and with the same shapes.

    A layer is taken as a whole or not at all.
    """

    def with_weights(model: keras.Model) -> dict[str, keras.layers.Layer]:
        return {layer.name: layer for layer in model.layers if layer.weights}

    ours, theirs = with_weights(network), with_weights(source)
    taken, misfits = [], []
    for name in ours.keys() & theirs.keys():
        pair = ours[name].weights, theirs[name].weights
        shapes = [[tuple(weight.shape) for weight in side] for side in pair]
        (taken if shapes[0] == shapes[1] else misfits).append(name)
    for name in taken:
        for weight, given in zip(ours[name].weights, theirs[name].weights, strict=True):
            weight.assign(np.array(to_numpy(given)))
    return Taken(
        layers=tuple(name for name in ours if name in taken),
        misfits=tuple(name for name in ours if name in misfits),
        missing=tuple(name for name in theirs if name not in ours),
        new=tuple(name for name in ours if name not in taken),
        n_taken=sum(ours[name].count_params() for name in taken),
        n_parameters=network.count_params(),
    )


def start_from_encoder(
    network: keras.Model, source: Path, report: Callable[[str], object] | None = None
) -> Taken:
    """Give a network the encoder of another run, as far as it fits.

    Parameters
    ----------
    network : keras.Model
        A denoiser's network or an enhancer's generator.
    source : Path
        See `load_encoder`.
    report : callable, optional
        Called with a line for what was taken and for each kind of what was not.

    Returns
    -------
    Taken

    Raises
    ------
    TrainingError
        If nothing fits, or see `load_encoder`.
    """
    taken = take_layers(network, load_encoder(source))
    if not taken.layers:
        raise TrainingError(
            f"{source}: no layer of its encoder fits the network ({len(taken.misfits)} have other shapes, "
            f"{len(taken.missing)} other names); pre-train with the spec that you train with"
        )
    if report is not None:
        for line in taken.lines():
            report(f"{source}: {line}")
    return taken
