# pyright: reportMissingImports=false, reportArgumentType=false, reportPrivateImportUsage=false
"""The discriminators and the game's two losses in PyTorch."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F

from audenoise.architectures.discriminators import _RMS_FLOOR, _SLOPE, Discriminators
from audenoise.architectures.discriminators import PeriodDiscriminator as KerasPeriodDiscriminator
from audenoise.layers import TINY_POWER
from native_training.fitting import PRODUCTS, parameters_of
from native_training.transform import Transform

Judged = list[tuple[list[Any], Any]]
"""Features and scores of each discriminator."""


class _Convolution(NamedTuple):
    """What is fixed of a `NormalisedConv2D`."""

    path: str
    size: tuple[int, int]
    stride: tuple[int, int]

    def __call__(self, x, learnt):
        """(batch, channels, height, width) of `PRODUCTS`, the same way; padded as Keras does for ``same``."""
        direction = learnt[f"{self.path}|direction"]
        norm = torch.rsqrt(direction.square().sum((0, 1, 2)) + 1e-12)
        kernel = (direction * (norm * learnt[f"{self.path}|length"])).permute(3, 2, 0, 1)
        sides: list[int] = []
        for n, size, stride in zip(x.shape[2:], self.size, self.stride, strict=True):
            missing = max(0, (-(-n // stride) - 1) * stride + size - n)
            sides = [missing // 2, missing - missing // 2, *sides]
        if any(sides):
            x = F.pad(x, sides)
        kernel = kernel.to(PRODUCTS).contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, kernel, learnt[f"{self.path}|bias"].to(PRODUCTS), self.stride)


class Opponents(torch.nn.Module):
    """As `audenoise.architectures.discriminators.Discriminators` are: audio (batch, samples) → `Judged`.

    Parameters
    ----------
    model : Discriminators
        Built.
    weights : mapping of str to ndarray
        Path of a Keras variable → value.
    """

    def __init__(self, model: Discriminators, weights: Mapping[str, np.ndarray]):
        super().__init__()
        self.learnt = parameters_of(weights)
        self.members: list[tuple[Any, list[_Convolution]]] = []
        for member in model.members:
            layers = [
                _Convolution(
                    layer.direction.path.removesuffix("/direction").replace("/", "|"),
                    layer.size,
                    layer.stride,
                )
                for layer in [*member.stack, member.score]
            ]
            if isinstance(member, KerasPeriodDiscriminator):
                view: Any = _columns(member.period)
            else:
                transform = member.transform
                view = _spectrogram(Transform(transform.n_fft, transform.hop), member.kind)
            self.members.append((view, layers))

    def forward(self, audio) -> Judged:
        judged: Judged = []
        for view, (*stack, score) in self.members:
            x, features = view(audio).to(PRODUCTS).contiguous(memory_format=torch.channels_last), []
            for layer in stack:
                x = F.leaky_relu_(layer(x, self.learnt), _SLOPE)
                features.append(x)
            judged.append((features, score(x, self.learnt).float()))
        return judged

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside, slopes pass through to the audio, and none are found for the weights."""
        self.requires_grad_(False)
        try:
            yield
        finally:
            self.requires_grad_(True)


def _columns(period: int):
    def view(audio):
        audio = F.pad(audio, (0, -audio.shape[1] % period))
        return audio.reshape(len(audio), 1, -1, period)

    return view


def _spectrogram(transform: Transform, kind: str):
    def view(audio):
        real, imag = transform.stft(audio)
        squared = real.square() + imag.square() + TINY_POWER
        if kind == "amplitude":
            return ((0.5 * torch.log(squared) + 7.0) / 3.0)[:, None]
        gain = torch.rsqrt(squared + 1e-8)
        return torch.stack([real * gain, imag * gain], 1)

    return view


def loudness_gain(audio):
    """As `audenoise.architectures.discriminators.loudness_gain`."""
    return 0.1 * torch.rsqrt(audio.square().mean(-1, keepdim=True) + _RMS_FLOOR**2)


def discriminator_loss(real: Judged, fake: Judged, kind: str):
    """As `audenoise.enhancer_losses.discriminator_loss`, and terms that say how the game stands."""
    terms: list[Any] = []
    right: list[Any] = []
    gaps: list[Any] = []
    middle = 0.0 if kind == "hinge" else 0.5
    for (_, truth), (_, lie) in zip(real, fake, strict=True):
        if kind == "hinge":
            terms.append(F.relu(1 - truth).mean() + F.relu(1 + lie).mean())
        else:
            terms.append((1 - truth).square().mean() + lie.square().mean())
        right += [(truth > middle).float().mean(), (lie < middle).float().mean()]
        gaps.append(truth.mean() - lie.mean())
    return sum(terms) / len(terms), {"accuracy": sum(right) / len(right), "gap": sum(gaps) / len(gaps)}


def _mean_size(x):
    return x.abs().mean(dtype=torch.float32)


def generator_terms(real: Judged, fake: Judged, kind: str) -> dict[str, Any]:
    """As `audenoise.enhancer_losses.adversarial_loss` and `feature_distance`."""
    scores = [(-lie if kind == "hinge" else (1 - lie).square()).mean() for _, lie in fake]
    distances = [
        _mean_size(truth - lie) / (_mean_size(truth) + 1e-6)
        for (truths, _), (lies, _) in zip(real, fake, strict=True)
        for truth, lie in zip(truths, lies, strict=True)
    ]
    return {"adversarial": sum(scores) / len(scores), "feature_matching": sum(distances) / len(distances)}
