# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalOperand=false, reportArgumentType=false, reportAttributeAccessIssue=false
# pyright: reportOptionalMemberAccess=false
"""What pre-training trains: an encoder between a spectrogram with holes and what it is to say of it.

Masked reconstruction as in masked autoencoders of spectrograms (Huang et al. 2022), next-frame prediction as
in autoregressive predictive coding (Chung et al. 2019), both of log mels and with mean absolute errors.
"""

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from audenoise.architectures.encoders import build_encoder
from audenoise.architectures.enhancer_layers import MEL_SCALE, band_weights, log_mel
from audenoise.denoising_model import precision
from audenoise.enhancer_losses import to_db
from audenoise.errors import SignalError, SpecError
from audenoise.layers import SpectralTransform, ops
from audenoise.specs import MixingSpec, ModelSpec, TrainingSpec
from audenoise.specs.enhancer import EnhancerSpec


@dataclass(frozen=True)
class EncoderRecipe:
    """What denoisers and enhancers say alike about training an encoder."""

    training: TrainingSpec
    mixing: MixingSpec
    causal: bool
    time_factor: int


def recipe_of(spec: ModelSpec | EnhancerSpec) -> EncoderRecipe:
    """How the encoder of a spec is pre-trained: by the spec's own recipe, as far as that goes."""
    if isinstance(spec, ModelSpec):
        return EncoderRecipe(spec.training, spec.mixing, spec.causal, spec.time_factor)
    own = spec.training
    shared = set(TrainingSpec.model_fields) & set(type(own).model_fields) - {"best_by"}
    training = TrainingSpec(
        **{name: getattr(own, name) for name in shared},
        schedule=spec.schedule.decay,
        warmup_steps=spec.schedule.warmup_steps,
        validation_mixtures=own.validation_pairs,
    )
    mixing = MixingSpec(level_dbfs=spec.pairs.level_dbfs, band_limit=0, clip=0)
    return EncoderRecipe(training, mixing, causal=False, time_factor=1)


@keras.saving.register_keras_serializable("audenoise")
class PretrainingModel(keras.Model):
    """An encoder between a spectrogram with holes and two predictions.

    Parameters
    ----------
    spec : ModelSpec or EnhancerSpec

    Attributes
    ----------
    network : keras.Model
        The encoder.
    names : tuple of str
        What is predicted: ``reconstruction``, ``next_frame`` or both.

    Raises
    ------
    SpecError
        If there are more bands than the spectrum has room for.
    """

    def __init__(self, spec: ModelSpec | EnhancerSpec):
        super().__init__(name="pretraining", dtype="float32")
        self.spec, self.plan = spec.pretraining, recipe_of(spec)
        self.transform = SpectralTransform.of(spec.stft, spec.sample_rate)
        try:
            self.band_weights = band_weights(
                sample_rate=spec.sample_rate, n_fft=spec.stft.n_fft, bands=self.spec.bands
            )
        except SignalError as error:
            raise SpecError(f"pretraining.bands: {error}") from None
        bins = np.arange(spec.stft.bins)
        centres = (bins[:, None] * self.band_weights).sum(axis=0)
        nearest = np.abs(bins[:, None] - centres).argmin(axis=1)
        self.bins_of_band = np.eye(self.spec.bands, dtype=np.float32)[nearest].T  # (bands, bins)
        with precision(self.plan.training.precision):
            self.network = build_encoder(spec)
        weights = {
            "reconstruction": self.spec.reconstruction,
            "next_frame": self.spec.next_frame_weight(causal=self.plan.causal),
        }
        self.loss_weights_ = {name: weight for name, weight in weights.items() if weight}
        self.names = tuple(self.loss_weights_)
        self.heads = {name: self._head(name) for name in self.names}
        self.means = {name: keras.metrics.Mean(name=name) for name in self.names}

    def _head(self, name: str) -> keras.Model:
        hidden = [keras.layers.Dense(self.spec.head_units, activation="gelu")] if self.spec.head_units else []
        size = self.plan.time_factor * self.spec.bands
        return keras.Sequential([*hidden, keras.layers.Dense(size)], name=f"{name}_head")

    def mels(self, audio):
        """(batch, samples) → log mels (batch, frames, bands), on the scale of `log_mel`."""
        return log_mel(self.transform.stft(audio), self.band_weights)

    def call(self, inputs, training=None):
        """What is predicted of audio with some of it hidden: log mels (batch, frames, bands) by name.

        Frame k of ``next_frame`` is that of k + `ahead_frames`.
        """
        spectrum = self.transform.stft(inputs["audio"])
        hidden = ops.matmul(ops.cast(inputs["hidden"], "float32"), self.bins_of_band)
        shown: Any = spectrum * (1.0 - hidden)[..., None]
        if isinstance(self.network.input, dict):
            shown = {"spectrum": shown}
            if "conditioning" in self.network.input:  # it would say what is hidden
                size = self.network.input["conditioning"].shape[2]
                shown["conditioning"] = ops.zeros((*ops.shape(spectrum)[:2], size))
        state = ops.cast(self.network(shown, training=training), "float32")
        count, n_frames = ops.shape(state)[0], spectrum.shape[1]
        flat = ops.reshape(state, (count, -1, state.shape[2] * state.shape[3]))
        found = {name: head(flat, training=training) for name, head in self.heads.items()}
        # Each frame of an encoder with strides along time stands for some of the spectrogram's.
        return {
            name: ops.reshape(each, (count, -1, self.spec.bands))[:, :n_frames]
            for name, each in found.items()
        }

    def errors(self, inputs, predicted) -> dict[str, Any]:
        """Mean absolute error of each prediction, in units of `log_mel`."""
        wanted, found = ops.stop_gradient(self.mels(inputs["audio"])), {}
        if "reconstruction" in predicted:
            hidden = ops.cast(inputs["hidden"], "float32")
            wrong = ops.abs(predicted["reconstruction"] - wanted) * hidden
            found["reconstruction"] = ops.sum(wrong) / (ops.sum(hidden) + 1e-6)
        if "next_frame" in predicted:
            ahead = self.spec.ahead_frames
            found["next_frame"] = ops.mean(ops.abs(predicted["next_frame"][:, :-ahead] - wanted[:, ahead:]))
        return found

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        found = self.errors(x, y_pred)
        for name, value in found.items():
            self.means[name].update_state(value)
        return sum(self.loss_weights_[name] * value for name, value in found.items())


def trivial_errors(mels: np.ndarray, hidden: np.ndarray, *, ahead_frames: int) -> dict[str, dict[str, float]]:
    """What predictors that know nothing reach on the same examples.

    Parameters
    ----------
    mels : ndarray
        (examples, frames, bands).
    hidden : ndarray
        Of the same shape; true is hidden.
    ahead_frames : int

    Returns
    -------
    dict of dict
        For ``reconstruction`` and ``next_frame``, mean absolute errors: ``constant``, the median of each band
        over all examples; ``repeat``, the last frame in which the band was seen.
    """
    hidden = np.asarray(hidden, bool)
    constant = np.broadcast_to(np.median(mels, axis=(0, 1)), mels.shape)
    n_frames = mels.shape[1]
    # Number of the last frame that is visible, by band; -1 before the first.
    last = np.maximum.accumulate(np.where(hidden, -1, np.arange(n_frames)[:, None]), axis=1)
    repeated = np.where(last < 0, constant, np.take_along_axis(mels, np.maximum(last, 0), axis=1))
    later, now = mels[:, ahead_frames:], repeated[:, :-ahead_frames]
    wrong = {
        "reconstruction": [np.abs(each - mels)[hidden] for each in (constant, repeated)],
        "next_frame": [np.abs(each - later) for each in (constant[:, ahead_frames:], now)],
    }
    return {
        name: {kind: float(each.mean()) for kind, each in zip(("constant", "repeat"), both, strict=True)}
        for name, both in wrong.items()
    }


def in_db(error: float) -> float:
    """A mean absolute error of log mels in dB."""
    return to_db(error, MEL_SCALE)
