# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalOperand=false, reportArgumentType=false
"""What `fit` trains: a network between its spectrogram and its loss, and the optimizer of a spec."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
from keras import ops

from audenoise.devices import ONE_DEVICE, Devices
from audenoise.layers import SpectralTransform, to_numpy
from audenoise.losses import denoising_losses
from audenoise.optimizers import AdamW, WarmCosine
from audenoise.specs import ModelSpec, TrainingSpec


@keras.saving.register_keras_serializable("audenoise")
class DenoisingModel(keras.Model):
    """A network with its spectrogram and its loss: audio in, denoised spectrum out.

    Parameters
    ----------
    network : keras.Model
        From `audenoise.architectures.build_network`.
    spec : ModelSpec
    devices : Devices
        What it is trained on. It is made in their scope.
    """

    def __init__(self, network: keras.Model, spec: ModelSpec, devices: Devices = ONE_DEVICE):
        super().__init__(name="denoising", dtype="float32")  # whatever the precision of the network
        self.network, self.spec, self.devices = network, spec, devices
        self.transform = SpectralTransform.of(spec.stft, spec.sample_rate)
        names = ("magnitude", "complex", "consistency", "waveform", "envelope", "loudness", "mse", "huber")
        self.term_means = {
            name: keras.metrics.Mean(name=name) for name in names if getattr(spec.loss, name)
        } | {"sdr": keras.metrics.Mean(name="sdr_db")}
        self.level = keras.metrics.Mean(name="level_db")

    def call(self, audio, training=None):
        """(batch, samples) → (batch, frames, bins, 2)."""
        return self.network(self.transform.stft(audio), training=training)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Nothing, since `fit` has built everything.

        With copies of the network Keras would do it again, from batches of the stream that training then has
        to go without.
        """

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        output: Any = self.network.get_layer("denoised")
        terms = denoising_losses(
            x, y, y_pred, transform=self.transform, weights=self.spec.loss, output=output
        )
        for name, mean in self.term_means.items():
            mean.update_state(-terms[name] if name == "sdr" else terms[name])
        reference = self.transform.stft(y)
        energies = [ops.mean(ops.square(part), (1, 2, 3)) + 1e-14 for part in (y_pred, reference)]
        ratios = 10 / np.log(10) * ops.log(energies[0] / energies[1])
        self.level.update_state(ratios, sample_weight=ops.cast(energies[1] > 1e-10, ratios.dtype))
        return terms["loss"] / self.devices.copies  # Keras adds up those of all copies

    def denoise(self, audio: np.ndarray, batch_size: int = 16) -> np.ndarray:
        """(batch, samples) → the same; for as much audio as its spectra fit into memory."""
        spectrum = self.devices.predict(self, audio, batch_size)
        return to_numpy(self.transform.istft(ops.convert_to_tensor(spectrum), audio.shape[1]))


@contextmanager
def precision(name: str) -> Iterator[None]:
    """Networks that are built inside compute in this precision; their weights stay float32.

    Parameters
    ----------
    name : str
        See `TrainingSpec.precision`. What has to do with spectra stays float32 too: see `audenoise.layers`.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def with_loss_scale(optimizer: keras.optimizers.Optimizer, name: str) -> keras.optimizers.Optimizer:
    """Scale the loss while gradients are float16, whose smallest numbers would be lost."""
    return keras.optimizers.LossScaleOptimizer(optimizer) if name == "mixed_float16" else optimizer


def make_optimizer(spec: ModelSpec) -> keras.optimizers.Optimizer:
    """AdamW or Adam with the spec's schedule, clipping and weight averaging."""
    return optimizer_of(spec.training)


def rate_of(recipe: TrainingSpec, total: int) -> Any:
    """The learning rate of `total` steps: a number, or a schedule to be called with the step."""
    if recipe.schedule != "cosine":
        return recipe.learning_rate
    warmup = min(recipe.warmup_steps, total // 10)
    return WarmCosine(recipe.learning_rate, total=total, warmup=warmup, floor=1e-3)


def optimizer_of(recipe: TrainingSpec) -> keras.optimizers.Optimizer:
    """See `make_optimizer`."""
    rate = rate_of(recipe, recipe.epochs * recipe.steps_per_epoch)
    common: dict[str, Any] = {
        "global_clipnorm": recipe.clip_norm,
        "use_ema": recipe.ema_momentum > 0,
        "ema_momentum": recipe.ema_momentum or 0.99,
    }
    if recipe.optimizer == "adam":
        return keras.optimizers.Adam(rate, **common)
    return AdamW(rate, decay=recipe.weight_decay, beta_2=0.99, **common)
