# TensorFlow describes its decorators and lite too loosely for a checker.
# pyright: reportAttributeAccessIssue=false
"""A published model as a SavedModel, and as a LiteRT (TensorFlow Lite) file of built-in operators only."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from audenoise import layers as own
from audenoise.errors import ModelError
from audenoise.exporting.streaming import StreamingNetwork
from audenoise.exporting.transform import delay_samples
from audenoise.presets import Preset
from audenoise.publishing import load_keras_model


class _Exported(tf.Module):
    """Holds the network's variables and the functions that become signatures."""

    def __init__(self, network: keras.Model, streaming: StreamingNetwork, preset: Preset) -> None:
        super().__init__()
        self.network = network
        self._streaming, self._stft = streaming, preset.stft

    def denoise(self, audio: Any) -> dict[str, Any]:
        """Whole signals: (batch, samples) → the same shape, without delay."""
        hop, delay = self._stft.hop_length, delay_samples(self._stft)
        batch, n_samples = tf.shape(audio)[0], tf.shape(audio)[1]
        behind = delay + tf.math.floormod(-n_samples - delay, hop)
        padded = tf.pad(audio, tf.stack([[0, 0], [0, behind]]))
        states = {name: tf.zeros([batch, *shape]) for name, shape in self._streaming.state_shapes.items()}
        denoised, _ = self._streaming(padded, states)
        return {"denoised": denoised[:, delay : delay + n_samples]}

    def process(self, audio: Any, **states: Any) -> dict[str, Any]:
        """Blocks: (batch, samples), a multiple of the hop, and states → denoised, later, and states."""
        denoised, after = self._streaming(audio, states)
        return {"denoised": denoised, **after}

    def frozen_process(self) -> Callable[..., dict[str, Any]]:
        """`process` with the weights as constants: LiteRT would keep variables without their values."""
        weights = [(variable, own.to_numpy(variable)) for variable in self.network.variables]

        def process(audio: Any, **states: Any) -> dict[str, Any]:
            with keras.StatelessScope(state_mapping=weights):
                return self.process(audio, **states)

        return process

    def signature(self, function: Callable[..., Any], batch: int | None, samples: int | None) -> Any:
        return tf.function(function, autograph=False).get_concrete_function(
            tf.TensorSpec([batch, samples], tf.float32, name="audio"),
            **{
                name: tf.TensorSpec([batch, *shape], tf.float32, name=name)
                for name, shape in self._streaming.state_shapes.items()
            },
        )


def write_saved_model(preset: Preset, target: Path) -> dict[str, tuple[int, ...]]:
    """Write a SavedModel with the signature `denoise`, and `process` if the model is causal.

    Returns
    -------
    dict
        Shapes of the states of `process`, by name.
    """
    exported, streaming = _load(preset, unrolled=False)
    whole = tf.function(exported.denoise, autograph=False).get_concrete_function(
        tf.TensorSpec([None, None], tf.float32, name="audio")
    )
    signatures = {"serving_default": whole, "denoise": whole}
    if streaming.causal:
        signatures["process"] = exported.signature(exported.process, None, None)
    tf.saved_model.save(exported, str(target), signatures=signatures)
    return streaming.state_shapes if streaming.causal else {}


def write_litert(preset: Preset, target: Path, *, frames: int) -> dict[str, tuple[int, ...]]:
    """Write a LiteRT file with the signature `process`, for one channel and `frames` frames a call.

    Returns
    -------
    dict
        Shapes of the states, by name.

    Raises
    ------
    ModelError
        If the model looks ahead, or the converter fails.
    """
    exported, streaming = _load(preset, unrolled=True)
    if not streaming.causal:
        raise ModelError(
            f"{preset.folder}: looks ahead, so it can't go frame by frame as LiteRT does; "
            "export it with --format onnx or saved-model"
        )
    n_samples = frames * preset.stft.hop_length
    signature = exported.signature(exported.frozen_process(), 1, n_samples)
    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(exported, folder, signatures={"process": signature})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["process"])
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        try:
            content = converter.convert()
        except Exception as error:  # the converter's errors have no common base
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ModelError(f"{preset.folder}: LiteRT can't express it ({reason[:200]})") from error
    target.write_bytes(content)
    return streaming.state_shapes


def _load(preset: Preset, *, unrolled: bool) -> tuple[_Exported, StreamingNetwork]:
    network, _ = load_keras_model(preset.folder)
    streaming = StreamingNetwork(network, preset.stft, unrolled=unrolled)
    return _Exported(network, streaming, preset), streaming
