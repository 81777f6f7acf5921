"""Keras layers of the denoising networks, written with `keras.ops` alone.

Tensors are (batch, frames, frequency, channels); spectra carry real and imaginary part as two channels and
are scaled by the sum of the analysis window, so that a sine of amplitude 1 has magnitude 0.5 at every rate.
"""

from typing import Any

import keras
import numpy as np

from audenoise.specs import StftSpec
from audenoise.spectral import make_window

ops: Any = keras.ops  # annotated for every backend at once, which no type checker can follow

TINY_POWER = 1e-12
"""Added to |X|² before a root: -120 dB, below every recording's noise floor; the gradient stays finite."""


def to_numpy(tensor: Any) -> np.ndarray:
    """A tensor or variable of any backend as an array."""
    return np.asarray(ops.convert_to_numpy(tensor))


def power(spectrum):
    """|X|² of (..., 2) → (...)."""
    real, imag = ops.unstack(spectrum, axis=-1)
    return ops.square(real) + ops.square(imag)


def root(positive, exponent: float):
    """x^exponent as exp(exponent·log x), which is vectorised where `power` is not (4 times faster here)."""
    return ops.exp(exponent * ops.log(positive))


def scale(spectrum, gain):
    """(..., 2) times a real gain (...), which is faster than broadcasting over the short last axis."""
    real, imag = ops.unstack(spectrum, axis=-1)
    return ops.stack([real * gain, imag * gain], axis=-1)


def compress(spectrum, exponent: float):
    """|X|^c with the phase kept, for (..., 2)."""
    if exponent == 1:
        return spectrum
    return scale(spectrum, root(power(spectrum) + TINY_POWER, (exponent - 1) / 2))


def expand(spectrum, exponent: float):
    """The inverse of `compress`."""
    if exponent == 1:
        return spectrum
    return scale(spectrum, root(power(spectrum) + TINY_POWER, (1 / exponent - 1) / 2))


def levels_db(spectrum, floor_db: float):
    """20 log10|X| of (..., 2) → (...), at least `floor_db`."""
    return 10 / np.log(10) * ops.log(ops.maximum(power(spectrum), 10 ** (floor_db / 10)))


def complex_multiply(first, second):
    """Product of two complex tensors (..., 2)."""
    a, b = ops.unstack(first, axis=-1)
    c, d = ops.unstack(second, axis=-1)
    return ops.stack([a * c - b * d, a * d + b * c], axis=-1)


class SpectralTransform:
    """STFT and inverse for training, equal to `audenoise.spectral` and differentiable.

    Parameters
    ----------
    n_fft, hop_length, win_length : int
        In samples.
    window : str
        As in `audenoise.spectral.stft`.
    sample_rate : int
        In Hz; only for losses that know about frequencies.
    """

    def __init__(
        self, *, n_fft: int, hop_length: int, win_length: int, window: str, sample_rate: int = 16000
    ):
        self.sample_rate = sample_rate
        self.n_fft, self.hop, self.win = n_fft, hop_length, win_length
        taps = make_window(window, win_length).astype("float32")
        self.window = taps
        self.scale = float(taps.sum())
        self.overlaps = -(-win_length // hop_length)
        squared = np.pad(taps.astype("float64") ** 2, (0, self.overlaps * hop_length - win_length))
        self.norm = squared.reshape(self.overlaps, hop_length).sum(0).astype("float32")

    @classmethod
    def of(cls, stft: StftSpec, sample_rate: int) -> "SpectralTransform":
        """That of a spec."""
        return cls(
            n_fft=stft.n_fft,
            hop_length=stft.hop_length,
            win_length=stft.window_samples,
            window=stft.window,
            sample_rate=sample_rate,
        )

    def frames(self, n_samples: int) -> int:
        return -(-(n_samples + self.win - self.hop) // self.hop)

    def stft(self, audio):
        """(batch, samples) → (batch, frames, bins, 2)."""
        n = audio.shape[1]
        before = self.win - self.hop
        after = (self.frames(n) - 1) * self.hop + self.win - before - n
        audio = ops.pad(audio, ((0, 0), (before, after)))
        frames = ops.extract_sequences(audio, self.win, self.hop) * self.window
        real, imag = ops.rfft(frames, fft_length=self.n_fft)
        return ops.stack([real, imag], axis=-1) / self.scale

    def istft(self, spectrum, n_samples: int):
        """(batch, frames, bins, 2) → (batch, samples)."""
        spectrum = spectrum * self.scale
        frames = ops.irfft(tuple(ops.unstack(spectrum, axis=-1)), fft_length=self.n_fft)
        frames = frames[..., : self.win] * self.window
        padded = self.overlaps * self.hop
        frames = ops.pad(frames, ((0, 0), (0, 0), (0, padded - self.win)))
        frames = ops.reshape(frames, (-1, frames.shape[1], self.overlaps, self.hop))
        total: Any = sum(
            ops.pad(frames[:, :, k], ((0, 0), (k, self.overlaps - 1 - k), (0, 0)))
            for k in range(self.overlaps)
        )
        audio = ops.reshape(total / self.norm, (-1, total.shape[1] * self.hop))
        before = self.win - self.hop
        return audio[:, before : before + n_samples]


@keras.saving.register_keras_serializable("audenoise")
class SpectrumFeatures(keras.layers.Layer):
    """Spectrum (batch, frames, bins, 2) → what the network sees, see `specs.InputSpec`.

    `scaling` is (mean, scale) in dB; without one, `range_db` becomes 0…1.
    """

    def __init__(self, *, representation, compression, range_db, scaling=None, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.representation, self.compression, self.range_db = representation, compression, tuple(range_db)
        self.scaling = scaling

    def call(self, spectrum):
        if self.representation == "complex":
            return compress(spectrum, self.compression)
        if self.representation == "decibel":
            low, high = self.range_db
            level_db = levels_db(spectrum, low)[..., None]
            if self.scaling is not None:
                return (level_db - self.scaling[0]) / self.scaling[1]
            return ops.clip((level_db - low) / (high - low), 0.0, 1.0)
        magnitude = root(power(spectrum)[..., None] + TINY_POWER, self.compression / 2)
        if self.representation == "magnitude":
            return magnitude
        return ops.concatenate([magnitude, compress(spectrum, self.compression)], axis=-1)


@keras.saving.register_keras_serializable("audenoise")
class ApplyOutput(keras.layers.Layer):
    """[noisy spectrum, prediction] → denoised spectrum, see `specs.OutputSpec`.

    `scaling` is (mean, scale) in dB of a prediction in dB; without one, the range is 1.
    """

    def __init__(self, *, kind, domain, representation, compression, range_db, scaling=None, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.kind, self.domain, self.representation = kind, domain, representation
        self.compression, self.range_db = compression, tuple(range_db)
        low, high = self.range_db
        self.scaling = scaling or (0.0 if kind == "noise" else low, high - low)
        self.exponent = compression if domain == "compressed" and representation != "decibel" else 1.0

    def call(self, inputs):
        noisy, prediction = inputs
        if self.kind == "complex_mask":
            return expand(complex_multiply(compress(noisy, self.exponent), prediction), self.exponent)
        if self.kind == "magnitude_mask":
            return expand(scale(compress(noisy, self.exponent), prediction[..., 0]), self.exponent)
        if self.representation in ("complex", "magnitude_complex"):
            if self.kind == "noise":
                prediction = compress(noisy, self.exponent) - prediction
            return expand(prediction, self.exponent)
        return scale(noisy, self._gain(noisy, prediction[..., 0]))

    def predicted(self, noisy, spectrum):
        """What the network should predict so that `noisy` becomes `spectrum`, for losses in its own terms.

        Where it predicts a mask, that is the masked spectrum in its domain instead: a mask has no limit where
        the noisy spectrum is small.
        """
        if self.representation == "decibel" and self.kind in ("noise", "spectrogram"):
            low, (mean, over) = self.range_db[0], self.scaling
            level_db = levels_db(spectrum, low)
            if self.kind == "noise":
                level_db = levels_db(noisy, low) - level_db
            return (level_db - mean) / over
        if self.kind == "magnitude_mask" or self.representation == "magnitude":
            shown = [root(power(part) + TINY_POWER, self.exponent / 2) for part in (spectrum, noisy)]
        else:
            shown = [compress(part, self.exponent) for part in (spectrum, noisy)]
        return shown[1] - shown[0] if self.kind == "noise" else shown[0]

    def _gain(self, noisy, prediction):
        """Predicted magnitude over noisy magnitude: the phase stays the noisy one's."""
        linear = ops.sqrt(power(noisy) + TINY_POWER)
        if self.representation == "decibel":
            low, (mean, over) = self.range_db[0], self.scaling
            level_db = 20 / np.log(10) * ops.log(ops.maximum(linear, 10 ** (low / 20)))
            span = prediction * over + mean
            target_db = level_db - span if self.kind == "noise" else span
            return ops.exp(np.log(10) / 20 * target_db) / ops.maximum(linear, 10 ** (low / 20))
        magnitude = ops.power(linear, self.exponent)
        target = magnitude - prediction if self.kind == "noise" else prediction
        return root(ops.maximum(target, 1e-6), 1 / self.exponent) / linear


@keras.saving.register_keras_serializable("audenoise")
class SpectralConv2D(keras.layers.Layer):
    """Convolution over (frames, frequency) that keeps the size (or divides it, rounding up, by the stride).

    Along frames it is causal (zeros before) or centred; the padding does not depend on the length.
    """

    def __init__(
        self, filters, kernel, *, stride=(1, 1), dilation=1, depthwise=False, causal=True,
        initializer="glorot_uniform", **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.filters, self.kernel, self.stride = filters, tuple(kernel), tuple(stride)
        self.dilation, self.depthwise, self.causal = dilation, depthwise, causal
        common = {
            "kernel_size": self.kernel,
            "strides": self.stride,
            "padding": "valid",
            "dilation_rate": (dilation, 1),
        }
        if depthwise:
            self.convolution = keras.layers.DepthwiseConv2D(
                **common, depthwise_initializer=initializer, name="depthwise"
            )
        else:
            self.convolution = keras.layers.Conv2D(
                filters, **common, kernel_initializer=initializer, name="convolution"
            )

    def paddings(self, frequency: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """((frames before, after), (frequency before, after)) for an input of `frequency` bins."""
        reach = (self.kernel[0] - 1) * self.dilation
        frames_total = max(reach + 1 - self.stride[0], 0)
        frames_before = frames_total if self.causal else frames_total // 2
        out = -(-frequency // self.stride[1])
        total = max((out - 1) * self.stride[1] + self.kernel[1] - frequency, 0)
        return (frames_before, frames_total - frames_before), (total // 2, total - total // 2)

    def build(self, input_shape):
        frames, frequency = self.paddings(input_shape[2])
        # The library's own "same" padding spares a copy where it means the same thing.
        if frames == (0, 0) and self.stride[0] == 1:
            self.convolution.padding = "same"
        self._padding = ((0, 0), frames, frequency, (0, 0))
        self.convolution.build(input_shape)

    def call(self, x):
        if self.convolution.padding == "valid":
            x = ops.pad(x, self._padding)
        return self.convolution(x)

    def compute_output_shape(self, input_shape):
        batch, frames, frequency, channels = input_shape
        frames = None if frames is None else -(-frames // self.stride[0])
        out = channels if self.depthwise else self.filters
        return batch, frames, -(-frequency // self.stride[1]), out


@keras.saving.register_keras_serializable("audenoise")
class PadFrames(keras.layers.Layer):
    """Append zero frames up to the next multiple."""

    def __init__(self, multiple, **kwargs):
        super().__init__(**kwargs)
        self.multiple = multiple

    def call(self, x):
        missing = -ops.shape(x)[1] % self.multiple
        return ops.pad(x, ((0, 0), (0, missing), (0, 0), (0, 0)))

    def compute_output_shape(self, input_shape):
        batch, frames, frequency, channels = input_shape
        return (
            batch,
            None if frames is None else -(-frames // self.multiple) * self.multiple,
            frequency,
            channels,
        )


@keras.saving.register_keras_serializable("audenoise")
class CropLike(keras.layers.Layer):
    """[x, like] → x cut to the frames and bins of `like`."""

    def call(self, inputs):
        x, like = inputs
        shape = ops.shape(like)
        return x[:, : shape[1], : like.shape[2]]

    def compute_output_shape(self, input_shape):
        x, like = input_shape
        return x[0], like[1], like[2], x[3]


@keras.saving.register_keras_serializable("audenoise")
class BandProjection(keras.layers.Layer):
    """A linear map of the frequency axis, the same for every channel and frame."""

    def __init__(self, bands, **kwargs):
        super().__init__(**kwargs)
        self.bands = bands

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(self.bands, input_shape[2]), name="kernel")
        self.bias = self.add_weight(shape=(self.bands, 1), initializer="zeros", name="bias")

    def call(self, x):
        return ops.matmul(self.kernel, x) + self.bias

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], self.bands, input_shape[3])


@keras.saving.register_keras_serializable("audenoise")
class BandPosition(keras.layers.Layer):
    """Adds a learned vector to each band, so that what is shared across bands can tell them apart."""

    def build(self, input_shape):
        self.position = self.add_weight(
            shape=input_shape[2:], initializer=keras.initializers.RandomNormal(stddev=0.02), name="position"
        )

    def call(self, x):
        return x + self.position


@keras.saving.register_keras_serializable("audenoise")
class AxisGRU(keras.layers.Layer):
    """A GRU along frames (weights shared across bands) or along bands (shared across frames).

    Parameters
    ----------
    units : int
        Per direction.
    axis : {"frames", "bands"}
    bidirectional : bool
        Outputs of both directions are concatenated.
    """

    def __init__(self, units, *, axis, bidirectional=False, **kwargs):
        super().__init__(**kwargs)
        self.units, self.axis, self.bidirectional = units, axis, bidirectional
        self.forward = keras.layers.GRU(units, return_sequences=True, name="forward")
        self.backward = (
            keras.layers.GRU(units, return_sequences=True, go_backwards=True, name="backward")
            if bidirectional
            else None
        )

    def build(self, input_shape):
        sequence = (None, None, input_shape[3])
        self.forward.build(sequence)
        if self.backward is not None:
            self.backward.build(sequence)

    def call(self, x):
        shape = ops.shape(x)
        batch, frames, bands, channels = shape[0], shape[1], x.shape[2], x.shape[3]
        if self.axis == "frames":
            x = ops.reshape(ops.transpose(x, (0, 2, 1, 3)), (batch * bands, frames, channels))
        else:
            x = ops.reshape(x, (batch * frames, bands, channels))
        y = self.forward(x)
        if self.backward is not None:
            y = ops.concatenate([y, ops.flip(self.backward(x), axis=1)], axis=-1)
        units = y.shape[-1]
        if self.axis == "frames":
            return ops.transpose(ops.reshape(y, (batch, bands, frames, units)), (0, 2, 1, 3))
        return ops.reshape(y, (batch, frames, bands, units))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], self.units * (2 if self.bidirectional else 1))


@keras.saving.register_keras_serializable("audenoise")
class BandAttention(keras.layers.Layer):
    """Multi-head self-attention over the bands of one frame (Vaswani et al. 2017)."""

    def __init__(self, heads, **kwargs):
        super().__init__(**kwargs)
        self.heads = heads

    def build(self, input_shape):
        channels = input_shape[3]
        self.project = keras.layers.Dense(3 * channels, name="project")
        self.merge = keras.layers.Dense(channels, name="merge")
        self.project.build(input_shape)
        self.merge.build(input_shape)

    def call(self, x):
        shape = ops.shape(x)
        batch, frames, bands, channels = shape[0], shape[1], x.shape[2], x.shape[3]
        size = channels // self.heads
        x = ops.reshape(self.project(x), (batch * frames, bands, 3, self.heads, size))
        query, key, value = (ops.transpose(x[:, :, i], (0, 2, 1, 3)) for i in range(3))
        weights = ops.softmax(ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / size**0.5, axis=-1)
        y = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        return self.merge(ops.reshape(y, (batch, frames, bands, channels)))

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("audenoise")
class FullBandGRU(keras.layers.Layer):
    """One GRU over time that sees all bands at once, on a few channels of each: what the room and the
    noise are like, and who speaks."""

    def __init__(self, units, *, reduced, **kwargs):
        super().__init__(**kwargs)
        self.units, self.reduced = units, reduced
        self.reduce = keras.layers.Dense(reduced, name="reduce")
        self.recurrence = keras.layers.GRU(units, return_sequences=True, name="recurrence")

    def build(self, input_shape):
        bands, channels = input_shape[2], input_shape[3]
        self.reduce.build(input_shape)
        self.recurrence.build((None, None, bands * self.reduced))
        self.spread = keras.layers.Dense(bands * channels, name="spread")
        self.spread.build((None, None, self.units))

    def call(self, x):
        shape = ops.shape(x)
        bands, channels = x.shape[2], x.shape[3]
        y = ops.reshape(self.reduce(x), (shape[0], shape[1], bands * self.reduced))
        y = self.spread(self.recurrence(y))
        return ops.reshape(y, (shape[0], shape[1], bands, channels))

    def compute_output_shape(self, input_shape):
        return input_shape
