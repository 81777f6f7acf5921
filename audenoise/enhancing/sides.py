# Keras annotates its operations for every backend at once, which no checker can follow.
# pyright: reportOptionalOperand=false, reportArgumentType=false, reportIncompatibleMethodOverride=false
# pyright: reportOptionalSubscript=false
"""The two sides of the game as Keras models: each trains its own half and looks at the other's.

Both hold generator and discriminators. Which variables are trained is said by the properties that Keras asks
on every backend, so that neither side needs a training step of its own.
"""

from typing import Any

import keras
import numpy as np

from audenoise import enhancer_losses as losses
from audenoise.architectures.discriminators import Discriminators, loudness_gain
from audenoise.architectures.enhancer import build_generator
from audenoise.architectures.enhancer_layers import band_weights, log_mel
from audenoise.enhancer_pairs import PairBatch
from audenoise.layers import SpectralTransform, ops, to_numpy
from audenoise.losses import compressed_losses, envelope_distance, segment_frames, third_octave_bands
from audenoise.optimizers import AdamW, WarmCosine
from audenoise.specs.enhancer import RECONSTRUCTION_TERMS, EnhancerSpec

ADVERSARIAL_TERMS = ("adversarial", "feature_matching")


def bins_hz(spec: EnhancerSpec) -> np.ndarray:
    """(bins,) float32: frequencies of the enhancer's spectrogram."""
    return (np.arange(spec.stft.bins) * (spec.sample_rate / spec.stft.n_fft)).astype(np.float32)


def band_ends_hz(spec: EnhancerSpec, weights: np.ndarray) -> np.ndarray:
    """(bands,) float32: the highest frequency that goes into each mel band, of `band_weights`."""
    return np.where(weights > 0, bins_hz(spec)[:, None], 0).max(axis=0)


class _Side(keras.Model):
    """Generator and discriminators, of which one is trained."""

    def __init__(self, spec: EnhancerSpec, generator: keras.Model, discriminators: Discriminators, name: str):
        super().__init__(name=name)
        self.spec, self.generator, self.discriminators = spec, generator, discriminators
        self.transform = SpectralTransform.of(spec.stft, spec.sample_rate)
        self.bins_hz = bins_hz(spec)

    def build(self, input_shape):
        pass  # both halves are built

    @property
    def trained(self) -> keras.Model:
        raise NotImplementedError

    @property
    def trainable_variables(self):
        return self.trained.trainable_variables

    @property
    def trainable_weights(self):
        return self.trained.trainable_weights

    @property
    def non_trainable_variables(self):
        own = {id(variable) for variable in self.trainable_variables}
        return [variable for variable in self.variables if id(variable) not in own]

    @property
    def non_trainable_weights(self):
        own = {id(variable) for variable in self.trainable_variables}
        return [variable for variable in self.weights if id(variable) not in own]

    def call(self, inputs, training=None):
        """Degraded audio and conditioning → the generator's outputs, and ``audio`` (batch, samples).

        With ``end_hz`` (batch, frames) nothing is left above it: what isn't known of a target is judged by
        no one.
        """
        audio = inputs["degraded"]
        shown = {"spectrum": self.transform.stft(audio)}
        if self.spec.conditioning.columns:
            shown["conditioning"] = inputs["conditioning"]
        outputs = dict(self.generator(shown, training=training))
        if "end_hz" in inputs:
            known = ops.cast(self.bins_hz <= inputs["end_hz"][:, :, None], audio.dtype)
            outputs["spectrum"] = outputs["spectrum"] * known[..., None]
        outputs["audio"] = self.transform.istft(outputs["spectrum"], audio.shape[1])
        return outputs

    def enhance(self, batch: PairBatch, batch_size: int) -> dict[str, np.ndarray]:
        """Outputs for many examples, a few at a time."""
        parts: list[dict[str, np.ndarray]] = []
        for start in range(0, len(batch.degraded), batch_size):
            inputs = {name: part[start : start + batch_size] for name, part in batch.inputs().items()}
            parts.append({name: to_numpy(value) for name, value in self.predict_on_batch(inputs).items()})
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


@keras.saving.register_keras_serializable("audenoise")
class GeneratorSide(_Side):
    """The generator with its loss. `adversarial` says whether the discriminators are asked as well.

    Change it with `play`, which makes Keras compile the step anew.
    """

    def __init__(self, spec: EnhancerSpec, generator: keras.Model, discriminators: Discriminators):
        super().__init__(spec, generator, discriminators, "generator_side")
        self.adversarial = False
        loss = spec.loss
        self.loss_transforms = [
            SpectralTransform(n_fft=n, hop_length=hop, win_length=n, window="hann")
            for n, hop in loss.stft_resolutions
        ]
        self.band_weights = band_weights(
            sample_rate=spec.sample_rate, n_fft=spec.stft.n_fft, bands=spec.mel.bands
        )
        self.band_ends_hz = band_ends_hz(spec, self.band_weights)
        self.thirds = third_octave_bands(spec.sample_rate, spec.stft.n_fft)
        self.segment_frames = segment_frames(spec.sample_rate, spec.stft.hop_length)
        self.loss_weights_ = {
            **{name: getattr(loss, name) for name in (*RECONSTRUCTION_TERMS, *ADVERSARIAL_TERMS)},
            "pitch": spec.auxiliary.pitch,
            "residual": spec.auxiliary.residual,
        }
        self.means = {
            name: keras.metrics.Mean(name=name) for name, weight in self.loss_weights_.items() if weight
        }

    @property
    def trained(self) -> keras.Model:
        return self.generator

    def play(self, adversarial: bool) -> None:
        if adversarial != self.adversarial:
            self.adversarial = adversarial
            self.make_train_function(force=True)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        terms = self.terms(x, y, y_pred)
        weights = self.loss_weights_
        if self.adversarial and any(weights[name] for name in ADVERSARIAL_TERMS):
            gain = loudness_gain(y["target"])
            real, fake = (self.discriminators(audio * gain) for audio in (y["target"], y_pred["audio"]))
            if weights["adversarial"]:
                terms["adversarial"] = losses.adversarial_loss(fake, self.spec.loss.kind)
            if weights["feature_matching"]:
                terms["feature_matching"] = losses.feature_distance(real, fake)
        for name, value in terms.items():
            self.means[name].update_state(value)
        return sum(weights[name] * value for name, value in terms.items())

    def terms(self, x, y, outputs) -> dict[str, Any]:
        """Every term of reconstruction that has a weight, unweighted; scalars.

        Waveforms and spectra are compared at one loudness, so that a quiet recording counts as much as a loud
        one; mels are logarithmic already.
        """
        weights, transform = self.loss_weights_, self.transform
        target, audio = y["target"], outputs["audio"]
        gain = loudness_gain(target)
        reference = transform.stft(target)
        wanted = log_mel(reference, self.band_weights)
        known = ops.cast(self.band_ends_hz <= x["end_hz"][:, :, None], wanted.dtype)
        found: dict[str, Any] = {}
        if weights["mel"]:
            found["mel"] = losses.mel_distance(wanted * known, outputs["mel"][:, :, 0] * known)
        if any(weights[name] for name in ("output_mel", "magnitude", "complex", "phase", "envelope")):
            again = transform.stft(audio)
            if weights["output_mel"]:
                found["output_mel"] = losses.mel_distance(wanted, log_mel(again, self.band_weights))
            scale = gain[:, :, None, None]
            pair = reference * scale, again * scale
            if weights["magnitude"] or weights["complex"]:
                found["magnitude"], found["complex"] = compressed_losses(*pair, self.spec.loss.compression)
            if weights["envelope"]:
                found["envelope"] = envelope_distance(*pair, self.thirds, n_frames=self.segment_frames)
            if weights["phase"]:
                found["phase"] = losses.phase_distance(pair[0], outputs["spectrum"] * scale)
        if weights["stft"]:
            found["stft"] = losses.stft_distance(
                target * gain, audio * gain, self.loss_transforms, floor_db=self.spec.loss.floor_db
            )
        if weights["waveform"]:
            found["waveform"] = ops.mean(ops.abs(target - audio) * gain, -1)
        if weights["pitch"]:
            found["pitch"] = losses.pitch_distance(y["pitch"], outputs["pitch"][:, :, 0])
        if weights["residual"]:
            wrong = log_mel(transform.stft(x["degraded"] - target), self.band_weights)
            found["residual"] = losses.mel_distance(wrong * known, outputs["residual"][:, :, 0] * known)
        return {name: ops.mean(value) for name, value in found.items() if weights[name]}


@keras.saving.register_keras_serializable("audenoise")
class DiscriminatorSide(_Side):
    """The discriminators with their loss, and how the game stands."""

    def __init__(self, spec: EnhancerSpec, generator: keras.Model, discriminators: Discriminators):
        super().__init__(spec, generator, discriminators, "discriminator_side")
        self.accuracy = keras.metrics.Mean(name="accuracy")
        self.gap = keras.metrics.Mean(name="gap")

    @property
    def trained(self) -> keras.Model:
        return self.discriminators

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        kind, gain = self.spec.loss.kind, loudness_gain(y["target"])
        real = self.discriminators(y["target"] * gain)
        fake = self.discriminators(ops.stop_gradient(y_pred["audio"]) * gain)
        accuracy, gap = losses.balance(real, fake, kind)
        self.accuracy.update_state(accuracy)
        self.gap.update_state(gap)
        return losses.discriminator_loss(real, fake, kind)


class Game(keras.Model):
    """Both sides and both optimizers, whose weights are saved and loaded as one file."""

    def __init__(self, spec: EnhancerSpec):
        super().__init__(name="game")
        self.generator = build_generator(spec)
        self.discriminators = Discriminators(spec.discriminators)
        self.discriminators.build((None, spec.crop_samples))
        self.generator_side = GeneratorSide(spec, self.generator, self.discriminators)
        self.discriminator_side = DiscriminatorSide(spec, self.generator, self.discriminators)
        self.generator_optimizer = make_optimizer(spec, spec.training.learning_rate, average=True)
        self.discriminator_optimizer = make_optimizer(
            spec, spec.training.discriminator_learning_rate, average=False
        )
        self.built = True
        jit = keras.backend.backend() == "jax"
        for side, optimizer in (
            (self.generator_side, self.generator_optimizer),
            (self.discriminator_side, self.discriminator_optimizer),
        ):
            side.compile(optimizer=optimizer, jit_compile=jit)
            optimizer.build(side.trainable_variables)


def make_optimizer(spec: EnhancerSpec, rate: float, *, average: bool) -> keras.optimizers.Optimizer:
    """AdamW with the spec's warm-up and decay; the generator's keeps an average of its weights as well."""
    recipe, schedule = spec.training, spec.schedule
    total = recipe.epochs * recipe.steps_per_epoch
    warmup, floor = min(schedule.warmup_steps, total // 10), 1e-2 if schedule.decay == "cosine" else 1.0
    return AdamW(
        WarmCosine(rate, total=total, warmup=warmup, floor=floor),
        beta_1=recipe.betas[0],
        beta_2=recipe.betas[1],
        decay=recipe.weight_decay,
        global_clipnorm=recipe.clip_norm,
        use_ema=average,
        ema_momentum=recipe.ema_momentum,
    )
