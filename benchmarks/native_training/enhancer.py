# pyright: reportMissingImports=false, reportArgumentType=false, reportPrivateImportUsage=false
"""The enhancer's generator, its losses and its steps in PyTorch."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from audenoise.architectures import enhancer_layers as layers
from audenoise.enhancer_losses import _UNIT_TINY
from audenoise.enhancing.sides import band_ends_hz, bins_hz
from audenoise.layers import TINY_POWER
from audenoise.losses import segment_frames, third_octave_bands
from audenoise.specs.enhancer import RECONSTRUCTION_TERMS, EnhancerSpec
from native_training.discriminators import Opponents, discriminator_loss, generator_terms, loudness_gain
from native_training.fitting import PRODUCTS, Descent, parameters_of
from native_training.loss import envelope_distance
from native_training.transform import Transform

NORM_EPSILON = 1e-6


class Generator(torch.nn.Module):
    """As `audenoise.architectures.enhancer.build_generator` makes it.

    Parameters
    ----------
    spec : EnhancerSpec
    weights : mapping of str to ndarray
        Path of a Keras variable → value.
    """

    def __init__(self, spec: EnhancerSpec, weights: Mapping[str, np.ndarray]):
        super().__init__()
        self.spec = spec
        self.learnt = parameters_of(weights)
        bands = layers.band_weights(sample_rate=spec.sample_rate, n_fft=spec.stft.n_fft, bands=spec.mel.bands)
        self.bands = torch.tensor(bands)
        self.spread = torch.tensor(layers.band_interpolation(bands))
        self.columns = torch.tensor(layers.ChosenColumns(spec.conditioning.columns).matrix)

    def _get(self, *path: str):
        return self.learnt["|".join(path)]

    def _dense(self, x, name: str):
        kernel = self._get(name, "kernel").to(PRODUCTS)
        return (x.to(PRODUCTS) @ kernel).float() + self._get(name, "bias")

    def _norm(self, x, name: str):
        size = x.shape[-1:]
        return F.layer_norm(x, size, self._get(name, "gamma"), self._get(name, "beta"), NORM_EPSILON)

    def _block(self, x, number: int):
        kind, name = self.spec.generator, f"block{number + 1}"
        dilation = kind.dilations[number % len(kind.dilations)]
        kernel, frames = self._get(f"{name}_frames", "depthwise", "kernel")[:, 0, :, 0], x.shape[1]
        reach = (kind.kernel - 1) * dilation
        padded = F.pad(x, (0, 0, reach // 2, reach - reach // 2))
        y: Any = sum(padded[:, k * dilation : k * dilation + frames] * kernel[k] for k in range(kind.kernel))
        y = self._norm(y + self._get(f"{name}_frames", "depthwise", "bias"), f"{name}_norm")
        return x + self._dense(F.gelu(self._dense(y, f"{name}_wide")), f"{name}_narrow")

    def log_mel(self, powers):
        """(batch, frames, bins) → (batch, frames, bands)."""
        level = 0.5 * torch.log(powers @ self.bands + layers.MEL_FLOOR)
        return (level + layers.MEL_OFFSET) / layers.MEL_SCALE

    def forward(self, spectrum, conditioning):
        """Spectrum as real and imaginary part, and (batch, frames, 4) → outputs by name, the same way."""
        kind, (real, imag) = self.spec.generator, spectrum
        power = real.square() + imag.square()
        mel_in = self.log_mel(power)
        gain = torch.exp((kind.compression - 1) / 2 * torch.log(power + TINY_POWER))
        magnitude = torch.exp(kind.compression / 2 * torch.log(power + 1e-12))
        seen = [mel_in, magnitude, real * gain, imag * gain]
        if self.spec.conditioning.columns:
            seen.append(conditioning @ self.columns)
        x = self._norm(self._dense(torch.cat(seen, -1), "embed"), "embed_norm")
        for i in range(kind.mel_blocks):
            x = self._block(x, i)
        outputs = {"mel": mel_in + self._dense(x, "mel_change")}
        for name in ("pitch", "residual"):
            if getattr(self.spec.auxiliary, name):
                outputs[name] = self._dense(x, f"{name}_head")
        x = x + self._dense(outputs["mel"], "mel_embed")
        for i in range(kind.mel_blocks, kind.mel_blocks + kind.spectrum_blocks):
            x = self._block(x, i)
        x = self._norm(x, "last_norm")
        m_real, m_imag = self._dense(x, "mask").chunk(2, -1)
        p_real, p_imag = self._dense(x, "phase").chunk(2, -1)
        envelope = outputs["mel"] @ self.spread * layers.MEL_SCALE - layers.MEL_OFFSET
        risen = (outputs["mel"] - mel_in) @ self.spread * layers.MEL_SCALE
        shaped = envelope + 6.0 * torch.tanh(self._dense(x, "level") / 6.0)
        shaped = shaped - F.softplus(layers.PRESENT - risen)
        gain = torch.exp(shaped.clamp(max=layers.LOUDEST)) * torch.rsqrt(
            p_real.square() + p_imag.square() + layers.PHASE_TINY
        )
        outputs["real"] = real + real * m_real - imag * m_imag + gain * p_real
        outputs["imag"] = imag + real * m_imag + imag * m_real + gain * p_imag
        return outputs


class Loss:
    """(degraded, target, conditioning, pitch, end_hz) → the weighted loss of reconstruction, its terms, the
    audio."""

    def __init__(self, spec: EnhancerSpec, generator: Generator):
        self.spec, self.generator = spec, generator
        self.transform = Transform(spec.stft.n_fft, spec.stft.hop_length, spec.stft.window)
        self.resolutions = [Transform(n, hop) for n, hop in spec.loss.stft_resolutions]
        self.bins_hz = torch.tensor(bins_hz(spec))
        self.band_ends_hz = torch.tensor(band_ends_hz(spec, generator.bands.numpy()))
        self.thirds = torch.tensor(third_octave_bands(spec.sample_rate, spec.stft.n_fft))
        self.segment_frames = segment_frames(spec.sample_rate, spec.stft.hop_length)
        self.weights = {name: getattr(spec.loss, name) for name in RECONSTRUCTION_TERMS}
        self.weights |= {"pitch": spec.auxiliary.pitch, "residual": spec.auxiliary.residual}

    def _stft_distance(self, target, audio):
        floor, terms = 10 ** (self.spec.loss.floor_db / 10), []
        for transform in self.resolutions:
            powers = [real.square() + imag.square() for real, imag in map(transform.stft, (target, audio))]
            first, second = ((part + TINY_POWER).sqrt() for part in powers)
            difference = ((first - second).square().sum((1, 2)) + TINY_POWER).sqrt()
            convergence = difference / (first.square().sum((1, 2)) + 1e-6).sqrt()
            first, second = (0.5 * torch.log(part + floor) for part in powers)
            terms.append(convergence + (first - second).abs().mean((1, 2)))
        return sum(terms) / len(terms)

    def _compressed(self, reference, estimate):
        exponent, magnitudes, parts = self.spec.loss.compression, [], []
        for real, imag in (reference, estimate):
            squared = real.square() + imag.square() + TINY_POWER
            gain = torch.exp((exponent - 1) / 2 * torch.log(squared))
            magnitudes.append(gain * squared.sqrt())
            parts.append((real * gain, imag * gain))
        distance: Any = sum((a - b).square() for a, b in zip(*parts, strict=True))
        return (magnitudes[0] - magnitudes[1]).square().mean((1, 2)), distance.mean((1, 2))

    @staticmethod
    def _phase(reference, estimate, exponent: float = 0.3):
        def unit(real, imag):
            gain = torch.rsqrt(real.square() + imag.square() + _UNIT_TINY)
            return real * gain, imag * gain

        def turned(first, second):
            (a, b), (c, d) = first, second
            return a * c + b * d, b * c - a * d

        def wrapped_mean(turn, weight):
            real, imag = turn
            weight = weight * (real.square() + imag.square()).sqrt().detach()
            angle = torch.atan2(imag, real + 1e-12).abs()
            return (weight * angle).sum((1, 2)) / (weight.sum((1, 2)) + 1e-6)

        turn = turned(unit(*estimate), unit(*reference))
        squared = reference[0].square() + reference[1].square() + TINY_POWER
        weight = torch.exp(exponent / 2 * torch.log(squared))
        over_bins = turned([part[:, :, 1:] for part in turn], [part[:, :, :-1] for part in turn])
        over_time = turned([part[:, 1:] for part in turn], [part[:, :-1] for part in turn])
        return (
            wrapped_mean(turn, weight)
            + wrapped_mean(over_bins, (weight[:, :, 1:] * weight[:, :, :-1]).sqrt())
            + wrapped_mean(over_time, (weight[:, 1:] * weight[:, :-1]).sqrt())
        )

    def __call__(self, degraded, target, conditioning, pitch, end_hz):
        transform, weights, log_mel = self.transform, self.weights, self.generator.log_mel
        outputs = self.generator(transform.stft(degraded), conditioning)
        known = (self.bins_hz <= end_hz[:, :, None]).float()
        outputs |= {part: outputs[part] * known for part in ("real", "imag")}
        known_bands = (self.band_ends_hz <= end_hz[:, :, None]).float()
        audio = transform.istft(outputs["real"], outputs["imag"], target.shape[1])
        gain = loudness_gain(target)
        scale = gain[:, :, None]
        reference, again = transform.stft(target), transform.stft(audio)
        wanted = log_mel(reference[0].square() + reference[1].square())
        found = {
            "mel": ((wanted - outputs["mel"]) * known_bands).abs().mean((1, 2)),
            "output_mel": (wanted - log_mel(again[0].square() + again[1].square())).abs().mean((1, 2)),
            "stft": self._stft_distance(target * gain, audio * gain),
            "waveform": ((target - audio).abs() * gain).mean(-1),
        }
        reference, again = ([part * scale for part in parts] for parts in (reference, again))
        found["magnitude"], found["complex"] = self._compressed(reference, again)
        if weights["envelope"]:
            powers = [real.square() + imag.square() for real, imag in (reference, again)]
            found["envelope"] = envelope_distance(powers, self.thirds, self.segment_frames)
        found["phase"] = self._phase(reference, (outputs["real"] * scale, outputs["imag"] * scale))
        if weights["pitch"]:
            voicing, estimate = pitch[..., 1], outputs["pitch"]
            octaves = (pitch[..., 0] / 4.0 - estimate[..., 0]).abs()
            error = (voicing * octaves).sum(1) / (voicing.sum(1) + 1.0)
            logit = estimate[..., 1]
            found["pitch"] = error + (F.softplus(logit) - voicing * logit).mean(1)
        if weights["residual"]:
            real, imag = transform.stft(degraded - target)
            wrong = log_mel(real.square() + imag.square())
            found["residual"] = ((wrong - outputs["residual"]) * known_bands).abs().mean((1, 2))
        terms = {name: value.mean() for name, value in found.items() if weights[name]}
        loss: Any = sum(weights[name] * value for name, value in terms.items())
        return loss, terms, audio


class Step(Descent):
    """One step with the settings of `audenoise.enhancing.sides.make_optimizer`, and the weights' average.

    Parameters
    ----------
    spec : EnhancerSpec
    generator : Generator
    loss : Loss
    opponents : Opponents, optional
        Needed for steps against them.

    Attributes
    ----------
    averages : list of tensor
        In the order of `Generator.learnt`.
    opponents_descent : Descent or None
    """

    def __init__(
        self, spec: EnhancerSpec, generator: Generator, loss: Loss, opponents: Opponents | None = None
    ):
        recipe = spec.training
        betas = tuple(recipe.betas)
        super().__init__(list(generator.learnt.values()), recipe, betas)
        self.spec = spec
        self.opponents: Any = opponents
        self.opponents_descent: Any = None
        self.loss, self.forgetting = torch.compile(loss.__call__), 1 - recipe.ema_momentum
        self.averages = [value.detach().clone() for value in self.parameters]
        if opponents is not None:
            self.opponents_descent = Descent(list(opponents.learnt.values()), recipe, betas)

    def _opponents_loss(self, target, audio):
        judged = self.opponents(torch.cat([target, audio]))
        real, fake = ([(features, score.chunk(2)[i]) for features, score in judged] for i in (0, 1))
        return discriminator_loss(real, fake, self.spec.loss.kind)

    def _terms_of_game(self, target, audio):
        with torch.no_grad():
            real = self.opponents(target)
        return generator_terms(real, self.opponents(audio), self.spec.loss.kind)

    def __call__(self, batch, rate: float, opponents_rate: float | None = None) -> dict[str, float]:
        """A step of both sides, or of the generator alone without a rate for the other; loss and terms."""
        shown: dict[str, float] = {}

        def find_loss():
            loss, terms, audio = self.loss(*batch)
            if opponents_rate is not None:
                target, gain = batch[1], loudness_gain(batch[1])
                pair = target * gain, audio * gain
                found = self.opponents_descent.take(
                    lambda: self._opponents_loss(pair[0], pair[1].detach()), opponents_rate
                )
                shown.update({f"discriminator_{name}": value for name, value in found.items()})
                with self.opponents.held():
                    added = self._terms_of_game(*pair)
                loss = loss + sum(getattr(self.spec.loss, name) * value for name, value in added.items())
                terms = terms | added
            return loss, terms

        terms = self.take(find_loss, rate)
        torch._foreach_lerp_(self.averages, [value.detach() for value in self.parameters], self.forgetting)
        return terms | shown
