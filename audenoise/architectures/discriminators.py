"""The generator's opponents: they look at a waveform in many ways and say how real each place of it sounds.

Written with `keras.ops` alone. Every discriminator takes audio (batch, samples) and returns its layers'
outputs, for feature matching, and its scores.
"""

from typing import Any

import keras

from audenoise.layers import TINY_POWER, SpectralTransform, ops, power
from audenoise.specs.enhancer import DiscriminatorsSpec

_SLOPE = 0.1
_RMS_FLOOR = 1e-4


@keras.saving.register_keras_serializable("audenoise")
class NormalisedConv2D(keras.layers.Layer):
    """A convolution whose kernel has a direction and a learned length (Salimans and Kingma 2016)."""

    def __init__(self, filters, kernel, *, stride=(1, 1), **kwargs):
        super().__init__(**kwargs)
        self.filters, self.size, self.stride = filters, tuple(kernel), tuple(stride)

    def build(self, input_shape):
        shape = (*self.size, input_shape[-1], self.filters)
        self.direction = self.add_weight(shape=shape, initializer="glorot_uniform", name="direction")
        first = ops.convert_to_numpy(ops.sqrt(ops.sum(ops.square(self.direction), (0, 1, 2))))
        self.length = self.add_weight(shape=(self.filters,), initializer="ones", name="length")
        self.length.assign(first)
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x):
        norm = ops.rsqrt(ops.sum(ops.square(self.direction), (0, 1, 2)) + 1e-12)
        kernel = self.direction * (norm * self.length)
        return ops.conv(x, kernel, strides=self.stride, padding="same") + self.bias


class _Discriminator(keras.layers.Layer):
    """A stack of convolutions over what `view` makes of the audio."""

    def __init__(self, stack: list[NormalisedConv2D], **kwargs: Any):
        super().__init__(**kwargs)
        self.stack = stack
        self.score = NormalisedConv2D(1, (3, 3) if stack[0].size[1] > 1 else (3, 1), name="score")

    def view(self, audio):
        raise NotImplementedError

    def build(self, input_shape):
        shape = tuple(ops.shape(self.view(ops.zeros((1, input_shape[1])))))
        for layer in [*self.stack, self.score]:
            layer.build(shape)
            shape = (*shape[:3], layer.filters)

    def call(self, audio):
        x, features = self.view(audio), []
        for layer in self.stack:
            x = ops.leaky_relu(layer(x), _SLOPE)
            features.append(x)
        return features, self.score(x)


@keras.saving.register_keras_serializable("audenoise")
class PeriodDiscriminator(_Discriminator):
    """Samples of one phase of a period stand in a column (HiFi-GAN, Kong et al. 2020)."""

    def __init__(self, period: int, spec: DiscriminatorsSpec, **kwargs: Any):
        widths = [min(spec.period_channels * 2**i, spec.max_channels) for i in range(5)]
        strides = (3, 3, 3, 3, 1)
        stack = [
            NormalisedConv2D(width, (5, 1), stride=(stride, 1), name=f"layer{i + 1}")
            for i, (width, stride) in enumerate(zip(widths, strides, strict=True))
        ]
        super().__init__(stack, **kwargs)
        self.period = period

    def view(self, audio):
        missing = -audio.shape[1] % self.period
        audio = ops.pad(audio, ((0, 0), (0, missing)))
        return ops.reshape(audio, (-1, (audio.shape[1]) // self.period, self.period, 1))


@keras.saving.register_keras_serializable("audenoise")
class SpectrumDiscriminator(_Discriminator):
    """The log amplitude of a spectrogram (UnivNet, Jang et al. 2021) or its phase (AP-BWE, Lu et al. 2024).

    The phase is shown as its cosine and sine, which have no jumps.
    """

    def __init__(self, n_fft: int, hop_length: int, *, kind: str, spec: DiscriminatorsSpec, **kwargs: Any):
        widths = [min(spec.spectrum_channels * 2 ** (i // 2), spec.max_channels) for i in range(5)]
        shapes = (((3, 9), (1, 1)), ((3, 9), (1, 2)), ((3, 9), (1, 2)), ((3, 9), (1, 2)), ((3, 3), (1, 1)))
        stack = [
            NormalisedConv2D(width, size, stride=stride, name=f"layer{i + 1}")
            for i, (width, (size, stride)) in enumerate(zip(widths, shapes, strict=True))
        ]
        super().__init__(stack, **kwargs)
        self.kind = kind
        self.transform = SpectralTransform(
            n_fft=n_fft, hop_length=hop_length, win_length=n_fft, window="hann"
        )

    def view(self, audio):
        spectrum = self.transform.stft(audio)
        squared = power(spectrum) + TINY_POWER
        if self.kind == "amplitude":
            return (0.5 * ops.log(squared) + 7.0)[..., None] / 3.0
        return spectrum * ops.rsqrt(squared + 1e-8)[..., None]  # below -80 dB there is no phase to speak of


@keras.saving.register_keras_serializable("audenoise")
class Discriminators(keras.Model):
    """All discriminators of a spec: audio (batch, samples) → list of (features, scores).

    The audio is brought to one loudness first, example by example, by a factor that is given, so that target
    and output get the same.
    """

    def __init__(self, spec: DiscriminatorsSpec):
        super().__init__(name="discriminators")
        self.members = [PeriodDiscriminator(p, spec, name=f"period_{p}") for p in spec.periods] + [
            SpectrumDiscriminator(n_fft, hop, kind=kind, spec=spec, name=f"{kind}_{n_fft}_{hop}")
            for n_fft, hop in spec.resolutions
            for kind in spec.views
        ]

    def build(self, input_shape):
        for member in self.members:
            member.build(input_shape)

    def call(self, audio):
        return [member(audio) for member in self.members]


def loudness_gain(audio):
    """Factor (batch, 1) that brings audio (batch, samples) to an RMS of 0.1; silence stays silent."""
    return 0.1 * ops.rsqrt(ops.mean(ops.square(audio), -1, keepdims=True) + _RMS_FLOOR**2)
