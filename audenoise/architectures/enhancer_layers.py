"""What stands at the two ends of the enhancer's generator, written with `keras.ops` alone.

Spectra are (batch, frames, bins, 2), scaled by the sum of the window as everywhere; everything between is
(batch, frames, 1, channels), so that the convolutions over frames are those of `audenoise.layers`.
"""

import keras
import numpy as np

from audenoise.layers import compress, ops, power, root
from audenoise.spectral import mel_filterbank

MEL_FLOOR = 1e-10
"""Added to the mean power of a band: -100 dB, as silent as the quietest recording."""
MEL_OFFSET, MEL_SCALE = 7.0, 3.0
"""Log amplitudes of speech lie around -7 nepers and spread by about 3; as the network sees them, 0 and 1."""
PHASE_TINY = 1e-6
PRESENT = 4.0
"""Nepers by which the enhanced envelope must exceed the input's before something new is half as loud as it:
noise between the words stays what it is, and what lies above the band of a telephone is generated."""
LOUDEST = 2.0
"""Limit of a generated bin's log amplitude: 17 dB above full scale."""


def band_weights(*, sample_rate: int, n_fft: int, bands: int) -> np.ndarray:
    """Mel filters as means over their bins, (bins, bands) float32; each column sums to one.

    Raises
    ------
    SignalError
        If a band would hold no bin.
    """
    filters = mel_filterbank(sample_rate=sample_rate, n_fft=n_fft, n_mels=bands)
    return (filters / filters.sum(axis=1, keepdims=True)).T.astype(np.float32)


def band_interpolation(weights: np.ndarray) -> np.ndarray:
    """From bands back to bins, straight lines between centres: (bands, bins), columns sum to one."""
    bins, bands = weights.shape
    centres = (np.arange(bins)[:, None] * weights).sum(axis=0)
    rows = [np.interp(np.arange(bins), centres, row) for row in np.eye(bands)]
    return np.stack(rows).astype(np.float32)


def log_mel(spectrum, weights):
    """(batch, frames, bins, 2) → log amplitudes (batch, frames, bands), about -1…1 for speech."""
    level = 0.5 * ops.log(ops.matmul(power(spectrum), weights) + MEL_FLOOR)
    return (level + MEL_OFFSET) / MEL_SCALE


@keras.saving.register_keras_serializable("audenoise")
class LogMel(keras.layers.Layer):
    """`log_mel` as a layer: (batch, frames, bins, 2) → (batch, frames, 1, bands)."""

    def __init__(self, *, sample_rate, n_fft, bands, **kwargs):
        super().__init__(**kwargs)
        self.bands = bands
        self.weights_ = band_weights(sample_rate=sample_rate, n_fft=n_fft, bands=bands)

    def call(self, spectrum):
        return log_mel(spectrum, self.weights_)[:, :, None, :]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], 1, self.bands)


@keras.saving.register_keras_serializable("audenoise")
class FrameFeatures(keras.layers.Layer):
    """Compressed magnitude, and the real and imaginary part compressed alike, which hold the phase.

    (batch, frames, bins, 2) → (batch, frames, 1, 3 · bins).
    """

    def __init__(self, *, compression, **kwargs):
        super().__init__(**kwargs)
        self.compression = compression

    def call(self, spectrum):
        real, imag = ops.unstack(compress(spectrum, self.compression), axis=-1)
        magnitude = root(power(spectrum) + 1e-12, self.compression / 2)
        return ops.concatenate([magnitude, real, imag], axis=-1)[:, :, None, :]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], 1, 3 * input_shape[2])


@keras.saving.register_keras_serializable("audenoise")
class ChosenColumns(keras.layers.Layer):
    """Conditioning (batch, frames, 4) → (batch, frames, 1, columns), on the scale of the other features.

    Octaves are divided by 4; voicing, onset strength and loudness come in about the right size.
    """

    def __init__(self, columns, **kwargs):
        super().__init__(**kwargs)
        self.columns = tuple(columns)
        self.matrix = np.diag([0.25, 1.0, 1.0, 1.0]).astype(np.float32)[:, list(self.columns)]

    def call(self, conditioning):
        return ops.matmul(conditioning, self.matrix)[:, :, None, :]

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], 1, len(self.columns))


@keras.saving.register_keras_serializable("audenoise")
class Synthesis(keras.layers.Layer):
    """[input spectrum, its mel, enhanced mel, mask, level, phase] → enhanced spectrum.

    ``Y = X · (1 + mask) + G``: what the input has is corrected by a complex mask, and G is generated. Its
    amplitude is the envelope of the enhanced mel, shaped by `level`, and it is turned down by as much as the
    input already reaches that envelope (see `PRESENT`), so that a whole band stays what it was; its phase
    is that of a complex number of any length, `phase`. (batch, frames, bins, 2).
    """

    def __init__(self, *, sample_rate, n_fft, bands, **kwargs):
        super().__init__(**kwargs)
        weights = band_weights(sample_rate=sample_rate, n_fft=n_fft, bands=bands)
        self.bins = weights.shape[0]
        self.spread = band_interpolation(weights)

    def call(self, inputs):
        spectrum, mel_in, mel, mask, level, phase = inputs
        x_real, x_imag = ops.unstack(spectrum, axis=-1)
        m_real, m_imag = mask[:, :, 0, : self.bins], mask[:, :, 0, self.bins :]
        p_real, p_imag = phase[:, :, 0, : self.bins], phase[:, :, 0, self.bins :]
        envelope = ops.matmul(mel[:, :, 0], self.spread) * MEL_SCALE - MEL_OFFSET
        risen = ops.matmul((mel - mel_in)[:, :, 0], self.spread) * MEL_SCALE
        shaped = envelope + 6.0 * ops.tanh(level[:, :, 0] / 6.0)
        shaped = shaped - ops.softplus(PRESENT - risen)  # log of the share that is missing
        gain = ops.exp(ops.minimum(shaped, LOUDEST)) * ops.rsqrt(
            ops.square(p_real) + ops.square(p_imag) + PHASE_TINY
        )
        real = x_real + x_real * m_real - x_imag * m_imag + gain * p_real
        imag = x_imag + x_real * m_imag + x_imag * m_real + gain * p_imag
        return ops.stack([real, imag], axis=-1)

    def compute_output_shape(self, input_shape):
        return input_shape[0]
