"""Loss terms for denoising, written with `keras.ops` alone; every function returns one value per example."""

import math

import numpy as np

from audenoise.layers import TINY_POWER, ApplyOutput, SpectralTransform, ops, root
from audenoise.loudness import loudness_distance

ENVELOPE_SEGMENT_S = 0.384
SDR_FLOOR = 1e-3
"""Limits the rewarded signal-to-distortion ratio to 30 dB: beyond, an example teaches nothing."""


def compressed_losses(reference, estimate, exponent: float):
    """Squared error of compressed magnitudes and of compressed complex spectra.

    Parameters
    ----------
    reference, estimate : tensor
        (batch, frames, bins, 2).
    exponent : float
        c in |X|^c, as in Ephrat et al. 2018 and Braun and Tashev 2020.

    Returns
    -------
    tuple of tensor
        Magnitude term and complex term, (batch,) each.
    """
    axes = (1, 2)
    magnitudes, parts = [], []
    for spectrum in (reference, estimate):
        real, imag = ops.unstack(spectrum, axis=-1)
        squared = ops.square(real) + ops.square(imag) + TINY_POWER
        gain = root(squared, (exponent - 1) / 2)
        magnitudes.append(gain * ops.sqrt(squared))
        parts.append((real * gain, imag * gain))
    distance = sum(ops.square(a - b) for a, b in zip(*parts, strict=True))
    return ops.mean(ops.square(magnitudes[0] - magnitudes[1]), axes), ops.mean(distance, axes)


def negative_sdr_db(reference, estimate, mixture):
    """Minus the signal-to-distortion ratio in dB, limited at 30 dB.

    The energy that limits it is the mixture's share, so that examples without speech are rewarded for
    silence. Shapes (batch, samples) → (batch,). After Wisdom et al. 2020 (thresholded SNR).
    """
    signal = ops.sum(ops.square(reference), -1)
    error = ops.sum(ops.square(reference - estimate), -1)
    floor = SDR_FLOOR * ops.maximum(signal, 0.1 * ops.sum(ops.square(mixture), -1)) + 1e-7
    return 10 / math.log(10) * (ops.log(error + floor) - ops.log(signal + floor))


def third_octave_bands(sample_rate: int, n_fft: int) -> np.ndarray:
    """Membership of bins in third-octave bands from 150 Hz, as in Taal et al. 2011: (bins, bands), 0 or 1."""
    frequency = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)
    centres = 150 * 2 ** (np.arange(15) / 3)
    edges = np.stack([centres * 2 ** (-1 / 6), centres * 2 ** (1 / 6)])
    bands = (frequency[:, None] >= edges[0]) & (frequency[:, None] < edges[1])
    return bands[:, bands.any(0) & (edges[1] <= sample_rate / 2)].astype(np.float32)


def segment_frames(sample_rate: int, hop_length: int) -> int:
    """Frames in a segment of `envelope_distance`."""
    return round(ENVELOPE_SEGMENT_S * sample_rate / hop_length)


def envelope_distance(reference, estimate, bands: np.ndarray, *, n_frames: int):
    """One minus the correlation of short-time envelopes, as in ESTOI (Jensen and Taal 2016).

    Parameters
    ----------
    reference, estimate : tensor
        (batch, frames, bins, 2).
    bands : ndarray
        From `third_octave_bands`.
    n_frames : int
        Length of a segment; ESTOI takes 384 ms.

    Returns
    -------
    tensor
        (batch,), 0 for equal envelopes. Segments without speech don't count.
    """
    length = reference.shape[1]
    n_frames = min(n_frames, length)
    starts = np.arange(0, length - n_frames + 1, max(1, n_frames // 3))
    index = (starts[:, None] + np.arange(n_frames)).ravel()
    shape = (-1, starts.size, n_frames, bands.shape[1])
    segments = []
    for spectrum in (reference, estimate):
        real, imag = ops.unstack(spectrum, axis=-1)
        envelope = ops.sqrt(ops.matmul(ops.square(real) + ops.square(imag), bands) + TINY_POWER)
        segments.append(ops.reshape(ops.take(envelope, index, axis=1), shape))
    energy = ops.mean(ops.square(segments[0]), (2, 3))
    speech = ops.cast(energy > ops.maximum(1e-3 * ops.max(energy, axis=1, keepdims=True), 1e-8), energy.dtype)
    normalised = []
    for segment in segments:
        for axis in (2, 3):  # each band over time, then each frame over bands
            segment = segment - ops.mean(segment, axis, keepdims=True)
            segment = segment * ops.rsqrt(ops.sum(ops.square(segment), axis, keepdims=True) + 1e-9)
        normalised.append(segment)
    correlation = ops.mean(ops.sum(normalised[0] * normalised[1], 3), 2)
    return ops.sum(speech * (1 - correlation), 1) / (ops.sum(speech, 1) + 1e-3)


def squared_error(reference, estimate):
    """Mean squared error of (batch, …) → (batch,)."""
    return ops.mean(ops.square(reference - estimate), tuple(range(1, len(reference.shape))))


def huber(reference, estimate):
    """Huber's loss with its bend at 1: half the squared error up to there, then linear (Huber 1964).

    (batch, …) → (batch,).
    """
    error = ops.abs(reference - estimate)
    near = ops.minimum(error, 1.0)
    return ops.mean(near * (error - 0.5 * near), tuple(range(1, len(reference.shape))))


def denoising_losses(
    noisy_audio,
    clean_audio,
    spectrum,
    *,
    transform: SpectralTransform,
    weights,
    output: ApplyOutput | None = None,
):
    """The weighted loss and its terms.

    Parameters
    ----------
    noisy_audio, clean_audio : tensor
        (batch, samples); full scale is 1.
    spectrum : tensor
        Denoised, (batch, frames, bins, 2).
    transform : SpectralTransform
    weights : audenoise.specs.LossSpec
    output : ApplyOutput, optional
        The network's last layer, which knows its representation; for the terms ``mse`` and ``huber``.

    Returns
    -------
    dict of str to tensor
        ``loss``, ``sdr`` and every other term with a weight above 0, unweighted; scalars. Spectra and
        waveforms are scaled per example so that the mixture has an RMS of 0.1: a quiet recording counts as
        much as a loud one. Levels in dB are not: their differences don't depend on it.
    """
    n_samples = clean_audio.shape[1]
    gain = 0.1 * ops.rsqrt(ops.mean(ops.square(noisy_audio), -1, keepdims=True) + 1e-10)
    clean = clean_audio * gain
    estimate = spectrum * gain[:, :, None, None]
    reference = transform.stft(clean)
    audio = transform.istft(estimate, n_samples)
    terms = {}
    magnitude, complex_ = compressed_losses(reference, estimate, weights.compression)
    if weights.magnitude:
        terms["magnitude"] = magnitude
    if weights.complex:
        terms["complex"] = complex_
    if weights.consistency:
        again = compressed_losses(reference, transform.stft(audio), weights.compression)
        terms["consistency"] = again[0] + again[1]
    if weights.waveform:
        terms["waveform"] = ops.mean(ops.abs(clean - audio), -1)
    if weights.envelope:
        bands = third_octave_bands(transform.sample_rate, transform.n_fft)
        terms["envelope"] = envelope_distance(
            reference, estimate, bands, n_frames=segment_frames(transform.sample_rate, transform.hop)
        )
    if weights.loudness:
        terms["loudness"] = loudness_distance(
            reference, estimate, sample_rate=transform.sample_rate, n_fft=transform.n_fft
        )
    if output is not None and (weights.mse or weights.huber):
        parts = transform.stft(noisy_audio), transform.stft(clean_audio), spectrum
        if output.representation != "decibel":
            parts = tuple(part * gain[:, :, None, None] for part in parts)
        pair = [output.predicted(parts[0], part) for part in parts[1:]]
        if weights.mse:
            terms["mse"] = squared_error(*pair)
        if weights.huber:
            terms["huber"] = huber(*pair)
    terms["sdr"] = negative_sdr_db(clean, audio, noisy_audio * gain)
    terms = {name: ops.mean(term) for name, term in terms.items()}
    return {"loss": sum(getattr(weights, name) * term for name, term in terms.items()), **terms}
