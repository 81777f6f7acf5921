# pyright: reportMissingImports=false
"""`audenoise.losses.denoising_losses` in PyTorch."""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from audenoise import losses, loudness
from audenoise.errors import SpecError
from audenoise.layers import TINY_POWER
from audenoise.specs import ModelSpec
from audenoise.spectral import make_window

TERMS = ("magnitude", "complex", "consistency", "waveform", "envelope", "loudness", "sdr")


class Transform:
    """`audenoise.layers.SpectralTransform` of windows that overlap by half."""

    def __init__(self, spec: ModelSpec):
        stft = spec.stft
        self.rate, self.n_fft, self.hop = spec.sample_rate, stft.n_fft, stft.hop_length
        if not stft.window_samples == stft.n_fft == 2 * stft.hop_length:
            raise SpecError(
                "stft: native training knows windows of n_fft samples and hops of half of it only"
            )
        window = make_window(stft.window, stft.n_fft)
        self.scale = float(window.sum())
        self.window = torch.tensor(window, dtype=torch.float32)
        self.norm = torch.tensor((window**2).reshape(2, self.hop).sum(0), dtype=torch.float32)

    def stft(self, audio):
        """(batch, samples) → (batch, frames, bins, 2)."""
        after = -audio.shape[1] % self.hop + self.hop
        frames = F.pad(audio, (self.hop, after)).unfold(1, self.n_fft, self.hop)
        return torch.view_as_real(torch.fft.rfft(frames * self.window)) / self.scale

    def istft(self, spectrum, n_samples: int):
        """(batch, frames, bins, 2) → (batch, samples)."""
        frames = torch.fft.irfft(torch.view_as_complex(spectrum * self.scale), n=self.n_fft) * self.window
        batch, count, _ = frames.shape
        early, late = frames.reshape(batch, count, 2, self.hop).unbind(2)
        total = F.pad(early, (0, 0, 0, 1)) + F.pad(late, (0, 0, 1, 0))
        audio = (total / self.norm).reshape(batch, -1)
        return audio[:, self.hop : self.hop + n_samples]


def _power(positive, exponent: float):
    return torch.exp(exponent * torch.log(positive))


def envelope_distance(powers, bands, n_frames: int):
    """`audenoise.losses.envelope_distance` of powers (batch, frames, bins) of reference and estimate."""
    frames = min(n_frames, powers[0].shape[1])
    segments = [
        (power @ bands + TINY_POWER).sqrt().unfold(1, frames, max(1, frames // 3)).transpose(2, 3)
        for power in powers
    ]
    energy = segments[0].square().mean((2, 3))
    speech = (energy > (1e-3 * energy.amax(1, keepdim=True)).clamp(min=1e-8)).float()
    normalised = []
    for segment in segments:
        for axis in (2, 3):
            segment = segment - segment.mean(axis, keepdim=True)
            segment = segment * torch.rsqrt(segment.square().sum(axis, keepdim=True) + 1e-9)
        normalised.append(segment)
    correlation = (normalised[0] * normalised[1]).sum(3).mean(2)
    return (speech * (1 - correlation)).sum(1) / (speech.sum(1) + 1e-3)


class Loss:
    """(noisy, clean, denoised spectrum) → the weighted loss, and its terms."""

    def __init__(self, spec: ModelSpec, transform: Transform):
        self.weights, self.transform = spec.loss, transform
        if spec.loss.mse or spec.loss.huber:
            raise SpecError("loss.mse, loss.huber: native training doesn't know these terms")
        self.thirds = torch.tensor(losses.third_octave_bands(transform.rate, transform.n_fft))
        self.segment_frames = losses.segment_frames(transform.rate, transform.hop)
        self.barks = torch.tensor(loudness.bark_bands(transform.rate, transform.n_fft))
        count = self.barks.shape[1]
        rates = (np.arange(count) + 0.5) / count * loudness.bark(transform.rate / 2)
        threshold_db = loudness.hearing_threshold_db(loudness.bark_frequency(rates))
        self.threshold = torch.tensor(10 ** (threshold_db / 10), dtype=torch.float32)

    def _compressed(self, reference, estimate):
        exponent, magnitudes, spectra = self.weights.compression, [], []
        for spectrum in (reference, estimate):
            squared = spectrum.square().sum(-1) + TINY_POWER
            gain = _power(squared, (exponent - 1) / 2)
            magnitudes.append(gain * squared.sqrt())
            spectra.append(spectrum * gain[..., None])
        distance = (spectra[0] - spectra[1]).square().sum(-1)
        return (magnitudes[0] - magnitudes[1]).square().mean((1, 2)), distance.mean((1, 2))

    def _loudness(self, powers):
        powers = [power @ self.barks for power in powers]
        frames = powers[0].sum(-1) / loudness.BANDS_PER_BARK
        mean = frames.mean(-1)
        gain = 10 ** (loudness.SPEECH_LEVEL_DB / 10) / mean.clamp(min=1e-6)
        powers = [power * gain[:, None, None] for power in powers]
        exponent = loudness.LOUDNESS_EXPONENT
        first, second = (
            (_power(0.5 + 0.5 * (power / self.threshold).clamp(min=1.0), exponent) - 1)
            * (self.threshold / 0.5) ** exponent
            for power in powers
        )
        audible = (second - first).abs() - loudness.MASKED_SHARE * torch.minimum(first, second)
        difference = audible.clamp(min=0.0)
        added = _power((powers[1] + 50.0) / (powers[0] + 50.0), 1.2)
        added = torch.where(added < 3.0, 0.0, added.clamp(max=12.0)) * difference
        weight = _power((frames * gain[:, None] + 1e5) / 1e7, 0.04)
        both = (difference.square().mean(-1) + 1e-8).sqrt()
        total = (both + loudness.ADDED_WEIGHT * added.mean(-1)) / weight
        return (mean > 1e-6).float() * (total.square().mean(-1) + 1e-8).sqrt()

    def __call__(self, noisy, clean, spectrum):
        transform = self.transform
        gain = 0.1 * torch.rsqrt(noisy.square().mean(-1, keepdim=True) + 1e-10)
        noisy, clean, estimate = noisy * gain, clean * gain, spectrum * gain[:, :, None, None]
        reference = transform.stft(clean)
        audio = transform.istft(estimate, clean.shape[1])
        powers = [part.square().sum(-1) for part in (reference, estimate)]
        magnitude, complex_ = self._compressed(reference, estimate)
        again = self._compressed(reference, transform.stft(audio))
        signal, error = clean.square().sum(-1), (clean - audio).square().sum(-1)
        floor = losses.SDR_FLOOR * torch.maximum(signal, 0.1 * noisy.square().sum(-1)) + 1e-7
        terms = {
            "magnitude": magnitude,
            "complex": complex_,
            "consistency": again[0] + again[1],
            "waveform": (clean - audio).abs().mean(-1),
            "envelope": envelope_distance(powers, self.thirds, self.segment_frames),
            "loudness": self._loudness(powers),
            "sdr": 10 / math.log(10) * (torch.log(error + floor) - torch.log(signal + floor)),
        }
        terms = {name: term.mean() for name, term in terms.items()}
        loss: Any = sum(getattr(self.weights, name) * term for name, term in terms.items())
        return loss, terms
